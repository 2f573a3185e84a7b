"""The broker on Apache Kafka does what every broker does."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from cqrs_core.testing.conformance import BrokerConformance
from cqrs_kafka import KafkaBroker


class TestKafkaBroker(BrokerConformance):
    """On one node, with topics of three partitions."""

    @pytest.fixture(autouse=True)
    def _at(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    @asynccontextmanager
    async def open_broker(self) -> AsyncIterator[KafkaBroker]:
        broker = KafkaBroker(self._bootstrap)
        await broker.start()
        try:
            yield broker
        finally:
            await broker.stop()

    async def new_topic(self) -> str:
        name = f"conformance-{uuid.uuid4().hex}"
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, 3, 1)])
        finally:
            await admin.close()
        return name
