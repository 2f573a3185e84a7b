"""A database of its own for each contestant, on the server that is measured, and blocks of work on it."""

from __future__ import annotations

import asyncio
import gc
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

    from blocks import Block

    T = TypeVar("T")

#: The variable that names the server; the peer's process is told its database by it.
SERVER = "TEST_POSTGRES_URL"
#: What a commit costs depends on these.
SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_level")


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
        url: As asyncpg takes it.
        sessions: Makes sessions as a program would have them.
    """

    def __init__(self, url: str, *metadata: sa.MetaData) -> None:
        """
        Connect, and make the tables.

        Args:
            url: Of an empty database.
            metadata: The tables; all of them are emptied before each block.
        """
        self.url = url
        self._loop = asyncio.new_event_loop()
        self._engine = create_async_engine(sa.make_url(url).set(drivername="postgresql+asyncpg"))
        self.sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        names = ", ".join(table.fullname for tables in metadata for table in tables.sorted_tables)
        self._truncate = sa.text(f"TRUNCATE {names}")
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
        self.run(self._engine.dispose())
        self._loop.close()

    async def _create(self, metadata: tuple[sa.MetaData, ...]) -> None:
        async with self._engine.begin() as connection:
            for tables in metadata:
                await connection.run_sync(tables.create_all)

    async def _empty(self) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(self._truncate)


@contextmanager
def new_database(server: str) -> Iterator[str]:
    """Make an empty database for the block, and tell its URL."""
    name = f"cqrs_bench_{uuid.uuid4().hex[:12]}"
    asyncio.run(_execute(server, f"CREATE DATABASE {name}"))
    try:
        yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        asyncio.run(_execute(server, f"DROP DATABASE {name}"))


def settings(server: str) -> dict[str, str]:
    """Tell the server's version, and what it does at each commit."""

    async def read() -> dict[str, str]:
        connection = await asyncpg.connect(server)
        try:
            return {name: await connection.fetchval(f"SHOW {name}") for name in SETTINGS}
        finally:
            await connection.close()

    return asyncio.run(read())


async def _execute(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
