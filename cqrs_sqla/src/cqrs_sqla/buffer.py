"""Rows that wait to be written, and follow the savepoints of their transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, MutableMapping, Sequence

    from cqrs_sqla.rows import Row


class Mark(NamedTuple):
    """How many rows there were when a savepoint began, and how many of them had been written."""

    rows: int
    written: int


class RowBuffer:
    """
    Rows of one transaction, in the order in which they were added.

    Args:
        marks: Where to keep what was there when a savepoint began; it may forget those that have ended.
    """

    __slots__ = ("_marks", "_rows", "_written")

    def __init__(self, marks: MutableMapping[Hashable, Mark]) -> None:
        self._rows: list[Row] = []
        self._written = 0
        self._marks = marks

    @property
    def waiting(self) -> Sequence[Row]:
        """What has not been written."""
        return self._rows[self._written :]

    def add(self, rows: Sequence[Row]) -> None:
        """Let *rows* wait, behind the others."""
        self._rows += rows

    def written(self, count: int) -> None:
        """Note that the first *count* of those that wait are in the database."""
        self._written += count
        if not self._marks:
            del self._rows[: self._written]
            self._written = 0

    def mark(self, savepoint: Hashable) -> None:
        """Note that *savepoint* begins here."""
        self._marks[savepoint] = Mark(len(self._rows), self._written)

    def release(self, savepoint: Hashable) -> None:
        """Note that *savepoint* has ended well: what was added in it belongs to what is around it."""
        self._marks.pop(savepoint, None)

    def rewind(self, savepoint: Hashable) -> None:
        """
        Go back to where *savepoint* began; one that is not known began before everything.

        What was added since then is forgotten. What was added before, and written since then, waits again.
        """
        mark = self._marks.get(savepoint, Mark(0, 0))
        del self._rows[mark.rows :]
        self._written = mark.written

    def clear(self) -> None:
        """Forget everything: the transaction has ended."""
        self._rows.clear()
        self._marks.clear()
        self._written = 0
