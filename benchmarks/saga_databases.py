"""Compares how many sagas a second end that are kept in a database: beside plain commits, python-cqrs and DBOS."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import sqlalchemy as sa
from at_once import STEPS, WAYS, pieces
from blocks import Spread, alternate, ratios
from database import DATABASE, Database, new_database, servers, settings
from peer import Peer
from reporting import Measured, Result
from saga_ours import Order, OrderSaga

import cqrs_core as cqrs
from cqrs_sqla import define_tables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from blocks import Block
    from sqlalchemy.ext.asyncio import AsyncEngine

#: The programs of the peers, and on which databases each is measured; ``None``: on all.
PEERS = {"python-cqrs": ("saga_python_cqrs_databases.py", None), "DBOS": ("saga_dbos.py", {"PostgreSQL"})}
#: On which database, and in which way, how many times as fast as each peer we must be.
PEER_BARS = {("PostgreSQL", "alone"): 4.0, ("PostgreSQL", "at_once"): 45.0}
TITLES = {"alone": "one after the other", "at_once": f"{WAYS['at_once']} at once"}
OURS, PLAIN = "ours", "plain commits"


def measure(
    names: Sequence[str], pythons: Mapping[str, str | None], *, rounds: int, seconds: float
) -> Iterator[Measured]:
    """
    Measure on databases, one after the other.

    Args:
        names: Of the databases, as :func:`database.servers` has them.
        pythons: What runs each of the peers; ``None``: it is left out.
        rounds: Blocks of each contestant.
        seconds: How long one of them takes.
    """
    for name in names:
        server = servers()[name]
        about = settings(server)
        with ExitStack() as stack:
            contestants = stack.enter_context(open_ours(stack.enter_context(new_database(server))))
            for peer_name, (script, databases) in PEERS.items():
                python = pythons[peer_name]
                if python is None or (databases is not None and name not in databases):
                    continue
                environment = {DATABASE: stack.enter_context(new_database(server))}
                peer = stack.enter_context(closing(Peer(python, script, environment)))
                about |= {f"{peer_name}'s {fact}": peer.about[fact] for fact in ("version", "python", "sqlalchemy")}
                contestants[peer_name] = {key: partial(peer.seconds, key) for key in WAYS}
            yield Measured(name, about, _compare(name, contestants, rounds=rounds, seconds=seconds))


def _compare(
    name: str, contestants: Mapping[str, Mapping[str, Block]], *, rounds: int, seconds: float
) -> dict[str, list[Result]]:
    tables: dict[str, list[Result]] = {}
    for key, size in WAYS.items():
        blocks = {contestant: blocks[key] for contestant, blocks in contestants.items()}
        taken = alternate(blocks, rounds=rounds, seconds=seconds)
        micros = {contestant: Spread.of(times).median / size * 1e6 for contestant, times in taken.items()}
        for other in [contestant for contestant in contestants if contestant != OURS]:
            bar = PEER_BARS.get((name, key)) if other in PEERS else None
            ratio = ratios(taken[other], taken[OURS])
            row = Result(key, TITLES[key], micros[other], micros[OURS], ratio, bar, is_limit=False)
            tables.setdefault(f"{name}, {other}", []).append(row)
    return tables


@contextmanager
def open_ours(url: str) -> Iterator[dict[str, dict[str, Block]]]:
    """Make our blocks, and those of plain commits, in the empty database at *url*."""
    metadata = sa.MetaData()
    plain = sa.Table(
        "plain", metadata, *[sa.Column(name, sa.Integer, primary_key=name == "id") for name in ("id", "position")]
    )
    define_tables(metadata)
    kept = {table.fullname for table in metadata.sorted_tables if not table.name.startswith(("saga", plain.name))}
    app = cqrs.App("bench", storage=url)
    app.sagas.bind(Order, OrderSaga)
    with ExitStack() as stack:
        database = stack.enter_context(closing(Database(url, metadata, kept=kept)))
        # Entered but not running: what is measured is who starts a saga and runs it to its end.
        opened = AsyncExitStack()
        stack.callback(lambda: database.run(opened.aclose()))
        database.run(opened.enter_async_context(app))

        async def run() -> int:
            return len([result async for result in app.stream_saga(Order("o-1"))])

        works = {OURS: run, PLAIN: committing(database.engine, plain)}
        yield {
            name: {key: database.block(piece) for key, piece in pieces(work).items()} for name, work in works.items()
        }


def committing(engine: AsyncEngine, table: sa.Table) -> Callable[[], Awaitable[int]]:
    """Make what a saga is not durable without: a commit before its first step, and one after each."""
    numbers = count()
    engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    insert = table.insert().values(id=sa.bindparam("number"), position=0)
    update = table.update().where(table.c.id == sa.bindparam("number")).values(position=table.c.position + 1)

    async def run() -> int:
        number = {"number": next(numbers)}
        for statement in (insert, *[update] * STEPS):
            async with engine.connect() as connection:
                await connection.execute(statement, number)
        return STEPS

    return run
