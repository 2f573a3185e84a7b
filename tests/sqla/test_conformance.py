"""SQLAlchemy's databases do what every storage does, through every driver."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from cqrs_core.envelope import Envelope
from cqrs_core.testing.conformance import StorageConformance
from cqrs_sqla import SqlAlchemyStorage, define_tables, make_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta

    from cqrs_core.storage import Storage
    from cqrs_core.unit_of_work import UnitOfWork

metadata = sa.MetaData()
tables = define_tables(metadata)
texts = sa.Table("texts", metadata, sa.Column("text", sa.String(100), primary_key=True))


class TestSqlAlchemyStorage(StorageConformance):
    is_durable = True

    @pytest.fixture(autouse=True)
    def _know_the_database(self, anyio_backend: str, database_url: str) -> None:
        self.database_url = database_url

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[SqlAlchemyStorage]:
        self.engine = make_engine(self.database_url)
        async with self.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        storage = SqlAlchemyStorage(self.engine, tables=tables, owns_engine=True)
        await storage.start()
        try:
            yield storage
            assert 0 == self.engine.pool.checkedout()  # type: ignore[attr-defined]  # that of every driver here is a queue
        finally:
            await storage.stop()

    async def write(self, unit: UnitOfWork, text: str) -> None:
        await unit.get(AsyncSession).execute(sa.insert(texts).values(text=text))

    async def written(self, storage: Storage) -> set[str]:
        # Without a transaction: on SQLite it would wait for the unit that writes.
        reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        async with reading.connect() as connection:
            return set(await connection.scalars(sa.select(texts.c.text)))

    async def age(self, storage: Storage, by: timedelta) -> None:
        inbox = tables.inbox
        async with self.engine.begin() as connection:
            times = (await connection.execute(sa.select(inbox.c.received_at).distinct())).scalars()
            for time in times.all():
                earlier = sa.update(inbox).where(inbox.c.received_at == time).values(received_at=time - by)
                await connection.execute(earlier)

    async def dead(self, storage: Storage) -> list[tuple[Envelope, str, str]]:
        dead = tables.outbox_dead.c
        columns = (dead.aggregatetype, dead.payload, dead.aggregateid, dead.headers, dead.reason, dead.last_error)
        async with self.engine.connect() as connection:
            rows = (await connection.execute(sa.select(*columns).order_by(dead.seq))).all()
        return [
            (Envelope(topic, bytes(body), key, headers), reason, error)
            for topic, body, key, headers, reason, error in rows
        ]
