"""The connections that sagas have for themselves, and what is said when one of them breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from cqrs_core.errors import StorageUnavailable, StorageUnusable
from cqrs_sqla.connecting import open_connection
from cqrs_sqla.failures import is_passing, told_by
from cqrs_sqla.relaying.lines import Line
from cqrs_sqla.relaying.preparing import without
from cqrs_sqla.sagas.lanes import Lanes
from cqrs_sqla.schema import problems_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncEngine

    from cqrs_sqla.sagas.lanes import Wish
    from cqrs_sqla.tables import Tables

    T = TypeVar("T")

# As for a relay: the plans that are right when there are no sagas yet, and are kept, read all that come later.
_PLANS = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "jit")
_PREPARATIONS = {
    "postgresql": without(*_PLANS),
    # Who waited for another sees what that one has done; and nobody locks the gaps into which others insert.
    "mysql": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "mariadb": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
}
#: How many statements that write sagas are under way at once. SQLite has one writer.
_LANES = 2


class Connections:
    """
    Lanes for what is written, and one connection beside them.

    They are beside the program's pool, so that no lease is lost because the program needs all of that. They are made
    when they are needed first, and given up with :meth:`close`, or when the engine is disposed of.

    Args:
        engine: The program's; it is asked how to connect, and for what people do.
        tables: Which tables have to be there.
        name: What the database is called in errors.
    """

    def __init__(self, engine: AsyncEngine, tables: Tables, name: str) -> None:
        self._engine = engine
        self._tables = tables
        self._name = name
        is_sqlite = engine.dialect.name == "sqlite"
        lines = [Line(engine, name, _prepare) for _ in range(1 if is_sqlite else _LANES)]
        self._lanes = Lanes(lines, name)
        self._aside = Line(engine, name, _prepare)
        # Two that write to SQLite would wait for each other, and sleep meanwhile.
        self._taking = lines[0] if is_sqlite else self._aside
        self._lines = (*lines, self._aside)
        self._is_watching = False

    async def write(self, wish: Wish) -> object:
        """
        Have something written together with what others write, and wait for it.

        Raises:
            StorageUnavailable: It may have been written.
            StorageUnusable: A table is missing, or lacks something; so for the others.
        """
        self._watch()
        try:
            return await self._lanes.write(wish)
        except DBAPIError as error:
            await self._explain(error)
            raise

    async def take(self, work: Callable[[sa.Connection], T]) -> T:
        """
        Do something that changes whose sagas are.

        Raises:
            StorageUnavailable: It may have been done.
        """
        return await self._run(self._taking, work)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """
        Look at something.

        Raises:
            StorageUnavailable: It cannot be read.
        """
        return await self._run(self._aside, work)

    async def by_hand(self, work: Callable[[sa.Connection], T], *, only_reads: bool = False) -> T:
        """
        Do something that may take its time, in a transaction if it changes anything, on a connection of the program's.

        Raises:
            StorageUnavailable: It may have been done.
        """
        engine = self._engine.execution_options(isolation_level="AUTOCOMMIT") if only_reads else self._engine
        try:
            connection = await open_connection(engine)
        except Exception as error:  # each driver has errors of its own
            raise StorageUnavailable(self._name, told_by(error)) from error
        try:
            answer = await connection.run_sync(work)
            await connection.commit()
        except Exception as error:
            if isinstance(error, DBAPIError):
                await self._explain(error)
            if is_passing(error):
                raise StorageUnavailable(self._name, told_by(error)) from error
            raise
        finally:
            await connection.close()
        return answer

    async def close(self) -> None:
        """Give all of them up; what is asked next makes others."""
        for line in self._lines:
            await line.close()
        if self._is_watching:
            self._is_watching = False
            event.remove(self._engine.sync_engine, "engine_disposed", self._on_disposed)

    async def _run(self, line: Line, work: Callable[[sa.Connection], T]) -> T:
        self._watch()
        try:
            return await line.run(work)
        except DBAPIError as error:
            await self._explain(error)
            raise

    async def _explain(self, error: DBAPIError) -> None:
        """Say what is wrong with the tables, if that is why a statement failed."""
        try:
            problems = await self._aside.run(lambda connection: problems_of(connection, self._tables))
        except Exception:  # noqa: BLE001 - then it is not for the tables that something went wrong
            return
        if problems:
            raise StorageUnusable(self._name, problems) from error

    def _watch(self) -> None:
        """Have the connections closed with those of the program, if nobody closes them before."""
        if not self._is_watching:
            self._is_watching = True
            event.listen(self._engine.sync_engine, "engine_disposed", self._on_disposed)

    def _on_disposed(self, _engine: sa.Engine) -> None:
        for line in self._lines:
            line.hang_up()


def _prepare(connection: sa.Connection) -> None:
    statement = _PREPARATIONS.get(connection.dialect.name)
    if statement is not None and not _is_pooled(connection):
        connection.exec_driver_sql(statement)


def _is_pooled(connection: sa.Connection) -> bool:
    """
    Tell whether somebody stands before a PostgreSQL who may give its sessions to others: those are left as they are.

    A pooler gives each client a key of its own, by which it could cancel what it has asked for. PostgreSQL's begins
    with the number of the process that serves it.

    Source:
        PostgreSQL's documentation, "Message Formats", BackendKeyData.
    """
    if connection.dialect.name != "postgresql":
        return False
    raw: Any = connection.connection.driver_connection  # each driver has its own
    number = raw.get_server_pid() if connection.dialect.driver == "asyncpg" else raw.info.backend_pid
    return bool(number != connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
