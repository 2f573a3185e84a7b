"""What a relay counts and measures, and tells an observer if there is one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cqrs_core.observer import Metric, ObservedCounts, keep_telling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cqrs_core.outbox import OutboxRecord
    from cqrs_core.outbox_keeper import OutboxKeeper, OutboxStatus

_MESSAGES = "{message}"
SENT = Metric("cqrs.outbox.sent", "counter", _MESSAGES, "Messages that the broker has, by topic.")
REFUSED = Metric("cqrs.outbox.refused", "counter", _MESSAGES, "Attempts that the broker has refused, by topic.")
BURIED = Metric("cqrs.outbox.buried", "counter", _MESSAGES, "Messages that were given up, by topic.")
OUTAGES = Metric("cqrs.outbox.outages", "counter", "{batch}", "Batches that found the broker not available.")
FOUND_LATE = Metric(
    "cqrs.outbox.found_late",
    "counter",
    _MESSAGES,
    "Messages found behind the place of reading: committed late, or of a key that has waited or was another relay's.",
)
BATCH = Metric("cqrs.outbox.batch", "histogram", _MESSAGES, "How many messages were handed to the broker at once.")
FETCHING = Metric("cqrs.outbox.fetch", "histogram", "s", "How long it took to read a batch.")
SENDING = Metric("cqrs.outbox.send", "histogram", "s", "How long the broker took for a batch.")
REMOVING = Metric("cqrs.outbox.remove", "histogram", "s", "How long it took to take a batch out.")
DELAY = Metric("cqrs.outbox.delay", "histogram", "s", "How long a message waited, until the broker had it, by topic.")
OLDEST_AGE = Metric("cqrs.outbox.oldest_age", "gauge", "s", "How long the first message has waited; 0: none waits.")
WAITING = Metric("cqrs.outbox.waiting", "gauge", _MESSAGES, "Messages that wait, up to 10,000.")
HALTED = Metric("cqrs.outbox.halted", "gauge", _MESSAGES, "Messages that wait for a person, up to 10,000.")
DEAD = Metric("cqrs.outbox.dead", "gauge", _MESSAGES, "Messages that were given up and not purged, up to 10,000.")
PARKED_KEYS = Metric("cqrs.outbox.parked_keys", "gauge", "{key}", "Keys that wait because of a refused message.")
RELAYS = Metric("cqrs.outbox.relays", "gauge", "{relay}", "Relays that live.")
SLOTS = Metric("cqrs.outbox.slots", "gauge", "{slot}", "Parts of the keys that a relay has, by relay.")
FREE_SLOTS = Metric("cqrs.outbox.free_slots", "gauge", "{slot}", "Parts of the keys that no relay has.")
STORAGE = Metric("cqrs.outbox.storage", "gauge", "1", "What the storage tells of itself, by figure.")

#: All of them, in the order of the documentation.
METRICS = (
    SENT,
    REFUSED,
    BURIED,
    OUTAGES,
    FOUND_LATE,
    BATCH,
    FETCHING,
    SENDING,
    REMOVING,
    DELAY,
    OLDEST_AGE,
    WAITING,
    HALTED,
    DEAD,
    PARKED_KEYS,
    RELAYS,
    SLOTS,
    FREE_SLOTS,
    STORAGE,
)


class Figures(ObservedCounts):
    """
    The figures of one relay.

    Attributes:
        counts: As :attr:`cqrs_core.relay.OutboxRelay.counts` has them.
    """

    def read(self, took_s: float, late: int) -> None:
        """A batch was read, with *late* messages that were committed after others behind them."""
        if self._observer is not None:
            self._observer.record(FETCHING, took_s)
            self._observer.add(FOUND_LATE, late)

    def handed_over(self, took_s: float, size: int) -> None:
        """The broker has answered for a batch."""
        if self._observer is not None:
            self._observer.record(SENDING, took_s)
            self._observer.record(BATCH, size)

    def sent(self, records: Sequence[OutboxRecord]) -> None:
        """The broker has *records*."""
        self.counts["sent"] += len(records)
        if self._observer is not None:
            now = self._clock.now()
            numbers = Counter(record.envelope.topic for record in records)
            attributes = {topic: {"topic": topic} for topic in numbers}
            for topic, number in numbers.items():
                self._observer.add(SENT, number, attributes[topic])
            for record in records:
                # The clock of the storage may be ahead.
                waited_s = max((now - record.created_at).total_seconds(), 0.0)
                self._observer.record(DELAY, waited_s, attributes[record.envelope.topic])

    def outage(self) -> None:
        """The broker was not available for a batch."""
        self.counts["outages"] += 1
        if self._observer is not None:
            self._observer.add(OUTAGES, 1)

    def refused(self, record: OutboxRecord) -> None:
        """The broker has refused *record*."""
        self._count("refused", REFUSED, record)

    def buried(self, record: OutboxRecord) -> None:
        """*record* was given up."""
        self._count("buried", BURIED, record)

    def removed(self, took_s: float) -> None:
        """A batch was taken out."""
        if self._observer is not None:
            self._observer.record(REMOVING, took_s)

    def _count(self, name: str, metric: Metric, record: OutboxRecord) -> None:
        self.counts[name] += 1
        if self._observer is not None:
            self._observer.add(metric, 1, {"topic": record.envelope.topic})

    async def keep_telling(self, keeper: OutboxKeeper, every_s: float) -> None:
        """Tell how the outbox does, again and again, for ever; nobody is told while it cannot be reached."""
        await keep_telling(keeper.status, self._tell, every_s=every_s, clock=self._clock)

    def _tell(self, status: OutboxStatus) -> None:
        assert self._observer is not None, "somebody is told"  # noqa: S101 - for type checkers
        for metric, value in _gauges(status):
            self._observer.set(metric, value)
        self._observer.set_each(SLOTS, {share.name: share.slots for share in status.relays}, "relay")
        self._observer.set_each(STORAGE, status.figures, "figure")


def _gauges(status: OutboxStatus) -> Iterable[tuple[Metric, float]]:
    yield OLDEST_AGE, max(status.oldest_age_s or 0.0, 0.0)
    yield WAITING, status.waiting
    yield HALTED, status.halted
    yield DEAD, status.dead
    yield PARKED_KEYS, len(status.parked)
    yield RELAYS, len(status.relays)
    yield FREE_SLOTS, status.free_slots
