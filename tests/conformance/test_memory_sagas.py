"""The memory storage keeps sagas as every storage of sagas does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from cqrs_core.memory import MemorySagaStorage, MemoryStorage
from cqrs_core.testing.conformance import SagaStorageConformance

if TYPE_CHECKING:
    from cqrs_core.envelope import Envelope
    from cqrs_core.saga.storage import SagaStorage
    from cqrs_core.unit_of_work import UnitOfWork

from cqrs_core.clock import SystemClock


class AdjustedClock(SystemClock):
    """The machine's clock, put forward."""

    ahead = timedelta(0)

    def now(self):  # noqa: ANN201 - as it is there
        return super().now() + self.ahead


class TestMemorySagaStorage(SagaStorageConformance):
    """Alone, as `bootstrap_sagas` takes it."""

    backends = ("asyncio", "trio")

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[MemorySagaStorage]:
        self.clock = AdjustedClock()
        yield MemorySagaStorage(clock=self.clock)

    async def pass_time(self, storage: SagaStorage, seconds: float) -> None:
        self.clock.ahead += timedelta(seconds=seconds)


class TestSagasOfTheMemoryStorage(TestMemorySagaStorage):
    """With an outbox and units of work, as an App has it."""

    has_units = True

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[MemorySagaStorage]:
        self.clock = AdjustedClock()
        self.storage = MemoryStorage(clock=self.clock)
        await self.storage.start()
        yield self.storage.sagas
        await self.storage.stop()

    @asynccontextmanager
    async def open_unit(self, storage: SagaStorage) -> AsyncIterator[UnitOfWork]:
        unit = self.storage.unit_of_work()
        yield unit
        await unit.close()

    async def sent(self, storage: SagaStorage) -> Sequence[Envelope]:
        return [record.envelope for record in await self.storage.outbox.pending()]
