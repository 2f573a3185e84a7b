"""What the benchmarks that have bars share: the command line, the tables, and what becomes of the results."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from peer import Peer, make_peer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blocks import Spread

PEER = "python-cqrs==5.3.0"
#: What it is measured with: its fallbacks need a breaker.
PEERS = [PEER, "aiobreaker==1.2.0"]


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


class Measured(NamedTuple):
    """
    What was found on one database.

    Attributes:
        name: Of the database.
        about: Its settings, and what it is measured beside.
        tables: The rows by the headings, in microseconds for each event or saga.
    """

    name: str
    about: Mapping[str, str]
    tables: dict[str, list[Result]]


def table(about: str, other: str, ratio: str, results: Sequence[Result]) -> str:
    """Write results one below the other."""
    lines = [f"{about:<38}{other:>14}{'ours µs':>12}{ratio:>12}{'quartiles':>16}{'bar':>8}"]
    for result in results:
        sign = "≤" if result.is_limit else "≥"
        bar = f"{sign} {result.bar:g}" if result.bar else ""
        spread = f"{result.ratio.low:.2f}..{result.ratio.high:.2f}"
        numbers = f"{result.other_us:>14.3f}{result.ours_us:>12.3f}{result.ratio.median:>12.2f}{spread:>16}{bar:>8}"
        lines.append(f"{result.title:<38}{numbers}  {result.verdict}".rstrip())
    return "\n".join(lines)


def rates(about: str, unit: str, results: Sequence[Result]) -> str:
    """Write results one below the other, as so many of *unit* a second."""
    lines = [f"{about:<38}{f'other {unit}/s':>14}{f'ours {unit}/s':>14}{'x as fast':>12}{'quartiles':>16}{'bar':>8}"]
    for row in results:
        bar = f"≥ {row.bar:g}" if row.bar else ""
        spread = f"{row.ratio.low:.2f}..{row.ratio.high:.2f}"
        numbers = f"{1e6 / row.other_us:>14,.0f}{1e6 / row.ours_us:>14,.0f}{row.ratio.median:>12.2f}"
        lines.append(f"{row.title:<38}{numbers}{spread:>16}{bar:>8}  {row.verdict}".rstrip())
    return "\n".join(lines)


def parser(description: str, peers: Sequence[str]) -> argparse.ArgumentParser:
    """Make what reads the options that all of them have; *peers* is what they are measured against."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--short", action="store_true", help="all rows, but for a few seconds: to see that it works")
    made.add_argument("--peer-python", metavar="PATH", help=f"a Python that has {' and '.join(peers)}")
    made.add_argument("--make-peer", metavar="FOLDER", type=Path, help="install these there, once, and use them")
    made.add_argument("--json", metavar="FILE", type=Path, help="write the results there as well")
    made.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed by more than the spread")
    return made


def peer_python(chosen: argparse.Namespace, peers: Sequence[str]) -> str | None:
    """Answer the Python of the peers that was chosen, or is made now; ``None`` if there is to be none."""
    return _python(chosen.peer_python, chosen.make_peer, peers)


def other_peer_python(chosen: argparse.Namespace, name: str, peers: Sequence[str]) -> str | None:
    """Answer the same for what needs an environment of its own, which ``--NAME-python`` tells."""
    return _python(getattr(chosen, f"{name}_python"), chosen.make_peer and chosen.make_peer / name, peers)


def _python(python: str | None, folder: Path | None, requirements: Sequence[str]) -> str | None:
    return make_peer(folder, requirements) if python is None and folder else python


def conclude(chosen: argparse.Namespace, facts: Mapping[str, object], groups: Mapping[str, Sequence[Result]]) -> int:
    """
    Write *facts* where that is asked for, tell which bars are missed, and give the exit code.

    Args:
        groups: Everything that was measured, under the names by which it is told.
    """
    if chosen.json:
        chosen.json.write_text(json.dumps(facts, indent=2), encoding="utf-8")
    short = [f"{about}: {row.title}" for about, rows in groups.items() for row in rows if row.verdict == "short"]
    if short:
        print(f"\nShort of the bar by more than the spread: {'; '.join(short)}.")
    return 1 if short and chosen.check else 0


def as_json(groups: Mapping[str, Sequence[Result]]) -> dict[str, list[dict[str, Any]]]:
    """Give results as they are written."""
    return {about: [row.as_json() for row in rows] for about, rows in groups.items()}


# Work of one process, beside the bare call and the peer --------------------------------------------------------------


def process_parser(description: str, peers: Sequence[str] = PEERS) -> argparse.ArgumentParser:
    """Make what reads the command line of those that measure such work."""
    made = parser(description, peers)
    made.add_argument("--rounds", type=int, default=21, help="blocks of each contestant (default: 21)")
    made.add_argument("--seconds", type=float, default=0.02, help="processor time of one block (default: 0.02)")
    return made


def read(made: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    chosen = made.parse_args(arguments)
    if chosen.short:
        chosen.rounds, chosen.seconds = 7, 0.002
    return chosen


def tell(chosen: argparse.Namespace) -> None:
    """Print what is going to be measured."""
    about = f"Python {platform.python_version()} on {platform.machine()}"
    print(f"{about}, {chosen.rounds} rounds of {chosen.seconds:g} s\n", flush=True)


def open_peer(chosen: argparse.Namespace, script: str, peers: Sequence[str] = PEERS) -> Peer | None:
    """Start *script* by the Python that was chosen; ``None`` if there is to be no peer."""
    python = peer_python(chosen, peers)
    return Peer(python, script, {}) if python else None


def show_beside(results: Sequence[Result], peer: Peer | None) -> None:
    """Print what was measured beside the peer, which ends."""
    if peer is not None:
        about = f"beside python-cqrs {peer.about['version']}"
        print(f"\n{table(about, 'theirs µs', 'x as fast', results)}\n(its Python: {peer.about['python']})", flush=True)
        peer.close()


def facts(chosen: argparse.Namespace) -> dict[str, Any]:
    """Tell what is written beside the results."""
    return {"python": platform.python_version(), "rounds": chosen.rounds, "seconds": chosen.seconds}
