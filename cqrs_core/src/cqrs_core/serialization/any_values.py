"""What an ``Any`` holds: written as what it is, by its class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cqrs_core.serialization.errors import UnsupportedType
from cqrs_core.serialization.scalars import Mismatch

Writer = Callable[[Any], str]


class AnyWriter:
    """Writes any value that some class in its ancestry has a form for."""

    def __init__(self, writer_for: Callable[[Any], Writer]) -> None:
        """
        Take what finds writers.

        Args:
            writer_for: Compiles the writer of a type; raises :exc:`UnsupportedType`.
        """
        self._writer_for = writer_for
        self._writers: dict[type, Writer] = {}

    def __call__(self, value: object) -> str:
        """
        Write *value*.

        Raises:
            Mismatch: JSON has no form for it.
        """
        cls = value.__class__
        write = self._writers.get(cls)
        if write is None:
            write = self._writers[cls] = self._find(cls)
        return write(value)

    def _find(self, cls: type) -> Writer:
        for ancestor in cls.__mro__[:-1]:  # every object is an object
            try:
                return self._writer_for(_AS.get(ancestor, ancestor))
            except UnsupportedType:
                continue
        raise Mismatch


# Names are strings in JSON; what is inside is any value again.
_AS: dict[type, Any] = {list: list[Any], tuple: Sequence[Any], dict: dict[str, Any]}
