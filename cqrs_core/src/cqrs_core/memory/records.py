"""The messages of the memory storage that wait to be sent, and what became of those that cannot be."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING

from cqrs_core.outbox import OutboxRecord, ParkedKey

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from cqrs_core.clock import Clock
    from cqrs_core.envelope import Envelope

_position = attrgetter("position")


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    Why a message waits.

    Attributes:
        until: When it is due again, as the clock's ``monotonic`` has it; infinity: when a person says so.
        error: What the broker said.
    """

    until: float
    error: str


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """
    A message that was given up.

    Attributes:
        record: As it was in the outbox.
        reason: Why, in a word.
        error: What the broker said.
        failed_at: When, in UTC, aware.
    """

    record: OutboxRecord
    reason: str
    error: str
    failed_at: datetime


class Records:
    """
    What was committed, by its positions.

    Attributes:
        dead: Those that were given up, in the order in which they were.
        refusals: By position: why a message waits, or has waited, that was refused.
    """

    def __init__(self, clock: Clock) -> None:
        self.dead: list[DeadMessage] = []
        self.refusals: dict[int, Refusal] = {}
        self._clock = clock
        self._records: list[OutboxRecord] = []
        self._positions = count(1)  # it goes on when everything is forgotten

    def behind(self, position: int) -> Sequence[OutboxRecord]:
        """List those behind a position, whether they are due or not."""
        return self._records[self._index_behind(position) :]

    def keep(self, envelopes: Iterable[Envelope]) -> None:
        """Write what was committed."""
        now = self._clock.now()
        self._records += [OutboxRecord(next(self._positions), envelope, now) for envelope in envelopes]

    def due(self, *, after: int) -> Iterator[OutboxRecord]:
        """Go through those that may be sent now."""
        return (record for record in self.behind(after) if self.delay_of(record.position) == 0)

    def waiting(self) -> Iterator[OutboxRecord]:
        """Go through those that were refused, and are not due."""
        return (record for record in self._records if self.delay_of(record.position) != 0)

    def waiting_keys(self, records: Iterable[OutboxRecord]) -> list[ParkedKey]:
        """List the keys of some that wait, each once, with the time of its first."""
        parked: dict[str, ParkedKey] = {}
        for record in records:
            key = record.envelope.key
            if key is not None and key not in parked:
                parked[key] = ParkedKey(key, self.delay_of(record.position))
        return list(parked.values())

    def delay_of(self, position: int) -> float | None:
        """Tell for how many seconds a message is not due; ``None``: until a person says so."""
        refusal = self.refusals.get(position)
        if refusal is None:
            return 0.0
        left = refusal.until - self._clock.monotonic()
        return None if left == math.inf else max(left, 0.0)

    def remove(self, positions: Collection[int]) -> None:
        """Forget messages that were sent; those that are not there are left out."""
        gone = set(positions)
        self._records = [record for record in self._records if record.position not in gone]
        for position in gone:
            self.refusals.pop(position, None)

    def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        """Count an attempt, and let a message wait; if it is not there, do nothing."""
        index = self._place_of(position)
        if index is not None:
            self._records[index] = replace(self._records[index], attempts=self._records[index].attempts + 1)
            until = math.inf if delay_s is None else self._clock.monotonic() + delay_s
            self.refusals[position] = Refusal(until, error)

    def bury(self, position: int, *, reason: str, error: str) -> None:
        """Take a message to the dead; if it is not there, do nothing."""
        index = self._place_of(position)
        if index is not None:
            self.dead.append(DeadMessage(self._records[index], reason, error, self._clock.now()))
            self.remove([position])

    def let_go(self, positions: Collection[int]) -> None:
        """Let messages be due that were refused, as if they had not been; what was said of them is kept."""
        for position in positions:
            index = self._place_of(position)
            if index is not None and position in self.refusals:
                self._records[index] = replace(self._records[index], attempts=0)
                self.refusals[position] = replace(self.refusals[position], until=self._clock.monotonic())

    def revive(self, positions: Collection[int]) -> None:
        """Let messages wait again, behind all others, that were given up."""
        revived = sorted((one.record for one in self.dead if one.record.position in positions), key=_position)
        self.purge(positions)
        self.keep(record.envelope for record in revived)

    def purge(self, positions: Collection[int]) -> None:
        """Forget messages that were given up."""
        self.dead[:] = [message for message in self.dead if message.record.position not in positions]

    def forget(self) -> None:
        """Forget everything."""
        self._records.clear()
        self.refusals.clear()
        self.dead.clear()

    def _index_behind(self, position: int) -> int:
        """Find the place of the first record that stands behind *position*."""
        return bisect_right(self._records, position, key=_position)

    def _place_of(self, position: int) -> int | None:
        index = self._index_behind(position) - 1
        return index if index >= 0 and self._records[index].position == position else None
