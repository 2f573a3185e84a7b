"""A connection of the relay's own: it lasts, is made anew when it breaks, and says so in one way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_core.concurrency import run_shielded
from cqrs_core.errors import StorageUnavailable
from cqrs_sqla.failures import is_lost

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    T = TypeVar("T")

# Of PostgreSQL: a conflict, or nothing left to work with; a lock that others have, a timeout; a server that only reads,
# as after a failover. Of MariaDB and MySQL: locks that others have, and the server only reads. Of SQLite: others write.
_PASSING_CLASSES = ("40", "53", "55P03", "57014", "25006")
_PASSING_NUMBERS = {1205, 1213, 1290, 1836}
_SQLITE_BUSY = {5, 6, 13}  # the last one: the disk is full


def own_engine(engine: AsyncEngine) -> AsyncEngine:
    """
    Make an engine that connects as *engine* does, and shares no connection with it.

    What the program has told the first about connecting (arguments, listeners, a ``creator``) is the pool's and the
    dialect's, so the second knows it. What it does with statements is not.
    """
    like = engine.sync_engine
    return AsyncEngine(sa.Engine(like.pool.recreate(), like.dialect, like.url, hide_parameters=like.hide_parameters))


def _is_outdated(original: object) -> bool:
    """Tell whether asyncpg has prepared a statement for a table that was changed meanwhile; it forgets it by that."""
    # By its name: SQLAlchemy's class is an attribute of the dialect's, and other errors have the same SQLSTATE.
    return type(original).__name__ == "InvalidCachedStatementError"


def is_passing(error: BaseException) -> bool:
    """Tell whether what failed may go well the next time, on another connection."""
    if is_lost(error):
        return True
    original = getattr(error, "orig", None)
    if _is_outdated(original):
        return True
    state = getattr(original, "sqlstate", None)
    if isinstance(state, str):
        return state.startswith(_PASSING_CLASSES)
    if type(original).__module__ == "sqlite3" and type(original).__name__ == "OperationalError":
        # Python 3.10 does not say which.
        return getattr(original, "sqlite_errorcode", 5) & 0xFF in _SQLITE_BUSY
    arguments: tuple[object, ...] = getattr(original, "args", ())
    return bool(arguments) and arguments[0] in _PASSING_NUMBERS


def told_by(error: BaseException) -> str:
    """Say what a driver says, without the statement and what is in it, which SQLAlchemy adds."""
    original = getattr(error, "orig", None) or error
    return f"{type(original).__name__}: {original}."


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
            connection = await self._own.connect()
            self._connection = connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
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
