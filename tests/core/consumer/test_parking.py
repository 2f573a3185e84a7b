"""Keys that are parked behind a dead letter: nothing of them is handled out of its order, whatever happens."""

from __future__ import annotations

import random
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core.broker import Delivery
from cqrs_core.concurrency import Gate, open_task_group
from cqrs_core.consumer import DeadLetters, LetterSelection
from cqrs_core.consumer.attempts import Attempts
from cqrs_core.consumer.dead_letter_topic import letter_of
from cqrs_core.consumer.dead_letters import ParkedBehind, dead_letter
from cqrs_core.consumer.lanes import Lane
from cqrs_core.consumer.parking import Parking
from cqrs_core.errors import BrokerUnavailable, NotReadable
from cqrs_core.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Book, Desk

    from cqrs_core.clock import Clock
    from cqrs_core.consumer import Replay

DEAD = "payments.shop.dead"


def park(desk: Desk, **options: Any) -> tuple[cqrs.App, Book]:
    return desk.app(**{"on_dead": "park", **options})


def count_of(app: cqrs.App, name: str) -> Callable[[], int]:
    return lambda: app.consumers[0].counts[name]


async def replay(desk: Desk, which: LetterSelection | None = None, **options: Any) -> list[Replay]:
    async with aclosing(DeadLetters(desk.broker, DEAD).replay(which, **options)) as replays:
        return [each async for each in replays]


async def listed(desk: Desk) -> list[str]:
    letters = await DeadLetters(desk.broker, DEAD).look()
    return [letter.message.body.decode()[10:-2] for letter in letters]


async def test_what_comes_after_a_dead_letter_of_its_key_is_parked_behind_it(desk: Desk) -> None:
    """In order, marked as not tried; other keys, and messages without one, go on."""
    app, book = park(desk)
    book.fails["a"] = [ValueError()]
    async with app.running():
        await desk.send("a", "b", "c")
        await desk.send("x", key="other")
        await desk.send("y", key=None)
        await desk.until(lambda: count_of(app, "parked")() == 2 and len(book.done) == 2)
        assert {"failed": 1, "dead_lettered": 1, "parked": 2, "handled": 2} == app.consumers[0].counts
    letters = await DeadLetters(desk.broker, DEAD).look()
    assert ["a", "b", "c"] == await listed(desk)
    assert [(False, 1), (True, 0), (True, 0)] == [(letter.is_parked, letter.attempts) for letter in letters]
    assert "An earlier message of its key is a dead letter" in letters[1].error_text
    assert ["x", "y"] == sorted(book.done)


async def test_sent_back_they_are_handled_in_order_and_then_the_key_goes_on(desk: Desk) -> None:
    """What comes before they are done is parked as well; what comes after is not."""
    app, book = park(desk)
    book.fails["a"] = [ValueError()]
    async with app.running():
        await desk.send("a", "b")
        await desk.until(lambda: count_of(app, "parked")() == 1)
        await desk.send("c")
        await desk.until(lambda: count_of(app, "parked")() == 2)
        assert [None] * 3 == [each.problem for each in await replay(desk)]
        await desk.until(lambda: book.done == ["a", "b", "c"])
        await desk.send("d")
        await desk.until(lambda: book.done == ["a", "b", "c", "d"])
    assert [] == await listed(desk)
    assert [1, 1, 1, 1, 1] == [message.attempt for message in book.messages]


async def test_one_that_dies_again_lets_none_behind_it_pass(desk: Desk) -> None:
    """Those that were sent back with it are parked once more, each once, and in their order."""
    app, book = park(desk)
    book.fails["a"] = [ValueError(), ValueError()]
    async with app.running():
        await desk.send("a", "b", "c")
        await desk.until(lambda: count_of(app, "parked")() == 2)
        await replay(desk)
        await desk.until(lambda: count_of(app, "parked")() == 4)
        assert [] == book.done
        assert ["a", "b", "c"] == await listed(desk)
        await replay(desk)
        await desk.until(lambda: book.done == ["a", "b", "c"])
    assert [] == await listed(desk)


async def test_one_that_died_again_alone_is_sent_back_before_those_behind_it(desk: Desk) -> None:
    """Though it stands behind them in the dead-letter topic by now: one replay is enough."""
    app, book = park(desk)
    book.fails["a"] = [ValueError(), ValueError()]
    async with app.running():
        await desk.send("a", ce_id="1")
        await desk.send("b", "c")
        await desk.until(lambda: count_of(app, "parked")() == 2)
        await replay(desk, LetterSelection(id="1"))
        await desk.until(lambda: count_of(app, "dead_lettered")() == 2)
        assert ["b", "c", "a"] == await listed(desk)
        await replay(desk)
        await desk.until(lambda: book.done == ["a", "b", "c"])
        assert 2 == count_of(app, "parked")()


async def test_what_is_parked_stays_so_when_the_consumer_is_started_again(desk: Desk) -> None:
    """It is in the dead-letter topic, and nowhere else."""
    app, book = park(desk)
    book.fails["a"] = [ValueError()]
    async with app.running():
        await desk.send("a")
        await desk.until(lambda: count_of(app, "dead_lettered")() == 1)
    app, book = park(desk)
    async with app.running():
        await desk.send("b")
        await desk.until(lambda: count_of(app, "parked")() == 1)
        await replay(desk)
        await desk.until(lambda: book.done == ["a", "b"])
    app, book = park(desk)
    async with app.running():
        await desk.send("c")
        await desk.until(lambda: book.done == ["c"])


async def test_who_takes_over_a_partition_finds_what_is_parked_there(desk: Desk) -> None:
    """From one member to the other, and back: each looks again, for the other may have parked or settled something."""
    first, by_first = park(desk)
    second, by_second = park(desk)
    keys = [str(number) for number in range(8)]  # in both halves of the partitions
    by_first.fails = {f"a{key}": [ValueError()] for key in keys}
    async with first.running():
        for key in keys:
            await desk.send(f"a{key}", key=key)
        await desk.until(lambda: count_of(first, "dead_lettered")() == 8)
        async with second.running():
            for key in keys:
                await desk.send(f"b{key}", key=key)
            await desk.until(lambda: count_of(first, "parked")() + count_of(second, "parked")() == 8)
            assert count_of(second, "parked")() > 0
            await replay(desk)
            await desk.until(lambda: len(by_first.done) + len(by_second.done) == 16)
        for key in keys:
            await desk.send(f"c{key}", key=key)
        await desk.until(lambda: len(by_first.done) + len(by_second.done) == 24)
    assert [] == await listed(desk)


async def test_one_from_the_middle_is_not_sent_back_before_those_before_it(desk: Desk) -> None:
    """Its group would only park it again. The reason names the one that has to be sent back first."""
    app, book = park(desk)
    book.fails["a"] = [ValueError()]
    async with app.running():
        await desk.send("a", ce_id="1")
        await desk.send("b", ce_id="2")
        await desk.send("c", ce_id="3")
        await desk.until(lambda: count_of(app, "parked")() == 2)
        first = (await DeadLetters(desk.broker, DEAD).look())[0]
        (left,) = await replay(desk, LetterSelection(id="2"))
        assert f"it is parked behind the one at {first.position}, which has to be sent back before it" == left.problem
        assert [None] == [each.problem for each in await replay(desk, LetterSelection(id="1"))]
        assert [None] == [each.problem for each in await replay(desk, LetterSelection(id="2"))]
        await desk.until(lambda: book.done == ["a", "b"])
        await desk.send("d")
        await desk.until(lambda: count_of(app, "parked")() == 3)
        await replay(desk)
        await desk.until(lambda: book.done == ["a", "b", "c", "d"])


async def test_whoever_sends_them_back_in_the_wrong_order_changes_nothing(desk: Desk) -> None:
    """Or twice: what is not first is parked again, and what is done is known by its id."""
    app, book = park(desk, storage=cqrs.MemoryStorage())
    book.fails["a"] = [ValueError()]
    ids = [f"5e7a7b34-6d3b-4b5c-9f0d-2f4f3a8f1c1{number}" for number in range(3)]
    async with desk.reading("payments") as sent, app.running(only="consumers"):
        for what, message_id in zip("abc", ids, strict=True):
            await desk.send(what, ce_id=message_id)
        await desk.until(lambda: count_of(app, "parked")() == 2)
        await _take(sent, 3)
        await replay(desk)
        backwards = reversed(await _take(sent, 3))
        await desk.until(lambda: book.done == ["a", "b", "c"])
        for delivery in backwards:
            await desk.broker.send(delivery.envelope)
        await desk.until(lambda: count_of(app, "handled")() == 6)
        await desk.send("d")
        await desk.until(lambda: book.done == ["a", "b", "c", "d"])


async def _take(subscription: Any, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    with anyio.fail_after(30):
        while len(found) < count:
            found += await subscription.receive(count - len(found))
    return found


async def test_what_can_never_be_handled_is_discarded_in_its_turn(desk: Desk) -> None:
    """So that its key goes on: a body that nobody can read is a dead letter again and again."""
    app, book = park(desk)
    async with app.running():
        await desk.broker.send(cqrs.Envelope("payments", b"{", "k", {"ce_type": "Paid", "ce_id": "1"}))
        await desk.send("b")
        await desk.until(lambda: count_of(app, "parked")() == 1)
        await replay(desk)
        await desk.until(lambda: count_of(app, "parked")() == 2)
        letters = DeadLetters(desk.broker, DEAD)
        async with aclosing(letters.discard(LetterSelection(id="1"))) as discarded:
            assert [None] == [each.problem async for each in discarded]
        assert ["b"] == await listed(desk)
        await replay(desk)
        await desk.until(lambda: book.done == ["b"])
        await desk.send("c")
        await desk.until(lambda: book.done == ["b", "c"])


async def test_what_is_not_parked_is_discarded_by_a_note_alone(desk: Desk) -> None:
    """Nobody waits for it; also if it does not say where it came from."""
    await desk.broker.send(cqrs.Envelope(DEAD, b"{}", "k"))
    app, book = desk.app()
    book.fails["a"] = [ValueError()]
    async with app.running():
        await desk.send("a")
        await desk.until(lambda: count_of(app, "dead_lettered")() == 1)
        async with aclosing(DeadLetters(desk.broker, DEAD).discard()) as discarded:
            assert [None, None] == [each.problem async for each in discarded]
        await desk.settle()
    assert [] == await listed(desk)
    assert ["a"] == book.begun


async def test_a_letter_that_is_done_is_not_handled_again_when_that_cannot_be_noted(desk: Desk) -> None:
    """The note is sent until it arrives; those behind wait for it."""
    app, book = park(desk)
    book.fails["a"] = [ValueError()]
    notes = _Refusing(desk.broker, "cqrs_dead_settled", times=2)
    async with app.running():
        await desk.send("a", "b")
        await desk.until(lambda: count_of(app, "parked")() == 1)
    desk.broker = notes
    app, book = park(desk)
    async with app.running():
        await replay(desk)
        for _ in range(2):
            await desk.clock.until_asleep()
            assert ["a"] == book.done
            await desk.clock.advance(30)
        await desk.until(lambda: book.done == ["a", "b"])
    assert ["a", "b"] == book.begun


class _Refusing:
    """A broker that does not take the first messages with some header."""

    def __init__(self, broker: Any, header: str, *, times: int) -> None:
        self._broker = broker
        self._header = header
        self._left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def send(self, envelope: cqrs.Envelope) -> None:
        if self._header in envelope.headers and self._left:
            self._left -= 1
            raise BrokerUnavailable("not now")
        await self._broker.send(envelope)


async def test_a_letter_that_is_done_is_listed_no_more_though_nobody_noted_that_it_was_sent_back(desk: Desk) -> None:
    """Whoever sent it back crashed just then."""
    app, book = park(desk)
    book.fails["a"] = [ValueError()]
    async with app.running():
        await desk.send("a")
        await desk.until(lambda: count_of(app, "dead_lettered")() == 1)
        replays = DeadLetters(_Refusing(desk.broker, "cqrs_dead_replayed", times=1), DEAD).replay()  # type: ignore[arg-type]  # it has what is used of a broker
        async with aclosing(replays):
            with pytest.raises(BrokerUnavailable):
                await anext(replays)
        await desk.until(lambda: count_of(app, "handled")() == 1)
        await desk.settle()
    assert ["a"] == book.done
    assert [] == await listed(desk)


class _Troubled:
    """
    A broker whose readers, or subscriptions, have trouble.

    Attributes:
        left: How often reading fails.
        refuses: A topic that it does not open, or subscribe to.
        readers: How many readers are open.
    """

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self.left = 0
        self.refuses = ""
        self.readers = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def open_reader(self, topic: str) -> Any:
        if topic == self.refuses:
            raise BrokerUnavailable("not this one")
        reader = await self._broker.open_reader(topic)
        self.readers += 1
        return _TroubledReader(self, reader)

    async def subscribe(self, topics: Any, **options: Any) -> Any:
        if self.refuses in topics:
            raise BrokerUnavailable("not this one")
        return await self._broker.subscribe(topics, **options)


class _TroubledReader:
    def __init__(self, broker: _Troubled, reader: Any) -> None:
        self._broker = broker
        self._reader = reader

    async def read(self, limit: int) -> Any:
        if self._broker.left:
            self._broker.left -= 1
            raise BrokerUnavailable("not now")
        return await self._reader.read(limit)

    async def close(self) -> None:
        self._broker.readers -= 1
        await self._reader.close()


async def test_while_dead_letters_cannot_be_read_keys_wait_and_the_rest_goes_on(desk: Desk) -> None:
    """Nobody knows yet whether something is parked; messages without a key are not asked."""
    desk.broker = _Troubled(desk.broker)
    desk.broker.left = 2
    app, book = park(desk)
    async with app.running():
        await desk.send("a", "b")
        await desk.clock.until_asleep()
        await desk.send("x", key=None)
        await desk.until(lambda: book.begun == ["x"])
        await desk.clock.advance(0.5)
        await desk.clock.until_asleep()
        await desk.clock.advance(1.0)  # twice as long as before
        await desk.until(lambda: book.done == ["x", "a", "b"])
        assert 1 == desk.broker.readers
    assert {"handled": 3} == app.consumers[0].counts
    assert 0 == desk.broker.readers


@pytest.mark.parametrize("refuses", ["orders.shop.dead", "orders"])
async def test_what_was_opened_before_something_could_not_be_is_closed(desk: Desk, refuses: str) -> None:
    """A second dead-letter topic, or the subscription itself."""
    desk.broker = _Troubled(desk.broker)
    desk.broker.refuses = refuses
    app, _ = park(desk)
    app.consume("orders", {"Paid": _paid_of(app)}, on_dead="park")

    with pytest.raises(BrokerUnavailable):
        async with app.running():
            pass
    assert 0 == desk.broker.readers


def _paid_of(app: cqrs.App) -> Any:
    (binding,) = app.events
    return binding.event_type


async def test_of_batches_too_none_is_handled_out_of_order(desk: Desk) -> None:
    """What was sent back is a batch of its own: it is settled by itself."""
    app, book = park(desk, in_batches=True)
    book.fails = {"a": [ValueError()], "a b c": [ValueError()]}
    subscription = await desk.broker.subscribe(["payments"], group="shop", on_revoked=_nothing)
    await desk.send("a", "b", "c")  # what waits is one batch
    await subscription.close()
    async with app.running():
        await desk.until(lambda: count_of(app, "parked")() == 2)
        await replay(desk)
        await desk.until(lambda: book.done == ["a", "b", "c"])
        await desk.send("d")
        await desk.until(lambda: book.done == ["a", "b", "c", "d"])


async def _nothing(_: object) -> None:
    """For subscriptions to which it is all the same."""


async def test_a_letter_whose_name_is_not_consumed_any_more_is_settled(desk: Desk) -> None:
    """It is passed over, as any message of that name; those behind it go on."""
    app, book = park(desk, on_unknown="dead_letter")
    async with app.running():
        await desk.send("a", ce_type="Other")
        await desk.send("b")
        await desk.until(lambda: count_of(app, "parked")() == 1)
    app, book = park(desk)
    async with app.running():
        await replay(desk)
        await desk.until(lambda: book.done == ["b"])
    assert 1 == count_of(app, "skipped")()


async def test_letters_of_others_park_nothing(desk: Desk) -> None:
    """Of another group, or from another topic, in the same dead-letter topic and of the same key."""
    shop, by_shop = park(desk, dead_letter_topic=DEAD)
    bank, by_bank = park(desk, name="bank", dead_letter_topic=DEAD)
    by_shop.fails["a"] = [ValueError()]
    async with shop.running():
        await desk.send("a")
        await desk.until(lambda: count_of(shop, "dead_lettered")() == 1)
    orders, by_orders = park(desk, topic="orders", dead_letter_topic=DEAD)
    async with bank.running(), orders.running():
        await desk.send("b")
        await desk.send("b", topic="orders")
        await desk.until(lambda: by_bank.done == ["b"] and by_orders.done == ["b"])


async def test_all_groups_cannot_take_part_in_the_order_of_one(desk: Desk) -> None:
    """A letter that has a place among those of its key is for its group alone."""
    app, book = park(desk)
    book.fails["a"] = [ValueError()]
    async with app.running():
        await desk.send("a")
        await desk.until(lambda: count_of(app, "dead_lettered")() == 1)
        (left,) = await replay(desk, for_all_groups=True)
    assert "its key is parked for the group that gave it up, and for no other" == left.problem


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"order": "partition"}, "order='key' and no retry topics"),
        ({"order": "none"}, "order='key' and no retry topics"),
        ({"retry_topic_delays_s": [30]}, "order='key' and no retry topics"),
        ({"on_dead": "halt"}, "It must be 'skip' or 'park'"),
    ],
)
async def test_what_contradicts_parking_is_refused(desk: Desk, options: dict[str, Any], problem: str) -> None:
    """When the program starts."""
    app, _ = park(desk, **options)

    with pytest.raises(cqrs.WiringError, match=problem):
        async with app:
            pass


async def test_a_broker_that_cannot_read_its_topics_again_is_refused(desk: Desk) -> None:
    """Nobody would know what is parked after a restart."""
    desk.broker = _Unreadable(desk.broker)
    app, _ = park(desk)

    with pytest.raises(cqrs.WiringError, match="cannot read a topic from its beginning") as caught:
        async with app:
            pass
    assert [NotReadable] == [type(problem) for problem in caught.value.problems]


class _Unreadable:
    def __init__(self, broker: Any) -> None:
        for name in ("start", "stop", "send", "send_many", "subscribe"):
            setattr(self, name, getattr(broker, name))


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_fails_and_whoever_comes_and_goes_each_key_stays_in_order(desk: Desk, seed: int) -> None:
    """Handlers that fail at random, letters sent back at random, restarts in between: in the end all are done once."""
    chance = random.Random(seed)  # noqa: S311 - so that it is the same each time
    keys = ["one", "two", "three"]
    done: dict[str, list[int]] = {key: [] for key in keys}
    sent = dict.fromkeys(keys, 0)
    for _ in range(200):  # far more than it takes
        if min(map(len, done.values())) >= 30:
            break
        app, book = park(desk)
        book.take = partial(_take_at_random, chance, done, is_last=min(sent.values()) >= 30)  # type: ignore[method-assign]  # for this test
        async with app.running():
            for _ in range(10):
                key = chance.choice(keys)
                if sent[key] < 30:
                    await desk.send(f"{key}:{sent[key]}", key=key)
                    sent[key] += 1
                if chance.random() < 0.2:
                    await replay(desk)
            await desk.settle()
    assert {key: list(range(30)) for key in keys} == done


async def _take_at_random(chance: random.Random, done: dict[str, list[int]], what: str, *, is_last: bool) -> None:
    key, number = what.split(":")
    if not is_last and chance.random() < 0.3:
        raise ValueError(what)
    done[key].append(int(number))


# The state alone -----------------------------------------------------------------------------------------------------


class Topic:
    """A dead-letter topic whose reader waits, or fails, when it is told to."""

    def __init__(self) -> None:
        self.letters: list[cqrs.Envelope] = []
        self.gate: Gate | None = None
        self.fails = 0
        self.is_closed = False
        self._read = 0

    async def open_reader(self, topic: str) -> Topic:
        assert topic == DEAD
        return self

    async def read(self, limit: int) -> list[Delivery]:
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            self.fails -= 1
            raise BrokerUnavailable("not now")
        found = self.letters[self._read : self._read + limit]
        self._read += len(found)
        return [Delivery(letter, "p", "1") for letter in found]

    async def close(self) -> None:
        self.is_closed = True


MESSAGE = Delivery(cqrs.Envelope("payments", b"", "k"), "payments/0", "0/1")


async def opened(topic: Topic, clock: Clock | None = None) -> Parking:
    clock = clock or VirtualClock()
    parking = Parking(topic, topic="payments", group="shop", dead_letter_topic=DEAD, clock=clock)  # type: ignore[arg-type]  # it has what is used of a broker
    await parking.open()
    return parking


def letter(number: int | None) -> cqrs.Envelope:
    return dead_letter(
        MESSAGE, ValueError(), topic=DEAD, group="shop", attempts=1, time=VirtualClock().now(), number=number
    )


async def test_a_partition_that_is_taken_away_while_it_is_looked_at_is_not_known() -> None:
    """It may come back, and another may have parked something meanwhile."""
    topic = Topic()
    topic.gate = Gate()
    parking = await opened(topic)
    async with open_task_group() as tasks:
        tasks.start(partial(parking.learn, "payments/0"))
        with anyio.fail_after(30):
            while parking._reading is None:  # noqa: SLF001 - nothing else shows it
                await anyio.lowlevel.checkpoint()
        tasks.start(partial(parking.learn, "payments/1"))
        tasks.start(partial(parking.learn, "payments/1"))
        parking.forget(["payments/0"])
        topic.gate.open()
    assert (False, True) == (parking.knows("payments/0"), parking.knows("payments/1"))
    await parking.close()
    assert topic.is_closed


async def test_what_was_read_before_an_error_is_not_read_twice() -> None:
    """The reader goes on where it ended."""
    topic = Topic()
    parking = await opened(topic)
    topic.letters.append(letter(7))
    await parking.learn("payments/1")
    topic.fails = 1
    with pytest.raises(BrokerUnavailable):
        await parking.learn("payments/0")
    assert not parking.knows("payments/0")
    await parking.learn("payments/0")
    assert parking.knows("payments/0")
    assert parking.is_behind(MESSAGE)


async def test_that_it_cannot_be_read_is_found_out_once_for_all_who_wait(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand lanes would each ask, and each say so; the next try comes later and later."""
    topic = Topic()
    parking = await opened(topic)
    topic.gate, topic.fails = Gate(), 2

    async def learn() -> None:
        with pytest.raises(BrokerUnavailable):
            await parking.learn("payments/0")

    async with open_task_group() as tasks:
        for _ in range(3):
            tasks.start(learn)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        topic.gate.open()
    first = parking.unreadable_for_s
    await learn()

    assert 0.45 <= first <= 0.5  # a tenth less, so that not all members ask at once
    assert 0.9 <= parking.unreadable_for_s <= 1.0
    assert 0 == topic.fails
    assert 2 == sum("cannot be read" in record.getMessage() for record in caplog.records)


async def test_who_has_waited_as_long_as_told_does_not_wait_for_a_fraction_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sums of fractions are not exact, and some clocks wake one a little early."""
    monkeypatch.setattr("cqrs_core.consumer.parking.PERSISTENT", cqrs.RetryPolicy(delay_s=0.5, jitter=0))
    clock, topic = VirtualClock(), Topic()
    parking = await opened(topic, clock)
    topic.fails = 1
    with pytest.raises(BrokerUnavailable):
        await parking.learn("payments/0")

    await clock.advance(0.5 - 2e-6)
    assert 2e-6 == parking.unreadable_for_s
    await clock.advance(2e-6 - 1e-9)
    assert 0 == parking.unreadable_for_s


def test_a_letter_that_was_parked_is_known_wherever_its_class_has_stood() -> None:
    """What is stored outlives the places of classes."""
    parked = dead_letter(MESSAGE, ParkedBehind("k"), topic=DEAD, group="shop", attempts=0, time=VirtualClock().now())
    headers = {**parked.headers, "cqrs_dead_error_type": "cqrs_core.elsewhere.ParkedBehind"}

    for envelope in (parked, replace(parked, headers=headers)):
        assert letter_of(Delivery(envelope, "p", "0/1")).is_parked
    assert not letter_of(Delivery(letter(1), "p", "0/1")).is_parked


async def test_a_lane_that_was_taken_away_before_its_turn_is_not_begun(desk: Desk) -> None:
    """Another member may have its partition by now: nothing is looked up, and nothing believed about it."""
    topic = Topic()
    parking = await opened(topic)
    lane = Lane("k", "payments/0")
    lane.queue.append(MESSAGE)
    lane.is_dropped = True
    attempts = Attempts({}, None, None, {"payments": parking}, None, group="shop", clock=desk.clock, figures=None)  # type: ignore[arg-type]  # nothing is asked of these

    assert await attempts.advance(lane) is None
    assert not parking.knows("payments/0")


async def test_what_this_member_settled_is_settled_whatever_it_reads_later() -> None:
    """Until the partition is another's: then what is read counts again."""
    topic = Topic()
    parking = await opened(topic)
    topic.letters.append(letter(7))
    await parking.learn("payments/0")
    settled = cqrs.Envelope(DEAD, b"", "k", {"cqrs_dead_settled": "7"})
    parking.sent(MESSAGE, settled)
    assert not parking.is_behind(MESSAGE)
    topic.letters.append(letter(7))
    await parking.learn("payments/1")
    assert not parking.is_behind(MESSAGE)
    parking.forget(["payments/0"])
    assert parking.is_behind(MESSAGE)


async def test_what_was_sent_of_a_partition_that_has_gone_is_read_when_it_comes_back() -> None:
    """Another member may have settled it meanwhile: what this one knew of it is old."""
    topic = Topic()
    parking = await opened(topic)
    await parking.learn("payments/0")
    parking.forget(["payments/0"])
    parking.sent(MESSAGE, letter(7))  # its lane was just at that
    headers = {"cqrs_dead_topic": "payments", "cqrs_dead_group": "shop", "cqrs_dead_settled": "7"}
    topic.letters += [letter(7), cqrs.Envelope(DEAD, b"", "k", headers)]
    await parking.learn("payments/0")
    assert not parking.is_behind(MESSAGE)


async def test_numbers_grow_also_when_the_clock_stands_still() -> None:
    """And are never small, so that those of today come after those of yesterday."""
    parking = await opened(Topic())
    await parking.learn("payments/0")
    first = parking.number_for(MESSAGE)
    parking.sent(MESSAGE, letter(first))
    second = parking.number_for(MESSAGE)
    assert second == first + 1
    assert first == 946_684_800_000_000  # microseconds, at the beginning of the year 2000


async def test_letters_that_make_no_sense_park_nothing() -> None:
    """Whoever wrote them."""
    topic = Topic()
    parking = await opened(topic)
    topic.letters += [letter(None), cqrs.Envelope(DEAD, b"", None, {"cqrs_dead_number": "7"}), cqrs.Envelope(DEAD, b"")]
    await parking.learn("payments/0")
    parking.sent(Delivery(cqrs.Envelope("payments", b""), "payments/0", "0/2"), letter(None))
    assert not parking.is_behind(MESSAGE)
    assert not parking.is_behind(Delivery(cqrs.Envelope("payments", b""), "payments/0", "0/2"))
