"""Who sends what of the outbox: relays share the keys by slots, and keep theirs for a time."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING
from zlib import crc32

from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence

    from cqrs_core.clock import Clock
    from cqrs_core.memory.records import Records
    from cqrs_core.outbox import OutboxRecord, ParkedKey

SLOTS = 64


def slot_of(record: OutboxRecord) -> int:
    """Tell the slot of a message: that of its key, or without one any."""
    key = record.envelope.key
    return record.position % SLOTS if key is None else crc32(key.encode("utf-8", "surrogateescape")) % SLOTS


class Slots:
    """Which slots each relay has, and until when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[Hashable, float] = {}  # by relay
        self._owners: dict[int, Hashable] = {}

    def owned_by(self, relay: Hashable) -> list[int]:
        """List the slots that *relay* has now, in their order."""
        self._end_lapsed()
        return [slot for slot in range(SLOTS) if self._owners.get(slot) == relay]

    def relays(self) -> Sequence[Hashable]:
        """List those that live, in the order in which they came."""
        self._end_lapsed()
        return list(self._until)

    def renew(self, relay: Hashable, ttl_s: float) -> bool:
        """Keep the slots of *relay*; tells whether it has too many, or may take some."""
        self._end_lapsed()
        self._until[relay] = self._clock.monotonic() + ttl_s
        surplus, free = self._changes(relay)
        return bool(surplus or free)

    def rebalance(self, relay: Hashable) -> bool:
        """Give up what *relay* has too many of, or take what is free; tells whether it has more than before."""
        surplus, free = self._changes(relay)
        for slot in surplus:
            del self._owners[slot]
        self._owners.update(dict.fromkeys(free, relay))
        return bool(free)

    def release(self, relay: Hashable) -> None:
        """Let *relay* have none, and count it no more."""
        for slot in self.owned_by(relay):
            del self._owners[slot]
        self._until.pop(relay, None)

    def forget(self) -> None:
        """Let nobody have any."""
        self._until.clear()
        self._owners.clear()

    def _changes(self, relay: Hashable) -> tuple[list[int], list[int]]:
        """Find what *relay* has too many of, and what it may take."""
        owned = self.owned_by(relay)
        if relay not in self._until:
            return [], []
        fair = math.ceil(SLOTS / len(self._until))
        free = [slot for slot in range(SLOTS) if slot not in self._owners]
        return owned[fair:], free[: max(0, fair - len(owned))]

    def _end_lapsed(self) -> None:
        now = self._clock.monotonic()
        for relay in [relay for relay, until in self._until.items() if until <= now]:
            del self._until[relay]
        self._owners = {slot: relay for slot, relay in self._owners.items() if relay in self._until}


class MemoryLease:
    """What one relay has of a memory outbox: a :class:`cqrs_core.outbox.OutboxLease`."""

    def __init__(self, records: Records, slots: Slots, name: str, *, ttl_s: float) -> None:
        """
        Take nothing yet.

        Raises:
            InvalidOption: *ttl_s* is not more than 0.
        """
        if not ttl_s > 0:
            raise InvalidOption("ttl_s", ttl_s, "more than 0")
        self._records = records
        self._slots = slots
        self._name = name
        self._ttl_s = ttl_s

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, slots={len(self._slots.owned_by(self))})"

    def __str__(self) -> str:
        return self._name

    async def renew(self) -> bool:
        """As :meth:`cqrs_core.outbox.OutboxLease.renew`."""
        return self._slots.renew(self, self._ttl_s)

    async def rebalance(self) -> bool:
        """As :meth:`cqrs_core.outbox.OutboxLease.rebalance`."""
        return self._slots.rebalance(self)

    async def fetch(
        self,
        *,
        after: int,
        limit: int,
        without: Collection[str],
        passed: Collection[int] = (),  # noqa: ARG002 - here messages have their positions from the commit
    ) -> Sequence[OutboxRecord]:
        """As :meth:`cqrs_core.outbox.OutboxLease.fetch`."""
        left_out = set(without)
        mine = (record for record in self._mine(self._records.due(after=after)) if record.envelope.key not in left_out)
        return list(islice(mine, limit))

    async def parked(self) -> Sequence[ParkedKey]:
        """As :meth:`cqrs_core.outbox.OutboxLease.parked`; a key waits for the first of its messages that do."""
        return self._records.waiting_keys(self._mine(self._records.waiting()))

    async def remove(self, positions: Sequence[int]) -> None:
        """As :meth:`cqrs_core.outbox.OutboxLease.remove`."""
        self._records.remove(positions)

    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        """As :meth:`cqrs_core.outbox.OutboxLease.postpone`."""
        self._records.postpone(position, delay_s=delay_s, error=error)

    async def bury(self, position: int, *, reason: str, error: str) -> None:
        """As :meth:`cqrs_core.outbox.OutboxLease.bury`."""
        self._records.bury(position, reason=reason, error=error)

    async def release(self) -> None:
        """As :meth:`cqrs_core.outbox.OutboxLease.release`."""
        self._slots.release(self)

    def _mine(self, records: Iterable[OutboxRecord]) -> Iterator[OutboxRecord]:
        slots = set(self._slots.owned_by(self))
        return (record for record in records if slot_of(record) in slots)
