"""What a consumer counts and measures, and tells an observer if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.observer import Metric, ObservedCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from cqrs_core.clock import Clock
    from cqrs_core.consumer.status import ConsumerStatus
    from cqrs_core.observer import Observer

_MESSAGES = "{message}"
#: By the names under which a consumer counts.
COUNTERS = {
    name: Metric(f"cqrs.consumer.{name}", "counter", unit, f"{description}, by group and topic.")
    for name, unit, description in (
        ("handled", _MESSAGES, "Messages that are handled"),
        ("failed", "{attempt}", "Attempts that have failed"),
        ("skipped", _MESSAGES, "Messages that were passed over"),
        ("retried", _MESSAGES, "Messages that went to a retry topic"),
        ("dead_lettered", _MESSAGES, "Messages that were given up"),
        ("parked", _MESSAGES, "Messages that were parked behind a dead letter of their key"),
    )
}
ATTEMPT = Metric("cqrs.consumer.attempt", "histogram", "s", "How long an attempt took, by group and topic.")
LAG = Metric("cqrs.consumer.lag", "gauge", _MESSAGES, "Messages that are not done, by group and partition.")
RECEIVED = Metric("cqrs.consumer.received", "gauge", _MESSAGES, "Messages received and not done, by group.")
IN_FLIGHT = Metric("cqrs.consumer.in_flight", "gauge", _MESSAGES, "Messages or batches being handled, by group.")

#: All of them, in the order of the documentation.
METRICS = (*COUNTERS.values(), ATTEMPT, LAG, RECEIVED, IN_FLIGHT)

#: How often the gauges are told.
_EVERY_S = 15.0


class Figures(ObservedCounts):
    """
    The figures of one consumer.

    Attributes:
        counts: As :attr:`cqrs_core.consumer.Consumer.counts` has them.
    """

    def __init__(self, group: str, observer: Observer | None, clock: Clock) -> None:
        super().__init__(observer, clock)
        self._group = group

    def count(self, name: str, topic: str, number: int = 1) -> None:
        """Count so many messages of *topic*, or attempts at them."""
        self.counts[name] += number
        if self._observer is not None:
            self._observer.add(COUNTERS[name], number, {"group": self._group, "topic": topic})

    def begin_attempt(self) -> float:
        """An attempt begins; gives what :meth:`attempted` is to be told."""
        return 0.0 if self._observer is None else self._clock.monotonic()

    def attempted(self, topic: str, began_at: float) -> None:
        """An attempt has ended, for which :meth:`begin_attempt` gave that."""
        if self._observer is not None:
            took_s = self._clock.monotonic() - began_at
            self._observer.record(ATTEMPT, took_s, {"group": self._group, "topic": topic})

    async def keep_telling(self, status: Callable[[], ConsumerStatus]) -> None:
        """Tell how the consumer does, again and again, for ever."""
        assert self._observer is not None, "somebody is told"  # noqa: S101 - for type checkers
        group = {"group": self._group}
        while True:
            now = status()
            self._observer.set(IN_FLIGHT, now.in_flight, group)
            self._observer.set(RECEIVED, now.received, group)
            self._observer.set_each(LAG, now.lag or {}, "partition", group)
            await self._clock.sleep(_EVERY_S)
