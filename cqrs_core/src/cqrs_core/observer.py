"""The contract of an observer: it takes the figures of a program, for those who look after it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


def check_observer(observer: object) -> None:
    """
    See that *observer* is one.

    Raises:
        InvalidOption: It lacks methods.
    """
    missing = missing_observer_methods(observer)
    if missing:
        expected = f"an observer: an object that also has {', '.join(missing)}"
        raise InvalidOption("observer", type(observer), expected)


def missing_observer_methods(observer: object) -> list[str]:
    """Name the methods that *observer* lacks."""
    return [name for name in _METHODS if not callable(getattr(observer, name, None))]


class SafeObserver:
    """Tells an observer, which can do no harm by what it raises."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._has_failed = False

    def add(self, metric: Metric, number: int, attributes: Mapping[str, str] = _NO_ATTRIBUTES) -> None:
        """As :meth:`Observer.add`; 0 is not told."""
        if number:
            self._tell(self._observer.add, metric, number, attributes)

    def set(self, metric: Metric, value: float, attributes: Mapping[str, str] = _NO_ATTRIBUTES) -> None:
        """As :meth:`Observer.set`."""
        self._tell(self._observer.set, metric, value, attributes)

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
