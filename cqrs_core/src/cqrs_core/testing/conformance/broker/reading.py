"""A broker that keeps messages can read a topic from its beginning; what cannot is skipped."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from cqrs_core.broker import readable
from cqrs_core.envelope import Envelope
from cqrs_core.errors import CqrsError, NotReadable
from cqrs_core.testing.conformance.broker.suite import BrokerSuite, bodies, check
from cqrs_core.testing.conformance.running import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cqrs_core.broker import Broker, Delivery, TopicReader


class ReadingChecks(BrokerSuite):
    """``open_reader``, which is optional: looking after dead letters needs it."""

    @check
    async def test_a_reader_begins_with_the_oldest_message(self, broker: Broker) -> None:
        """Whether a group has had it or not, as it was sent; in the order of each key, and nothing twice."""
        topic = await self.new_topic()
        sent = [Envelope(topic, b"%d" % number, f"key-{number % 3}", {"n": str(number)}) for number in range(20)]
        async with self.member(broker, topic) as subscription:
            for envelope in sent:
                await broker.send(envelope)
            await self.consume(subscription, 10)
        async with self._reader(broker, topic) as reader:
            found = await self._read(reader)

        assert sorted(bodies(found), key=int) == [envelope.body for envelope in sent]
        for key in ("key-0", "key-1", "key-2"):
            expected = [envelope for envelope in sent if envelope.key == key]
            assert expected == [delivery.envelope for delivery in found if delivery.envelope.key == key]

    @check
    async def test_a_reader_says_where_a_message_stands_as_a_subscription_does(self, broker: Broker) -> None:
        """The same position, in the same partition, each time."""
        topic = await self.new_topic()
        async with self.member(broker, topic) as subscription:
            for number in range(6):
                await broker.send(Envelope(topic, b"%d" % number, f"key-{number}"))
            received = await self.take(subscription, 6)
            places = [await self._places(broker, topic), await self._places(broker, topic)]

        expected = {(delivery.partition, delivery.position, delivery.envelope.body) for delivery in received}
        assert [expected, expected] == places

    @check
    async def test_at_the_end_a_reader_gives_nothing_and_then_what_has_come_since(self, broker: Broker) -> None:
        """It does not wait; a later call goes on where the last one ended."""
        topic = await self.new_topic()
        async with self._reader(broker, topic) as reader:
            rounds = [bodies(await self._read(reader))]
            for body in (b"1", b"2"):
                await broker.send(Envelope(topic, body, "key"))
                rounds.append(bodies(await self._read(reader)))

        assert [[], [b"1"], [b"2"]] == rounds

    @check
    async def test_a_reader_takes_nothing_from_a_group(self, broker: Broker) -> None:
        """What it has read comes to the group as if nobody had."""
        topic, group = await self.new_topic(), self.new_group()
        async with self.member(broker, topic, group=group):
            await broker.send(Envelope(topic, b"1", "key"))
        async with self._reader(broker, topic) as reader:
            assert [b"1"] == bodies(await self._read(reader))
        async with self.member(broker, topic, group=group) as subscription:
            deliveries = await self.consume(subscription, 1)

        assert [b"1"] == bodies(deliveries)

    @check
    async def test_a_reader_gives_no_more_than_was_asked_for(self, broker: Broker) -> None:
        """At most *limit*; and what was sent where nobody has ever subscribed is there, too."""
        topic = await self.new_topic()
        for number in range(5):
            await broker.send(Envelope(topic, b"%d" % number, "key"))
        async with self._reader(broker, topic) as reader:
            found = [await self._within(reader, limit) for limit in (2, 2, 2)]

        assert [b"0", b"1", b"2", b"3", b"4"] == [body for deliveries in found for body in bodies(deliveries)]
        assert all(len(deliveries) <= 2 for deliveries in found)

    @check
    async def test_a_broker_that_is_not_started_opens_no_reader(self, broker: Broker) -> None:
        """A :class:`CqrsError`, at once."""
        topic = await self.new_topic()
        async with self._reader(broker, topic):
            pass
        await broker.stop()

        with pytest.raises(CqrsError):
            await readable(broker).open_reader(topic)

    @asynccontextmanager
    async def _reader(self, broker: Broker, topic: str) -> AsyncIterator[TopicReader]:
        try:
            able = readable(broker)
        except NotReadable:
            pytest.skip("the broker does not read topics from their beginning")
        reader = await within(
            self.deadline_s, lambda: able.open_reader(topic), failure=lambda: "open_reader() did not return."
        )
        try:
            yield reader
        finally:
            for _ in range(2):
                await within(self.deadline_s, reader.close, failure=lambda: "close() did not return.")

    async def _places(self, broker: Broker, topic: str) -> set[tuple[str, str, bytes]]:
        async with self._reader(broker, topic) as reader:
            found = await self._read(reader)
        return {(delivery.partition, delivery.position, delivery.envelope.body) for delivery in found}

    async def _read(self, reader: TopicReader) -> list[Delivery]:
        """Read to the end."""
        found: list[Delivery] = []
        while deliveries := await self._within(reader, 7):
            found += deliveries
        return found

    async def _within(self, reader: TopicReader, limit: int) -> list[Delivery]:
        found: list[Delivery] = []

        async def read() -> None:
            found.extend(await reader.read(limit))

        await within(self.deadline_s, read, failure=lambda: "read() did not return.")
        return found
