"""The memory storage does what every storage does."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cqrs_core.clock import SystemClock
from cqrs_core.envelope import Envelope
from cqrs_core.memory import MemoryStorage
from cqrs_core.testing.conformance import StorageConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class AdjustedClock(SystemClock):
    """The machine's clock, put forward."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead.total_seconds()


class TestMemoryStorage(StorageConformance):
    backends = ("asyncio", "trio")

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[MemoryStorage]:
        self.clock = AdjustedClock()
        storage = MemoryStorage(clock=self.clock, max_message_bytes=200_000)
        await storage.start()
        yield storage
        await storage.stop()

    def unstorable(self) -> Envelope:
        return Envelope("topic", bytes(200_001))

    async def age(self, storage: MemoryStorage, by: timedelta) -> None:
        self.clock.ahead += by

    async def pass_time(self, storage: MemoryStorage, seconds: float) -> None:
        self.clock.ahead += timedelta(seconds=seconds)

    async def dead(self, storage: MemoryStorage) -> list[tuple[Envelope, str, str]]:
        return [(message.record.envelope, message.reason, message.error) for message in storage.outbox.dead]
