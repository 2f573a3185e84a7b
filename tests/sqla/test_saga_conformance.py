"""SQLAlchemy's databases keep sagas as every storage does, through every driver."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from cqrs_core.testing.conformance import SagaStorageConformance
from cqrs_sqla import SqlAlchemyStorage, define_tables, make_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from cqrs_core.envelope import Envelope
    from cqrs_core.saga.storage import SagaStorage
    from cqrs_core.unit_of_work import UnitOfWork

metadata = sa.MetaData()
tables = define_tables(metadata)


class TestSqlAlchemySagas(SagaStorageConformance):
    has_units = True

    @pytest.fixture(autouse=True)
    def _know_the_database(self, anyio_backend: str, database_url: str) -> None:
        self.database_url = database_url

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[SagaStorage]:
        self.engine = make_engine(self.database_url)
        async with self.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        self.storage = SqlAlchemyStorage(self.engine, tables=tables, owns_engine=True)
        await self.storage.start()
        try:
            yield self.storage.sagas
            assert 0 == self.engine.pool.checkedout()  # type: ignore[attr-defined]  # that of every driver here is a queue
        finally:
            await self.storage.stop()

    @asynccontextmanager
    async def open_unit(self, storage: SagaStorage) -> AsyncIterator[UnitOfWork]:
        unit = self.storage.unit_of_work()
        try:
            yield unit
        finally:
            await unit.close()

    async def sent(self, storage: SagaStorage) -> Sequence[Envelope]:
        return [record.envelope for record in await self.storage.outbox.pending(limit=10_000)]

    async def pass_time(self, storage: SagaStorage, seconds: float) -> None:
        """Let every time that is stored be earlier."""
        saga = tables.saga
        async with self.engine.begin() as connection:
            times = [saga.c[name] for name in ("wake_at", "created_at", "updated_at", "rested_at")]
            for found in (await connection.execute(sa.select(saga.c.id, *times))).all():
                earlier = {
                    time.name: None if was is None else was - timedelta(seconds=seconds)
                    for time, was in zip(times, found[1:], strict=True)
                }
                await connection.execute(sa.update(saga).where(saga.c.id == found.id).values(earlier))
