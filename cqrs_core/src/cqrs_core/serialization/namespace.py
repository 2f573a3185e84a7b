"""The namespace in which generated functions live: they call each other by name, so types may recur."""

from __future__ import annotations

import linecache
import re
from json.encoder import encode_basestring
from math import isfinite
from typing import TYPE_CHECKING, Any

from cqrs_core.serialization import dates, faults, scalars
from cqrs_core.serialization.forms import Form, block

if TYPE_CHECKING:
    from collections.abc import Callable

# Generated code may call whatever these modules define or import.
_HELPERS = {
    name: value
    for module in (scalars, dates, faults)
    for name, value in vars(module).items()
    if not name.startswith("_")
}


class Namespace:
    """
    Collects the source of functions, and makes them all at once.

    Generated code runs with these names as its globals, as the methods do that ``dataclasses`` makes.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = {
            **_HELPERS,
            "WORDS": {True: "true", False: "false"},
            "isfinite": isfinite,
            "new": object.__new__,
            "quote": encode_basestring,
        }
        self._pending: list[str] = []
        self._names = 0
        self._batches = 0

    def __getitem__(self, name: str) -> Callable[[Any], Any]:
        function: Callable[[Any], Any] = self._values[name]
        return function

    def __setitem__(self, name: str, value: object) -> None:
        self._values[name] = value

    def reserve(self, word: str) -> str:
        """Give a name that nothing has yet; *word* makes the source readable."""
        self._names += 1
        return f"{re.sub(r'[^A-Za-z0-9]+|^(?=[0-9])', '_', word)}_{self._names}"

    def add(self, word: str, value: object) -> str:
        """Make *value* known to generated code; gives its name there."""
        name = self.reserve(word)
        self._values[name] = value
        return name

    def define(self, name: str, *body: str) -> str:
        """Add a function of one value, ``v``; it is there after :meth:`make_functions`. Gives *name* back."""
        self._pending.append(block(f"def {name}(v):", *body))
        return name

    def alias(self, name: str, function: str) -> None:
        """Let *name* mean a function that is defined before it."""
        self._pending.append(f"{name} = {function}")

    def writer(self, form: Form) -> str:
        """Give the name of a function that writes the text of *form*."""
        if form.write_function:
            return form.write_function
        check = form.check_write.replace("$", "v")
        return self.define(self.reserve("write"), check, f"return {form.text('v')}")

    def reader(self, form: Form) -> str:
        """Give the name of a function that reads what ``json`` made of the text."""
        if form.read_function:
            return form.read_function
        return self.define(self.reserve("read"), form.reading("v"), "return v")

    def make_functions(self) -> None:
        """Compile what was defined since the last time."""
        source = "\n\n".join([*self._pending, ""])
        self._pending.clear()
        self._batches += 1
        file = f"<codec {id(self):x}.{self._batches}>"
        # Tracebacks and debuggers show generated lines as they show others.
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        exec(compile(source, file, "exec"), self._values)

    def drop_pending(self) -> None:
        """Forget what was defined since the last time: the type turned out to be unsupported."""
        self._pending.clear()
