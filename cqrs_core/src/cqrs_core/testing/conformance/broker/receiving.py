"""A member of a group receives what it has not acknowledged again, and nothing else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from cqrs_core.concurrency import open_task_group, sleep
from cqrs_core.envelope import Envelope
from cqrs_core.testing.conformance.broker.suite import BrokerSuite, bodies, check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cqrs_core.broker import Broker, Delivery, Subscription


class ReceivingChecks(BrokerSuite):
    """Receiving, acknowledging, pausing."""

    @check
    async def test_receive_gives_no_more_than_was_asked_for(self, broker: Broker) -> None:
        """At least one message, and at most *limit*."""
        topic = await self.new_topic()
        async with self.member(broker, topic) as subscription:
            for number in range(7):
                await broker.send(Envelope(topic, b"%d" % number, f"key-{number}"))
            sizes: list[int] = []
            while sum(sizes) < 7:
                sizes.append(len(await subscription.receive(2)))

        assert {1, 2} >= set(sizes)

    @check
    async def test_what_was_not_acknowledged_comes_again(self, broker: Broker) -> None:
        """After its receiver has left, in the same order, at the same positions; ``attempt`` counts, or stays 1."""
        topic, group = await self.new_topic(), self.new_group()
        async with self.member(broker, topic, group=group) as subscription:
            for number in range(5):
                await broker.send(Envelope(topic, b"%d" % number, "key", {"ce_id": f"id-{number}"}))
            first = await self.take(subscription, 5)
        async with self.member(broker, topic, group=group) as subscription:
            second = await self.consume(subscription, 5)

        assert [b"0", b"1", b"2", b"3", b"4"] == bodies(first)
        assert [(delivery.position, delivery.envelope) for delivery in first] == [
            (delivery.position, delivery.envelope) for delivery in second
        ]
        assert {1, 2} >= {delivery.attempt for delivery in second}

    @check
    async def test_what_was_acknowledged_does_not_come_again(self, broker: Broker) -> None:
        """Not to those who come to the group later, either."""
        topic, group = await self.new_topic(), self.new_group()
        async with self.member(broker, topic, group=group) as subscription:
            await broker.send(Envelope(topic, b"old", "key"))
            await self.consume(subscription, 1)
        async with self.member(broker, topic, group=group) as subscription:
            await broker.send(Envelope(topic, b"new", "key"))
            deliveries = await self.consume(subscription, 1)

        assert [b"new"] == bodies(deliveries)

    @check
    async def test_acknowledging_one_does_not_acknowledge_those_before_it(self, broker: Broker) -> None:
        """Acknowledgements come in any order. What was left out comes again; what follows it may."""
        topic, group = await self.new_topic(), self.new_group()
        async with self.member(broker, topic, group=group) as subscription:
            for body in (b"first", b"second"):
                await broker.send(Envelope(topic, body, "key"))
            await subscription.acknowledge((await self.take(subscription, 2))[1:])
        async with self.member(broker, topic, group=group) as subscription:
            deliveries = await self.consume(subscription, 1)

        assert [b"first"] == bodies(deliveries)

    @check
    async def test_acknowledging_backwards_acknowledges_all(self, broker: Broker) -> None:
        """One call each, the last message first: when all are acknowledged, none comes again."""
        topic, group = await self.new_topic(), self.new_group()
        async with self.member(broker, topic, group=group) as subscription:
            for number in range(5):
                await broker.send(Envelope(topic, b"%d" % number, "key"))
            for delivery in reversed(await self.take(subscription, 5)):
                await subscription.acknowledge([delivery])
        async with self.member(broker, topic, group=group) as subscription:
            await broker.send(Envelope(topic, b"new", "key"))
            deliveries = await self.consume(subscription, 1)

        assert [b"new"] == bodies(deliveries)

    @check
    async def test_lag_tells_what_is_not_acknowledged(self, broker: Broker) -> None:
        """Where a subscription has it: by its partitions, received or not; and nothing of what it has no more."""
        topic = await self.new_topic()
        lags: list[int] = []
        async with self.member(broker, topic) as subscription:
            lag: Callable[[], Mapping[str, int]] | None = getattr(subscription, "lag", None)
            if lag is None:
                pytest.skip("its subscriptions do not tell how much is not done")
            for number in range(5):
                await broker.send(Envelope(topic, b"%d" % number, f"key-{number}"))
            deliveries = await self.take(subscription, 5)
            for done in (deliveries[:0], deliveries[:2], deliveries[2:]):
                await subscription.acknowledge(done)
                lags.append(sum(lag().values()))
            names = set(lag())

        assert [5, 3, 0] == lags
        assert {delivery.partition for delivery in deliveries} <= names
        assert {} == lag()

    @check
    async def test_pause_holds_a_partition_back(self, broker: Broker) -> None:
        """Nothing of a paused partition is received, while others go on; after resuming it comes, and is not lost."""
        held, other = await self.new_topic(), await self.new_topic()
        async with self.member(broker, held, other) as subscription:
            await broker.send(Envelope(held, b"before", "key"))
            (delivery,) = await self.consume(subscription, 1)
            subscription.pause(delivery.partition)
            await broker.send(Envelope(held, b"held", "key"))
            meanwhile = []
            for number in range(5):  # one after the other, so that "held" has time to come by mistake
                await broker.send(Envelope(other, b"%d" % number, "key"))
                meanwhile += await self.consume(subscription, 1)
            subscription.resume(delivery.partition)
            after = await self.consume(subscription, 1)

        assert [b"0", b"1", b"2", b"3", b"4"] == bodies(meanwhile)
        assert [b"held"] == bodies(after)

    @check
    async def test_pause_and_resume_may_be_called_at_any_time(self, broker: Broker) -> None:
        """Twice, without the other, and for a partition that the subscription does not have: nothing happens."""
        topic = await self.new_topic()
        async with self.member(broker, topic) as subscription:
            await broker.send(Envelope(topic, b"1", "key"))
            (delivery,) = await self.consume(subscription, 1)
            subscription.resume(delivery.partition)
            subscription.pause("no such partition")
            subscription.resume("no such partition")
            subscription.pause(delivery.partition)
            subscription.pause(delivery.partition)
            subscription.resume(delivery.partition)
            await broker.send(Envelope(topic, b"2", "key"))
            deliveries = await self.consume(subscription, 1)

        assert [b"2"] == bodies(deliveries)

    @check
    async def test_cancelling_receive_loses_nothing(self, broker: Broker) -> None:
        """Whenever it is cancelled, before a message comes or as it comes, the next call gives what was not given."""
        topic = await self.new_topic()
        received: list[Delivery] = []
        async with self.member(broker, topic) as subscription:
            for number in range(30):
                async with open_task_group() as tasks:
                    tasks.start(partial(_receive_into, received, subscription))
                    for _ in range(number % 5):
                        await sleep(0)
                    await broker.send(Envelope(topic, b"%d" % number, "key"))
                    for _ in range(number % 7):
                        await sleep(0)
                    tasks.cancel()
            received += await self.take(subscription, 30 - len(received))

        assert [b"%d" % number for number in range(30)] == bodies(received)


async def _receive_into(received: list[Delivery], subscription: Subscription) -> None:
    received += await subscription.receive(10)
