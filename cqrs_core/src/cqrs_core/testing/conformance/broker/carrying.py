"""A broker carries messages as they are, and in order."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from cqrs_core.envelope import Envelope
from cqrs_core.testing.conformance.broker.suite import BrokerSuite, check

if TYPE_CHECKING:
    from cqrs_core.broker import Broker

#: What nobody can decode, in the form that an envelope has it.
_NO_TEXT = b"\xff\x00\xfe".decode("utf-8", "surrogateescape")


class CarryingChecks(BrokerSuite):
    """What arrives is what was sent."""

    @check
    async def test_bodies_keys_and_headers_survive(self, broker: Broker) -> None:
        """What is received equals what was sent, byte for byte, whatever the bytes, and whatever is left out."""
        topic = await self.new_topic()
        sent = [
            Envelope(topic, b'{"id": 1}', "order-1", {"ce_id": "1", "traceparent": "00-ab-cd-01"}),
            Envelope(topic, bytes(range(256)), "ключ", {"имя": "значение", "empty": ""}),
            Envelope(topic, b"", _NO_TEXT, {"not text": _NO_TEXT}),
            Envelope(topic, b"\n\r\n", ""),
            Envelope(topic, b"\x00", None, {"key": "None is not the empty key"}),
        ]
        async with self.member(broker, topic) as subscription:
            for envelope in sent:
                await broker.send(envelope)
            received = {delivery.envelope.body: delivery.envelope for delivery in await self.consume(subscription, 5)}

        assert {envelope.body: envelope for envelope in sent} == received

    @check
    async def test_equal_messages_are_different_messages(self, broker: Broker) -> None:
        """Nothing is taken for a repetition; each message has a position of its own, and comes for the first time."""
        topic = await self.new_topic()
        async with self.member(broker, topic) as subscription:
            for _ in range(3):
                await broker.send(Envelope(topic, b"same", "key", {"ce_id": "same"}))
            deliveries = await self.consume(subscription, 3)

        assert 3 == len({delivery.position for delivery in deliveries})
        assert [1, 1, 1] == [delivery.attempt for delivery in deliveries]

    @check
    async def test_messages_of_a_key_come_in_order(self, broker: Broker) -> None:
        """Those of one topic and key are received in the order in which they were sent, and in one partition."""
        topic = await self.new_topic()
        keys = [f"key-{number}" for number in range(20)]
        async with self.member(broker, topic) as subscription:
            for number in range(0, 10, 2):
                for key in keys:  # in between others, and right behind each other
                    await broker.send(Envelope(topic, b"%d" % number, key))
                    await broker.send(Envelope(topic, b"%d" % (number + 1), key))
            received = defaultdict(list)
            partitions = defaultdict(set)
            for delivery in await self.consume(subscription, 200):
                received[delivery.envelope.key].append(int(delivery.envelope.body))
                partitions[delivery.envelope.key].add(delivery.partition)

        assert {key: list(range(10)) for key in keys} == received
        assert dict.fromkeys(keys, 1) == {key: len(names) for key, names in partitions.items()}

    @check
    async def test_send_many_keeps_the_order_of_a_key(self, broker: Broker) -> None:
        """However many are on their way at once."""
        topic = await self.new_topic()
        sent = [Envelope(topic, b"%d" % number, f"key-{number % 3}") for number in range(60)]
        async with self.member(broker, topic) as subscription:
            _, deliveries = await self.send_many(broker, sent, subscription, expected=60)

        received: dict[str | None, list[int]] = defaultdict(list)
        for delivery in deliveries:
            received[delivery.envelope.key].append(int(delivery.envelope.body))
        assert {f"key-{rest}": list(range(rest, 60, 3)) for rest in range(3)} == received

    @check
    async def test_one_subscription_may_have_several_topics(self, broker: Broker) -> None:
        """What it receives says where it comes from, in the envelope, and its partitions have different names."""
        topics = [await self.new_topic(), await self.new_topic()]
        async with self.member(broker, *topics) as subscription:
            for topic in topics:
                await broker.send(Envelope(topic, b"1", "key"))
            deliveries = await self.consume(subscription, 2)

        assert set(topics) == {delivery.envelope.topic for delivery in deliveries}
        assert 2 == len({delivery.partition for delivery in deliveries})
