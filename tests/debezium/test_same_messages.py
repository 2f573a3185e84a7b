"""Debezium sends what the relay sends: keys, headers and bodies of the same rows, compared as they are on Kafka."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

import cqrs_core as cqrs
from cqrs_core.broker import SendOutcome
from cqrs_core.envelope import Envelope
from cqrs_core.relay import OutboxRelay
from cqrs_kafka import KafkaBroker
from cqrs_sqla import SqlAlchemyOutboxedEventRepository, ZlibCompressor

ODD = '\x7f\t"\\ ,:=${env:HOME} \U0001f4d6 \uf8ff \uf8ff\xff é'
NO_TEXT = b"\xff\x00\xed\xa0\x80\xfe".decode("utf-8", "surrogateescape")


class OrderPlaced(cqrs.NotificationEvent[str]):
    event_name: str = "OrderPlaced"


class ElsewhereBroker:
    """Sends to another topic, so that the two can be compared."""

    is_durable = True
    keeps_order_after_failure = True

    def __init__(self, broker: KafkaBroker, topic: str) -> None:
        self._broker = broker
        self._topic = topic

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        return await self._broker.send_many([replace(envelope, topic=self._topic) for envelope in envelopes])


async def write_everything(shop: Any, make: Callable[..., Envelope]) -> int:
    """Commit messages of every kind, and tell how many there were."""
    plain = [
        make('{"order": 1}', "order-1"),
        make("für Ключ 📖", "ключ-é"),
        make(b"\xff\x00\xfe\x80", "order-1"),
        make(b"", "order-2"),
        make("   ", "order-2"),
        make("of no order"),
        make("of an empty key", ""),
        make(os.urandom(500_000), "order-1"),
        make("odd", "order-1", {"odd": ODD, "no-text": NO_TEXT, "empty": "", "long": "ü" * 8000}),
        make("odd names", "order-2", {ODD: "1", "ключ": "2", "a b": "3", "": "4"}),
        make("names of Debezium's", "order-2", {"id": "mine", "headers": "mine", "payload": "mine"}),
        make("compressed elsewhere", "order-2", {"content-encoding": "gzip"}),
        *(make(f"{number}", f"order-{number % 7}") for number in range(200)),
    ]
    await shop.write(*plain)
    compressing = shop.storage(compressor=ZlibCompressor())
    small = [make("x" * 100_000, "order-1"), make(b"\x00" * 1_000_000, "order-2", {"odd": ODD, "no-text": NO_TEXT})]
    await shop.write(*small, storage=compressing)
    traced = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tenant": "Müller"}
    async with AsyncSession(shop.engine.execution_options(isolation_level="READ COMMITTED")) as session:
        repository = SqlAlchemyOutboxedEventRepository(session, source="shop")
        repository.add(OrderPlaced(payload="7", topic=plain[0].topic, key="order-7", headers=traced))
        await repository.commit()
    return len(plain) + len(small) + 1


async def relay_everything(shop: Any, broker: KafkaBroker, topic: str) -> None:
    """Send what is in the outbox, as a program would."""
    lease = shop.storage().outbox.lease("relay", ttl_s=30)
    relay = OutboxRelay(lease, ElsewhereBroker(broker, topic))
    while await relay.run_once():
        pass


async def test_keys_headers_and_bodies_are_those_of_the_relay(
    *, shop: Any, topics: Any, topic: str, message: Any, broker: KafkaBroker
) -> None:
    """Of the same rows; for each key in the same order, and on the same partition: both count as Kafka's own client."""
    await shop.connect()
    count = await write_everything(shop, message)
    by_debezium = await topics.read(topic, count)
    other = await topics.make()
    await relay_everything(shop, broker, other)
    by_relay = await topics.read(other, count)

    assert count == len(by_debezium) == len(by_relay)
    assert _by_key(by_relay) == _by_key(by_debezium)
    assert "" == await shop.failure()


def _by_key(records: Sequence[Any]) -> dict[bytes | None, list[Any]]:
    found: dict[bytes | None, list[Any]] = defaultdict(list)
    for record in records:
        partition = None if record.key is None else record.partition
        found[record.key].append((sorted(record.headers), record.value, partition))
    return found
