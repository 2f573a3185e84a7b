"""Messages of every kind: too large, too odd, gone."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from typing import Any

import anyio
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.consumer.fetcher import Fetcher

from cqrs_core.broker import SendStatus
from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerUnavailable, InvalidOption, MessageRefused
from cqrs_kafka import KafkaBroker, KafkaSettings
from cqrs_kafka.errors import UnknownTopic
from cqrs_kafka.member import Member
from cqrs_kafka.producers import Producer

LOST = "Messages are lost: offset 5 of "


async def test_a_message_of_five_megabytes_passes_where_it_may(kafka: Any) -> None:
    """It is larger than what is fetched at once, too."""
    topic = await kafka.make_topic(1, max_message_bytes="10000000")
    body = os.urandom(5_000_000)
    async with kafka.open_broker(max_message_bytes=10_000_000) as broker:
        subscription = await kafka.subscribe(broker, topic)
        await broker.send(Envelope(topic, body, "key"))
        (delivery,) = await asyncio.wait_for(subscription.receive(10), 30)

    assert body == delivery.envelope.body


async def test_what_the_topic_does_not_take_is_found_out_message_by_message(kafka: Any) -> None:
    """Small ones pass; of its key, nothing follows the one that failed, and other keys of its partition go on."""
    topic = await kafka.make_topic(1, max_message_bytes="2000")
    sent = [
        Envelope(topic, b"1", "bad"),
        Envelope(topic, bytes(5000), "bad"),
        Envelope(topic, b"2", "bad"),
        *(Envelope(topic, bytes(100) + b"%d" % number, "good") for number in range(30)),  # together too large
    ]
    async with kafka.open_broker() as broker:
        subscription = await kafka.subscribe(broker, topic)
        outcomes = await broker.send_many(sent)
        deliveries: list[Any] = []
        while len(deliveries) < 31:
            deliveries += await asyncio.wait_for(subscription.receive(50), 30)

    delivered = SendStatus.DELIVERED
    expected = [delivered, SendStatus.PERMANENT, SendStatus.NOT_SENT, *[delivered] * 30]
    assert expected == [outcome.status for outcome in outcomes]
    assert "max.message.bytes" in str(outcomes[1].error)
    assert [sent[0].body, *(envelope.body for envelope in sent[3:])] == [d.envelope.body for d in deliveries]


@pytest.mark.parametrize(
    ("topic", "headers", "text"),
    [
        ("no topic", {}, "that is no name of a topic"),
        ("..", {}, "that is no name of a topic"),
        ("x" * 250, {}, "that is no name of a topic"),
        ("fine", {"\udcff": "x"}, "its key or a header is no text"),
        ("fine", {"x": "\ud800"}, "its key or a header is no text"),
        ("fine", {"large": "x" * 2_000_000}, "and max_message_bytes is 1048576"),
    ],
)
async def test_what_nobody_would_take_is_refused_for_good(
    kafka: Any, topic: str, headers: dict[str, str], text: str
) -> None:
    """Without asking the broker."""
    async with kafka.open_broker() as broker:
        with pytest.raises(MessageRefused, match=text) as caught:
            await broker.send(Envelope(topic, b"", "key", headers))

    assert caught.value.is_permanent


async def test_a_key_that_is_no_text_is_refused_alone(kafka: Any) -> None:
    """A surrogate that stands for no byte cannot be written; other messages of the call are sent."""
    topic = await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        sent = [Envelope(topic, b"1", "\ud800"), Envelope(topic, b"2", "\udcff"), Envelope(topic, b"3", "key")]
        outcomes = await broker.send_many(sent)

    expected = [SendStatus.PERMANENT, SendStatus.DELIVERED, SendStatus.DELIVERED]
    assert expected == [outcome.status for outcome in outcomes]
    assert "its key or a header is no text" in str(outcomes[0].error)


async def test_a_compacted_topic_takes_no_message_without_a_key(kafka: Any) -> None:
    """The broker's reason has no name in aiokafka; others pass."""
    topic = await kafka.make_topic(1, cleanup_policy="compact")
    async with kafka.open_broker() as broker:
        outcomes = await broker.send_many([Envelope(topic, b"1"), Envelope(topic, b"2", "key")])

    assert [SendStatus.REFUSED, SendStatus.DELIVERED] == [outcome.status for outcome in outcomes]


async def test_a_name_of_a_header_that_is_no_text_is_left_out(kafka: Any, caplog: pytest.LogCaptureFixture) -> None:
    """aiokafka cannot read such a record, nor what follows it in its batch; all others come, each once."""
    topic = await kafka.make_topic(2)
    async with kafka.open_broker() as broker:
        subscription = await kafka.subscribe(broker, topic)
        await kafka.send_unreadable(topic)
        await broker.send(Envelope(topic, b"10", "key"))
        deliveries: list[Any] = []
        with anyio.fail_after(30):
            while len(deliveries) < 5:
                deliveries += await subscription.receive(50)

    assert [b"0", b"1", b"10", b"2", b"3"] == sorted(delivery.envelope.body for delivery in deliveries)
    told = [vars(record)["offset"] for record in caplog.records if "is left out" in record.message]
    assert [4, 5, 6, 7, 8, 9] == told


async def test_what_the_client_had_read_of_another_partition_is_not_lost_with_it(
    kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka gives nothing of what it has read when it comes to such a record, and goes on behind it everywhere."""
    topic, group = await kafka.make_topic(2), uuid.uuid4().hex
    usual = Fetcher.fetched_records

    async def both_at_once(self: Any, *arguments: Any, **options: Any) -> Any:
        found = self._records
        if not is_read:
            await kafka.until(lambda: len(found) == 2)
            found.move_to_end(TopicPartition(topic, 0))
            is_read.append(True)
        return await usual(self, *arguments, **options)

    is_read: list[bool] = []
    async with kafka.open_broker() as broker:
        await (await kafka.subscribe(broker, topic, group=group)).close()
        subscription = await kafka.subscribe(broker, topic, group=group)
        await kafka.send_unreadable(topic)
        await _send_to(kafka.bootstrap, topic, 1, b"other")
        monkeypatch.setattr(Fetcher, "fetched_records", both_at_once)
        bodies: list[bytes] = []
        with anyio.fail_after(30):
            while len(bodies) < 5:
                bodies += [found.envelope.body for found in await subscription.receive(50)]

    assert [b"0", b"1", b"2", b"3", b"other"] == sorted(bodies)


async def test_an_error_that_nobody_foresaw_leaves_no_message_out(kafka: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it comes: it is told, and what was to be read is read when it comes no more."""
    topic = await kafka.make_topic(1)
    usual = Member.poll
    fails = [ZeroDivisionError()] * 6

    async def poll(self: Member, *arguments: Any, **options: Any) -> Any:
        if fails:
            raise fails.pop()
        return await usual(self, *arguments, **options)

    told = []
    async with kafka.open_broker() as broker:
        subscription = await kafka.subscribe(broker, topic)
        await broker.send_many([Envelope(topic, b"%d" % number, "key") for number in range(5)])
        monkeypatch.setattr(Member, "poll", poll)
        bodies: list[bytes] = []
        with anyio.fail_after(30):
            while len(bodies) < 5:
                try:
                    bodies += [found.envelope.body for found in await subscription.receive(50)]
                except BrokerUnavailable as error:
                    told.append(str(error))

    assert [b"%d" % number for number in range(5)] == bodies
    assert [f"Kafka at {kafka.bootstrap}: ZeroDivisionError()."] * 6 == told


async def _send_to(bootstrap: str, topic: str, partition: int, body: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(topic, body, partition=partition)
    finally:
        await producer.stop()


async def test_messages_that_are_not_kept_any_more_are_told(kafka: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Where a group would go on, the topic has nothing any more: it goes on with the oldest there is."""
    topic, group = await kafka.make_topic(1), uuid.uuid4().hex
    async with kafka.open_broker() as broker:
        subscription = await kafka.subscribe(broker, topic, group=group)
        for number in range(5):
            await broker.send(Envelope(topic, b"%d" % number, "key"))
        deliveries: list[Any] = []
        while len(deliveries) < 5:
            deliveries += await subscription.receive(10)
        await subscription.acknowledge(deliveries)
        await subscription.close()
        for number in range(5, 10):
            await broker.send(Envelope(topic, b"%d" % number, "key"))
        async with kafka.open_admin() as admin:
            await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=8)})

        subscription = await kafka.subscribe(broker, topic, group=group)
        (delivery, *_) = await asyncio.wait_for(subscription.receive(10), 30)

    assert b"8" == delivery.envelope.body
    (record,) = [record for record in caplog.records if record.getMessage().startswith(LOST)]
    assert (logging.ERROR, 5, 8) == (record.levelno, vars(record)["offset"], vars(record)["first"])


async def test_a_topic_that_is_deleted_ends_nothing(kafka: Any) -> None:
    """Its messages are gone; those of others come, and stop() returns."""
    gone, other = await kafka.make_topic(1), await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        subscription = await kafka.subscribe(broker, gone, other)
        await broker.send(Envelope(gone, b"1", "key"))
        deliveries = await subscription.receive(10)
        async with kafka.open_admin() as admin:
            await admin.delete_topics([gone])
        await subscription.acknowledge(deliveries)
        await broker.send(Envelope(other, b"2", "key"))
        (delivery,) = await asyncio.wait_for(_received(subscription), 60)

    assert b"2" == delivery.envelope.body


async def _received(subscription: Any) -> Any:
    while True:
        try:
            return await subscription.receive(10)
        except BrokerUnavailable:
            pass


async def test_a_topic_that_does_not_exist_is_told(kafka: Any) -> None:
    """Where the broker makes none by itself, as in production; the name is at fault here, which no broker makes."""
    async with kafka.open_broker(unavailable_after_s=1.0) as broker:
        with pytest.raises(UnknownTopic, match="The topic 'no topic' does not exist"):
            await kafka.subscribe(broker, "no topic")


@pytest.mark.parametrize("topics", ["orders", []])
async def test_topics_are_a_collection_of_names(topics: Any) -> None:
    async def on_revoked(_: object) -> None:
        """It is never called."""

    with pytest.raises(InvalidOption, match="topics"):
        await KafkaBroker().subscribe(topics, group="g", on_revoked=on_revoked)


async def test_what_others_send_in_transactions_comes_when_it_is_committed(kafka: Any) -> None:
    """What they take back never comes, and the marks of their ends are no gap: nothing comes again."""
    topic, group = await kafka.make_topic(1), uuid.uuid4().hex
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=uuid.uuid4().hex)
    async with kafka.open_broker() as broker:
        subscription = await kafka.subscribe(broker, topic, group=group)
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"taken back")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"committed")
        await producer.stop()
        (delivery,) = await asyncio.wait_for(subscription.receive(10), 30)
        await subscription.acknowledge([delivery])
        await subscription.close()
        subscription = await kafka.subscribe(broker, topic, group=group)
        await broker.send(Envelope(topic, b"next", "key"))
        (following,) = await asyncio.wait_for(subscription.receive(10), 30)

    assert [b"committed", b"next"] == [delivery.envelope.body, following.envelope.body]


async def test_messages_without_a_key_go_everywhere(kafka: Any) -> None:
    topic = await kafka.make_topic(3)
    async with kafka.open_broker() as broker:
        subscription = await kafka.subscribe(broker, topic)
        await broker.send_many([Envelope(topic, b"%d" % number) for number in range(6)])
        deliveries: list[Any] = []
        while len(deliveries) < 6:
            deliveries += await subscription.receive(10)

    assert 3 == len({delivery.partition for delivery in deliveries})


async def test_messages_without_a_key_go_to_partitions_that_were_made_later(
    kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the client learns of them: here it knows of two at first, and then of all four."""
    topic = await kafka.make_topic(4)
    async with kafka.open_broker() as broker:
        subscription = await kafka.subscribe(broker, topic)
        with monkeypatch.context() as patch:
            patch.setattr(Producer, "known_partitions", lambda *_: [0, 1])
            await broker.send_many([Envelope(topic, b"before")] * 2)
        await broker.send_many([Envelope(topic, b"after")] * 4)
        deliveries: list[Any] = []
        with anyio.fail_after(30):
            while len(deliveries) < 6:
                deliveries += await subscription.receive(10)

    after = [delivery.partition for delivery in deliveries if delivery.envelope.body == b"after"]
    assert [f"{topic}/{number}" for number in range(4)] == sorted(after)


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_what_is_compressed_arrives(kafka: Any, compression: Any) -> None:
    if compression != "gzip":
        pytest.importorskip("cramjam")
    topic = await kafka.make_topic(1)
    body = b"again and again " * 1000
    broker = KafkaBroker(KafkaSettings(servers=(kafka.bootstrap,), compression=compression))
    await broker.start()
    subscription = await kafka.subscribe(broker, topic)
    await broker.send(Envelope(topic, body, "key"))
    (delivery,) = await subscription.receive(10)
    await broker.stop()

    assert body == delivery.envelope.body
