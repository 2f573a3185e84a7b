"""Groups each get everything; the members of one share it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cqrs_core.concurrency import open_task_group
from cqrs_core.envelope import Envelope
from cqrs_core.testing.conformance.broker.suite import BrokerSuite, bodies, check

if TYPE_CHECKING:
    from collections.abc import Collection

    from cqrs_core.broker import Broker, Delivery, Subscription


class SharingChecks(BrokerSuite):
    """Who receives what."""

    @check
    async def test_each_group_gets_everything(self, broker: Broker) -> None:
        """What one group does with a message is nothing to another."""
        topic = await self.new_topic()
        sent = [b"%d" % number for number in range(5)]
        async with self.member(broker, topic) as one, self.member(broker, topic) as other:
            for body in sent:
                await broker.send(Envelope(topic, body, "key"))
            by_one = await self.consume(one, 5)
            by_other = await self.consume(other, 5)

        assert (sent, sent) == (bodies(by_one), bodies(by_other))

    @check
    async def test_a_new_group_gets_what_is_sent_from_then_on(self, broker: Broker) -> None:
        """What was sent before a group existed is not for it, even if others have not received it yet."""
        topic = await self.new_topic()
        async with self.member(broker, topic) as old:
            await broker.send(Envelope(topic, b"before", "key"))
            async with self.member(broker, topic) as new:
                await broker.send(Envelope(topic, b"after", "key"))
                by_new = await self.consume(new, 1)
            by_old = await self.consume(old, 2)

        assert [b"after"] == bodies(by_new)
        assert [b"before", b"after"] == bodies(by_old)

    @check
    async def test_a_group_gets_what_was_sent_while_nobody_was_there(self, broker: Broker) -> None:
        """A group outlives its members: whoever comes next receives what came meanwhile."""
        topic, group = await self.new_topic(), self.new_group()
        async with self.member(broker, topic, group=group):
            pass
        await broker.send(Envelope(topic, b"meanwhile", "key"))
        async with self.member(broker, topic, group=group) as subscription:
            deliveries = await self.consume(subscription, 1)

        assert [b"meanwhile"] == bodies(deliveries)

    @check
    async def test_members_of_a_group_share_its_messages(self, broker: Broker) -> None:
        """Each message reaches one of them, and none has to go without for ever."""
        topic, group = await self.new_topic(), self.new_group()
        async with (
            self.member(broker, topic, group=group) as one,
            self.member(broker, topic, group=group) as other,
        ):
            received: list[Delivery] = []
            shared_by: set[int] = set()
            rounds = 0
            # It may take a broker some time to let the second one in.
            while len(shared_by) < 2:
                sent = [b"%d-%d" % (rounds, number) for number in range(20)]
                rounds += 1
                for body in sent:
                    await broker.send(Envelope(topic, body, body.decode()))
                shares = await self.consume_shared([one, other], until=partial(_has_received, sent))
                received += [delivery for share in shares for delivery in share]
                shared_by |= {index for index, share in enumerate(shares) if share}

        expected = [b"%d-%d" % (number, index) for number in range(rounds) for index in range(20)]
        assert sorted(expected) == sorted(bodies(received))

    @check
    async def test_a_partition_goes_to_a_new_member_after_its_owner_was_told(self, broker: Broker) -> None:
        """``on_revoked`` is awaited first; then what was not acknowledged comes to the new member, in order."""
        story = await self._hand_over(broker)

        assert story.was_told_first
        assert story.expected == story.by_second

    @check
    async def test_acknowledging_what_was_taken_away_does_nothing(self, broker: Broker) -> None:
        """It is no error, and the message is not done: when its new receiver leaves too, it comes once more."""
        story = await self._hand_over(broker)

        assert story.expected == story.by_third

    async def _hand_over(self, broker: Broker) -> _HandOver:
        """Give a partition of one member to a second, whose messages the first acknowledges; then to a third."""
        topic, group = await self.new_topic(), self.new_group()
        revoked: list[str] = []

        async def on_revoked(partitions: Collection[str]) -> None:
            revoked.extend(partitions)

        async with self.member(broker, topic, group=group, on_revoked=on_revoked) as first:
            for number in range(40):
                await broker.send(Envelope(topic, b"%d" % number, f"key-{number % 20}"))
            by_first = {delivery.position: delivery for delivery in await self.take(first, 40)}
            async with open_task_group() as tasks:
                # Some brokers tell a member when it asks for messages, and none is asked for by those that wait.
                tasks.start(partial(_receive_for_ever, first))
                async with self.member(broker, topic, group=group) as second:
                    by_second = await self.take(second, 1)
                    gone = by_first[by_second[0].position].partition
                    was_told_first = gone in revoked
                    expected = [delivery for delivery in by_first.values() if delivery.partition == gone]
                    positions = {delivery.position for delivery in expected}
                    while len(_at(positions, by_second)) < len(expected):
                        by_second += await self.take(second, 1)
                    await first.acknowledge(expected)
                tasks.cancel()
        async with self.member(broker, topic, group=group) as third:
            by_third = await self.take(third, 40)
        return _HandOver(was_told_first, bodies(expected), _at(positions, by_second), _at(positions, by_third))


class _HandOver(NamedTuple):
    was_told_first: bool
    expected: list[bytes]
    by_second: list[bytes]
    by_third: list[bytes]


def _at(positions: Collection[str], deliveries: Collection[Delivery]) -> list[bytes]:
    return bodies([delivery for delivery in deliveries if delivery.position in positions])


def _has_received(sent: Collection[bytes], shares: Collection[Collection[Delivery]]) -> bool:
    return set(sent) <= {body for share in shares for body in bodies(share)}


async def _receive_for_ever(subscription: Subscription) -> None:
    while True:
        await subscription.receive(10)
