"""Programs of python-cqrs send to Kafka by the names that they know."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core.bootstrap import bootstrap
from cqrs_core.broker import SendStatus
from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerNotStarted, BrokerUnavailable, InvalidOption
from cqrs_kafka import KafkaBroker, KafkaMessageBroker, KafkaProducer, Message, kafka_producer_factory


class Joined(cqrs.Response):
    user: str


class Join(cqrs.Request[Joined]):
    user: str
    topic: str


class JoinHandler(cqrs.RequestHandler[Join, Joined]):
    async def handle(self, request: Join) -> Joined:
        payload = Joined(user=request.user)
        event = cqrs.NotificationEvent(event_name="joined", topic=request.topic, payload=payload, key=request.user)
        self.events.append(event)
        return payload


async def test_a_message_is_sent_as_json(kafka: Any) -> None:
    """Made outside of any event loop, it connects with the first message."""
    topic = await kafka.make_topic(1)
    producer = await asyncio.to_thread(kafka_producer_factory, dsn=kafka.bootstrap, topics=["test.topic1"])
    broker = KafkaMessageBroker(producer, aiokafka_log_level="ERROR")
    async with kafka.open_broker() as reader:
        subscription = await kafka.subscribe(reader, topic)
        for payload in ({"id": 1, "текст": "ё"}, b"\xff", [1]):
            await broker.send_message(Message(message_name="m", topic=topic, payload=payload))
        encoded = Message(
            "m", topic, None, payload_bytes=b"pb", content_type="application/protobuf", headers={"a": "1"}
        )
        await broker.send_message(encoded)
        deliveries: list[Any] = []
        while len(deliveries) < 4:
            deliveries += await subscription.receive(10)
    await broker.stop()

    bodies = [delivery.envelope.body for delivery in deliveries]
    assert {"id": 1, "текст": "ё"} == json.loads(bodies[0])
    assert [b"\xff", b"[1]", b"pb"] == bodies[1:]
    assert {"a": "1", "content-type": "application/protobuf"} == deliveries[3].envelope.headers


async def test_a_serializer_of_the_programs_own_is_asked(kafka: Any) -> None:
    topic = await kafka.make_topic(1)
    producer = kafka_producer_factory(kafka.bootstrap, value_serializer=lambda payload: repr(payload).encode())
    async with kafka.open_broker() as reader:
        subscription = await kafka.subscribe(reader, topic)
        await producer.produce(topic, {"a": 1}, {"h": "1"})
        (delivery,) = await subscription.receive(10)
    await producer.stop()

    assert (b"{'a': 1}", {"h": "1"}) == (delivery.envelope.body, delivery.envelope.headers)


async def test_a_mediator_publishes_through_it(kafka: Any) -> None:
    """As in a program of python-cqrs; it is a broker, too."""
    topic = await kafka.make_topic(1)
    broker = KafkaMessageBroker(kafka_producer_factory(dsn=kafka.bootstrap))
    mediator = bootstrap(message_broker=broker, commands_mapper=lambda commands: commands.bind(Join, JoinHandler))
    async with kafka.open_broker() as reader:
        subscription = await kafka.subscribe(reader, topic)
        await mediator.send(Join(user="ada", topic=topic))
        (delivery,) = await subscription.receive(10)
    await broker.stop()

    envelope = delivery.envelope
    assert ("ada", b'{"user":"ada"}', "joined") == (envelope.key, envelope.body, envelope.headers["ce_type"])
    assert uuid.UUID(envelope.id)


async def test_whatever_is_sent_first_starts_it(kafka: Any) -> None:
    """As python-cqrs's producer from the outbox has it: nothing else would."""
    topic = await kafka.make_topic(1)
    brokers = [KafkaMessageBroker(kafka_producer_factory(dsn=kafka.bootstrap)) for _ in range(2)]
    async with kafka.open_broker() as reader:
        subscription = await kafka.subscribe(reader, topic)
        await brokers[0].send(Envelope(topic, b"1"))
        (outcome,) = await brokers[1].send_many([Envelope(topic, b"2")])
        received = [(await subscription.receive(1))[0].envelope.body for _ in range(2)]
    for broker in brokers:
        await broker.stop()

    assert outcome.is_delivered
    assert [b"1", b"2"] == received


async def test_to_a_broker_that_is_away_nothing_is_sent() -> None:
    """And each message is told to be still there."""
    broker = KafkaMessageBroker(kafka_producer_factory("127.0.0.1:1"))
    outcomes = await broker.send_many([Envelope("orders", b"1"), Envelope("orders", b"2")])

    assert [SendStatus.UNAVAILABLE] * 2 == [outcome.status for outcome in outcomes]


def test_it_is_used_on_one_loop_after_the_other(kafka: Any) -> None:
    """A producer that is kept for good survives ``asyncio.run``, if it is stopped before that ends."""
    producer = kafka_producer_factory(dsn=kafka.bootstrap)

    async def main() -> None:
        await producer.produce(await kafka.make_topic(1), {"a": 1})
        await producer.stop()

    asyncio.run(main())
    asyncio.run(main())


async def test_who_has_not_started_a_broker_does_not_stop_it(kafka: Any) -> None:
    """Others may use the same: each producer stops once what it has started, and can be started again."""
    topic = await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        producer = KafkaProducer(broker)
        await producer.stop()
        await broker.send(Envelope(topic, b"1", "key"))
        await producer.start()
        await producer.stop()
        await producer.stop()
        await broker.send(Envelope(topic, b"2", "key"))
        await producer.produce(topic, {"a": 1})
        await producer.stop()
        await broker.send(Envelope(topic, b"3", "key"))


async def test_a_producer_that_is_stopped_while_it_connects_is_stopped(kafka: Any) -> None:
    broker = KafkaBroker(kafka.bootstrap)
    producer = KafkaProducer(broker)
    await asyncio.gather(producer.start(), producer.stop())

    with pytest.raises(BrokerNotStarted):
        await broker.send_many([])


async def test_a_broker_that_is_away_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """As often as was said; nobody listens on that port."""
    producer = kafka_producer_factory("127.0.0.1:1", retry_count=2, retry_delay=0)

    with pytest.raises(BrokerUnavailable):
        await producer.produce("orders", {})

    assert 1 == sum("was not sent, 1 tries are left" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    "options",
    [
        {"retry_count": 0},
        {"retry_delay": -1},
        {"topics": "orders"},
        {"user": "me", "password": "secret"},
        {"security_protocol": "TLS"},
    ],
)
def test_what_means_nothing_is_refused(options: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        kafka_producer_factory("one:9092", **options)

    assert "secret" not in str(caught.value)
