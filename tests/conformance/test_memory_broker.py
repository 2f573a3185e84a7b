"""The memory broker does what every broker does."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cqrs_core.memory import MemoryBroker
from cqrs_core.testing.conformance import BrokerConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TestMemoryBroker(BrokerConformance):
    backends = ("asyncio", "trio")

    @asynccontextmanager
    async def open_broker(self) -> AsyncIterator[MemoryBroker]:
        broker = MemoryBroker(max_kept=1000)
        await broker.start()
        yield broker
        await broker.stop()


class TestSmallMemoryBroker(TestMemoryBroker):
    """Just enough partitions to share, and room."""

    @asynccontextmanager
    async def open_broker(self) -> AsyncIterator[MemoryBroker]:
        broker = MemoryBroker(partitions=2, max_waiting=200, max_kept=1000)
        await broker.start()
        yield broker
        await broker.stop()
