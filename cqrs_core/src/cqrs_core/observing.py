"""Finds the observer that an App was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.errors import CqrsError
from cqrs_core.observer import check_observer
from cqrs_core.plugins import open_backend

if TYPE_CHECKING:
    from cqrs_core.observer import Observer


class Observing:
    """
    Opens the observer when the wiring is checked, and once.

    Args:
        given: An observer; or its name or URL, by which it is found among the plug-ins.
    """

    def __init__(self, given: Observer | str) -> None:
        self._given = given
        self._observer: Observer | None = None

    @property
    def observer(self) -> Observer:
        """The observer; to be asked for after :meth:`wire`."""
        assert self._observer is not None, "wire() has opened it"  # noqa: S101 - for type checkers
        return self._observer

    def wire(self) -> list[CqrsError]:
        """Open it, and tell everything that is wrong: errors, none of them raised."""
        if self._observer is None:
            try:
                if isinstance(self._given, str):
                    self._observer = open_backend("observer", self._given)
                else:
                    check_observer(self._given)
                    self._observer = self._given
            except CqrsError as error:
                return [error]
        return []

    def freeze(self) -> None:
        """There is nothing to change."""
