"""The broker does what every broker does: the suite comes with cqrs-core, and this is all that its author writes."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from directory_broker.broker import DirectoryBroker

from cqrs_core.testing.conformance import BrokerConformance


class TestDirectoryBroker(BrokerConformance):
    @asynccontextmanager
    async def open_broker(self) -> AsyncIterator[DirectoryBroker]:
        with tempfile.TemporaryDirectory() as folder:
            broker = DirectoryBroker(Path(folder), poll_interval_s=0.01)
            await broker.start()
            yield broker
            await broker.stop()
