"""
Measures what it costs to write events into the outbox, and how fast they leave it: beside raw asyncpg and python-cqrs.

Needs cqrs-sqla with asyncpg, and a server where databases can be made, which ``TEST_POSTGRES_URL`` names:
``python benchmarks/outbox.py --make-peer FOLDER``; ``nox -s bench`` does so in its own environments. The relay is
measured on SQLite and MariaDB as well, where their drivers (aiosqlite, asyncmy) and ``TEST_MARIADB_URL`` are there.
Times are those of the clock on the wall, in alternating blocks on empty tables; a spread is that of the quartiles.
"""

from __future__ import annotations

import os
import platform
import sys
from contextlib import AsyncExitStack, ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import outbox_ours
import outbox_relay
import sqlalchemy as sa
from blocks import Spread, alternate, ratios
from database import DATABASE, Database, new_database, settings
from environment import SERVER
from orders import Base
from peer import Peer
from reporting import Result, as_json, conclude, parser, peer_python, rates, table

from cqrs_sqla import define_tables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from blocks import Block

PEERS = ["python-cqrs[kafka,sqlalchemy]==5.3.0", "asyncpg>=0.29", "aiosqlite>=0.20", "asyncmy>=0.2.9"]
#: By how many events a transaction has: how many times as fast as the peer it must be,
WRITE_BARS = {100: 3.0}
#: and how many times as much as the peer's the events may add to a transaction that has an order.
ADDED_BARS = {3: 0.5}
#: Goes before the names of the peer's blocks.
THEIRS = "theirs "


class Section(NamedTuple):
    """A table, and what is compared in it."""

    about: str
    other: str
    ratio: str
    is_limit: bool = True
    is_beside_peer: bool = False


ALONE = Section("outbox write, one transaction", "raw µs", "x raw")
ALONE_BESIDE = Section("the same beside python-cqrs", "theirs µs", "x as fast", is_limit=False, is_beside_peer=True)
WITH_ORDER = Section("an order and events, one transaction", "order µs", "x order")
ADDED = Section("what the events add, and theirs", "theirs µs", "x theirs", is_beside_peer=True)
UNIT = Section("unit of work", "without µs", "x without")
SECTIONS = (ALONE, ALONE_BESIDE, WITH_ORDER, ADDED, UNIT)


class Comparison(NamedTuple):
    """
    One row of a table.

    Attributes:
        other: The block that it is compared with.
        ours: The block that is judged.
        bar: As a :class:`Result` has it.
        above: Blocks whose times are subtracted, from the other's and from ours.
    """

    section: Section
    title: str
    other: str
    ours: str
    bar: float | None = None
    above: tuple[str, str] | None = None

    def judge(self, taken: Mapping[str, Sequence[float]]) -> Result:
        """Compare the times of the rounds."""
        other, ours = taken[self.other], taken[self.ours]
        if self.above is not None:
            other, ours = (
                [whole - part for whole, part in zip(times, taken[base], strict=True)]
                for times, base in zip((other, ours), self.above, strict=True)
            )
        middle, own = Spread.of(other).median, Spread.of(ours)
        if self.above is not None:
            # A difference may be next to nothing in one round, so the medians are compared, and the quartiles to one.
            ratio = Spread(*(value / middle for value in own))
        else:
            ratio = ratios(ours, other) if self.section.is_limit else ratios(other, ours)
        micros = middle * 1e6, own.median * 1e6
        return Result(self.ours, self.title, *micros, ratio, self.bar, is_limit=self.section.is_limit)


def groups() -> Iterator[list[Comparison]]:
    """Make groups of rows whose blocks alternate."""
    for events in outbox_ours.ALONE:
        ways = {
            f"write_{events}": f"{plural(events)}, by the repository",
            f"handler_{events}": f"{plural(events)}, by a handler",
        }
        theirs, bar = f"{THEIRS}write_{events}", WRITE_BARS.get(events)
        yield [
            *(Comparison(ALONE, title, f"raw_{events}", ours) for ours, title in ways.items()),
            *(Comparison(ALONE_BESIDE, title, theirs, ours, bar) for ours, title in ways.items()),
        ]
    for events in outbox_ours.WITH_ORDER:
        ways = {"order": f"{plural(events)}, by the repository", "unit": f"{plural(events)}, by a handler"}
        theirs, bar = f"{THEIRS}order_{events}", ADDED_BARS.get(events)
        above = {way: (f"{THEIRS}order_0", f"{way}_0") for way in ways}
        yield [
            *(Comparison(WITH_ORDER, title, f"{way}_0", f"{way}_{events}") for way, title in ways.items()),
            *(Comparison(ADDED, title, theirs, f"{way}_{events}", bar, above[way]) for way, title in ways.items()),
        ]
    yield [Comparison(UNIT, "an order, in the handler's session", "by_hand", "unit_0")]
    yield [Comparison(UNIT, "a query that touches no session", "ask", "ask_stored")]


def plural(events: int) -> str:
    return f"{events} event{'s' if events > 1 else ''}"


def measure(blocks: Mapping[str, Block], *, rounds: int, seconds: float) -> dict[Section, list[Result]]:
    """Measure all rows of which the *blocks* are there."""
    results: dict[Section, list[Result]] = {}
    for group in groups():
        rows = [row for row in group if row.other in blocks]
        names = dict.fromkeys(name for row in rows for name in (row.other, row.ours, *(row.above or ())))
        taken = alternate({name: blocks[name] for name in names}, rounds=rounds, seconds=seconds)
        for row in rows:
            results.setdefault(row.section, []).append(row.judge(taken))
    return {section: results[section] for section in SECTIONS if section in results}


def measure_writes(
    server: str, python: str | None, *, rounds: int, seconds: float
) -> tuple[dict[Section, list[Result]], dict[str, Any]]:
    """Measure what it costs to write, on databases made for it; gives also what the peer tells of itself."""
    about: dict[str, Any] = {}
    with ExitStack() as stack:
        database = stack.enter_context(open_ours(stack.enter_context(new_database(server))))
        works = AsyncExitStack()
        stack.callback(lambda: database.run(works.aclose()))
        found = database.run(works.enter_async_context(outbox_ours.works(database)))
        blocks = {name: database.block(piece) for name, piece in found.items()}
        if python:
            theirs = {DATABASE: stack.enter_context(new_database(server))}
            peer = stack.enter_context(closing(Peer(python, "outbox_python_cqrs.py", theirs)))
            about = peer.about
            blocks |= {f"{THEIRS}{key}": partial(peer.seconds, key) for key in about["keys"]}
        return measure(blocks, rounds=rounds, seconds=seconds), about


def options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    made = parser("Measures what it costs to write events, and how fast they leave.", PEERS)
    made.add_argument("--only", choices=["write", "relay"], help="leave the other part out")
    made.add_argument("--rounds", type=int, default=31, help="blocks of each contestant that writes (default: 31)")
    made.add_argument("--seconds", type=float, default=0.1, help="how long one of these takes (default: 0.1)")
    made.add_argument("--relay-rounds", type=int, default=11, help="blocks of each that drains (default: 11)")
    return made.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and tell the exit code."""
    chosen = options(arguments)
    rounds, seconds = (chosen.rounds, chosen.seconds) if not chosen.short else (2, 0.005)
    size = outbox_relay.WHOLE._replace(rounds=chosen.relay_rounds) if not chosen.short else outbox_relay.SHORT
    server = os.environ.get(SERVER)
    if not server:
        sys.exit(f"{SERVER} names no server, such as postgresql://user:password@localhost/postgres.")
    python = peer_python(chosen, PEERS)
    facts: dict[str, Any] = {"python": platform.python_version(), "sqlalchemy": sa.__version__, **settings(server)}
    print(f"{plain(facts)}\n", flush=True)

    results: dict[str, list[Result]] = {}
    if chosen.only != "relay":
        print(f"Writing: {rounds} rounds of {seconds:g} s\n", flush=True)
        written, peer = measure_writes(server, python, rounds=rounds, seconds=seconds)
        for section, rows in written.items():
            results[section.about] = rows
            print(f"{table(section.about, section.other, section.ratio, rows)}\n", flush=True)
        if peer:
            facts["peer"] = peer
            print("(python-cqrs {version}, its Python {python}, its SQLAlchemy {sqlalchemy})\n".format(**peer))
    if chosen.only != "write":
        print(f"Draining: {outbox_relay.told(size)}\n", flush=True)
        for found in outbox_relay.measure(size, python):
            print(f"{found.name}: {plain(found.about)}\n")
            facts[found.name] = found.about
            results |= found.tables
            for about, rows in found.tables.items():
                print(f"{rates(about, 'ev', rows)}\n", flush=True)
    sizes = {"rounds": rounds, "seconds": seconds, "relay": size._asdict()}
    return conclude(chosen, {**facts, **sizes, "results": as_json(results)}, results)


def plain(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def open_ours(url: str) -> closing[Database]:
    """Open our database, until the block is left."""
    define_tables(Base.metadata)
    return closing(Database(url, Base.metadata))


if __name__ == "__main__":
    sys.exit(main())
