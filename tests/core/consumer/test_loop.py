"""The consumer: from a broker to handlers and back, with the memory broker and a clock that is told the time."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core import current_message
from cqrs_core.concurrency import Gate, open_task_group
from cqrs_core.consumer import Consumer, Consumption
from cqrs_core.errors import BatchFailed, BrokerUnavailable, InvalidOption, StrayCancellation
from cqrs_core.incoming import IncomingEvents
from cqrs_core.memory import MemoryBroker
from cqrs_core.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from cqrs_core.broker import Delivery, OnRevoked, Subscription

NO_JITTER = cqrs.RetryPolicy(max_attempts=3, delay_s=1, backoff=2, jitter=0)


class Happened(cqrs.DomainEvent):
    what: str


async def until(is_so: Callable[[], bool]) -> None:
    """Let others run until something is so; a bound on the turns, not on the time, ends a test that hangs."""
    for _ in range(20_000):
        if is_so():
            return
        await anyio.lowlevel.checkpoint()
    raise AssertionError("it has not come about")


def envelope(what: str, key: str | None = None, topic: str = "things", name: str = "Happened") -> cqrs.Envelope:
    return cqrs.Envelope(topic, json.dumps({"what": what}).encode(), key, {"ce_type": name})


class Handled:
    """A handler that notes what it was given, and does as it is told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.attempts: list[int] = []
        self.fails: dict[str, list[Exception]] = {}
        self.gates: dict[str, Gate] = {}

    async def __call__(self, event: cqrs.Event) -> None:
        assert isinstance(event, Happened)
        message = current_message()
        assert message is not None
        self.begun.append(event.what)
        self.attempts.append(message.attempt)
        if event.what in self.gates:
            await self.gates[event.what].wait()
        errors = self.fails.get(event.what)
        if errors:
            raise errors.pop(0)
        await anyio.lowlevel.checkpoint()
        self.ended.append(event.what)


class Bench:
    """A broker, a clock, a handler, and consumers of the topic ``things``."""

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self.clock = VirtualClock()
        self.handled = Handled()

    @asynccontextmanager
    async def consuming(self, *, group: str = "us", handle: Any = None, **options: Any) -> AsyncIterator[Consumer]:
        """Run a consumer; leaving the block stops it in good order."""
        names = {"max_concurrent", "stop_deadline_s"}
        own = {name: value for name, value in options.items() if name in names}
        consumption = Consumption(
            incoming=IncomingEvents("things", {"Happened": Happened}, max_body_bytes=1000),
            dead_letter_topic="things.dead",
            **{"retry": NO_JITTER, **{name: value for name, value in options.items() if name not in names}},
        )
        assert [] == consumption.problems()
        consumer = Consumer(
            self.broker, {"things": consumption}, handle or self.handled, group=group, clock=self.clock, **own
        )
        stopping = Gate()
        await consumer.subscribe()
        async with open_task_group() as tasks:
            tasks.start(partial(consumer.run, stopping))
            yield consumer
            stopping.open()

    async def send(self, *whats: str, key: str | None = "k") -> None:
        for what in whats:
            await self.broker.send(envelope(what, key))

    async def reading(self, topic: str = "things.dead") -> Subscription:
        """Subscribe to a topic, to see what comes there from now on."""
        return await self.broker.subscribe([topic], group="observer", on_revoked=nothing)

    async def left(self, group: str = "us") -> list[str]:
        """Tell what *group* would be given if it came back now."""
        marker = "left: that was all"
        subscription = await self.broker.subscribe(["things"], group=group, on_revoked=nothing)
        for number in range(64):  # in every partition
            await self.broker.send(envelope(marker, str(number)))
        found: list[str] = []
        markers = 0
        while markers < 64:
            deliveries = await subscription.receive(100)
            whats = [json.loads(delivery.envelope.body)["what"] for delivery in deliveries]
            markers += whats.count(marker)
            found += [what for what in whats if what != marker]
            await subscription.acknowledge(deliveries)
        await subscription.close()
        return found


async def nothing(_: Collection[str]) -> None:
    """For subscriptions to which it is all the same."""


@pytest.fixture
async def bench(anyio_backend: str) -> AsyncIterator[Bench]:  # noqa: ARG001 - the fixture runs on it
    broker = MemoryBroker()
    await broker.start()
    yield Bench(broker)
    await broker.stop()


async def test_a_message_is_acknowledged_when_its_handler_is_done_and_not_before(bench: Bench) -> None:
    """DESIGN 4.1, from the bus: then the acknowledgement."""
    bench.handled.gates["a"] = Gate()
    async with bench.consuming() as consumer:
        async with open_task_group() as tasks:
            outcomes: list[Any] = []

            async def send() -> None:
                # The memory broker answers when the group has acknowledged.
                outcomes.extend(await bench.broker.send_many([envelope("a", "k")]))

            tasks.start(send)
            await until(lambda: bench.handled.begun == ["a"])
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert [] == outcomes
            bench.handled.gates["a"].open()
        assert [True] == [outcome.is_delivered for outcome in outcomes]
        assert {"handled": 1} == consumer.counts
    assert [] == await bench.left()


async def test_status_tells_what_a_consumer_is_at_and_how_far_it_has_come(bench: Bench) -> None:
    """In flight, received and not done, not done at all; before it joins, the broker has told nothing."""
    bench.handled.gates = {"a": Gate(), "b": Gate()}
    idle = Consumer(bench.broker, {}, bench.handled, group="idle")
    assert (0, 0, None, None) == _numbers(idle)
    async with bench.consuming(max_concurrent=2) as consumer:
        await bench.send("a", "a2", key="a")
        await bench.send("b", key="b")
        await until(lambda: sorted(bench.handled.begun) == ["a", "b"] and consumer.status().received == 3)
        assert (2, 3, 3, {}) == _numbers(consumer)
        bench.handled.gates["a"].open()
        await until(lambda: len(bench.handled.ended) == 2 and consumer.status().in_flight == 1)
        assert (1, 1, 1, {"handled": 2}) == _numbers(consumer)
        bench.handled.gates["b"].open()
        await until(lambda: len(bench.handled.ended) == 3)
    assert "us" == consumer.status().group
    assert (0, 0, 0, {"handled": 3}) == _numbers(consumer)


def _numbers(consumer: Consumer) -> tuple[int, int, int | None, Any]:
    status = consumer.status()
    return status.in_flight, status.received, status.total_lag, status.counts if status.lag is not None else None


async def test_status_of_a_broker_that_tells_no_lag_has_none(bench: Bench) -> None:
    """The rest is known all the same."""
    bench.broker = Unreliable(bench.broker)
    async with bench.consuming() as consumer:
        await bench.send("a")
        await until(lambda: bench.handled.ended == ["a"])
        status = consumer.status()
    assert (None, None, {"handled": 1}) == (status.lag, status.total_lag, status.counts)


async def test_a_handler_that_fails_twice_is_tried_again_after_growing_delays(bench: Bench) -> None:
    """1·2⁰ s after the first attempt, 1·2¹ s after the second; handlers see the number of the attempt."""
    bench.handled.fails["a"] = [ValueError("1"), ValueError("2")]
    async with bench.consuming() as consumer:
        await bench.send("a")
        await bench.clock.until_asleep()
        await bench.clock.advance(1)
        await bench.clock.until_asleep()
        await bench.clock.advance(2)
        await until(lambda: bench.handled.ended == ["a"])
    assert [1.0, 2.0] == bench.clock.slept
    assert [1, 2, 3] == bench.handled.attempts
    assert {"failed": 2, "handled": 1} == consumer.counts


async def test_only_the_lane_of_a_message_that_failed_waits(bench: Bench) -> None:
    """What is behind it waits for it, and keeps its place; other keys go on."""
    bench.handled.fails["a1"] = [ValueError()]
    async with bench.consuming():
        await bench.send("a1", "a2", key="a")
        await bench.clock.until_asleep()
        await bench.send("b1", "b2", "b3", key="b")
        await until(lambda: len(bench.handled.ended) == 3)
        assert ["b1", "b2", "b3"] == bench.handled.ended
        await bench.clock.advance(1)
        await until(lambda: len(bench.handled.ended) == 5)
    assert ["a1", "a2"] == bench.handled.ended[3:]


async def test_when_all_attempts_failed_the_message_goes_to_the_dead_letters_untouched(bench: Bench) -> None:
    """Body, key and headers as they came, and headers that say why; the lane goes on."""
    bench.handled.fails["a"] = [ValueError("1"), ValueError("2"), ValueError("the third")]
    dead = await bench.reading()
    async with bench.consuming() as consumer:
        await bench.send("a", "after")
        for delay in (1, 2):
            await bench.clock.until_asleep()
            await bench.clock.advance(delay)
        (delivery,) = await dead.receive(10)
        await until(lambda: bench.handled.ended == ["after"])
    letter, sent = delivery.envelope, envelope("a", "k")
    assert (sent.body, sent.key) == (letter.body, letter.key)
    reasons = {name: value for name, value in letter.headers.items() if name not in sent.headers}
    assert {
        "cqrs_dead_topic": "things",
        "cqrs_dead_partition": reasons["cqrs_dead_partition"],
        "cqrs_dead_position": reasons["cqrs_dead_position"],
        "cqrs_dead_group": "us",
        "cqrs_dead_attempts": "3",
        "cqrs_dead_error_type": "builtins.ValueError",
        "cqrs_dead_error_text": "the third",
        "cqrs_dead_time": "2000-01-01T00:00:03+00:00",
    } == reasons
    assert {"failed": 3, "dead_lettered": 1, "handled": 1} == consumer.counts
    assert [] == await bench.left()


async def test_an_error_that_no_attempt_would_mend_is_not_tried_again(bench: Bench) -> None:
    """``give_up_on`` is an exception to ``retry_on``; of several errors of one message, one is enough."""
    policy = cqrs.RetryPolicy(give_up_on=(KeyError,))
    bench.handled.fails["a"] = [KeyError("x")]
    bench.handled.fails["b"] = [cqrs.EventHandlersFailed([ValueError(), KeyError("x")])]
    dead = await bench.reading()
    async with bench.consuming(retry=policy):
        await bench.send("a", "b")
        letters = [*await dead.receive(1), *await dead.receive(1)]
    assert ["1", "1"] == [letter.envelope.headers["cqrs_dead_attempts"] for letter in letters]
    assert [] == bench.clock.slept


@pytest.mark.parametrize("body", [b"\xff\xfe", b"{", b'{"what": NaN}', b'{"what": 1}', b"[]", b""])
async def test_poison_goes_to_the_dead_letters_at_once_and_the_lane_goes_on(bench: Bench, body: bytes) -> None:
    """Bytes that make no sense are never handled, nor tried again, nor lost."""
    dead = await bench.reading()
    async with bench.consuming():
        await bench.broker.send(cqrs.Envelope("things", body, "k", {"ce_type": "Happened"}))
        await bench.send("after")
        (delivery,) = await dead.receive(10)
        await until(lambda: bench.handled.ended == ["after"])
    assert body == delivery.envelope.body
    assert "cqrs_core.errors.bordering.UnreadableMessage" == delivery.envelope.headers["cqrs_dead_error_type"]


async def test_unknown_names_are_passed_over_with_one_warning_each(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Others may publish more to the topic than this program wants."""
    async with bench.consuming() as consumer:
        for name in ("Other", "Other", "Third"):
            await bench.broker.send(envelope("x", "k", name=name))
        await bench.send("a")
        await until(lambda: bench.handled.ended == ["a"])
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert 2 == len(warnings)
    assert {"skipped": 3, "handled": 1} == consumer.counts


async def test_unknown_names_are_dead_letters_on_request(bench: Bench) -> None:
    """``on_unknown="dead_letter"``: nothing is passed over."""
    dead = await bench.reading()
    async with bench.consuming(on_unknown="dead_letter"):
        await bench.broker.send(envelope("x", name="Other"))
        (delivery,) = await dead.receive(10)
    assert "'Other'" in delivery.envelope.headers["cqrs_dead_error_text"]


async def test_a_dead_letter_that_cannot_be_sent_keeps_its_message_first_in_its_lane(bench: Bench) -> None:
    """Nothing is lost: it is tried until it succeeds, without calling the handler again, and other lanes go on."""
    broker = bench.broker = Unreliable(bench.broker)
    broker.refused_topics["things.dead"] = 2
    dead = await bench.reading()
    bench.handled.fails["a"] = [ValueError()]
    async with bench.consuming(retry=cqrs.RetryPolicy(max_attempts=1)) as consumer:
        await bench.send("a", "a2", key="a")
        for _ in range(2):
            await bench.clock.until_asleep()
            await bench.send("b", key="b")
            await bench.clock.advance(60)
        (delivery,) = await dead.receive(1)
        await until(lambda: len(bench.handled.ended) == 3)
    assert "a" == json.loads(delivery.envelope.body)["what"]
    assert ["a", "b", "b", "a2"] == sorted(bench.handled.begun, key=["a", "b", "a2"].index)
    assert {"failed": 1, "dead_lettered": 1, "handled": 3} == consumer.counts


async def test_stopping_lets_handlers_end_and_begins_no_more(bench: Bench) -> None:
    """What was under way is done and acknowledged; what waited comes again."""
    bench.handled.gates = {"a1": Gate(), "b1": Gate()}
    async with open_task_group() as tasks:
        joined, leave, is_left = Gate(), Gate(), Gate()

        async def consume() -> None:
            async with bench.consuming():
                joined.open()
                await leave.wait()
            is_left.open()

        tasks.start(consume)
        await joined.wait()
        await bench.send("a1", "a2", key="a")
        await bench.send("b1", "b2", key="b")
        await until(lambda: sorted(bench.handled.begun) == ["a1", "b1"])
        leave.open()
        await bench.clock.until_asleep()  # the deadline runs
        bench.handled.gates["a1"].open()
        bench.handled.gates["b1"].open()
        await is_left.wait()
    assert ["a1", "b1"] == sorted(bench.handled.ended)
    assert [30.0] == bench.clock.slept
    assert ["a2", "b2"] == sorted(await bench.left())


async def test_what_does_not_end_before_the_deadline_is_cancelled_and_comes_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A stop always ends."""
    bench.handled.gates = {"slow": Gate()}
    async with open_task_group() as tasks, bench.consuming(stop_deadline_s=5):
        await bench.send("slow")
        await until(lambda: bench.handled.begun == ["slow"])

        async def pass_the_deadline() -> None:
            await bench.clock.until_asleep()
            await bench.clock.advance(5)

        tasks.start(pass_the_deadline)
    assert [] == bench.handled.ended
    assert "still being handled after 5 s" in caplog.text
    assert ["slow"] == await bench.left()


async def test_a_message_that_waits_for_its_next_attempt_does_not_hold_up_the_stop(bench: Bench) -> None:
    """It comes again, as if it had not been tried here."""
    bench.handled.fails["a"] = [ValueError()]
    async with bench.consuming():
        await bench.send("a")
        await bench.clock.until_asleep()
    assert ["a"] == await bench.left()


async def test_cancelling_interrupts_handlers_and_leaves_the_group(bench: Bench) -> None:
    """What was under way comes again."""
    bench.handled.gates = {"a": Gate()}
    async with open_task_group() as tasks:
        joined = Gate()

        async def consume() -> None:
            async with bench.consuming():
                joined.open()
                await Gate().wait()

        tasks.start(consume)
        await joined.wait()
        await bench.send("a")
        await until(lambda: bench.handled.begun == ["a"])
        tasks.cancel()
    assert [] == bench.handled.ended
    assert ["a"] == await bench.left()


async def test_a_slow_handler_does_not_hold_up_the_fast_ones(bench: Bench) -> None:
    """Messages of other keys, and those without, pass by."""
    bench.handled.gates = {"slow": Gate()}
    async with bench.consuming():
        await bench.send("slow", key="s")
        await bench.send(*(f"f{number}" for number in range(300)), key=None)
        await until(lambda: len(bench.handled.ended) == 300)
        assert "slow" not in bench.handled.ended
        bench.handled.gates["slow"].open()
        await until(lambda: len(bench.handled.ended) == 301)


async def test_two_groups_each_get_everything(bench: Bench) -> None:
    """Each at its own pace: one that waits does not hold up the other."""
    other = Handled()
    bench.handled.gates = {"0": Gate()}
    async with bench.consuming(group="one"), bench.consuming(group="two", handle=other):
        await bench.send("0", "1", "2")
        await until(lambda: other.ended == ["0", "1", "2"])
        assert [] == bench.handled.ended
        bench.handled.gates["0"].open()
        await until(lambda: bench.handled.ended == ["0", "1", "2"])


async def test_messages_of_a_key_stay_in_order_however_many_lanes_are_at_work(bench: Bench) -> None:
    """Ten at a time, handlers that yield, and some that fail: within each key nothing overtakes, nothing is skipped."""
    keys = [f"key{number}" for number in range(20)]
    bench.handled.fails = {f"{key}:7": [ValueError()] for key in keys[::3]}
    ended: dict[str, list[int]] = {key: [] for key in keys}
    running = most = 0

    async def handle(event: Happened) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await bench.handled(event)
        finally:
            running -= 1
        key, number = event.what.split(":")
        ended[key].append(int(number))

    async with bench.consuming(handle=handle):
        for number in range(20):
            for key in keys:
                await bench.send(f"{key}:{number}", key=key)
        await bench.clock.until_asleep(len(keys[::3]))
        await bench.clock.advance(1)
        await until(lambda: sum(map(len, ended.values())) == 400)
    assert {key: list(range(20)) for key in keys} == ended
    assert 10 == most


@pytest.mark.parametrize(("order", "begun"), [("partition", 1), ("none", 3), ("key", 2)])
async def test_the_order_decides_what_may_run_side_by_side(bench: Bench, order: str, begun: int) -> None:
    """Of three messages in one partition, two of them of one key."""
    bench.broker = MemoryBroker(partitions=1)
    await bench.broker.start()
    bench.handled.gates = dict.fromkeys(("a1", "a2", "b"), Gate())
    async with bench.consuming(order=order):
        await bench.send("a1", "a2", key="a")
        await bench.send("b", key="b")
        await until(lambda: len(bench.handled.begun) == begun)
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        assert begun == len(bench.handled.begun)
        bench.handled.gates["b"].open()
        await until(lambda: len(bench.handled.ended) == 3)
    await bench.broker.stop()


async def test_work_that_piles_up_pauses_its_partition_and_resumes_it(bench: Bench) -> None:
    """However much is sent, a bounded number of messages is kept; other partitions are not held up."""
    bench.broker = watched = Unreliable(MemoryBroker(partitions=1, max_waiting=10_000))
    await watched.start()
    bench.handled.gates = {"0": Gate()}
    async with bench.consuming():
        await bench.send(*map(str, range(1000)))
        await until(lambda: watched.calls == ["pause things/0"])
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
        assert 200 <= watched.received < 300  # 200 is the bound, and one call of receive(100) may go over it
        bench.handled.gates["0"].open()
        await until(lambda: len(bench.handled.ended) == 1000)
    assert [str(number) for number in range(1000)] == bench.handled.ended
    assert {"pause things/0", "resume things/0"} == set(watched.calls)
    await watched.stop()


async def test_a_broker_that_is_away_is_asked_again_after_growing_delays(bench: Bench) -> None:
    """Nothing ends because of it, and nothing is lost."""
    bench.broker = unreliable = Unreliable(bench.broker)
    unreliable.failing_receives = 3
    async with bench.consuming():
        for delay in (1, 2, 4):
            await bench.clock.until_asleep()
            await bench.clock.advance(delay)
        await bench.send("a")
        await until(lambda: bench.handled.ended == ["a"])
    assert sorted(bench.clock.slept) == bench.clock.slept
    assert 3 == len(bench.clock.slept)


async def test_an_acknowledgement_that_gets_lost_makes_the_message_come_again(bench: Bench) -> None:
    """At least once; and the loop goes on."""
    bench.broker = unreliable = Unreliable(bench.broker)
    unreliable.failing_acknowledgements = 1
    async with bench.consuming() as consumer:
        await bench.send("a", "b")
        await until(lambda: bench.handled.ended == ["a", "b"])
    assert {"handled": 2} == consumer.counts
    assert ["a"] == await bench.left()


async def test_a_broker_that_breaks_in_another_way_ends_the_loop(bench: Bench) -> None:
    """What it does not declare is a fault that somebody has to see."""
    bench.broker = unreliable = Unreliable(bench.broker)
    unreliable.receive_error = ZeroDivisionError("a fault")
    with pytest.raises(ZeroDivisionError, match="a fault"):
        async with bench.consuming():
            await Gate().wait()
    assert ["close"] == unreliable.calls


async def test_when_another_member_joins_what_is_under_way_ends_first(bench: Bench) -> None:
    """Each message is handled once, by one of the two, and those of a key in order."""
    first, second = bench.handled, Handled()
    first.gates = {f"k{key}:0": Gate() for key in range(8)}
    async with bench.consuming(max_concurrent=8):
        for number in range(3):
            for key in range(8):
                await bench.send(f"k{key}:{number}", key=f"k{key}")
        await until(lambda: len(first.begun) == 8)
        async with open_task_group() as tasks:

            async def open_gates() -> None:
                await bench.clock.until_asleep()  # the deadline for what is under way
                for gate in first.gates.values():
                    gate.open()

            tasks.start(open_gates)
            async with bench.consuming(handle=second):
                await until(lambda: len(first.ended) + len(second.ended) == 24)
    assert sorted(f"k{key}:{number}" for key in range(8) for number in range(3)) == sorted(first.ended + second.ended)
    assert second.ended
    for handled in (first, second):
        for key in range(8):
            own = [what for what in handled.ended if what.startswith(f"k{key}:")]
            assert sorted(own) == own


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_that_nobody_asked_of_the_handler_is_a_failure_like_any_other(bench: Bench) -> None:
    """As when it waited for the task of a connection that somebody else cancelled."""
    bench.handled.fails["a"] = [asyncio.CancelledError(), asyncio.CancelledError()]  # type: ignore[list-item]  # on purpose
    async with bench.consuming() as consumer:
        await bench.send("a")
        for delay in (1, 2):
            await bench.clock.until_asleep()
            await bench.clock.advance(delay)
        await until(lambda: bench.handled.ended == ["a"])
    assert [1, 2, 3] == bench.handled.attempts
    assert {"failed": 2, "handled": 1} == consumer.counts


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_broker_that_lets_a_cancellation_out_ends_the_loop_with_an_error(bench: Bench) -> None:
    """A consumer that has ended does not look alive."""
    bench.broker = unreliable = Unreliable(bench.broker)
    unreliable.receive_error = asyncio.CancelledError()
    with pytest.raises(StrayCancellation):
        async with bench.consuming():
            await Gate().wait()


async def test_deliveries_that_were_not_begun_are_no_attempts(bench: Bench) -> None:
    """However often a consumer was started anew, a message has all its attempts."""
    bench.handled.gates["first"] = Gate()

    async def pass_the_deadline() -> None:
        await bench.clock.until_asleep()
        await bench.clock.advance(30)

    def has_begun(expected: list[str]) -> bool:
        return expected == bench.handled.begun

    for number in range(1, 7):
        async with open_task_group() as tasks, bench.consuming():
            if number == 1:
                await bench.send("first", "behind")
            await until(partial(has_begun, ["first"] * number))
            tasks.start(pass_the_deadline)
    bench.handled.gates["first"].open()
    bench.handled.fails["behind"] = [ValueError(), ValueError()]
    async with bench.consuming() as consumer:
        for delay in (1, 2):
            await bench.clock.until_asleep()
            await bench.clock.advance(delay)
        await until(lambda: bench.handled.ended == ["first", "behind"])
    assert {"failed": 2, "handled": 2} == consumer.counts


async def test_a_handler_that_does_not_end_before_its_partition_goes_is_cancelled(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Else it might write what is older over what the new member wrote; and it decides nothing about the message."""
    bench.broker = MemoryBroker(partitions=1)
    await bench.broker.start()
    first, second = bench.handled, Handled()
    first.gates = {"a": Gate()}
    joined = await bench.broker.subscribe(["things"], group="us", on_revoked=nothing)  # so that the other one goes
    await joined.close()
    async with bench.consuming(stop_deadline_s=5, retry=cqrs.RetryPolicy(max_attempts=1)) as old:
        await bench.send("a")
        await until(lambda: first.begun == ["a"])
        async with open_task_group() as tasks:

            async def pass_the_deadline() -> None:
                await bench.clock.until_asleep()
                await bench.clock.advance(5)

            tasks.start(pass_the_deadline)
            revoked = old._on_revoked  # noqa: SLF001 - what the broker calls when another member takes the partition
            await revoked(["things/0"])
        await until(lambda: not old._lanes.busy())  # noqa: SLF001 - nothing else shows it
        assert [] == first.ended
        assert {} == old.counts
    assert "They are cancelled" in caplog.text
    async with bench.consuming(handle=second):
        await until(lambda: second.ended == ["a"])
    await bench.broker.stop()


async def test_what_a_handler_sets_in_its_context_is_not_seen_by_the_next(bench: Bench) -> None:
    """Neither by another message, nor by the next attempt: the tenant of one is not that of another."""
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    seen: list[str] = []

    async def handle(event: Happened) -> None:
        seen.append(tenant.get())
        tenant.set(event.what)
        await bench.handled(event)

    bench.handled.fails["a"] = [ValueError()]
    async with bench.consuming(handle=handle, max_concurrent=1):
        await bench.send("a", "b", key="k")
        await bench.send("c", key="other")
        await bench.clock.until_asleep()
        await bench.clock.advance(1)
        await until(lambda: len(bench.handled.ended) == 3)
    assert ["nobody"] * 4 == seen


async def test_a_handler_cannot_change_what_the_next_attempt_reads(bench: Bench) -> None:
    """The headers are facts: a message whose name is changed would be passed over, and lost."""
    failures: list[str] = []

    async def handle(event: Happened) -> None:
        message = current_message()
        assert message is not None
        try:
            message.headers["ce_type"] = "Other"  # type: ignore[index]  # on purpose
        except TypeError as error:
            failures.append(str(error))
        await bench.handled(event)

    async with bench.consuming(handle=handle):
        await bench.send("a")
        await until(lambda: bench.handled.ended == ["a"])
    assert 1 == len(failures)


async def test_of_names_without_end_only_so_many_are_kept_and_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever may send to a topic must not fill the memory of those who read it."""
    async with bench.consuming() as consumer:
        for number in range(1200):
            await bench.broker.send(envelope("x", name=f"{number}" + "x" * 1000))
        await until(lambda: consumer.counts["skipped"] == 1200)
    assert 1001 == sum(record.levelno == logging.WARNING for record in caplog.records)
    assert max(len(record.getMessage()) for record in caplog.records) < 500


@pytest.mark.parametrize(
    ("error", "is_tried_again"),
    [
        (cqrs.EventHandlersFailed([ConnectionError(), cqrs.EventHandlersFailed([ConnectionError()])]), True),
        (cqrs.EventHandlersFailed([ConnectionError(), cqrs.EventHandlersFailed([KeyError()])]), False),
        (cqrs.EventHandlersFailed([KeyError()]), False),
    ],
    ids=["worth it", "deep inside", "plain"],
)
async def test_the_policy_looks_into_groups(bench: Bench, error: Exception, *, is_tried_again: bool) -> None:
    """What a handler's own tasks, or a command that it sent, have raised."""
    bench.handled.fails["a"] = [error]
    dead = await bench.reading()
    async with bench.consuming(retry=cqrs.RetryPolicy(retry_on=(ConnectionError,), delay_s=1, jitter=0)):
        await bench.send("a")
        if is_tried_again:
            await bench.clock.until_asleep()
            await bench.clock.advance(1)
            await until(lambda: bench.handled.ended == ["a"])
        else:
            await dead.receive(1)


class Batches:
    """A handler of batches that notes them, and fails as it is told."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.fails: list[Exception | None] = []
        self.poison: set[str] = set()

    async def __call__(self, events: Sequence[cqrs.Event]) -> None:
        whats = [event.what for event in events if isinstance(event, Happened)]
        self.seen.append(whats)
        error = self.fails.pop(0) if self.fails else None
        if error is not None:
            raise error
        if self.poison & set(whats):
            raise ValueError("somewhere in here")


@pytest.fixture
def batches() -> Batches:
    return Batches()


async def test_a_batch_is_what_waits_in_one_lane(bench: Bench, batches: Batches) -> None:
    """At most ``max_batch_size``, in order, acknowledged together."""
    await waiting(bench, 5)
    async with bench.consuming(handle_batch=batches, max_batch_size=3) as consumer:
        await until(lambda: consumer.counts["handled"] == 5)
    assert [["0", "1", "2"], ["3", "4"]] == batches.seen
    assert [] == await bench.left()


async def waiting(bench: Bench, count: int) -> None:
    """Let messages wait for the group before its consumer comes."""
    subscription = await bench.broker.subscribe(["things"], group="us", on_revoked=nothing)
    await bench.send(*map(str, range(count)))
    await subscription.close()


async def test_a_batch_that_failed_at_an_index_is_done_before_it_and_goes_on_from_there(
    bench: Bench, batches: Batches
) -> None:
    """``BatchFailed(2)``: 0 and 1 never come again; 2 is tried again, with what is behind it."""
    await waiting(bench, 4)
    failure = BatchFailed(2)
    failure.__cause__ = KeyError("two")
    batches.fails = [failure, BatchFailed(0)]
    async with bench.consuming(handle_batch=batches) as consumer:
        await bench.clock.until_asleep()
        await bench.clock.advance(1)
        await bench.clock.until_asleep()
        await bench.clock.advance(2)
        await until(lambda: consumer.counts["handled"] == 4)
    assert [["0", "1", "2", "3"], ["2", "3"], ["2", "3"]] == batches.seen
    assert [1.0, 2.0] == bench.clock.slept
    assert {"handled": 4, "failed": 2} == consumer.counts


async def test_an_event_at_which_its_batch_fails_for_good_is_a_dead_letter_and_the_rest_goes_on(
    bench: Bench, batches: Batches
) -> None:
    """The error that the handler raised it from is the reason that is told."""
    await waiting(bench, 3)
    failure = BatchFailed(1)
    failure.__cause__ = KeyError("one")
    batches.fails = [failure]
    dead = await bench.reading()
    async with bench.consuming(handle_batch=batches, retry=cqrs.RetryPolicy(max_attempts=1)) as consumer:
        (delivery,) = await dead.receive(10)
        await until(lambda: consumer.counts["handled"] == 2)
    assert b'{"what": "1"}' == delivery.envelope.body
    assert "builtins.KeyError" == delivery.envelope.headers["cqrs_dead_error_type"]
    assert [["0", "1", "2"], ["2"]] == batches.seen


async def test_a_batch_that_fails_for_good_without_an_index_is_handled_one_by_one(
    bench: Bench, batches: Batches
) -> None:
    """Each with all its attempts, so that only what is at fault becomes a dead letter."""
    await waiting(bench, 3)
    batches.poison = {"1"}
    dead = await bench.reading()
    async with bench.consuming(handle_batch=batches, retry=cqrs.RetryPolicy(max_attempts=2, jitter=0)) as consumer:
        for _ in range(2):  # the whole batch, and then 1 alone
            await bench.clock.until_asleep()
            await bench.clock.advance(0.5)
        (delivery,) = await dead.receive(10)
        await until(lambda: consumer.counts["handled"] == 2)
    assert b'{"what": "1"}' == delivery.envelope.body
    assert [["0", "1", "2"], ["0", "1", "2"], ["0"], ["1"], ["1"], ["2"]] == batches.seen
    assert [] == await bench.left()


async def test_the_neighbours_of_poison_in_a_batch_may_fail_and_are_tried_again(bench: Bench, batches: Batches) -> None:
    """An error that gives up ends the batch, and not the patience with what was beside it."""
    await waiting(bench, 2)
    batches.fails = [KeyError("poison"), KeyError("poison"), ConnectionError("a blip"), None]
    policy = cqrs.RetryPolicy(max_attempts=5, delay_s=1, jitter=0, give_up_on=(KeyError,))
    async with bench.consuming(handle_batch=batches, retry=policy) as consumer:
        await bench.clock.until_asleep()
        await bench.clock.advance(1)
        await until(lambda: consumer.counts["handled"] == 1)
    assert [["0", "1"], ["0"], ["1"], ["1"]] == batches.seen
    assert {"failed": 3, "dead_lettered": 1, "handled": 1} == consumer.counts


async def test_poison_in_a_batch_goes_alone_to_the_dead_letters(bench: Bench, batches: Batches) -> None:
    """The batch ends before it, and the next begins after it."""
    subscription = await bench.broker.subscribe(["things"], group="us", on_revoked=nothing)
    await bench.send("0", "1")
    await bench.broker.send(cqrs.Envelope("things", b"?", "k", {"ce_type": "Happened"}))
    await bench.broker.send(envelope("x", "k", name="Other"))
    await bench.send("2")
    await subscription.close()
    dead = await bench.reading()
    async with bench.consuming(handle_batch=batches) as consumer:
        (delivery,) = await dead.receive(10)
        await until(lambda: consumer.counts["handled"] == 3)
    assert b"?" == delivery.envelope.body
    assert [["0", "1"], ["2"]] == batches.seen
    assert {"handled": 3, "dead_lettered": 1, "skipped": 1} == consumer.counts


@pytest.mark.parametrize("index", [3, -1, "1", None])
async def test_an_index_that_is_none_fails_the_whole_batch(bench: Bench, batches: Batches, index: Any) -> None:
    """A handler that counts wrong must not make messages pass for done."""
    await waiting(bench, 3)
    batches.fails = [BatchFailed(index)] * 4
    dead = await bench.reading()
    async with bench.consuming(handle_batch=batches, retry=cqrs.RetryPolicy(max_attempts=1)):
        (delivery,) = await dead.receive(1)
    assert f"{InvalidOption.__module__}.InvalidOption" == delivery.envelope.headers["cqrs_dead_error_type"]
    assert ["0", "1", "2"] == batches.seen[0]


async def test_outside_the_handling_of_a_message_there_is_no_current_one(bench: Bench) -> None:
    """Handling one leaves nothing behind."""
    async with bench.consuming():
        await bench.send("a")
        await until(lambda: bench.handled.ended == ["a"])
        assert current_message() is None


class Unreliable:
    """A broker that does as it is told, and else as the one behind it."""

    is_durable = False
    keeps_order_after_failure = True

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self.refused_topics: dict[str, int] = {}
        self.failing_receives = 0
        self.failing_acknowledgements = 0
        self.receive_error: BaseException | None = None
        self.received = 0
        self.calls: list[str] = []

    async def start(self) -> None:
        await self._broker.start()

    async def stop(self) -> None:
        await self._broker.stop()

    async def send(self, envelope: cqrs.Envelope) -> None:
        if self.refused_topics.get(envelope.topic, 0):
            self.refused_topics[envelope.topic] -= 1
            raise BrokerUnavailable("it is away")
        await self._broker.send(envelope)

    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> Any:
        subscription = await self._broker.subscribe(topics, group=group, on_revoked=on_revoked)
        return UnreliableSubscription(self, subscription) if group == "us" else subscription


class UnreliableSubscription:
    def __init__(self, broker: Unreliable, subscription: Subscription) -> None:
        self._broker = broker
        self._subscription = subscription

    async def receive(self, limit: int) -> Sequence[Delivery]:
        if self._broker.receive_error is not None:
            raise self._broker.receive_error
        if self._broker.failing_receives:
            self._broker.failing_receives -= 1
            raise BrokerUnavailable("it is away")
        deliveries = await self._subscription.receive(limit)
        self._broker.received += len(deliveries)
        return deliveries

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        if self._broker.failing_acknowledgements:
            self._broker.failing_acknowledgements -= 1
            raise BrokerUnavailable("it is away")
        await self._subscription.acknowledge(deliveries)

    def pause(self, partition: str) -> None:
        self._broker.calls.append(f"pause {partition}")
        self._subscription.pause(partition)

    def resume(self, partition: str) -> None:
        self._broker.calls.append(f"resume {partition}")
        self._subscription.resume(partition)

    async def close(self) -> None:
        if self._broker.receive_error is not None:
            self._broker.calls.append("close")
        await self._subscription.close()
