"""What is special about the memory broker; what every broker does is checked in tests/conformance."""

from __future__ import annotations

import logging
import random
import uuid
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from zlib import crc32

import anyio
import pytest

from cqrs_core.broker import Delivery, OnRevoked, SendOutcome, SendStatus
from cqrs_core.context import CurrentMessage, Handling, being_handled
from cqrs_core.envelope import Envelope
from cqrs_core.errors import (
    BrokerNotStarted,
    BrokerUnavailable,
    InvalidOption,
    MessageRefused,
    OutcomeUnknown,
    SubscriptionClosed,
)
from cqrs_core.memory import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Iterator

    from cqrs_core.memory.subscriptions import MemorySubscription


async def nothing(partitions: Collection[str]) -> None:
    """Nobody minds."""


@asynccontextmanager
async def started(**options: int) -> AsyncIterator[MemoryBroker]:
    broker = MemoryBroker(**options)
    await broker.start()
    yield broker
    await broker.stop()


async def join(
    broker: MemoryBroker, *topics: str, group: str = "group", on_revoked: OnRevoked = nothing
) -> MemorySubscription:
    return await broker.subscribe(topics or ("orders",), group=group, on_revoked=on_revoked)


def message(body: str, key: str | None = "key", topic: str = "orders") -> Envelope:
    return Envelope(topic, body.encode(), key)


def texts(deliveries: Iterable[Delivery]) -> list[str]:
    return [delivery.envelope.body.decode() for delivery in deliveries]


@contextmanager
def handling_a_message() -> Iterator[None]:
    """As the consumer does it around a handler."""
    token = being_handled.set(
        Handling((CurrentMessage(uuid.uuid4(), "Ordered", "orders", "group", None, {}, "", None, 1),))
    )
    try:
        yield
    finally:
        being_handled.reset(token)


async def give_up(work: Callable[[], Awaitable[object]]) -> None:
    """Begin *work*, and cancel it when it waits."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()


async def receive_now(subscription: MemorySubscription, limit: int) -> list[Delivery]:
    """Receive if there is something, and do not wait if there is nothing."""
    deliveries: list[Delivery] = []

    async def receive() -> None:
        deliveries.extend(await subscription.receive(limit))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    return deliveries


async def drain(subscription: MemorySubscription) -> list[Delivery]:
    """Receive what there is, until there is nothing."""
    deliveries: list[Delivery] = []

    async def receive() -> None:
        while True:
            deliveries.extend(await subscription.receive(100))

    await give_up(receive)
    return deliveries


# Options -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["partitions", "max_waiting", "max_message_bytes"])
def test_an_option_less_than_one_is_refused(option: str) -> None:
    options = {option: 0}
    with pytest.raises(InvalidOption, match=rf"^{option} is 0\. It must be at least 1\.$"):
        MemoryBroker(**options)
    with pytest.raises(InvalidOption, match=rf"^{option} is 0\."):
        MemoryBroker.from_url("memory://", **options)


@pytest.mark.parametrize("address", ["", "memory://"])
def test_a_url_names_nothing_but_the_kind(address: str) -> None:
    """Options come beside it."""
    broker = MemoryBroker.from_url(address, partitions=2, max_waiting=3)

    assert "MemoryBroker(partitions=2, max_waiting=3)" == repr(broker)


@pytest.mark.parametrize("address", ["memory://localhost", "memory:///orders", "memory", "kafka://localhost"])
def test_a_url_with_more_in_it_is_refused(address: str) -> None:
    """Somebody believes that it leads somewhere."""
    with pytest.raises(InvalidOption, match="It must be 'memory://' and no more"):
        MemoryBroker.from_url(address)


@pytest.mark.parametrize("topics", ["orders", [], ()])
async def test_topics_are_a_collection_of_at_least_one(topics: Collection[str]) -> None:
    """A single string is a collection, of its letters: nobody wants that."""
    async with started() as broker:
        with pytest.raises(InvalidOption, match="a collection of at least one name"):
            await broker.subscribe(topics, group="group", on_revoked=nothing)


async def test_a_limit_less_than_one_is_refused() -> None:
    async with started() as broker:
        subscription = await join(broker)
        with pytest.raises(InvalidOption, match=r"^limit is 0"):
            await subscription.receive(0)


# Start and stop ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda broker: broker.send(message("1")),
        lambda broker: broker.send_many([message("1")]),
        lambda broker: broker.subscribe(["orders"], group="group", on_revoked=nothing),
    ],
)
async def test_a_broker_that_is_not_started_says_so(use: Callable[[MemoryBroker], Awaitable[object]]) -> None:
    """Before the first start, and after the last stop."""
    broker = MemoryBroker()
    with pytest.raises(BrokerNotStarted, match=r"^MemoryBroker\(.*\) is not started"):
        await use(broker)
    await broker.start()
    await broker.stop()
    with pytest.raises(BrokerNotStarted):
        await use(broker)


async def test_it_runs_as_long_as_one_of_those_that_started_it() -> None:
    """Several Apps of one process may share one broker."""
    broker = MemoryBroker()
    await broker.start()
    await broker.start()
    subscription = await join(broker)
    await broker.send(message("1"))
    await broker.stop()

    assert ["1"] == texts(await subscription.receive(1))
    await broker.stop()
    with pytest.raises(BrokerNotStarted):
        await broker.send(message("2"))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_can_be_used_on_one_loop_after_the_other(backend: str) -> None:
    """Nothing of the first is left, not even if its tasks were waiting when it ended."""
    broker = MemoryBroker(max_waiting=1)

    async def main() -> None:
        await broker.start()
        subscription = await join(broker)
        await give_up(partial(subscription.receive, 1))
        await give_up(partial(broker.send_many, [message("1"), message("2")]))
        await broker.stop()

    for _ in range(2):
        anyio.run(main, backend=backend)


def test_no_loop_is_needed_where_nothing_waits() -> None:
    """A program without asyncio or trio may start it, send and stop."""

    def run(coroutine: Coroutine[Any, Any, Any]) -> object:
        with pytest.raises(StopIteration) as ended:
            coroutine.send(None)
        return ended.value.value

    broker = MemoryBroker()
    run(broker.start())
    run(broker.send(message("1")))
    assert [SendOutcome(SendStatus.DELIVERED)] == run(broker.send_many([message("2")]))
    run(join(broker))
    run(broker.send(message("3")))
    run(broker.stop())


# Topics and partitions -----------------------------------------------------------------------------------------------


async def test_a_topic_nobody_subscribes_to_keeps_nothing_and_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    """The message is gone, which counts as delivered; the warning says what to do."""
    async with started() as broker:
        with caplog.at_level(logging.WARNING, "cqrs_core"):
            await broker.send(message("1"))
            outcomes = await broker.send_many([message("2"), message("3", topic="other")])
        subscription = await join(broker)
        await broker.send(message("4"))
        deliveries = await subscription.receive(10)

    assert [SendStatus.DELIVERED, SendStatus.DELIVERED] == [outcome.status for outcome in outcomes]
    assert ["orders", "other"] == [record.topic for record in caplog.records]  # type: ignore[attr-defined] # extra
    assert "Subscribe before sending" in caplog.text
    assert ["4"] == texts(deliveries)


async def test_partitions_and_positions_are_numbered() -> None:
    """Messages without a key go round; a position is its partition's number and what came there before it."""
    async with started(partitions=3) as broker:
        subscription = await join(broker)
        for number in range(6):
            await broker.send(message(str(number), key=None))
        deliveries = await subscription.receive(6)

    assert {"0": "0/0", "1": "1/0", "2": "2/0", "3": "0/1", "4": "1/1", "5": "2/1"} == {
        delivery.envelope.body.decode(): delivery.position for delivery in deliveries
    }
    assert {"orders/0", "orders/1", "orders/2"} == {delivery.partition for delivery in deliveries}


async def test_a_key_goes_to_the_same_partition_in_every_process() -> None:
    """It does not depend on the seed of hash(): what fails in one run fails in the next."""
    keys = ["", "key-1", "ключ", b"\xff".decode("utf-8", "surrogateescape")]
    async with started(partitions=4) as broker:
        subscription = await join(broker)
        for key in keys:
            await broker.send(message("", key))
        partitions = {delivery.envelope.key: delivery.partition for delivery in await drain(subscription)}

    assert {key: f"orders/{crc32(key.encode('utf-8', 'surrogateescape')) % 4}" for key in keys} == partitions


async def test_no_partition_has_to_wait_for_another_to_be_empty() -> None:
    """Each gets its part of a call, and the one that was first is last the next time."""
    async with started(partitions=4) as broker:
        subscription = await join(broker)
        for number in range(80):
            await broker.send(message(str(number), key=None))
        together = await subscription.receive(8)
        one_by_one = [delivery for _ in range(8) for delivery in await subscription.receive(1)]

    twice_each = {"orders/0": 2, "orders/1": 2, "orders/2": 2, "orders/3": 2}
    assert twice_each == Counter(delivery.partition for delivery in together)
    assert twice_each == Counter(delivery.partition for delivery in one_by_one)


async def test_a_message_that_is_too_long_is_refused_for_good() -> None:
    """Later ones of its topic and key in the same call are not sent; without a key, there is no order to keep."""
    sent = [
        message("123456"),
        message("late"),
        message("123456", None),
        message("1", None),
        message("2", topic="other"),
    ]
    async with started(max_message_bytes=5) as broker:
        with pytest.raises(MessageRefused, match=r"its body has 6 bytes, and this memory broker takes 5") as caught:
            await broker.send(sent[0])
        outcomes = await broker.send_many(sent)

    assert caught.value.is_permanent
    assert [
        SendStatus.PERMANENT,
        SendStatus.NOT_SENT,
        SendStatus.PERMANENT,
        SendStatus.DELIVERED,
        SendStatus.DELIVERED,
    ] == [outcome.status for outcome in outcomes]
    assert isinstance(outcomes[0].error, MessageRefused)


# Back pressure -------------------------------------------------------------------------------------------------------


async def test_a_full_group_holds_senders_back_in_their_order() -> None:
    """Each acknowledgement makes room for the one that has waited longest, whoever comes meanwhile."""
    sent: list[str] = []

    async def send(body: str) -> None:
        await broker.send(message(body, key=None))
        sent.append(body)

    async with started(max_waiting=2) as broker, anyio.create_task_group() as tasks:
        subscription = await join(broker)
        for number in range(5):
            tasks.start_soon(send, str(number))
            await anyio.wait_all_tasks_blocked()
        assert ["0", "1"] == sent
        received: list[str] = []
        while len(received) < 5:
            deliveries = await subscription.receive(1)
            received += texts(deliveries)
            await subscription.acknowledge(deliveries)
            await anyio.wait_all_tasks_blocked()
            assert min(5, 2 + len(received)) == len(sent)

    assert ["0", "1", "2", "3", "4"] == sent


async def test_acknowledging_twice_makes_room_once() -> None:
    """The second time there is nothing to acknowledge, and that is no error."""
    async with started(max_waiting=2) as broker:
        subscription = await join(broker)
        await broker.send(message("1"))
        await broker.send(message("2"))
        (first,) = await subscription.receive(1)
        await subscription.acknowledge([first])
        await subscription.acknowledge([first, first])
        await broker.send(message("3"))
        await give_up(partial(broker.send, message("no room")))

        assert ["2", "3"] == texts(await drain(subscription))


async def test_the_slowest_group_sets_the_pace() -> None:
    """One group that has done its work does not make room in another."""
    async with started(max_waiting=1) as broker, anyio.create_task_group() as tasks:
        quick, slow = await join(broker, group="quick"), await join(broker, group="slow")
        await broker.send(message("1"))
        tasks.start_soon(broker.send, message("2"))
        await quick.acknowledge(await quick.receive(1))
        assert [] == await drain(quick)
        await slow.acknowledge(await slow.receive(1))

        assert ["2"] == texts(await quick.receive(1))


async def test_a_sender_that_gives_up_has_not_sent() -> None:
    """Those behind it move up."""
    async with started(max_waiting=1) as broker, anyio.create_task_group() as tasks:
        subscription = await join(broker)
        await broker.send(message("1"))
        await give_up(partial(broker.send, message("given up")))
        tasks.start_soon(broker.send, message("2"))
        await anyio.wait_all_tasks_blocked()
        await subscription.acknowledge(await subscription.receive(1))

        assert ["2"] == texts(await subscription.receive(1))


async def test_who_handles_a_message_is_never_held_back() -> None:
    """It would wait for itself: only when it has finished is its own message acknowledged."""
    async with started(max_waiting=1) as broker:
        subscription = await join(broker)
        await broker.send(message("1"))
        deliveries = await subscription.receive(1)
        with handling_a_message():
            await broker.send(message("2"))
            await broker.send(message("3"))
        await subscription.acknowledge(deliveries)

        assert ["2", "3"] == texts(await subscription.receive(10))


async def test_who_is_not_held_back_does_not_overtake_its_key() -> None:
    """Those of its key that are held back go before it; others stay where they are."""
    async with started(max_waiting=1, partitions=1) as broker, anyio.create_task_group() as tasks:
        subscription = await join(broker)
        await broker.send(message("1"))
        for body, key in [("other", "other"), ("earlier", "key"), ("no key", None)]:
            tasks.start_soon(broker.send, message(body, key))
            await anyio.wait_all_tasks_blocked()
        with handling_a_message():
            await broker.send(message("urgent"))
            await broker.send(message("urgent, no key", None))
        received = await subscription.receive(10)
        assert ["1", "earlier", "urgent", "urgent, no key"] == texts(received)
        await subscription.acknowledge(received)

        rest: list[Delivery] = []
        while deliveries := await drain(subscription):
            await subscription.acknowledge(deliveries)
            rest += deliveries
        assert ["other", "no key"] == texts(rest)


async def test_a_full_group_without_a_consumer_is_an_error() -> None:
    """Nobody will make room; the text names the group and the topic. With a consumer, sending goes on."""
    async with started(max_waiting=1) as broker:
        await (await join(broker)).close()
        await broker.send(message("1"))
        with pytest.raises(
            BrokerUnavailable, match=r"^The group 'group' of the topic 'orders' has no consumer, and 1 "
        ):
            await broker.send(message("2"))
        with handling_a_message(), pytest.raises(BrokerUnavailable):
            await broker.send(message("2"))
        (outcome,) = await broker.send_many([message("2")])
        assert SendStatus.UNAVAILABLE is outcome.status

        subscription = await join(broker)
        await subscription.acknowledge(await subscription.receive(1))
        await broker.send(message("3"))
        assert ["3"] == texts(await subscription.receive(1))


async def test_senders_that_wait_hear_that_the_last_consumer_has_left() -> None:
    """Each gets an error of its own."""
    errors: list[BrokerUnavailable] = []

    async def send(body: str) -> None:
        with pytest.raises(BrokerUnavailable, match="has no consumer") as caught:
            await broker.send(message(body))
        errors.append(caught.value)

    async with started(max_waiting=1) as broker:
        subscription = await join(broker)
        await broker.send(message("1"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, "2")
            tasks.start_soon(send, "3")
            await anyio.wait_all_tasks_blocked()
            await subscription.close()

    assert 2 == len({id(error) for error in errors})


async def test_stopping_ends_senders_that_wait() -> None:
    """What was held back has not been seen by anybody; what a group has may have been handled."""
    outcomes: list[SendOutcome] = []

    async def send_many() -> None:
        outcomes.extend(await broker.send_many([message("2"), message("3")]))

    async def send() -> None:
        with pytest.raises(BrokerUnavailable, match="stopped"):
            await broker.send(message("4"))

    broker = MemoryBroker(max_waiting=2)
    await broker.start()
    await join(broker)
    await broker.send(message("1"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_many)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        await broker.stop()

    assert [SendStatus.UNKNOWN, SendStatus.UNAVAILABLE] == [outcome.status for outcome in outcomes]
    assert [OutcomeUnknown, BrokerUnavailable] == [type(outcome.error) for outcome in outcomes]


async def test_send_many_may_have_more_than_there_is_room_for() -> None:
    """They are taken as room comes, and the answer comes when all are acknowledged, by every group."""
    outcomes: list[SendOutcome] = []

    async def send_many() -> None:
        outcomes.extend(await broker.send_many([message(str(number)) for number in range(100)]))

    async with started(max_waiting=7) as broker, anyio.create_task_group() as tasks:
        groups = [await join(broker, group=name) for name in ("one", "two")]
        tasks.start_soon(send_many)
        received: list[str] = []
        while len(received) < 200:
            for subscription in groups:
                assert [] == outcomes
                deliveries = await subscription.receive(10)
                received += texts(deliveries)
                await subscription.acknowledge(deliveries)

    assert [SendOutcome(SendStatus.DELIVERED)] * 100 == outcomes


async def test_a_cancelled_send_many_sends_no_more() -> None:
    """What a group has is received; what was held back is not sent, and leaves no gap for others to wait behind."""
    async with started(max_waiting=2) as broker:
        subscription = await join(broker)
        await give_up(partial(broker.send_many, [message(str(number)) for number in range(5)]))
        deliveries = await subscription.receive(10)
        await subscription.acknowledge(deliveries)
        await broker.send(message("next"))

        assert ["0", "1"] == texts(deliveries)
        assert ["next"] == texts(await subscription.receive(10))


# Groups --------------------------------------------------------------------------------------------------------------


async def test_closing_ends_receivers_that_wait() -> None:
    """They get an error that says so; so does who comes later. Closing again does nothing."""

    async def receive() -> None:
        with pytest.raises(SubscriptionClosed, match="of the group 'group' was closed, or its broker stopped"):
            await subscription.receive(1)

    async with started() as broker:
        subscription = await join(broker)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            tasks.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            await subscription.close()
        await subscription.close()
        await receive()


async def test_stopping_ends_receivers_that_wait() -> None:
    """Also those whose loop never closes them."""
    broker = MemoryBroker()
    await broker.start()
    subscription = await join(broker, "orders", "payments")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(_expect_closed, subscription))
        await anyio.wait_all_tasks_blocked()
        await broker.stop()
    await subscription.acknowledge([])
    await subscription.close()


async def _expect_closed(subscription: MemorySubscription) -> None:
    with pytest.raises(SubscriptionClosed):
        await subscription.receive(1)


async def test_each_delivery_counts() -> None:
    """What was received and not acknowledged is at its next attempt; what only waited is at its first."""
    async with started(partitions=1) as broker:
        for attempt in (1, 2, 3):
            subscription = await join(broker)
            await broker.send(message(f"sent before attempt {attempt}"))
            deliveries = await subscription.receive(1)
            await subscription.close()
            assert (attempt, "sent before attempt 1") == (deliveries[0].attempt, *texts(deliveries))
        subscription = await join(broker)

        assert [4, 1, 1] == [delivery.attempt for delivery in await subscription.receive(10)]


@pytest.mark.parametrize(("members", "shares"), [(1, [4]), (2, [2, 2]), (3, [1, 1, 2]), (5, [0, 1, 1, 1, 1])])
async def test_partitions_are_dealt_out_evenly(members: int, shares: list[int]) -> None:
    """Four partitions: nobody has two more than another; when all but one leave, that one has all."""
    async with started(partitions=4) as broker:
        subscriptions = [await join(broker) for _ in range(members)]
        for _ in range(8):
            await broker.send(message("", key=None))
        seen = [{delivery.partition for delivery in await drain(subscription)} for subscription in subscriptions]
        for subscription in subscriptions[1:]:
            await subscription.close()
        left = {delivery.partition for delivery in await drain(subscriptions[0])}

    assert shares == sorted(map(len, seen))
    assert 4 == len(left | seen[0])


async def test_as_few_partitions_as_possible_move() -> None:
    """Four partitions: the second member gets two, the third one, the fourth one, the fifth none."""
    told: list[str] = []

    async def on_revoked(partitions: Collection[str]) -> None:
        told.extend(partitions)

    moved = []
    async with started(partitions=4) as broker:
        for _ in range(5):
            await join(broker, on_revoked=on_revoked)
            moved.append(len(told))
            told.clear()

    assert [0, 2, 1, 1, 0] == moved


async def test_members_share_only_the_topics_that_they_both_have() -> None:
    """Members of one group may differ in their topics."""
    async with started(partitions=2) as broker:
        one, other = await join(broker, "orders", "payments"), await join(broker, "orders", "refunds")
        for topic in ("orders", "payments", "refunds"):
            for _ in range(2):
                await broker.send(message("", None, topic))
        by_one, by_other = await drain(one), await drain(other)

    assert {"orders": 1, "payments": 2} == Counter(delivery.envelope.topic for delivery in by_one)
    assert {"orders": 1, "refunds": 2} == Counter(delivery.envelope.topic for delivery in by_other)


async def test_a_member_that_loses_a_partition_may_finish_first() -> None:
    """While it is told, it receives no more of it, and its acknowledgements count."""
    finished: list[str] = []

    async def on_revoked(partitions: Collection[str]) -> None:
        for number in range(2, 4):
            await broker.send(message(str(number), key=None))
        nothing_new = {delivery.partition for delivery in await drain(first)}
        assert nothing_new.isdisjoint(partitions)
        mine = [delivery for delivery in received if delivery.partition in partitions]
        await first.acknowledge(mine)
        finished.extend(texts(mine))

    async with started(partitions=2) as broker:
        first = await join(broker, on_revoked=on_revoked)
        for number in range(2):
            await broker.send(message(str(number), key=None))
        received = await first.receive(2)
        second = await join(broker)
        by_second = texts(await drain(second))

    assert ["1"] == finished  # of partitions 0 and 1, the second goes
    assert ["3"] == by_second


async def test_a_pause_ends_when_the_partition_goes() -> None:
    """The new owner did not ask for it."""
    async with started(partitions=1) as broker:
        first = await join(broker)
        await broker.send(message("1"))
        (delivery,) = await first.receive(1)
        first.pause(delivery.partition)
        await first.close()
        second = await join(broker)

        assert ["1"] == texts(await second.receive(1))


async def test_an_on_revoked_that_fails_does_not_keep_the_partitions(caplog: pytest.LogCaptureFixture) -> None:
    """Its owner gets no say; somebody should look at why."""

    async def fail(_: Collection[str]) -> None:
        raise LookupError("what partitions?")

    async with started(partitions=2) as broker:
        await join(broker, on_revoked=fail)
        second = await join(broker)
        for number in range(2):
            await broker.send(message(str(number), key=None))
        by_second = await drain(second)

    assert ["1"] == texts(by_second)
    assert "on_revoked of a member of the group 'group' failed" in caplog.text
    assert "orders/1" in caplog.text
    assert "what partitions?" in caplog.text


async def test_who_gives_up_joining_leaves_the_others_as_they_were() -> None:
    """They were told that partitions go, and have let them go: so what they had of these comes again, to them."""
    told: list[str] = []

    async def on_revoked(partitions: Collection[str]) -> None:
        told.extend(partitions)
        await anyio.sleep_forever()

    async with started(partitions=2) as broker:
        first = await join(broker, on_revoked=on_revoked)
        for number in range(2):
            await broker.send(message(str(number), key=None))
        await first.receive(2)
        await give_up(partial(join, broker))
        again = await drain(first)

    assert ["orders/1"] == told
    assert [("1", 2)] == [(delivery.envelope.body.decode(), delivery.attempt) for delivery in again]


async def test_those_who_join_at_once_are_let_in_one_after_the_other() -> None:
    """A member is never told twice at the same time."""
    now = most = 0
    told: list[int] = []

    async def on_revoked(partitions: Collection[str]) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await anyio.lowlevel.checkpoint()
        told.append(len(partitions))
        now -= 1

    async with started(partitions=6) as broker:
        await join(broker, on_revoked=on_revoked)
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(join, broker)

    assert 1 == most
    assert [3, 1] == told  # 6 → 3, 3 → 2, 2, 2


async def test_a_member_may_leave_while_it_is_told() -> None:
    """What it had goes to who joins, once."""

    async def on_revoked(_: Collection[str]) -> None:
        await first.close()

    async with started(partitions=2) as broker:
        first = await join(broker, on_revoked=on_revoked)
        for number in range(2):
            await broker.send(message(str(number), key=None))
        await first.receive(2)
        second = await join(broker)

        assert ["0", "1"] == sorted(texts(await drain(second)))


async def test_what_moves_while_somebody_joins_is_not_taken_without_a_word() -> None:
    """One member leaves while it is told; what another gets from it is that one's, who is told in turn."""
    told: list[str] = []

    async def on_revoked(partitions: Collection[str]) -> None:
        told.extend(partitions)

    async def on_revoked_leave(_: Collection[str]) -> None:
        await leaving.close()

    async with started(partitions=4) as broker:
        await join(broker, on_revoked=on_revoked)
        leaving = await join(broker, on_revoked=on_revoked_leave)
        told.clear()
        newcomer = await join(broker)
        for _ in range(4):
            await broker.send(message("", key=None))
        partitions = [delivery.partition for delivery in await drain(newcomer)]

    assert 2 == len(partitions)
    assert set(partitions) <= set(told)


async def test_joining_a_broker_that_stops_meanwhile_is_an_error() -> None:
    """Nothing would ever come."""
    broker = MemoryBroker()

    async def on_revoked(_: Collection[str]) -> None:
        await broker.stop()

    await broker.start()
    await join(broker, on_revoked=on_revoked)
    with pytest.raises(BrokerNotStarted):
        await join(broker)


async def test_receive_lets_others_run_however_much_there_is_to_do() -> None:
    """A consumer that always finds something would otherwise keep the loop for itself."""
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await anyio.lowlevel.checkpoint()

    async with started() as broker, anyio.create_task_group() as tasks:
        subscription = await join(broker)
        for number in range(100):
            await broker.send(message(str(number)))
        tasks.start_soon(other)
        for _ in range(100):
            await subscription.receive(1)
        assert others >= 50
        tasks.cancel_scope.cancel()


# Anything, in any order ----------------------------------------------------------------------------------------------


class Crowd:
    """Members of one group who join, leave, receive, acknowledge and pause at random."""

    def __init__(self, broker: MemoryBroker, seed: int) -> None:
        self.broker = broker
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self.held: dict[MemorySubscription, dict[str, Delivery]] = {}
        self.sent: dict[str, str] = {}  # each body, in order, and its key
        self.done: set[str] = set()

    def anybody(self) -> MemorySubscription:
        return self.chance.choice(list(self.held))

    async def join(self) -> None:
        async def on_revoked(partitions: Collection[str]) -> None:
            kept = {body: it for body, it in self.held[subscription].items() if it.partition not in partitions}
            self.held[subscription] = kept

        subscription = await join(self.broker, on_revoked=on_revoked)
        self.held[subscription] = {}

    async def send(self) -> None:
        body, key = str(len(self.sent)), f"key-{self.chance.randrange(8)}"
        await self.broker.send(message(body, key))
        self.sent[body] = key

    async def receive(self) -> None:
        subscription = self.anybody()
        deliveries = await receive_now(subscription, self.chance.randint(1, 9))
        assert self.done.isdisjoint(texts(deliveries))
        self.held[subscription].update(zip(texts(deliveries), deliveries, strict=True))

    async def acknowledge(self) -> None:
        subscription = self.anybody()
        some = [body for body in self.held[subscription] if self.chance.random() < 0.5]
        await subscription.acknowledge([self.held[subscription].pop(body) for body in some])
        self.done.update(some)

    async def pause(self) -> None:
        subscription = self.anybody()
        self.chance.choice([subscription.pause, subscription.resume])(f"orders/{self.chance.randrange(4)}")

    async def leave(self) -> None:
        if len(self.held) > 1:
            subscription = self.anybody()
            del self.held[subscription]
            await subscription.close()

    async def act(self, times: int) -> None:
        acts = [self.join, self.leave, self.pause, *[self.send] * 6, *[self.receive] * 3, *[self.acknowledge] * 2]
        for _ in range(times):
            await self.chance.choice(acts)()
        for subscription in self.held:
            await subscription.close()


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_members_do_nothing_is_lost_and_order_is_kept(seed: int) -> None:
    """
    What its owner acknowledged never comes again; everything else does.

    What is left of each key comes in the order in which it was sent, and when it is done there is as much room as in
    the beginning.
    """
    async with started(max_waiting=500) as broker:
        crowd = Crowd(broker, seed)
        await crowd.join()
        await crowd.act(400)
        last = await join(broker)
        left = await drain(last)
        await last.acknowledge(left)
        for _ in range(500):
            await broker.send(message("room"))

    open_bodies = [body for body in crowd.sent if body not in crowd.done]
    assert sorted(open_bodies) == sorted(texts(left))
    for key in sorted(set(crowd.sent.values())):
        expected = [body for body in open_bodies if crowd.sent[body] == key]
        assert expected == [body for body in texts(left) if crowd.sent[body] == key]
