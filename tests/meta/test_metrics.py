"""The metrics that observers are told, and what the documentation says of them."""

from __future__ import annotations

from pathlib import Path

from cqrs_core import consumer, relay
from cqrs_core.saga import figures

METRICS = (*relay.METRICS, *consumer.METRICS, *figures.METRICS)
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_documentation_lists_all_metrics() -> None:
    """With the same words, in the same order."""
    lines = OPERATIONS.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| `cqrs.")]

    assert [f"| `{one.name}` | {one.kind} | {one.unit} | {one.description} |" for one in METRICS] == rows
