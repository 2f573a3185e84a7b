"""Clients that are not ours read what we send, and we read what they send."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from cqrs_core.envelope import Envelope

confluent_kafka = pytest.importorskip("confluent_kafka")

HEADERS = {"ce_id": "1", "имя": "значение", "not text": "\udcff", "empty": ""}


async def test_librdkafka_reads_keys_headers_and_bodies(kafka: Any) -> None:
    """As bytes, which is what they are on the wire."""
    topic = await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        await broker.send(Envelope(topic, b'{"a": 1}', "ключ\udcff", HEADERS))

    (message,) = await asyncio.to_thread(consume, kafka.bootstrap, topic, 1)

    assert ("ключ".encode() + b"\xff", b'{"a": 1}') == (message.key(), message.value())
    assert [("ce_id", b"1"), ("имя", "значение".encode()), ("not text", b"\xff"), ("empty", b"")] == message.headers()


async def test_a_key_goes_where_the_client_of_java_sends_it(kafka: Any) -> None:
    """librdkafka does as Java if it is told to: ``murmur2_random``."""
    topic = await kafka.make_topic(7)
    keys = [f"key-{number}-{'x' * (number % 9)}" for number in range(100)]
    async with kafka.open_broker() as broker:
        await broker.send_many([Envelope(topic, b"ours", key) for key in keys])
    await asyncio.to_thread(produce, kafka.bootstrap, topic, keys)

    messages = await asyncio.to_thread(consume, kafka.bootstrap, topic, 200)

    partitions: dict[bytes, dict[bytes, int]] = {b"ours": {}, b"theirs": {}}
    for message in messages:
        partitions[message.value()][message.key()] = message.partition()
    assert partitions[b"theirs"] == partitions[b"ours"]
    assert 7 == len(set(partitions[b"ours"].values()))


async def test_what_librdkafka_sends_is_received(kafka: Any) -> None:
    topic = await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        subscription = await kafka.subscribe(broker, topic)
        await asyncio.to_thread(produce, kafka.bootstrap, topic, ["key"])
        (delivery,) = await subscription.receive(10)

    assert Envelope(topic, b"theirs", "key", {"a": "2", "none": ""}) == delivery.envelope


def produce(bootstrap: str, topic: str, keys: list[str]) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for key in keys:
        producer.produce(topic, b"theirs", key.encode(), headers=[("a", b"1"), ("a", b"2"), ("none", None)])
    assert 0 == producer.flush(30)


def consume(bootstrap: str, topic: str, count: int) -> list[Any]:
    options = {"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
    consumer = confluent_kafka.Consumer(options)
    consumer.subscribe([topic])
    messages: list[Any] = []
    while len(messages) < count:
        found = consumer.consume(count - len(messages), 30)
        assert found, f"{len(messages)} of {count} came"
        messages += found
    consumer.close()
    assert all(message.error() is None for message in messages)
    return messages
