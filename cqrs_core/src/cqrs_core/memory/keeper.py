"""Looks after the outbox of the memory storage, for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.memory.leases import SLOTS
from cqrs_core.outbox_keeper import OutboxEntry, OutboxStatus, RelayShare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import timedelta

    from cqrs_core.clock import Clock
    from cqrs_core.memory.leases import Slots
    from cqrs_core.memory.records import DeadMessage, Records
    from cqrs_core.outbox import OutboxRecord, ParkedKey
    from cqrs_core.outbox_keeper import Selection


class MemoryOutboxKeeper:
    """What a person sees of a memory outbox, and does there: a :class:`cqrs_core.outbox_keeper.OutboxKeeper`."""

    def __init__(self, records: Records, slots: Slots, clock: Clock) -> None:
        self._records = records
        self._slots = slots
        self._clock = clock

    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        """As :meth:`cqrs_core.outbox_keeper.OutboxKeeper.status`."""
        waiting = self._records.behind(0)
        halted = [record for record in waiting if self._records.delay_of(record.position) is None]
        shares = [(str(relay), len(self._slots.owned_by(relay))) for relay in self._slots.relays()]
        return OutboxStatus(
            oldest_age_s=(self._clock.now() - waiting[0].created_at).total_seconds() if waiting else None,
            waiting=min(len(waiting), count_to),
            halted=min(len(halted), count_to),
            dead=min(len(self._records.dead), count_to),
            counted_to=count_to,
            parked=self._parked()[:count_to],
            relays=[RelayShare(name, slots) for name, slots in shares],
            free_slots=SLOTS - sum(slots for _, slots in shares),
            slots=SLOTS,
        )

    async def look(
        self, which: Selection, *, among_dead: bool = False, after: int = 0, limit: int = 100
    ) -> Sequence[OutboxEntry]:
        """As :meth:`cqrs_core.outbox_keeper.OutboxKeeper.look`."""
        if among_dead:
            dead = sorted(self._dead(which), key=lambda message: message.record.position)
            return [_dead_entry(message) for message in dead if message.record.position > after][:limit]
        return [self._entry(record) for record in _selected(self._records.behind(after), which)][:limit]

    async def requeue(self, which: Selection) -> int:
        """As :meth:`cqrs_core.outbox_keeper.OutboxKeeper.requeue`."""
        positions = {message.record.position for message in self._dead(which)}
        self._records.revive(positions)
        return len(positions)

    async def let_go(self, which: Selection) -> int:
        """As :meth:`cqrs_core.outbox_keeper.OutboxKeeper.let_go`."""
        positions = {record.position for record in _selected(self._records.waiting(), which)}
        self._records.let_go(positions)
        return len(positions)

    async def purge(self, older_than: timedelta, which: Selection) -> int:
        """As :meth:`cqrs_core.outbox_keeper.OutboxKeeper.purge`."""
        before = self._clock.now() - older_than
        positions = {message.record.position for message in self._dead(which) if message.failed_at < before}
        self._records.purge(positions)
        return len(positions)

    def _parked(self) -> list[ParkedKey]:
        # Whatever waits for a person goes first, wherever it stands among those of its key.
        waiting = sorted(self._records.waiting(), key=lambda one: self._records.delay_of(one.position) is not None)
        return self._records.waiting_keys(waiting)

    def _entry(self, record: OutboxRecord) -> OutboxEntry:
        refusal = self._records.refusals.get(record.position)
        delay_s = self._records.delay_of(record.position)
        return OutboxEntry(record=record, delay_s=delay_s, error=None if refusal is None else refusal.error)

    def _dead(self, which: Selection) -> Iterator[DeadMessage]:
        return (message for message in self._records.dead if _is_meant(message.record, which))


def _dead_entry(message: DeadMessage) -> OutboxEntry:
    return OutboxEntry(
        record=message.record,
        delay_s=None,
        error=message.error,
        failed_at=message.failed_at,
        reason=message.reason,
    )


def _selected(records: Iterable[OutboxRecord], which: Selection) -> Iterator[OutboxRecord]:
    return (record for record in records if _is_meant(record, which))


def _is_meant(record: OutboxRecord, which: Selection) -> bool:
    envelope = record.envelope
    return (
        (which.id is None or envelope.id == str(which.id))
        and which.key in {None, envelope.key}
        and which.topic in {None, envelope.topic}
    )
