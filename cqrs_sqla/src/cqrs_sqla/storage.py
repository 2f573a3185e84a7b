"""A database as the framework needs one: units of work, outbox, inbox and sagas over one engine."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from cqrs_core.errors import InvalidOption, StorageUnavailable, StorageUnusable
from cqrs_sqla.compressor import check_compressor
from cqrs_sqla.connecting import open_connection
from cqrs_sqla.databases import database_of, name_of_database
from cqrs_sqla.debezium import check_can_be_read, connector_config, reading_problems, sender_of
from cqrs_sqla.effect_guard import EffectGuard, SqlAlchemyEffects
from cqrs_sqla.failures import told_by
from cqrs_sqla.guard import UnitWriter
from cqrs_sqla.inbox import SqlAlchemyInbox
from cqrs_sqla.keeper import SqlAlchemyOutboxKeeper
from cqrs_sqla.legacy import import_outbox
from cqrs_sqla.outbox import SqlAlchemyOutbox
from cqrs_sqla.rows import Form, max_bytes_of
from cqrs_sqla.sagas import SqlAlchemySagaStorage
from cqrs_sqla.schema import ddl, problems_of
from cqrs_sqla.signals import PostgresSignal
from cqrs_sqla.tables import define_tables
from cqrs_sqla.unit import SqlAlchemyUnitOfWork

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from cqrs_core.storage import ConnectorConfig, ImportReport
    from cqrs_sqla.compressor import Compressor
    from cqrs_sqla.tables import Tables


class SqlAlchemyStorage:
    """
    PostgreSQL, MariaDB, MySQL or SQLite as a storage; see :class:`cqrs_core.storage.Storage`.

    Handlers may ask for an :class:`~sqlalchemy.ext.asyncio.AsyncSession`: that of their unit of work. They need not
    commit it, and must not. They may ask for a :class:`~cqrs_sqla.EffectGuard` too.

    Args:
        engine: Connects. One that was not made by :func:`cqrs_sqla.make_engine` must not be for SQLite unless it was
            given to :func:`cqrs_sqla.sqlite.prepare_sqlite`.
        tables: What :func:`cqrs_sqla.define_tables` made; by default, those with the default names. They say who
            sends the outbox, too.
        session_from: ``"container"``: the sessions are those that the program's container makes, one for each scope.
            They are begun and committed here, and closed there. A transaction that is open already when the unit
            begins belongs to the unit.
        owns_engine: Whether the last :meth:`stop` disposes of the engine. If not, its owner does, before another event
            loop uses it.
        compressor: Makes the bodies in the outbox smaller.
        notify: Whether relays of other processes are woken when something is committed here, by PostgreSQL's NOTIFY: at
            most twenty times a second, on a connection beside the pool.

    Raises:
        UnknownDatabase: The engine is for another database.
        DebeziumRefused: Debezium is to send the outbox, and it is not that of a PostgreSQL.
        InvalidOption: One of them is not of these; *notify* is given, and the database is no PostgreSQL; or Debezium is
            to send, and there is a compressor that it would not undo, or *notify*, which would wake nobody.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        tables: Tables | None = None,
        session_from: Literal["storage", "container"] = "storage",
        owns_engine: bool = False,
        compressor: Compressor | None = None,
        notify: bool = False,
    ) -> None:
        if not isinstance(engine, AsyncEngine):
            raise InvalidOption("engine", engine, "an AsyncEngine, of sqlalchemy.ext.asyncio.create_async_engine")
        if session_from not in {"storage", "container"}:
            raise InvalidOption("session_from", session_from, "'storage' or 'container'")
        check_compressor(compressor)
        database_of(engine.dialect)
        if notify and engine.dialect.name != "postgresql":
            expected = "left out: only PostgreSQL can wake others; elsewhere relays look at the outbox now and then"
            raise InvalidOption("notify", notify, expected)
        takes_session = session_from == "container"
        self.provides: tuple[type, ...] = () if takes_session else (AsyncSession, EffectGuard)
        self.takes: type | None = AsyncSession if takes_session else None
        self.tables = define_tables(sa.MetaData()) if tables is None else tables
        check_can_be_read(self.tables, engine.dialect, compressor)
        self.sent_by: str | None = sender_of(self.tables)
        if notify and self.sent_by is not None:
            raise InvalidOption("notify", notify, f"left out where {self.sent_by} sends: there is no relay to be woken")
        self.outbox = SqlAlchemyOutbox(engine, self.tables, compressor)
        self.inbox = SqlAlchemyInbox(engine, self.tables)
        self.effects = SqlAlchemyEffects(engine, self.tables)
        self._engine = engine
        self._owns_engine = owns_engine
        self._starts = 0
        self._form = Form(max_bytes_of(engine.dialect.name), compressor)
        self._name = name_of_database(engine)
        self.outbox_keeper = SqlAlchemyOutboxKeeper(engine, self.tables, self._name, compressor)
        self.outbox_signal = PostgresSignal(engine, self.tables, self._name) if notify else None
        self.sagas = SqlAlchemySagaStorage(engine, self.tables, form=self._form, name=self._name)

    async def start(self) -> None:
        """
        Connect, and check that the tables are there; several may start it, each stops it once, though it has failed.

        Raises:
            StorageUnavailable: The database cannot be reached, or does not let this program in.
            StorageUnusable: A table is missing, or lacks something; the text says how to mend it.
        """
        self._starts += 1
        async with self._connected() as connection:
            found = [*await connection.run_sync(self._problems), *await _sqlite_problems(connection)]
            self._form = self.sagas.form = Form(await _max_bytes(connection), self._form.compressor)
        if found:
            raise StorageUnusable(self._name, found)

    async def stop(self) -> None:
        """Give up all connections that are the storage's own, unless somebody else has started it."""
        self._starts = max(0, self._starts - 1)
        if self._starts:
            return
        if self.outbox_signal is not None:
            await self.outbox_signal.stop()
        await self.sagas.stop()
        if self._owns_engine:
            await self._engine.dispose()

    def unit_of_work(self, taken: object = None) -> SqlAlchemyUnitOfWork:
        """
        Make the unit of one attempt; nothing is begun.

        Raises:
            InvalidOption: What was taken is no ``AsyncSession``.
            SessionShared: It is that of another unit, which is open.
        """
        if taken is not None and not isinstance(taken, AsyncSession):
            raise InvalidOption("the container's session", taken, "an AsyncSession, as it is registered there")
        writer = UnitWriter(self.tables)
        return SqlAlchemyUnitOfWork(self._engine, writer, form=self._form, name=self._name, taken=taken)

    def ddl(self) -> str:
        """Write the statements that make the tables; it needs no connection."""
        return ddl(self._engine.dialect.name, self.tables)

    async def create(self) -> None:
        """
        Make the tables that are missing.

        Raises:
            StorageUnavailable: The database cannot be reached.
        """
        async with self._connected() as connection:
            await connection.run_sync(self.tables.metadata.create_all, tables=list(self.tables))
            await connection.commit()

    async def check(self) -> Sequence[str]:
        """
        Tell what is wrong with the tables, one sentence each, with what mends it.

        Raises:
            StorageUnavailable: The database cannot be reached.
        """
        async with self._connected() as connection:
            return await connection.run_sync(self._problems)

    def _problems(self, connection: sa.Connection) -> list[str]:
        return [*problems_of(connection, self.tables), *reading_problems(connection, self.tables)]

    async def import_outbox(self, table: str) -> ImportReport:
        """
        Move what python-cqrs has not delivered into our outbox.

        Raises:
            StorageUnavailable: The database cannot be reached.
            ImportRefused: There is no such table, it is not python-cqrs's, or our outbox is not there.
            StorageUnusable: Debezium is to send it, and does not read what would be written.
        """
        async with self._connected() as connection:
            if problems := await connection.run_sync(reading_problems, self.tables):
                raise StorageUnusable(self._name, problems)
            await connection.rollback()
            return await import_outbox(connection, self.tables, table)

    def debezium_config(self, name: str | None = None) -> ConnectorConfig:
        """
        Say how Debezium sends what is in the outbox, as a relay would; it needs no connection.

        Raises:
            DebeziumRefused: It is no PostgreSQL.
            InvalidOption: The name cannot be that of a connector.
        """
        return connector_config(self._engine.url, self._engine.dialect, self.tables, name)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        try:
            connection = await open_connection(self._engine)
        except Exception as error:  # each driver has errors of its own
            raise StorageUnavailable(self._name, told_by(error)) from error
        try:
            yield connection
        finally:
            await connection.close()


async def _max_bytes(connection: AsyncConnection) -> int:
    name = connection.dialect.name
    if name not in {"mysql", "mariadb"}:
        return max_bytes_of(name)
    packet_bytes: int = (await connection.execute(sa.text("SELECT @@max_allowed_packet"))).scalar_one()
    return max_bytes_of(name, packet_bytes)


async def _sqlite_problems(connection: AsyncConnection) -> list[str]:
    """Tell whether a transaction begins where a program begins it, which is not how Python's sqlite3 has it."""
    if connection.dialect.name != "sqlite":
        return []
    if not connection.in_transaction():
        await connection.begin()
    raw: Any = (await connection.get_raw_connection()).driver_connection
    if raw.in_transaction:
        return []
    problem = (
        "The engine begins transactions late, so savepoints would not be undone with them. Make it with "
        "cqrs_sqla.make_engine(), or give it to cqrs_sqla.sqlite.prepare_sqlite() before it connects."
    )
    return [problem]
