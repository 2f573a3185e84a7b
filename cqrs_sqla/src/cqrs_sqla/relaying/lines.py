"""A connection of the relay's own: it lasts, is made anew when it breaks, and says so in one way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_core.concurrency import run_shielded
from cqrs_core.errors import StorageUnavailable
from cqrs_sqla.connecting import open_connection
from cqrs_sqla.failures import is_passing, told_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    T = TypeVar("T")


def own_engine(engine: AsyncEngine) -> AsyncEngine:
    """
    Make an engine that connects as *engine* does, and shares no connection with it.

    What the program has told the first about connecting (arguments, listeners, a ``creator``) is the pool's and the
    dialect's, so the second knows it. What it does with statements is not.
    """
    like = engine.sync_engine
    return AsyncEngine(sa.Engine(like.pool.recreate(), like.dialect, like.url, hide_parameters=like.hide_parameters))


class Line:
    """
    One connection, in autocommit, for one statement or transaction at a time: who comes meanwhile waits.

    Args:
        engine: The program's; see :func:`own_engine`.
        name: What the database is called in errors.
        prepare: What to do with a connection that is new.
    """

    def __init__(self, engine: AsyncEngine, name: str, prepare: Callable[[sa.Connection], None]) -> None:
        self._engine = engine
        self._name = name
        self._prepare = prepare
        self._lock = asyncio.Lock()
        self._own: AsyncEngine | None = None
        self._connection: AsyncConnection | None = None
        self._is_hung_up = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """
        Do *work* on the connection.

        Raises:
            StorageUnavailable: There is none, it broke, or something stood in the way. It may be tried again.
        """
        async with self._lock:
            try:
                return await self._run(work)
            finally:
                if self._is_hung_up:
                    await run_shielded(self._give_up)

    async def close(self) -> None:
        """Give the connection up; the next work makes another."""
        async with self._lock:
            await self._give_up()

    def hang_up(self) -> None:
        """Give the connection up, from within SQLAlchemy: at once, or as soon as what is done on it has ended."""
        if self._lock.locked():
            self._is_hung_up = True
            return
        connection, own = self._connection, self._own
        self._connection = self._own = None
        if connection is not None and connection.sync_connection is not None:
            connection.sync_connection.close()
        if own is not None:
            own.sync_engine.dispose()

    async def _run(self, work: Callable[[sa.Connection], T]) -> T:
        connection = self._connection or await self._connect()
        try:
            return await connection.run_sync(work)
        except BaseException as error:
            # Nobody knows what state it is in: it may even be in a transaction.
            await run_shielded(self._drop)
            if isinstance(error, Exception) and (self._is_hung_up or is_passing(error)):
                raise self._unavailable(error) from error
            raise

    async def _give_up(self) -> None:
        connection, own = self._connection, self._own
        self._connection = self._own = None
        self._is_hung_up = False
        if connection is not None:
            await connection.close()
        if own is not None:
            await own.dispose()

    async def _connect(self) -> AsyncConnection:
        if self._own is None:
            self._own = own_engine(self._engine)
        try:
            self._connection = connection = await open_connection(self._own, "AUTOCOMMIT")
            await connection.run_sync(self._prepare)
        except BaseException as error:
            await run_shielded(self._drop)
            if isinstance(error, Exception):  # each driver has errors of its own
                raise self._unavailable(error) from error
            raise
        return connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    def _unavailable(self, error: Exception) -> StorageUnavailable:
        return StorageUnavailable(self._name, told_by(error))
