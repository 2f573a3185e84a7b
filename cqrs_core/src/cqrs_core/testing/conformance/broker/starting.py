"""A broker is started and stopped, in any order and more than once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cqrs_core.envelope import Envelope
from cqrs_core.errors import CqrsError
from cqrs_core.testing.conformance.broker.suite import BrokerSuite, bodies, check

if TYPE_CHECKING:
    from cqrs_core.broker import Broker


class StartingChecks(BrokerSuite):
    """Start and stop."""

    @check
    async def test_stop_may_be_called_twice(self, broker: Broker) -> None:
        """Who stops a broker that is not started, because it failed to start perhaps, gets no error."""
        await broker.stop()
        await broker.stop()

    @check
    async def test_a_stopped_broker_can_be_started_again(self, broker: Broker) -> None:
        """It does all that it did before."""
        await broker.stop()
        await broker.start()
        topic = await self.new_topic()
        async with self.member(broker, topic) as subscription:
            await broker.send(Envelope(topic, b"1", "key"))
            deliveries = await self.consume(subscription, 1)

        assert [b"1"] == bodies(deliveries)

    @check
    async def test_using_a_broker_that_is_not_started_is_an_error(self, broker: Broker) -> None:
        """A :class:`CqrsError`, at once: it neither starts by itself nor waits for somebody to start it."""
        topic = await self.new_topic()
        await broker.stop()

        with pytest.raises(CqrsError):
            await broker.send(Envelope(topic, b"1", "key"))
        with pytest.raises(CqrsError):
            async with self.member(broker, topic):
                pass

    @check
    async def test_a_durable_broker_keeps_messages_while_it_is_stopped(self, broker: Broker) -> None:
        """What was acknowledged is done, and the rest comes again; brokers that are not durable promise nothing."""
        if not broker.is_durable:
            pytest.skip("the broker is not durable")
        topic, group = await self.new_topic(), self.new_group()
        async with self.member(broker, topic, group=group) as subscription:
            for body in (b"done", b"received", b"waiting"):
                await broker.send(Envelope(topic, body, "key"))
            deliveries = await self.take(subscription, 2)
            await subscription.acknowledge(deliveries[:1])
        await broker.stop()
        await broker.start()
        async with self.member(broker, topic, group=group) as subscription:
            deliveries = await self.consume(subscription, 2)

        assert [b"received", b"waiting"] == bodies(deliveries)
