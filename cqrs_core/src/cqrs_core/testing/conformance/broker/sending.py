"""``send_many`` tells of each message what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cqrs_core.broker import SendStatus
from cqrs_core.concurrency import open_task_group, sleep
from cqrs_core.envelope import Envelope
from cqrs_core.errors import MessageRefused
from cqrs_core.testing.conformance.broker.suite import BrokerSuite, bodies, check
from cqrs_core.testing.conformance.running import within

if TYPE_CHECKING:
    from cqrs_core.broker import Broker


class SendingChecks(BrokerSuite):
    """Outcomes."""

    @check
    async def test_send_many_gives_one_outcome_each(self, broker: Broker) -> None:
        """In the order of the messages, whatever topics they go to."""
        topics = [await self.new_topic(), await self.new_topic()]
        sent = [Envelope(topics[number % 2], b"%d" % number, f"key-{number % 3}") for number in range(20)]
        async with self.member(broker, *topics) as subscription:
            outcomes, deliveries = await self.send_many(broker, sent, subscription, expected=20)

        assert [SendStatus.DELIVERED] * 20 == [outcome.status for outcome in outcomes]
        assert sorted(envelope.body for envelope in sent) == sorted(bodies(deliveries))

    @check
    async def test_send_many_of_nothing_answers_nothing(self, broker: Broker) -> None:
        """It is no error."""
        outcomes = await within(
            self.deadline_s, lambda: _send_nothing(broker), failure=lambda: "send_many([]) did not return."
        )

        assert 0 == outcomes

    @check
    async def test_send_refuses_what_the_broker_cannot_take(self, broker: Broker) -> None:
        """:class:`MessageRefused` names the topic; sending others goes on."""
        topic = await self.new_topic()
        async with self.member(broker, topic) as subscription:
            with pytest.raises(MessageRefused) as caught:
                await broker.send(self.unsendable(topic, "key"))
            await broker.send(Envelope(topic, b"next", "key"))
            deliveries = await self.consume(subscription, 1)

        assert topic == caught.value.topic
        assert [b"next"] == bodies(deliveries)

    @check
    async def test_a_refused_message_holds_back_its_key_and_nothing_else(self, broker: Broker) -> None:
        """
        The others of the call pass, with the reason for the one that failed in its outcome.

        Later ones of its key are not sent if the broker ``keeps_order_after_failure``; otherwise they may be. What the
        outcomes say is what consumers see.
        """
        topic = await self.new_topic()
        sent = [
            Envelope(topic, b"bad 1", "bad"),
            self.unsendable(topic, "bad"),
            Envelope(topic, b"bad 2", "bad"),
            Envelope(topic, b"good 1", "good"),
            Envelope(topic, b"none", None),
            Envelope(topic, b"good 2", "good"),
        ]
        after_failure = SendStatus.NOT_SENT if broker.keeps_order_after_failure else SendStatus.DELIVERED
        expected = [sent[0], sent[3], sent[4], sent[5]] + [sent[2]] * (not broker.keeps_order_after_failure)
        async with self.member(broker, topic) as subscription:
            outcomes, deliveries = await self.send_many(broker, sent, subscription, expected=len(expected))
            for key in ("bad", "good"):  # nothing else is on its way
                await broker.send(Envelope(topic, b"end", key))
            ends = await self.consume(subscription, 2)

        delivered = SendStatus.DELIVERED
        assert [delivered, after_failure, delivered, delivered, delivered] == [
            outcome.status for index, outcome in enumerate(outcomes) if index != 1
        ]
        assert outcomes[1].status in {SendStatus.REFUSED, SendStatus.PERMANENT}
        assert outcomes[1].error is not None
        assert sorted(envelope.body for envelope in expected) == sorted(bodies(deliveries))
        assert [b"end", b"end"] == bodies(ends)

    @check
    async def test_send_many_answers_when_the_messages_are_safe(self, broker: Broker) -> None:
        """A durable broker needs no consumer for that; one that is not durable waits until it has acknowledged."""
        topic, group = await self.new_topic(), self.new_group()
        answers: list[SendStatus] = []

        async def send() -> None:
            answers.extend(outcome.status for outcome in await broker.send_many([Envelope(topic, b"1", "key")]))

        if broker.is_durable:
            await within(self.deadline_s, send, failure=lambda: "It is durable, but waits for a consumer.")
        else:
            async with self.member(broker, topic, group=group) as subscription, open_task_group() as tasks:
                tasks.start(send)
                deliveries = await self.take(subscription, 1)
                for _ in range(20):
                    await sleep(0)
                assert not answers, "It is not durable, but answers before the message is acknowledged."
                await subscription.acknowledge(deliveries)

        assert [SendStatus.DELIVERED] == answers


async def _send_nothing(broker: Broker) -> int:
    return len(await broker.send_many([]))
