"""Finds the observer that an App was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.errors import CqrsError
from cqrs_core.given_backends import backend_from
from cqrs_core.observer import missing_observer_methods

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
                self._observer = backend_from(
                    "observer", self._given, open_backend=_open, missing_methods=missing_observer_methods
                )
            except CqrsError as error:
                return [error]
        return []

    def freeze(self) -> None:
        """There is nothing to change."""


def _open(spec: str) -> Observer:
    from cqrs_core.plugins import open_backend  # noqa: PLC0415 - only who names one pays for the search

    return open_backend("observer", spec)
