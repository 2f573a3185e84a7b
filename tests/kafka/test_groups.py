"""Members of a group come, go and die: every message is handled, and none of them waits for a handler elsewhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiokafka.admin import NewPartitions
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import ConsumerStoppedError

import cqrs_core as cqrs
from cqrs_core.broker import Delivery, Subscription
from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerNotStarted, BrokerUnavailable, InvalidOption, SubscriptionClosed
from cqrs_kafka.member import Member

MEMBER = Path(__file__).with_name("member.py")


@asynccontextmanager
async def consuming(subscription: Subscription, received: list[bytes]) -> AsyncIterator[None]:
    """Receive and acknowledge beside what the block does."""

    async def run() -> None:
        while True:
            deliveries = await subscription.receive(50)
            received.extend(delivery.envelope.body for delivery in deliveries)
            await subscription.acknowledge(deliveries)

    task = asyncio.ensure_future(run())
    try:
        yield
    finally:
        task.cancel()


async def send(broker: cqrs.Broker, topic: str, numbers: range) -> set[bytes]:
    """Send a message for each of *numbers*, and give their bodies."""
    envelopes = [Envelope(topic, b"%d" % number, f"key-{number}") for number in numbers]
    outcomes = await broker.send_many(envelopes)
    assert all(outcome.is_delivered for outcome in outcomes)
    return {envelope.body for envelope in envelopes}


async def test_members_that_come_and_go_lose_nothing(kafka: Any) -> None:
    """What one has done, and told, no other gets."""
    topic, group = await kafka.make_topic(6), uuid.uuid4().hex
    received: list[bytes] = []
    async with kafka.open_broker() as one, kafka.open_broker() as other:
        first = await kafka.subscribe(one, topic, group=group)
        async with consuming(first, received):
            sent = await send(one, topic, range(300))
            second = await kafka.subscribe(other, topic, group=group)
            async with consuming(second, received):
                sent |= await send(one, topic, range(300, 600))
                await kafka.until(lambda: set(received) == sent)
            await second.close()
            sent |= await send(one, topic, range(600, 900))
            await kafka.until(lambda: set(received) == sent)

    assert len(sent) == len(received)


async def test_a_member_that_is_killed_is_replaced(kafka: Any, tmp_path: Path) -> None:
    """What it had not told comes again, to the one that is left."""
    topic, group = await kafka.make_topic(6), uuid.uuid4().hex
    notes = tmp_path / "notes"
    received: list[bytes] = []
    command = [sys.executable, str(MEMBER), kafka.bootstrap, topic, group, str(notes)]
    async with kafka.open_broker() as broker:
        with subprocess.Popen(command) as process:  # noqa: ASYNC220 - it takes a millisecond
            await kafka.until(notes.exists)
            subscription = await kafka.subscribe(broker, topic, group=group)
            async with consuming(subscription, received):
                sent = await send(broker, topic, range(2000))
                await kafka.until(lambda: notes.read_bytes().count(b"\n") > 100)
                process.kill()
                sent |= await send(broker, topic, range(2000, 2300))
                handled = {line for line in notes.read_bytes().split(b"\n") if line.isdigit()}

                await kafka.until(lambda: handled | set(received) == sent)


async def test_a_long_handler_ends_before_its_partition_goes(kafka: Any) -> None:
    """Meanwhile its member stays in the group, and the one that comes waits for it."""
    topic, group = await kafka.make_topic(1), uuid.uuid4().hex
    story: list[str] = []
    may_end, told = asyncio.Event(), asyncio.Event()

    async with kafka.open_broker(session_timeout_s=1.5) as one, kafka.open_broker() as other:

        async def on_revoked(partitions: Collection[str]) -> None:
            told.set()
            await may_end.wait()
            await first.acknowledge([delivery])
            story.append(f"let go of {len(partitions)}")

        first = await kafka.subscribe(one, topic, group=group, on_revoked=on_revoked)
        await one.send(Envelope(topic, b"long", "key"))
        (delivery,) = await first.receive(10)
        joining = asyncio.ensure_future(kafka.subscribe(other, topic, group=group))
        await asyncio.wait_for(told.wait(), 30)
        await asyncio.wait({joining}, timeout=3)  # twice the session timeout: a dead one would be replaced by now
        assert not joining.done()
        may_end.set()
        second = await asyncio.wait_for(joining, 30)
        await one.send(Envelope(topic, b"next", "key"))
        by_second = asyncio.ensure_future(second.receive(10))
        by_first = asyncio.ensure_future(first.receive(10))
        done, left = await asyncio.wait({by_first, by_second}, return_when=asyncio.FIRST_COMPLETED, timeout=30)

        assert [b"next"] == [got.envelope.body for task in done for got in task.result()]
        assert ["let go of 1"] == story
        for task in left:
            task.cancel()


async def test_a_slow_handler_keeps_its_partition(kafka: Any) -> None:
    """A member that receives nothing for longer than its session lives on: its heart beats by itself."""
    topic, group = await kafka.make_topic(1), uuid.uuid4().hex
    revoked: list[str] = []

    async def on_revoked(partitions: Collection[str]) -> None:
        revoked.extend(partitions)

    async with kafka.open_broker(session_timeout_s=1.0) as broker:
        subscription = await kafka.subscribe(broker, topic, group=group, on_revoked=on_revoked)
        await broker.send(Envelope(topic, b"slow", "key"))
        deliveries = await subscription.receive(10)
        await asyncio.wait({asyncio.ensure_future(asyncio.sleep(3))})
        await subscription.acknowledge(deliveries)
        await broker.send(Envelope(topic, b"next", "key"))

        assert [b"next"] == [delivery.envelope.body for delivery in await subscription.receive(10)]
        assert [] == revoked


async def test_partitions_that_were_made_meanwhile_are_read_from_their_beginning(kafka: Any) -> None:
    """The group is older than all that is in them."""
    topic, group = await kafka.make_topic(1), uuid.uuid4().hex
    received: list[bytes] = []
    async with kafka.open_broker() as broker:
        await (await kafka.subscribe(broker, topic, group=group)).close()
        async with kafka.open_admin() as admin:
            await admin.create_partitions({topic: NewPartitions(4)})
        async with kafka.open_broker() as other:  # which knows of all
            sent = await send(other, topic, range(40))
        subscription = await kafka.subscribe(broker, topic, group=group)
        async with consuming(subscription, received):
            await kafka.until(lambda: set(received) == sent)


async def test_who_waits_is_told_that_a_subscription_is_closed(kafka: Any) -> None:
    """And who comes later; closing it twice, or with its broker, is no error."""
    topic = await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        subscription = await kafka.subscribe(broker, topic)
        with pytest.raises(InvalidOption, match="limit"):
            await subscription.receive(0)
        waiting = asyncio.ensure_future(subscription.receive(1))
        await asyncio.wait({waiting}, timeout=0.3)
        await broker.stop()

        with pytest.raises(SubscriptionClosed):
            await waiting
        with pytest.raises(SubscriptionClosed):
            await subscription.receive(1)
        await subscription.close()


async def test_two_may_start_a_broker_and_the_last_stops_it(kafka: Any) -> None:
    topic = await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        await broker.start()
        await broker.stop()
        await broker.send(Envelope(topic, b"1", "key"))
        await broker.stop()
        with pytest.raises(BrokerNotStarted):
            await broker.send(Envelope(topic, b"2", "key"))


async def test_partitions_go_although_their_owner_fails_to_let_go(kafka: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is logged."""
    topic, group = await kafka.make_topic(1), uuid.uuid4().hex

    async def on_revoked(_partitions: Collection[str]) -> None:
        raise ZeroDivisionError

    async with kafka.open_broker() as broker, kafka.open_broker() as other:
        await kafka.subscribe(broker, topic, group=group, on_revoked=on_revoked)
        await asyncio.wait_for(kafka.subscribe(other, topic, group=group), 30)

    assert "Its partitions go all the same: " in caplog.text


async def test_a_client_that_does_not_notice_that_brokers_answer_is_replaced(
    kafka: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has answered it for 0.3 s: that is told. After three times that, another takes its place."""
    topic, group = await kafka.make_topic(1), uuid.uuid4().hex
    complaints = 0
    async with kafka.open_broker(unavailable_after_s=0.3) as broker:
        subscription = await kafka.subscribe(broker, topic, group=group)
        monkeypatch.setattr(Member, "answered_at", lambda *_: 1)
        while "broke, and joins it again" not in caplog.text:
            try:
                await asyncio.wait_for(subscription.receive(1), 30)
            except BrokerUnavailable:
                complaints += 1
        monkeypatch.undo()
        await broker.send(Envelope(topic, b"1", "key"))
        (delivery,) = await asyncio.wait_for(subscription.receive(1), 30)

    assert complaints > 0
    assert b"1" == delivery.envelope.body


async def test_a_client_that_was_replaced_is_not_waited_for(
    kafka: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The question that it never answered ends with it, and closes nothing."""
    topic, group = await kafka.make_topic(1), uuid.uuid4().hex
    usual_poll, usual_leave = Member.poll, Member.leave
    left: dict[Member, asyncio.Event] = {}

    async def poll(self: Member, partitions: Any, *, limit: int, wait_s: float) -> Any:
        if wait_s and self in left:
            await left[self].wait()
            raise ConsumerStoppedError
        return await usual_poll(self, partitions, limit=limit, wait_s=wait_s)

    async def leave(self: Member) -> None:
        if self in left:
            left[self].set()
        await usual_leave(self)

    async with kafka.open_broker(unavailable_after_s=0.3) as broker:
        subscription = await kafka.subscribe(broker, topic, group=group)
        left[subscription._member] = asyncio.Event()  # noqa: SLF001 - nobody else names the client
        monkeypatch.setattr(Member, "poll", poll)
        monkeypatch.setattr(Member, "leave", leave)
        with monkeypatch.context() as patch:
            patch.setattr(Member, "answered_at", lambda *_: 1)
            with anyio.fail_after(60):
                while "broke, and joins it again" not in caplog.text:
                    with suppress(BrokerUnavailable):
                        await subscription.receive(1)
        await broker.send(Envelope(topic, b"1", "key"))
        (delivery,) = await asyncio.wait_for(subscription.receive(1), 30)

    assert b"1" == delivery.envelope.body


async def test_a_subscription_that_is_closed_while_it_joins_again_stays_closed(
    kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client that was to take the place of the broken one leaves, and does not join the group."""
    topic, group = await kafka.make_topic(1), uuid.uuid4().hex
    usual_connect, usual_leave = Member.connect, Member.leave
    connected, may_go_on = asyncio.Event(), asyncio.Event()
    open_members: set[Member] = set()
    joined: list[Member] = []

    async def connect(self: Member) -> None:
        await usual_connect(self)
        open_members.add(self)
        connected.set()
        await may_go_on.wait()

    async def leave(self: Member) -> None:
        await usual_leave(self)
        open_members.discard(self)

    async with kafka.open_broker(unavailable_after_s=0.3) as broker:
        subscription = await kafka.subscribe(broker, topic, group=group)
        monkeypatch.setattr(Member, "connect", connect)
        monkeypatch.setattr(Member, "leave", leave)
        monkeypatch.setattr(Member, "join", lambda self, *_: joined.append(self))
        monkeypatch.setattr(Member, "answered_at", lambda *_: 1)

        async def receive() -> None:
            while True:
                with suppress(BrokerUnavailable):
                    await subscription.receive(1)

        receiving = asyncio.ensure_future(receive())
        await asyncio.wait_for(connected.wait(), 30)
        await subscription.close()
        may_go_on.set()
        with pytest.raises(SubscriptionClosed):
            await asyncio.wait_for(receiving, 30)

    assert (set(), []) == (open_members, joined)


async def test_a_static_member_is_restarted_without_a_rebalance(kafka: Any) -> None:
    """Within its session: the other one is not even told, and nothing comes twice."""
    topic, group = await kafka.make_topic(2), uuid.uuid4().hex
    revoked: list[str] = []
    received: list[bytes] = []

    async def on_revoked(partitions: Collection[str]) -> None:
        revoked.extend(partitions)

    async with kafka.open_broker(group_instance_id="one") as one, kafka.open_broker(group_instance_id="two") as two:
        first = await kafka.subscribe(one, topic, group=group, on_revoked=on_revoked)
        async with consuming(first, received):
            second = await kafka.subscribe(two, topic, group=group)
            async with consuming(second, received):
                sent = await send(one, topic, range(20))
                await kafka.until(lambda: set(received) == sent)
            revoked.clear()
            await second.close()
            second = await kafka.subscribe(two, topic, group=group)
            async with consuming(second, received):
                sent |= await send(one, topic, range(20, 40))
                await kafka.until(lambda: set(received) == sent)

    assert [] == revoked
    assert len(sent) == len(received)


async def test_a_member_whose_client_breaks_joins_again(kafka: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here when a second one comes: an error that aiokafka does not foresee ends its part in the group for good."""
    topic, group = await kafka.make_topic(2), uuid.uuid4().hex
    received: list[bytes] = []
    usual = GroupCoordinator.ensure_active_group
    breaks = ["once"]

    async def break_once(self: Any, subscription: Any, assignment: Any) -> Any:
        if assignment is not None and breaks:
            breaks.pop()
            raise ZeroDivisionError
        return await usual(self, subscription, assignment)

    async with kafka.open_broker() as broker, kafka.open_broker() as other:
        first = await kafka.subscribe(broker, topic, group=group)
        monkeypatch.setattr(GroupCoordinator, "ensure_active_group", break_once)
        async with consuming(first, received):
            second = await kafka.subscribe(other, topic, group=group)
            async with consuming(second, []):
                pass
            await second.close()
            assert not breaks
            sent = await send(broker, topic, range(50))
            await kafka.until(lambda: set(received) == sent)


async def test_a_member_knows_how_much_it_has_not_done(kafka: Any) -> None:
    """Ten were sent, and the first three are done."""
    topic = await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        subscription = await kafka.subscribe(broker, topic)
        await send(broker, topic, range(10))
        deliveries: list[Delivery] = []
        while len(deliveries) < 10:
            deliveries += await subscription.receive(10)
        await subscription.acknowledge(deliveries[:3])

        assert {f"{topic}/0": 7} == subscription.lag()


async def test_what_is_done_is_committed_without_leaving(kafka: Any) -> None:
    """After ``commit_every`` acknowledgements, or ``commit_interval_s``: who crashes repeats no more than that."""
    topic, group = await kafka.make_topic(1), uuid.uuid4().hex
    async with kafka.open_broker(commit_interval_s=0.05) as broker:
        subscription = await kafka.subscribe(broker, topic, group=group)
        await send(broker, topic, range(10))
        deliveries = list(await subscription.receive(10))
        while len(deliveries) < 10:
            deliveries += await subscription.receive(10)
        await subscription.acknowledge(deliveries[:5] + deliveries[7:])

        async with kafka.open_admin() as admin:
            while True:
                (offset,) = [found.offset for found in (await admin.list_consumer_group_offsets(group)).values()]
                if offset:
                    break

        assert 5 == offset  # 5 and 6 are open


class Placed(cqrs.DomainEvent):
    number: int


async def test_an_app_consumes_from_kafka_what_another_publishes(kafka: Any) -> None:
    """Named by a URL; the handler that fails is tried again, and then its message is a dead letter."""
    topic = await kafka.make_topic(3)
    dead_topic = await kafka.make_topic(1)
    handled: list[int] = []

    class Store(cqrs.EventHandler[Placed]):
        async def handle(self, event: Placed) -> None:
            if event.number == 3:
                raise RuntimeError("never")
            handled.append(event.number)

    app = cqrs.App(f"test-{uuid.uuid4().hex}", broker=f"kafka://{kafka.bootstrap}")
    app.events.bind(Placed, Store)
    retry = cqrs.RetryPolicy(max_attempts=2, delay_s=0.01)
    app.consume(topic, {"Placed": Placed}, retry=retry, dead_letter_topic=dead_topic)
    async with kafka.open_broker() as broker, app.running():
        dead = await kafka.subscribe(broker, dead_topic)
        for number in range(6):
            headers = {"ce_type": "Placed", "ce_id": str(uuid.uuid4()), "content-type": "application/json"}
            await broker.send(Envelope(topic, b'{"number": %d}' % number, "key", headers))
        await kafka.until(lambda: len(handled) == 5)
        (letter,) = await dead.receive(10)
        await kafka.until(lambda: app.consumers[0].status().total_lag == 0)
        assert {"handled": 5, "failed": 2, "dead_lettered": 1} == app.consumers[0].status().counts

    assert [0, 1, 2, 4, 5] == handled
    assert b'{"number": 3}' == letter.envelope.body
    assert topic == letter.envelope.headers["cqrs_dead_topic"]
