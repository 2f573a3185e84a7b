"""The benchmarks run, and measure what they say they do. How fast anything is, no test says."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ROWS = [
    "send",
    "send_scope",
    "bootstrap",
    "middlewares",
    "retry",
    "timeout",
    "fallback",
    "open",
    "event",
    "publish",
    "publish_bootstrap",
    "stream",
    "stream_bare",
    "import",
]


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The modules, as they see each other when ``dispatch.py`` is run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import blocks
    import ours
    import reporting

    return {"blocks": blocks, "ours": ours, "reporting": reporting}


def test_peers_are_the_same_wherever_they_are_named() -> None:
    """Whoever starts the benchmarks, and whichever: what is published was measured against one version of each."""
    pin = re.compile(r'"([a-z-]+)(?:\[[a-z,]+\])?((?:==|>=)[0-9.]+)"')
    named: dict[str, set[str]] = defaultdict(set)
    for file in sorted(BENCHMARKS.glob("*.py")):
        for peer, version in pin.findall(file.read_text(encoding="utf-8")):
            named[peer].add(version)
    for peer, version in pin.findall((BENCHMARKS.parent / "noxfile.py").read_text(encoding="utf-8")):
        if peer in named:
            named[peer].add(version)

    assert {"aiobreaker", "asyncpg", "python-cqrs"} <= named.keys()
    assert {} == {peer: versions for peer, versions in named.items() if len(versions) > 1}


def test_the_short_form_measures_every_row(tmp_path: Path) -> None:
    """All work costs more than the bare call, and none of it takes a second."""
    written = tmp_path / "results.json"
    command = [sys.executable, str(BENCHMARKS / "dispatch.py"), "--short", "--json", str(written)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)

    assert (0, "") == (done.returncode, done.stderr)
    results = json.loads(written.read_text(encoding="utf-8"))
    assert ROWS == [row["key"] for row in results["ours"]]
    assert [] == results["peer"]
    for row in results["ours"]:
        assert row["title"] in done.stdout
        assert row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
        if row["key"] != "import":  # of so few starts, each less another one, a value may even be negative
            assert 0 < row["other_us"] < row["ours_us"] < 1e6


def test_all_of_the_work_is_done(benchmarks: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row calls as many handlers as its title says."""
    ours, calls = benchmarks["ours"], []

    async def handle(self: object, message: object) -> int:
        calls.append(type(message).__name__)
        if isinstance(self, ours.AnnounceHandler):
            self.events.append(ours.Announced())
        return 1

    for handler in (ours.PingHandler, ours.AnnounceHandler, ours.Listener):
        monkeypatch.setattr(handler, "handle", handle)
    done: dict[str, list[str]] = {}
    for row in ours.rows():
        calls.clear()
        asyncio.run(row.ours(2))
        done[row.key] = sorted(calls)

    assert {
        "send": ["Ping"] * 2,
        "send_scope": ["Ping"] * 2,
        "bootstrap": ["Ping"] * 2,
        "middlewares": ["Ping"] * 2,
        "retry": ["Ping"] * 2,
        "timeout": ["Ping"] * 2,
        "fallback": ["Ping"] * 2,
        "open": ["Ping"] * 2,
        "event": ["Announce"] * 2 + ["Announced"] * 2,
        "publish": ["Announced"] * 20,
        "publish_bootstrap": ["Announced"] * 20,
        "stream": [],
        "stream_bare": [],
    } == done


def test_contestants_alternate(benchmarks: dict[str, Any]) -> None:
    """What the machine does meanwhile hits all of them alike; a value is for one piece of work."""
    turns: list[str] = []

    def contestant(name: str, seconds: float) -> Any:
        def block(count: int) -> float:
            turns.append(name)
            return seconds * count

        return block

    blocks = {"bare": contestant("bare", 0.25), "ours": contestant("ours", 0.5)}
    taken = benchmarks["blocks"].alternate(blocks, rounds=3, seconds=1)

    assert ["bare", "ours"] * 3 == turns[-6:]
    assert {"bare": [0.25] * 3, "ours": [0.5] * 3} == taken
    assert (2.0, 2.0, 2.0) == benchmarks["blocks"].ratios(taken["ours"], taken["bare"])


@pytest.mark.parametrize(
    ("quartiles", "bar", "is_limit", "verdict"),
    [
        ((4.0, 4.5, 6.0), 5.0, True, "ok"),
        ((4.0, 5.5, 6.0), 5.0, True, "near"),
        ((5.1, 5.5, 6.0), 5.0, True, "short"),
        ((9.0, 10.0, 12.0), 10.0, False, "ok"),
        ((8.0, 9.0, 10.5), 10.0, False, "near"),
        ((8.0, 9.0, 9.9), 10.0, False, "short"),
        ((1.0, 2.0, 3.0), None, True, ""),
    ],
)
def test_a_bar_is_missed_by_more_than_the_spread_or_only_nearly(
    benchmarks: dict[str, Any],
    quartiles: tuple[float, float, float],
    bar: float | None,
    is_limit: bool,  # noqa: FBT001 - one column of a table
    verdict: str,
) -> None:
    spread = benchmarks["blocks"].Spread(*quartiles)

    assert verdict == benchmarks["reporting"].Result("key", "title", 1, 1, spread, bar, is_limit=is_limit).verdict


def test_rates_are_those_of_the_medians_and_the_ratio_that_of_the_rounds(benchmarks: dict[str, Any]) -> None:
    """Times are kept in microseconds an event, and shown as events a second."""
    spread = benchmarks["blocks"].Spread(40.0, 50.0, 55.0)
    row = benchmarks["reporting"].Result("drain", "batches of 2", 500.0, 10.0, spread, 50.0, is_limit=False)
    heading, line = benchmarks["reporting"].rates("relay", "ev", [row]).splitlines()

    assert ["relay", "other", "ev/s", "ours", "ev/s"] == heading.split()[:5]
    # 1e6 / 500, 1e6 / 10
    assert ["batches", "of", "2", "2,000", "100,000", "50.00", "40.00..55.00", "≥", "50", "ok"] == line.split()


def test_the_sagas_run_to_their_ends(tmp_path: Path) -> None:
    """All rows, and the work is done: a saga of three steps costs more than three bare calls, one that fails, more."""
    written = tmp_path / "results.json"
    command = [sys.executable, str(BENCHMARKS / "saga.py"), "--short", "--only", "memory", "--json", str(written)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)

    assert (0, "") == (done.returncode, done.stderr)
    results = json.loads(written.read_text(encoding="utf-8"))
    assert ["saga", "saga_scope", "saga_failing"] == [row["key"] for row in results["ours"]]
    assert all(row["other_us"] < row["ours_us"] < 1e6 for row in results["ours"])
    assert [] == results["peer"]
