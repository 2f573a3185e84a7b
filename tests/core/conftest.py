"""What several parts of the core are tested with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import pytest

from cqrs_core.observer import Metric


class Notebook:
    """
    An observer that writes everything down, by the last word of the metric's name and what it is about.

    Attributes:
        totals: Of counters.
        values: Of gauges and histograms, in order.
        metrics: All that were told.
    """

    def __init__(self) -> None:
        self.totals: dict[str, int] = defaultdict(int)
        self.values: dict[str, list[float]] = defaultdict(list)
        self.metrics: set[Metric] = set()

    def add(self, metric: Metric, number: int, attributes: Mapping[str, str]) -> None:
        assert "counter" == metric.kind
        self.totals[self._place(metric, attributes)] += number

    def set(self, metric: Metric, value: float, attributes: Mapping[str, str]) -> None:
        assert "gauge" == metric.kind
        self.values[self._place(metric, attributes)].append(value)

    def record(self, metric: Metric, value: float, attributes: Mapping[str, str]) -> None:
        assert "histogram" == metric.kind
        self.values[self._place(metric, attributes)].append(value)

    def _place(self, metric: Metric, attributes: Mapping[str, str]) -> str:
        self.metrics.add(metric)
        return " ".join([metric.name.rpartition(".")[2], *attributes.values()])


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()
