"""The contract of an observer: it takes the figures of a program, for those who look after it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from cqrs_core.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from cqrs_core.clock import Clock

T = TypeVar("T")

logger = logging.getLogger(__name__)

_METHODS = ("add", "set", "record")
_NO_ATTRIBUTES: Mapping[str, str] = {}


class Metric(NamedTuple):
    """
    One figure of a program.

    Attributes:
        name: Such as ``cqrs.outbox.sent``.
        kind: A counter only grows; a gauge is what was said last; of a histogram, all values are said.
        unit: ``s`` for seconds, ``{message}`` for a number of messages: as UCUM has it.
        description: What it tells.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str


class Observer(Protocol):
    """
    Takes figures, to show them to people: what an exporter implements.

    Its methods are called in the middle of the work, on the event loop, and must not wait for anything. What they raise
    harms nothing: it is logged, the first time. Metrics that it does not know are for it to take, too, or to pass over.

    Source:
        The instruments of OpenTelemetry: ``Counter.add``, ``Gauge.set``, ``Histogram.record``.
    """

    def add(self, metric: Metric, number: int, attributes: Mapping[str, str]) -> None:
        """Add *number*, which is more than 0, to a counter."""
        ...

    def set(self, metric: Metric, value: float, attributes: Mapping[str, str]) -> None:
        """Take the present value of a gauge."""
        ...

    def record(self, metric: Metric, value: float, attributes: Mapping[str, str]) -> None:
        """Take one value of a histogram."""
        ...


def missing_observer_methods(observer: object) -> list[str]:
    """Name the methods that *observer* lacks."""
    return [name for name in _METHODS if isinstance(observer, type) or not callable(getattr(observer, name, None))]


class SafeObserver:
    """Tells an observer, which can do no harm by what it raises."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._has_failed = False
        #: Of gauges that are told by name: the names that were told last.
        self._told: dict[Metric, Collection[str]] = {}

    def add(self, metric: Metric, number: int, attributes: Mapping[str, str] = _NO_ATTRIBUTES) -> None:
        """As :meth:`Observer.add`; 0 is not told."""
        if number:
            self._tell(self._observer.add, metric, number, attributes)

    def set(self, metric: Metric, value: float, attributes: Mapping[str, str] = _NO_ATTRIBUTES) -> None:
        """As :meth:`Observer.set`."""
        self._tell(self._observer.set, metric, value, attributes)

    def set_each(
        self, metric: Metric, values: Mapping[str, float], by: str, attributes: Mapping[str, str] = _NO_ATTRIBUTES
    ) -> None:
        """Tell a gauge for each name, which is the attribute *by*; 0 for those that have gone since the last call."""
        gone = set(self._told.get(metric, ())) - values.keys()
        self._told[metric] = tuple(values)
        for name, value in {**dict.fromkeys(gone, 0.0), **values}.items():
            self.set(metric, value, {**attributes, by: name})

    def record(self, metric: Metric, value: float, attributes: Mapping[str, str] = _NO_ATTRIBUTES) -> None:
        """As :meth:`Observer.record`."""
        self._tell(self._observer.record, metric, value, attributes)

    def _tell(self, method: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401 - those of the method
        try:
            method(*arguments)
        except Exception:
            if not self._has_failed:
                self._has_failed = True
                logger.exception("The observer failed; what it raises from now on is not logged.")


class ObservedCounts:
    """
    What a loop counts, and whoever is told if there is an observer: a consumer, a relay and a worker add their own.

    Attributes:
        counts: By name; told or not.
    """

    def __init__(self, observer: Observer | None, clock: Clock) -> None:
        self.counts: Counter[str] = Counter()
        self._observer = None if observer is None else SafeObserver(observer)
        self._clock = clock

    @property
    def are_observed(self) -> bool:
        """Whether anybody is told."""
        return self._observer is not None


async def keep_telling(
    look: Callable[[], Awaitable[T]], tell: Callable[[T], object], *, every_s: float, clock: Clock
) -> None:
    """
    Tell what is found in a storage, again and again, for ever; nobody is told while it cannot be reached.

    Args:
        look: Looks there.
        tell: Tells what was found.
        every_s: Seconds between two looks.
    """
    while True:
        try:
            found = await look()
        except StorageUnavailable:
            pass  # whoever works with the storage says so
        except Exception:
            logger.exception("The storage could not be looked at for the observer; the work goes on all the same.")
        else:
            tell(found)
        await clock.sleep(every_s)
