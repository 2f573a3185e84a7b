"""A database of its own for each contestant, on the server that is measured, and blocks of work on it."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import sqlalchemy as sa
from environment import MARIADB_SERVER, SERVER
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Sequence

    from blocks import Block

    T = TypeVar("T")

#: The variable by which the peer's process is told its database.
DATABASE = "CQRS_BENCH_DATABASE"
#: A server that needs none: the database is a file.
SQLITE = "sqlite://"
#: What each kind of database is reached by, on both sides.
DRIVERS = {"postgresql": "asyncpg", "mysql": "asyncmy", "sqlite": "aiosqlite"}
#: What a commit costs depends on these.
SETTINGS = {
    "postgresql": {
        name: f"SHOW {name}"
        for name in ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_level")
    },
    "mysql": {
        name: f"SELECT @@{name}" for name in ("version", "innodb_flush_log_at_trx_commit", "sync_binlog", "log_bin")
    },
    "sqlite": {
        "version": "SELECT sqlite_version()",
        **{name: f"PRAGMA {name}" for name in ("journal_mode", "synchronous")},
    },
}


class Piece(NamedTuple):
    """
    A piece of work that needs something new each time.

    Attributes:
        prepare: Makes what so many times of it need; not measured.
        work: Does it once with each of these.
    """

    prepare: Callable[[int], Sequence[Any]]
    work: Callable[[Sequence[Any]], Awaitable[object]]


class Database:
    """
    An open database, on an event loop that is kept for all blocks.

    Attributes:
        url: Without a driver, as asyncpg takes it.
        engine: Connects.
        sessions: Makes sessions as a program would have them.
    """

    def __init__(self, url: str, *metadata: sa.MetaData, kept: Collection[str] = ()) -> None:
        """
        Connect, and make the tables.

        Args:
            url: Of an empty database.
            metadata: The tables; all of them are emptied before each block,
            kept: but these.
        """
        self.url = url
        self._loop = asyncio.new_event_loop()
        self.engine = _engine(url)
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        names = [table.fullname for tables in metadata for table in tables.sorted_tables if table.fullname not in kept]
        self._emptying = _emptying(self.engine.dialect.name, names)
        self.run(self._create(metadata))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the loop."""
        return self._loop.run_until_complete(work)

    def block(self, piece: Piece) -> Block:
        """Make a block of *piece* on empty tables, without the garbage collector, by the clock on the wall."""

        async def measure(supplies: Sequence[Any]) -> float:
            began = time.perf_counter()
            await piece.work(supplies)
            return time.perf_counter() - began

        def block(count: int) -> float:
            self.run(self._empty())
            supplies = piece.prepare(count)
            gc.collect()
            gc.disable()
            try:
                return self.run(measure(supplies))
            finally:
                gc.enable()

        return block

    def close(self) -> None:
        """Disconnect."""
        self.run(self.engine.dispose())
        self._loop.close()

    async def _create(self, metadata: tuple[sa.MetaData, ...]) -> None:
        async with self.engine.begin() as connection:
            for tables in metadata:
                await connection.run_sync(tables.create_all)

    async def _empty(self) -> None:
        async with self.engine.begin() as connection:
            for statement in self._emptying:
                await connection.execute(sa.text(statement))


def let_ids_count(*tables: sa.FromClause) -> None:
    """Mend tables of python-cqrs for SQLite, where nothing but an INTEGER counts up: its inserts fail there."""
    for table in tables:
        table.c.id.type = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def servers() -> dict[str, str]:
    """Find the databases that can be measured here, by their names: those that are told, and have their drivers."""
    named = {"PostgreSQL": os.environ.get(SERVER), "MariaDB": os.environ.get(MARIADB_SERVER), "SQLite": SQLITE}
    return {
        name: server
        for name, server in named.items()
        if server and importlib.util.find_spec(DRIVERS[sa.make_url(server).get_backend_name()])
    }


@contextmanager
def new_database(server: str) -> Iterator[str]:
    """Make an empty database for the block, and tell its URL."""
    if server == SQLITE:
        with tempfile.TemporaryDirectory(prefix="cqrs_bench_") as folder:
            yield f"{SQLITE}/{Path(folder, 'bench.db')}"
        return
    name = f"cqrs_bench_{uuid.uuid4().hex[:12]}"
    asyncio.run(_execute(server, f"CREATE DATABASE {name}"))
    try:
        yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        asyncio.run(_execute(server, f"DROP DATABASE {name}"))


def settings(server: str) -> dict[str, str]:
    """Tell the server's version, and what it does at each commit."""
    with new_database(server) if server == SQLITE else _itself(server) as url:
        questions = SETTINGS[sa.make_url(url).get_backend_name()]
        return dict(zip(questions, asyncio.run(_execute(url, *questions.values())), strict=True))


@contextmanager
def _itself(server: str) -> Iterator[str]:
    yield server


def _engine(url: str, **options: str) -> AsyncEngine:
    address = sa.make_url(url)
    backend = address.get_backend_name()
    engine = create_async_engine(address.set(drivername=f"{backend}+{DRIVERS[backend]}"), **options)
    if backend == "sqlite":
        event.listen(engine.sync_engine, "connect", _settle)
    return engine


def _settle(connection: Any, _entry: object) -> None:
    # Both sides have it: ours sets it by itself. Without the second, a peer gives up while others write.
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA busy_timeout = 30000")
    cursor.close()


def _emptying(dialect: str, names: Sequence[str]) -> list[str]:
    if dialect == "postgresql":
        return [f"TRUNCATE {', '.join(names)}"]
    verb = "DELETE FROM" if dialect == "sqlite" else "TRUNCATE TABLE"
    emptying = [f"{verb} {name}" for name in names]
    if dialect != "sqlite":  # it would refuse a table to which others refer, even if these are empty
        emptying = ["SET foreign_key_checks = 0", *emptying, "SET foreign_key_checks = 1"]
    return emptying


async def _execute(url: str, *statements: str) -> list[str]:
    """Do *statements*, and give the first value of each that has one."""
    engine = _engine(url, isolation_level="AUTOCOMMIT")
    values: list[str] = []
    async with engine.connect() as connection:
        for statement in statements:
            result = await connection.exec_driver_sql(statement)
            if result.returns_rows:
                values.append(str(result.scalar_one()))
    await engine.dispose()
    return values
