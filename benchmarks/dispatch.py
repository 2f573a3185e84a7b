"""
Measures what dispatching costs: how many times as long as the bare call, and how many times as fast as python-cqrs.

``python benchmarks/dispatch.py --make-peer FOLDER`` does all of it; ``nox -s bench`` does so in its own environments.
Times are processor time, in alternating blocks without garbage collection; a spread is that of the quartiles.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import platform
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ours
from blocks import Spread, alternate, ratios, timed
from imports import OURS, cost, import_times
from peer import Peer, make_peer

PEER = "python-cqrs==5.3.0"
#: What it is measured with: its fallbacks need a breaker.
PEERS = [PEER, "aiobreaker==1.2.0"]
#: How many times as fast as the peer a row must be; rows that are not named here are only told.
PEER_BARS = {"send": 10.0}
IMPORT_BAR = 1.3


class Result(NamedTuple):
    """One line of a table."""

    key: str
    title: str
    #: What it is compared with, and what was measured, in microseconds.
    other_us: float
    ours_us: float
    ratio: Spread
    bar: float | None = None
    #: Whether the ratio is to stay below the bar, or to reach it.
    is_limit: bool = True

    @property
    def verdict(self) -> str:
        """``ok``; ``near``: the bar is missed, but lies within the spread; ``short``: it is missed by more."""
        if self.bar is None:
            return ""
        sign = 1 if self.is_limit else -1
        if sign * self.ratio.median <= sign * self.bar:
            return "ok"
        best = self.ratio.low if self.is_limit else self.ratio.high
        return "near" if sign * best <= sign * self.bar else "short"

    def as_json(self) -> dict[str, Any]:
        """Everything, by names."""
        return {**self._asdict(), "ratio": self.ratio._asdict(), "verdict": self.verdict}


def measure(*, rounds: int, seconds: float, peer: Peer | None) -> tuple[list[Result], list[Result]]:
    """Measure all rows of our own, and those that the peer has beside it."""
    logging.getLogger("cqrs_core").setLevel(logging.ERROR)  # as for the peer: fallbacks are told as warnings
    results: list[Result] = []
    beside: list[Result] = []
    loop = asyncio.new_event_loop()
    for row in ours.rows():
        blocks = {"bare": timed(row.bare, loop), "ours": timed(row.ours, loop)}
        if peer is not None and row.key in peer.about["keys"]:
            blocks["peer"] = partial(peer.seconds, row.key)
        taken = alternate(blocks, rounds=rounds, seconds=seconds)
        micros = {name: Spread.of(times).median / row.size * 1e6 for name, times in taken.items()}
        ratio = ratios(taken["ours"], taken["bare"])
        results.append(Result(row.key, row.title, micros["bare"], micros["ours"], ratio, row.bar))
        if "peer" in taken:
            faster, bar = ratios(taken["peer"], taken["ours"]), PEER_BARS.get(row.key)
            beside.append(Result(row.key, row.title, micros["peer"], micros["ours"], faster, bar, is_limit=False))
    loop.close()
    return results, beside


def measure_imports(*, rounds: int, peer: Peer | None) -> tuple[Result, list[Result]]:
    """Compare the import with that of what it is allowed to cost, and with the peer's."""
    standard, own, ratio = cost(rounds)
    micros = standard.median * 1e6, own.median * 1e6
    result = Result("import", "import cqrs_core", *micros, ratio, IMPORT_BAR)
    if peer is None:
        return result, []
    taken = import_times({OURS: sys.executable, "import cqrs": peer.python}, rounds=rounds)
    theirs, own = Spread.of(taken["import cqrs"]), Spread.of(taken[OURS])
    faster = Spread(*(value / own.median for value in theirs))
    return result, [Result("import", "import", theirs.median * 1e6, own.median * 1e6, faster)]


def table(about: str, other: str, ratio: str, results: list[Result]) -> str:
    """Write results one below the other."""
    lines = [f"{about:<38}{other:>14}{'ours µs':>12}{ratio:>12}{'quartiles':>16}{'bar':>8}"]
    for result in results:
        sign = "≤" if result.is_limit else "≥"
        bar = f"{sign} {result.bar:g}" if result.bar else ""
        spread = f"{result.ratio.low:.2f}..{result.ratio.high:.2f}"
        numbers = f"{result.other_us:>14.3f}{result.ours_us:>12.3f}{result.ratio.median:>12.2f}{spread:>16}{bar:>8}"
        lines.append(f"{result.title:<38}{numbers}  {result.verdict}".rstrip())
    return "\n".join(lines)


def options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measures what dispatching costs.")
    parser.add_argument("--rounds", type=int, default=21, help="blocks of each contestant (default: 21)")
    parser.add_argument("--seconds", type=float, default=0.02, help="processor time of one block (default: 0.02)")
    parser.add_argument("--short", action="store_true", help="all rows, but for a few seconds: to see that it works")
    parser.add_argument("--peer-python", metavar="PATH", help=f"a Python that has {PEER}")
    parser.add_argument("--make-peer", metavar="FOLDER", type=Path, help=f"install {PEER} there, once, and use it")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results there as well")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed by more than the spread")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and tell the exit code."""
    chosen = options(arguments)
    rounds, seconds = (chosen.rounds, chosen.seconds) if not chosen.short else (7, 0.002)
    peer_python = chosen.peer_python or (make_peer(chosen.make_peer, PEERS) if chosen.make_peer else None)
    peer = Peer(peer_python, "python_cqrs.py", {}) if peer_python else None
    print(f"Python {platform.python_version()} on {platform.machine()}, {rounds} rounds of {seconds:g} s\n", flush=True)
    results, beside = measure(rounds=rounds, seconds=seconds, peer=peer)
    print(table("work", "bare µs", "x bare", results), flush=True)
    own_import, imports_beside = measure_imports(rounds=rounds if not chosen.short else 3, peer=peer)
    print("\n" + table("import, above a bare start", "stdlib µs", "x stdlib", [own_import]))
    results.append(own_import)
    beside += imports_beside
    if peer is not None:
        about = f"beside python-cqrs {peer.about['version']}"
        print(f"\n{table(about, 'theirs µs', 'x as fast', beside)}\n(its Python: {peer.about['python']})")
        peer.close()
    if chosen.json:
        facts = {"python": platform.python_version(), "rounds": rounds, "seconds": seconds}
        groups = {"ours": [found.as_json() for found in results], "peer": [found.as_json() for found in beside]}
        chosen.json.write_text(json.dumps({**facts, **groups}, indent=2), encoding="utf-8")
    short = [found.title for found in (*results, *beside) if found.verdict == "short"]
    if short:
        print(f"\nShort of the bar by more than the spread: {'; '.join(short)}.")
    return 1 if short and chosen.check else 0


if __name__ == "__main__":
    sys.exit(main())
