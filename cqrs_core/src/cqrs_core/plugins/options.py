"""Options in the query of a URL: words, turned into what the factory's annotations ask for."""

from __future__ import annotations

import inspect
import math
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from cqrs_core.dependencies import dependencies_of
from cqrs_core.plugins.errors import InvalidBackendOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from cqrs_core.plugins.facts import Offer

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Options:
    """What a factory can be told in a URL: its keyword-only parameters."""

    def __init__(self, offer: Offer, factory: Callable[..., object]) -> None:
        parameters = inspect.signature(factory).parameters.values()
        annotations = {dependency.name: dependency.wanted for dependency in dependencies_of(factory)}
        named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        self._offer = offer
        self._wanted = {p.name: str if p.annotation is p.empty else annotations[p.name] for p in named}
        self._required = {p.name for p in named if p.default is p.empty}
        self._takes_others = any(p.kind is p.VAR_KEYWORD for p in parameters)

    def read(self, query: str) -> dict[str, object]:
        """
        Read what stands in a URL behind the question mark.

        Raises:
            InvalidBackendOption: An option is unknown, missing, given twice, or its value is not of its type.
        """
        from urllib.parse import parse_qsl  # noqa: PLC0415 - only a URL has options

        options: dict[str, object] = {}
        for name, word in parse_qsl(query, keep_blank_values=True) if query else ():
            if name in options:
                raise self._fault(name, "is given twice.")
            if name not in self._wanted and not self._takes_others:
                raise self._fault(name, f"is unknown.{self._near_miss(name)}")
            options[name] = self._value(name, word)
        for name in sorted(self._required - set(options)):
            raise self._fault(name, "is missing, and has no default.")
        return options

    def _value(self, name: str, word: str) -> object:
        wanted = self._wanted.get(name, str)
        if not _is_readable(wanted):
            raise self._fault(name, "cannot be given in a URL: make the object in your program, and give that.")
        try:
            return _read(wanted, word)
        except (KeyError, ValueError):
            # Without the cause, which quotes the value: it may be a secret that was put in the wrong place.
            raise self._fault(name, f"must be {_expected(wanted)}.") from None

    def _near_miss(self, name: str) -> str:
        from difflib import get_close_matches  # noqa: PLC0415 - only those need it who made a mistake

        return "".join(f" Did you mean {known!r}?" for known in get_close_matches(name, self._wanted, n=1))

    def _fault(self, name: str, problem: str) -> InvalidBackendOption:
        known = [known for known, wanted in self._wanted.items() if _is_readable(wanted)]
        return InvalidBackendOption(self._offer, name, problem, known)


def _is_readable(wanted: Any) -> bool:  # noqa: ANN401 - annotations are of any type
    is_enum = isinstance(wanted, type) and issubclass(wanted, Enum)
    return wanted in (str, int, float, bool) or get_origin(wanted) is Literal or is_enum


def _read(wanted: Any, word: str) -> object:  # noqa: ANN401 - as above
    if wanted is bool:
        return _BOOLEANS[word.lower()]
    if wanted is float and not math.isfinite(float(word)):
        raise ValueError(word)
    if wanted in (str, int, float):
        return wanted(word)
    return _choices(wanted)[word]


def _choices(wanted: Any) -> dict[str, object]:  # noqa: ANN401 - as above
    """Spell the members of a Literal, and those of an Enum by their values."""
    if get_origin(wanted) is Literal:
        return {str(member): member for member in get_args(wanted)}
    return {str(member.value): member for member in wanted}


def _expected(wanted: Any) -> str:  # noqa: ANN401 - as above
    plain = {bool: "true or false", int: "an integer", float: "a finite number"}
    return plain.get(wanted) or f"one of {', '.join(_choices(wanted))}"
