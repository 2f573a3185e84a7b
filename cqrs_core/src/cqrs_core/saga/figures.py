"""What a worker of sagas counts, and tells an observer if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.observer import Metric, ObservedCounts, keep_telling

if TYPE_CHECKING:
    from cqrs_core.saga.storage import SagaFigures, SagaKeeper

_SAGAS = "{saga}"
#: By the names under which a worker counts.
COUNTERS = {
    name: Metric(f"cqrs.sagas.{name}", "counter", unit, f"{description}, by saga.")
    for name, unit, description in (
        ("claimed", "{claim}", "Claims: sagas that were taken, to be driven"),
        ("completed", _SAGAS, "Sagas that are done"),
        ("failed", _SAGAS, "Sagas that have failed, and are undone"),
        ("suspended", _SAGAS, "Sagas that have come to wait for a person"),
        ("left", _SAGAS, "Sagas that were left to whoever claims them next"),
    )
}
WAITING = Metric("cqrs.sagas.waiting_for_person", "gauge", _SAGAS, "Sagas that wait for a person, up to 10,000.")
LIVE = Metric("cqrs.sagas.live", "gauge", _SAGAS, "Sagas that are under way, up to 10,000.")
OLDEST_DUE = Metric(
    "cqrs.sagas.oldest_due", "gauge", "s", "How long a saga has been due that nobody has claimed; 0: none is."
)
MOST_CLAIMS = Metric(
    "cqrs.sagas.most_claims", "gauge", "{claim}", "The most that a saga under way was claimed since it last got on."
)

#: All of them, in the order of the documentation.
METRICS = (*COUNTERS.values(), WAITING, LIVE, OLDEST_DUE, MOST_CLAIMS)

#: How often the gauges are told.
_EVERY_S = 15.0


class WorkerFigures(ObservedCounts):
    """
    The figures of one worker.

    Attributes:
        counts: As :attr:`cqrs_core.saga.worker.SagaRecoveryWorker.counts` has them.
    """

    def count(self, name: str, saga: str) -> None:
        """Count something about a saga of that name."""
        self.counts[name] += 1
        if self._observer is not None:
            self._observer.add(COUNTERS[name], 1, {"saga": saga})

    async def keep_telling(self, keeper: SagaKeeper) -> None:
        """Tell how the sagas of the storage do, again and again, for ever; nobody is told while it is away."""
        await keep_telling(keeper.figures, self._tell, every_s=_EVERY_S, clock=self._clock)

    def _tell(self, figures: SagaFigures) -> None:
        assert self._observer is not None, "somebody is told"  # noqa: S101 - for type checkers
        self._observer.set(WAITING, figures.suspended)
        self._observer.set(LIVE, figures.live)
        self._observer.set(OLDEST_DUE, max(figures.oldest_due_s or 0.0, 0.0))
        self._observer.set(MOST_CLAIMS, figures.most_claims)
