"""A broker that is killed, frozen or not there: nothing is lost, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from typing import Any

import pytest

from cqrs_core.broker import SendStatus, Subscription
from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerUnavailable, OutcomeUnknown
from cqrs_kafka import KafkaBroker, KafkaSettings

KEYS = 20


class Relay:
    """Sends numbered messages of some keys, and again what did not get through, as a relay does; until it is ended."""

    def __init__(self, broker: KafkaBroker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._waiting: list[Envelope] = []
        self._count = 0
        self.delivered = 0
        self.failed = 0
        self.is_ending = False

    async def run(self) -> None:
        while self._waiting or not self.is_ending:
            if not self.is_ending:
                self._waiting += [self._next() for _ in range(100 - len(self._waiting))]
            outcomes = await self._broker.send_many(self._waiting)
            left = [e for e, outcome in zip(self._waiting, outcomes, strict=True) if not outcome.is_delivered]
            self.delivered += len(self._waiting) - len(left)
            self.failed += len(left)
            self._waiting = left

    @property
    def expected(self) -> dict[str | None, list[int]]:
        return {f"key-{key}": list(range(key, self._count, KEYS)) for key in range(KEYS)}

    def _next(self) -> Envelope:
        self._count += 1
        number = self._count - 1
        return Envelope(self._topic, b"%d" % number, f"key-{number % KEYS}")


class Receiver:
    """Receives and acknowledges, whatever happens to the broker; knows by their numbers what comes again."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self.received: dict[str | None, list[int]] = defaultdict(list)
        self.complaints = 0

    async def run(self) -> None:
        while True:
            try:
                deliveries = await self._subscription.receive(100)
            except BrokerUnavailable:
                self.complaints += 1
                continue
            for delivery in deliveries:
                numbers = self.received[delivery.envelope.key]
                number = int(delivery.envelope.body)
                if number not in numbers[-200:]:
                    numbers.append(number)
            await self._subscription.acknowledge(deliveries)

    @property
    def count(self) -> int:
        return sum(map(len, self.received.values()))


async def test_a_broker_killed_under_load_loses_nothing(own: Any) -> None:
    """
    Everything that was sent arrives, for each key in order; what comes again, its consumer knows.

    The relay learns of some messages that it may have them, and sends those again.
    """
    topic = await own.make_topic()
    async with own.open_broker() as broker:
        subscription = await own.subscribe(broker, topic)
        relay, receiver = Relay(broker, topic), Receiver(subscription)
        sending, receiving = asyncio.ensure_future(relay.run()), asyncio.ensure_future(receiver.run())
        await own.until(lambda: relay.delivered > 1000)
        own.kill()
        await own.restart()
        at_restart = relay.delivered
        await own.until(lambda: relay.delivered > at_restart + 1000)
        relay.is_ending = True
        await asyncio.wait_for(sending, 60)
        await own.until(lambda: relay.expected == receiver.received)
        receiving.cancel()


async def test_a_broker_that_is_not_there_at_start_is_told(own: Any) -> None:
    """Soon; and when it is there, the same object starts."""
    own.kill()
    broker = KafkaBroker(own.bootstrap)
    with pytest.raises(BrokerUnavailable, match=f"^Kafka cannot be reached. {own.bootstrap}: .*Connect"):
        await asyncio.wait_for(broker.start(), 15)
    await broker.stop()
    await own.restart()

    await broker.start()
    await broker.send(Envelope(await own.make_topic(), b"1", "key"))
    await broker.stop()


async def test_many_servers_that_do_not_answer_are_asked_together() -> None:
    """Four take connections and say nothing: each is asked while the others are, and given up with them."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("sockname")[1]
        asked.add(port)
        together.append(frozenset(asked))
        with suppress(ConnectionError):
            await reader.read(-1)  # until the other end closes
        asked.discard(port)
        writer.close()

    asked: set[int] = set()
    together: list[frozenset[int]] = []
    listening = [await asyncio.start_server(say_nothing, "127.0.0.1", 0) for _ in range(4)]
    ports = [server.sockets[0].getsockname()[1] for server in listening]
    broker = KafkaBroker(KafkaSettings(servers=tuple(f"127.0.0.1:{port}" for port in ports), unavailable_after_s=1.0))

    with pytest.raises(BrokerUnavailable) as caught:
        await asyncio.wait_for(broker.start(), 30)

    assert frozenset(ports) in together  # one after the other, no two of them
    expected = "; ".join(f"127.0.0.1:{port}: no answer within 1 s" for port in ports)
    assert f"Kafka cannot be reached. {expected}." == str(caught.value)
    for server in listening:
        server.close()


async def test_what_cannot_leave_is_known_not_to_have_arrived(own: Any) -> None:
    """The broker is away: nothing is used up, and the same broker goes on when it is back."""
    topic = await own.make_topic()
    sent = [Envelope(topic, b"%d" % number, f"key-{number}") for number in range(10)]
    async with own.open_broker(unavailable_after_s=1.0) as broker:
        await broker.send_many(sent)
        own.kill()

        outcomes = await broker.send_many(sent)
        with pytest.raises(BrokerUnavailable):
            await broker.send(sent[0])

        assert {SendStatus.UNAVAILABLE} == {outcome.status for outcome in outcomes}
        await own.restart()
        again = await broker.send_many(sent)
        assert {SendStatus.DELIVERED} == {outcome.status for outcome in again}


async def test_what_left_and_was_not_confirmed_may_have_arrived(own: Any) -> None:
    """A broker that is frozen has it, or not; when it goes on, so does sending, in the old order."""
    topic = await own.make_topic(1)
    async with own.open_broker(delivery_timeout_s=1.0, unavailable_after_s=1.0, request_timeout_s=1.0) as broker:
        await broker.send(Envelope(topic, b"first", "key"))
        own.freeze()
        began = time.monotonic()

        with pytest.raises(OutcomeUnknown, match="no answer within 1 s|gave it up with"):
            await broker.send(Envelope(topic, b"unknown", "key"))

        assert 10 > time.monotonic() - began
        own.thaw()
        await until_delivered(broker, Envelope(topic, b"next", "key"))


async def until_delivered(broker: KafkaBroker, envelope: Envelope) -> None:
    for _ in range(30):
        (outcome,) = await broker.send_many([envelope])
        if outcome.is_delivered:
            return
    raise AssertionError(f"never delivered: {outcome}")


async def test_a_frozen_broker_does_not_keep_a_program_from_stopping(own: Any) -> None:
    """With messages under way, and a subscription that has something to commit."""
    topic = await own.make_topic()
    broker = KafkaBroker(own.bootstrap)
    await broker.start()
    subscription = await own.subscribe(broker, topic)
    await broker.send(Envelope(topic, b"1", "key"))
    await subscription.acknowledge(await subscription.receive(10))
    own.freeze()
    sending = asyncio.ensure_future(broker.send_many([Envelope(topic, b"2", f"key-{n}") for n in range(20)]))
    await asyncio.wait({sending}, timeout=1)  # all have left
    began = time.monotonic()

    await broker.stop()

    assert 10 > time.monotonic() - began
    assert {SendStatus.UNKNOWN} == {outcome.status for outcome in await sending}
    own.thaw()


async def test_what_has_not_left_is_called_back(own: Any) -> None:
    """When its sender is cancelled; the next message goes where that one would have been."""
    topic = await own.make_topic(1)
    async with own.open_broker() as broker:
        subscription = await own.subscribe(broker, topic)
        await broker.send(Envelope(topic, b"1", "key"))
        own.kill()
        sending = asyncio.ensure_future(broker.send(Envelope(topic, b"cancelled", "key")))
        await asyncio.wait({sending}, timeout=0.5)
        sending.cancel()
        await own.restart()
        await until_delivered(broker, Envelope(topic, b"2", "key"))
        receiver = Receiver(subscription)
        receiving = asyncio.ensure_future(receiver.run())
        await own.until(lambda: receiver.count == 2)
        receiving.cancel()


async def test_nobody_joins_a_group_of_a_broker_that_is_away(own: Any) -> None:
    """It is told, and not waited for."""
    topic = await own.make_topic()
    async with own.open_broker(unavailable_after_s=1.0) as broker:
        own.kill()
        with pytest.raises(BrokerUnavailable):
            await asyncio.wait_for(own.subscribe(broker, topic), 30)


async def test_who_waits_for_messages_is_told_that_the_broker_is_away(own: Any) -> None:
    """And receives again when it is back: what was not done, and what is new."""
    topic = await own.make_topic(1)
    settings = KafkaSettings(servers=(own.bootstrap,), unavailable_after_s=2.0)
    broker = KafkaBroker(settings)
    await broker.start()
    subscription = await own.subscribe(broker, topic)
    receiver = Receiver(subscription)
    receiving = asyncio.ensure_future(receiver.run())
    await broker.send(Envelope(topic, b"1", "key"))
    await own.until(lambda: receiver.count == 1)
    own.kill()

    await own.until(lambda: receiver.complaints > 0)
    await own.restart()
    await until_delivered(broker, Envelope(topic, b"2", "key"))
    await own.until(lambda: receiver.count == 2)

    receiving.cancel()
    await broker.stop()
