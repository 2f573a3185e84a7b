"""The messages that were committed and wait to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cqrs_core.concurrency import run_shielded
from cqrs_sqla.debezium import refuse_relay
from cqrs_sqla.relaying import SqlAlchemyOutboxLease
from cqrs_sqla.rows import record_columns, record_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from cqrs_core.outbox import OutboxRecord
    from cqrs_sqla.compressor import Compressor
    from cqrs_sqla.tables import Tables


class SqlAlchemyOutbox:
    """
    Messages that units of work have committed, and that nobody has sent; see :class:`cqrs_core.outbox.Outbox`.

    Args:
        engine: The database's.
        tables: Whose outbox it is.
        compressor: What has compressed bodies, beside zlib.
    """

    def __init__(self, engine: AsyncEngine, tables: Tables, compressor: Compressor | None = None) -> None:
        # No transaction: on SQLite it would wait for the one that writes.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._outbox = tables.outbox
        self._tables = tables
        self._relays_engine = engine
        self._compressor = compressor

    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        """
        Look at what waits, without taking it.

        Raises:
            UnknownCompression: A body was compressed by what this does not have.
        """
        outbox = self._outbox
        statement = sa.select(*record_columns(outbox)).where(outbox.c.seq > after).order_by(outbox.c.seq).limit(limit)
        rows: Sequence[sa.Row[Any]] = ()

        async def read() -> None:
            nonlocal rows
            async with self._engine.connect() as connection:
                rows = (await connection.execute(statement)).all()

        # SQLAlchemy sets AUTOCOMMIT on a connection that it has taken already: cancelled there, it would lose it.
        await run_shielded(read)
        return [record_of(row, self._compressor) for row in rows]

    def lease(self, name: str, *, ttl_s: float) -> SqlAlchemyOutboxLease:
        """
        Make what one relay holds its share by; nothing is taken, and nothing connected, before it is used.

        Raises:
            InvalidOption: *ttl_s* is not more than 0.
            RelayRefused: Debezium sends the outbox.
        """
        refuse_relay(self._tables)
        return SqlAlchemyOutboxLease(self._relays_engine, self._tables, name, ttl_s=ttl_s, compressor=self._compressor)
