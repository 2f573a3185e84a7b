"""Compares how many events a second leave the outbox: by our relay, on raw asyncpg, and by python-cqrs's producer."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from blocks import Spread, ratios
from database import DATABASE, new_database, servers, settings
from draining import Drain, drains
from outbox_ours_relay import RAW, open_relays
from peer import Peer
from reporting import Measured, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from blocks import Block

#: On which database, and in which way, how many times as fast as the peer the relay must be,
PEER_BARS = {
    ("PostgreSQL", Drain(0, 500)): 50.0,
    ("SQLite", Drain(0, 500)): 40.0,
    ("PostgreSQL", Drain(0, 500, is_kafka=True)): 20.0,
}
#: and how much of what raw asyncpg reaches.
RAW_BARS = {("PostgreSQL", Drain(0, 500)): 0.5}
THEIRS = "theirs "


class Size(NamedTuple):
    """
    How much is measured.

    Attributes:
        rounds: Blocks of each contestant.
        events: How many ours, and raw asyncpg, drain in a block.
        theirs: How many the peer does from a no-op broker; with one that takes a while it is half of it.
    """

    rounds: int
    events: int
    theirs: int


# So many that what is done once, for some 10 ms, in each run_once() is a small part of it.
WHOLE, SHORT = Size(11, 20_000, 1000), Size(2, 500, 100)


def told(size: Size) -> str:
    """Say what is measured, and in what state it is."""
    return (
        f"{size.rounds} rounds of {size.events} events ({size.theirs} for python-cqrs, and half of it with the slow "
        "broker), committed in one transaction into an empty table that nobody has analyzed or vacuumed since; "
        "connections are open before"
    )


def measure(size: Size, peer_python: str | None) -> Iterator[Measured]:
    """Measure on all databases that are there, one after the other; without the peer, only beside raw asyncpg."""
    for name, server in servers().items():
        if not peer_python and name != "PostgreSQL":
            continue
        about = settings(server)
        with ExitStack() as stack:
            blocks = stack.enter_context(open_relays(stack.enter_context(new_database(server))))
            if peer_python:
                theirs = {DATABASE: stack.enter_context(new_database(server))}
                peer = stack.enter_context(closing(Peer(peer_python, "outbox_python_cqrs.py", theirs)))
                about |= {f"python-cqrs's {fact}": peer.about[fact] for fact in ("version", "python", "sqlalchemy")}
                blocks |= {f"{THEIRS}{key}": partial(peer.seconds, key) for key in peer.about["keys"]}
            yield Measured(name, about, _compare(name, blocks, size))


def _compare(name: str, blocks: Mapping[str, Block], size: Size) -> dict[str, list[Result]]:
    tables: dict[str, list[Result]] = {}
    for drain in drains():
        theirs = size.theirs // 2 if drain.delay_ms or drain.is_kafka else size.theirs
        counts = {f"{RAW}{drain.key}": size.events, drain.key: size.events, f"{THEIRS}{drain.key}": theirs}
        taken = _alternate({key: partial(blocks[key], count) for key, count in counts.items() if key in blocks}, size)
        per_event = {key: [seconds / counts[key] for seconds in times] for key, times in taken.items()}
        own = per_event.pop(drain.key)
        for key, other in per_event.items():
            is_raw = key.startswith(RAW)
            bar = (RAW_BARS if is_raw else PEER_BARS).get((name, drain))
            micros = Spread.of(other).median * 1e6, Spread.of(own).median * 1e6
            row = Result(drain.key, drain.title, *micros, ratios(other, own), bar, is_limit=False)
            heading = f"relay on {name}" if is_raw else f"relay on {name}, python-cqrs"
            tables.setdefault(heading, []).append(row)
    return tables


def _alternate(blocks: Mapping[str, Callable[[], float]], size: Size) -> dict[str, list[float]]:
    """Measure blocks in turn; one more round, at first, warms them up."""
    taken: dict[str, list[float]] = {name: [] for name in blocks}
    for _ in range(size.rounds + 1):
        for name, block in blocks.items():
            taken[name].append(block())
    return {name: times[1:] for name, times in taken.items()}
