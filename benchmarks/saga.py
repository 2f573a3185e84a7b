"""
Measures what a saga costs: in the memory of one process, and kept in a database; beside python-cqrs and DBOS.

``python benchmarks/saga.py --make-peer FOLDER``; ``nox -s bench`` does so in its own environments. All sagas have three
steps that do nothing, and no events. Times in memory are processor time, as in ``dispatch.py``. The databases need
cqrs-sqla with their drivers (asyncpg, asyncmy, aiosqlite), and the servers that ``TEST_POSTGRES_URL`` and
``TEST_MARIADB_URL`` name; times are those of the clock on the wall, in alternating blocks on empty tables.
"""

from __future__ import annotations

import importlib.util
import logging
import platform
import sys
from typing import TYPE_CHECKING

import comparing
from reporting import (
    Result,
    as_json,
    conclude,
    facts,
    open_peer,
    other_peer_python,
    peer_python,
    process_parser,
    rates,
    read,
    show_beside,
    table,
    tell,
)
from saga_ours import rows

if TYPE_CHECKING:
    import argparse

#: How many times as fast as the peer a row must be in memory; rows that are not named here are only told.
PEER_BARS = {"saga": 2.5}
PEERS = [
    "python-cqrs[sqlalchemy]==5.3.0",
    "aiobreaker==1.2.0",
    "asyncpg>=0.29",
    "aiosqlite>=0.20",
    "asyncmy>=0.2.9",
]
#: It has an environment of its own, so that it comes with the SQLAlchemy that it asks for.
DBOS = ["dbos==3.4.0", "asyncpg>=0.29"]
MEMORY = "memory"
DATABASES = ["PostgreSQL", "MariaDB", "SQLite"]


def options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    made = process_parser("Measures what a saga costs.", PEERS)
    made.add_argument("--only", nargs="+", choices=[MEMORY, *DATABASES], help="where; without, wherever it can be here")
    made.add_argument("--dbos-python", metavar="PATH", help=f"a Python that has {' and '.join(DBOS)}")
    made.add_argument("--database-rounds", type=int, default=11, help="blocks of each on a database (default: 11)")
    made.add_argument("--database-seconds", type=float, default=2.0, help="how long one of these takes (default: 2)")
    chosen = read(made, arguments)
    if chosen.short:
        chosen.database_rounds, chosen.database_seconds = 2, 0.005
    return chosen


def measure_memory(chosen: argparse.Namespace) -> dict[str, list[Result]]:
    """Measure in memory, and print the tables."""
    tell(chosen)
    peer = open_peer(chosen, "saga_python_cqrs.py", PEERS)
    results, beside = comparing.measure(rows(), PEER_BARS, rounds=chosen.rounds, seconds=chosen.seconds, peer=peer)
    print(table("in memory", "bare µs", "x bare", results), flush=True)
    show_beside(beside, peer)
    return {"ours": results, "peer": beside}


def measure_databases(
    chosen: argparse.Namespace, names: list[str]
) -> tuple[dict[str, object], dict[str, list[Result]]]:
    """Measure on databases, and print the tables; gives also what is known of them."""
    import saga_databases  # noqa: PLC0415 - in memory, SQLAlchemy is not needed

    pythons = {"python-cqrs": peer_python(chosen, PEERS), "DBOS": other_peer_python(chosen, "dbos", DBOS)}
    rounds, seconds = chosen.database_rounds, chosen.database_seconds
    print(f"\nPython {platform.python_version()}, on databases: {rounds} rounds of {seconds:g} s", flush=True)
    abouts: dict[str, object] = {"database_rounds": rounds, "database_seconds": seconds}
    groups: dict[str, list[Result]] = {}
    for found in saga_databases.measure(names, pythons, rounds=rounds, seconds=seconds):
        print(f"\n{found.name}: {', '.join(f'{fact} {value}' for fact, value in found.about.items())}")
        abouts[found.name] = found.about
        groups |= found.tables
        for about, results in found.tables.items():
            print(f"\n{rates(about, 'sagas', results)}", flush=True)
    return abouts, groups


def databases(chosen: argparse.Namespace) -> list[str]:
    """Tell which databases are to be measured."""
    if not importlib.util.find_spec("sqlalchemy"):
        found = set()
    else:
        from database import servers  # noqa: PLC0415 - as above

        found = set(servers())
    wanted = [name for name in chosen.only or DATABASES if name != MEMORY]
    missing = [name for name in wanted if name not in found]
    if missing and chosen.only:
        sys.exit(f"{', '.join(missing)}: no server is named, or cqrs-sqla with the driver is not installed.")
    return [name for name in wanted if name in found]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and tell the exit code."""
    chosen = options(arguments)
    names = databases(chosen)
    logging.getLogger("cqrs_core").setLevel(logging.CRITICAL)  # as for the peer
    known, groups = facts(chosen), {}
    if MEMORY in (chosen.only or [MEMORY]):
        groups |= measure_memory(chosen)
    if names:
        abouts, tables = measure_databases(chosen, names)
        known |= abouts
        groups |= tables
    return conclude(chosen, {**known, **as_json(groups)}, groups)


if __name__ == "__main__":
    sys.exit(main())
