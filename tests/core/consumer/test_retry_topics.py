"""Retry topics: what has failed waits elsewhere, holds up nobody, and comes again as what it was."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

import cqrs_core as cqrs
from cqrs_core.broker import Delivery
from cqrs_core.consumer.retry_topics import RetryTopic, retry_topics
from cqrs_core.consumer.returned import Returned, Returns
from cqrs_core.errors import BrokerUnavailable, InvalidOption

if TYPE_CHECKING:
    from conftest import Desk

NOON = datetime(2026, 11, 29, 12, tzinfo=timezone.utc)


async def test_a_message_that_failed_waits_in_a_retry_topic_and_holds_up_nobody(desk: Desk) -> None:
    """The next of its key is handled meanwhile; it is handled itself when its delay is over, and not before."""
    app, book = desk.app(retry_topic_delays_s=[30])
    book.fails["a"] = [ValueError()]
    async with app.running():
        await desk.send("a", "b")
        await desk.until(lambda: book.done == ["b"])
        await desk.clock.until_asleep()
        await desk.clock.advance(29.9)
        await desk.settle()
        assert ["a", "b"] == book.begun
        await desk.clock.advance(0.1)
        await desk.until(lambda: book.done == ["b", "a"])
        assert {"failed": 1, "retried": 1, "handled": 2} == app.consumers[0].counts
    assert [30.0] == desk.clock.slept


async def test_a_letter_to_a_retry_topic_is_the_message_and_headers_that_say_why(desk: Desk) -> None:
    """Body, key and headers as they came; exactly these are added."""
    app, book = desk.app(retry=cqrs.RetryPolicy(max_attempts=2, delay_s=1, jitter=0), retry_topic_delays_s=[300])
    book.fails["a"] = [ValueError("first"), ValueError("second")]
    async with desk.reading("payments.shop.retry.5m") as letters, app.running():
        await desk.send("a", ce_id="7")
        await desk.clock.until_asleep()
        await desk.clock.advance(1)
        (letter,) = await letters.receive(10)
    headers = dict(letter.envelope.headers)
    partition = headers.pop("cqrs_retry_partition")
    assert headers.pop("cqrs_retry_position").startswith(partition.rpartition("/")[2])
    assert (b'{"what": "a"}', "k") == (letter.envelope.body, letter.envelope.key)
    assert {
        "ce_type": "Paid",
        "ce_id": "7",
        "cqrs_retry_topic": "payments",
        "cqrs_retry_group": "shop",
        "cqrs_retry_attempts": "2",
        "cqrs_retry_error_type": "builtins.ValueError",
        "cqrs_retry_error_text": "second",
        "cqrs_retry_time": "2000-01-01T00:00:01+00:00",
        "cqrs_retry_round": "1",
        "cqrs_retry_due": "2000-01-01T00:05:01+00:00",
    } == headers


@pytest.mark.parametrize("headers", [{"ce_id": "5e7a7b34-6d3b-4b5c-9f0d-2f4f3a8f1c11"}, {}], ids=["id", "no id"])
async def test_what_comes_again_is_a_message_of_its_first_topic(desk: Desk, headers: dict[str, str]) -> None:
    """With the same id, also if it is made of where it stood; only the number of the attempt goes on."""
    app, book = desk.app(retry=cqrs.RetryPolicy(max_attempts=2, delay_s=0, jitter=0), retry_topic_delays_s=[30])
    book.fails["a"] = [ValueError(), ValueError(), ValueError()]
    async with app.running():
        await desk.send("a", **headers)
        for _ in range(10):
            await desk.settle()
            await desk.clock.advance(10)
        await desk.until(lambda: book.done == ["a"])
    assert [1, 2, 3, 4] == [message.attempt for message in book.messages]
    assert 1 == len({message.id for message in book.messages})
    assert [{"ce_type": "Paid", **headers}] * 4 == [dict(message.headers) for message in book.messages]
    assert {("payments", "shop", "k")} == {(message.topic, message.group, message.key) for message in book.messages}


async def test_after_the_last_delay_it_is_a_dead_letter_of_its_first_topic(desk: Desk) -> None:
    """The number of attempts is that of all rounds; repeats of a delay are in one topic."""
    app, book = desk.app(retry_topic_delays_s=[30, 60, 60])
    book.fails["a"] = [ValueError(str(number)) for number in range(4)]
    async with (
        desk.reading("payments.shop.dead") as dead,
        desk.reading("payments.shop.retry.1m") as repeated,
        app.running(),
    ):
        await desk.send("a", ce_id="7")
        for delay_s in (30, 60, 60):
            await desk.clock.until_asleep()
            await desk.clock.advance(delay_s)
        (letter,) = await dead.receive(10)
        rounds = [*await repeated.receive(1), *await repeated.receive(1)]
        assert {"failed": 4, "retried": 3, "dead_lettered": 1} == app.consumers[0].counts
    headers = letter.envelope.headers
    assert ("payments", "4", "3") == tuple(headers[f"cqrs_dead_{name}"] for name in ("topic", "attempts", "error_text"))
    assert not [name for name in headers if name.startswith("cqrs_retry_")]
    assert ["2", "3"] == [delivery.envelope.headers["cqrs_retry_round"] for delivery in rounds]


async def test_what_no_attempt_would_mend_does_not_wait(desk: Desk) -> None:
    """An error that is given up on, and a body that cannot be read, are dead letters at once."""
    app, book = desk.app(retry=cqrs.RetryPolicy(max_attempts=5, give_up_on=(KeyError,)), retry_topic_delays_s=[30])
    book.fails["a"] = [KeyError("x")]
    async with desk.reading("payments.shop.dead") as dead, app.running():
        await desk.send("a")
        await desk.broker.send(cqrs.Envelope("payments", b"{", "k", {"ce_type": "Paid"}))
        await desk.until(lambda: app.consumers[0].counts["dead_lettered"] == 2)
        assert 2 == len([*await dead.receive(1), *await dead.receive(1)])
    assert [] == desk.clock.slept


async def test_groups_do_not_see_each_others_retries(desk: Desk) -> None:
    """Each has topics of its own; where their names meet, one passes over what is the other's."""
    shop, by_shop = desk.app("shop", retry_topic_delays_s=[30])
    bank, by_bank = desk.app("bank", retry_topic_delays_s=[30])
    by_shop.fails["a"] = [ValueError()]
    async with shop.running(), bank.running():
        await desk.send("a")
        foreign = {"cqrs_retry_topic": "payments", "cqrs_retry_group": "shop"}
        await desk.send("b", topic="payments.bank.retry.30s", **foreign)
        await desk.send("c", topic="payments.bank.retry.30s", cqrs_retry_topic="orders")
        await desk.clock.until_asleep()
        await desk.clock.advance(30)
        await desk.until(lambda: by_shop.done == ["a"])
        await desk.until(lambda: bank.consumers[0].counts["skipped"] == 2)
    assert (["a", "a"], ["a"]) == (by_shop.begun, by_bank.begun)


async def test_after_a_restart_only_the_rest_of_the_delay_is_waited_for(desk: Desk) -> None:
    """When a message is due is in its headers; stopping does not wait for it."""
    app, book = desk.app(retry_topic_delays_s=[30])
    book.fails["a"] = [ValueError()]
    async with app.running():
        await desk.send("a")
        await desk.clock.until_asleep()
    await desk.clock.advance(20)
    async with app.running():
        await desk.clock.until_asleep()
        await desk.clock.advance(10)
        await desk.until(lambda: book.done == ["a"])
    assert [30.0, 10.0] == desk.clock.slept


async def test_what_others_put_into_a_retry_topic_is_a_message_that_is_due(desk: Desk) -> None:
    """A person may have copied it there: it is not lost."""
    app, book = desk.app(retry_topic_delays_s=[30])
    async with app.running():
        await desk.send("a", topic="payments.shop.retry.30s")
        await desk.until(lambda: book.done == ["a"])
    assert ["payments"] == [message.topic for message in book.messages]


async def test_what_was_sent_back_and_copied_to_another_topic_is_a_message_of_that(desk: Desk) -> None:
    """Such as that of a mirror: whoever consumes there must not miss it."""
    app, book = desk.app(topic="mirror.payments")
    async with app.running():
        await desk.send("a", topic="mirror.payments", cqrs_retry_topic="payments", cqrs_retry_position="0/7")
        await desk.until(lambda: book.done == ["a"])
    assert ["mirror.payments"] == [message.topic for message in book.messages]


async def test_a_retry_topic_that_takes_nothing_keeps_the_message_first_in_its_lane(desk: Desk) -> None:
    """It is sent until it arrives, without calling the handler again: nothing is lost."""
    desk.broker = _Refusing(desk.broker, "payments.shop.retry.30s", times=2)
    app, book = desk.app(retry_topic_delays_s=[30])
    book.fails["a"] = [ValueError()]
    async with app.running():
        await desk.send("a", "b")
        for _ in range(2):
            await desk.clock.until_asleep()
            assert ["a"] == book.begun
            await desk.clock.advance(30)
        await desk.until(lambda: sorted(book.done) == ["a", "b"])  # it was due half a minute ago


class _Refusing:
    """A broker that is unavailable for one topic, some times."""

    def __init__(self, broker: Any, topic: str, *, times: int) -> None:
        self._broker = broker
        self._topic = topic
        self._left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def send(self, envelope: cqrs.Envelope) -> None:
        if envelope.topic == self._topic and self._left:
            self._left -= 1
            raise BrokerUnavailable("not now")
        await self._broker.send(envelope)


async def test_a_batch_holds_only_what_is_due(desk: Desk) -> None:
    """What is behind it in its lane comes when its own time has come."""
    app, book = desk.app(retry_topic_delays_s=[30], in_batches=True, max_batch_size=1)
    book.fails = {"a": [ValueError()], "b": [ValueError()]}
    async with app.running():
        await desk.send("a")
        await desk.until(lambda: app.consumers[0].counts["retried"] == 1)
        await desk.clock.advance(10)
        await desk.send("b")
        await desk.until(lambda: app.consumers[0].counts["retried"] == 2)
    app, book = desk.app(retry_topic_delays_s=[30], in_batches=True)
    async with app.running():
        await desk.clock.until_asleep()
        await desk.clock.advance(20)
        await desk.until(lambda: book.done == ["a"])
        await desk.clock.until_asleep()
        await desk.clock.advance(10)
        await desk.until(lambda: book.done == ["a", "b"])


async def test_with_an_inbox_effects_are_once_whichever_way_a_message_came(desk: Desk) -> None:
    """What was done from the retry topic is known when it is delivered again, from there or from its first topic."""
    app, book = desk.app(storage=cqrs.MemoryStorage(), retry_topic_delays_s=[30])
    book.fails["a"] = [ValueError()]
    async with desk.reading("payments.shop.retry.30s") as letters, app.running(only="consumers"):
        await desk.send("a", ce_id="5e7a7b34-6d3b-4b5c-9f0d-2f4f3a8f1c11")
        (letter,) = await letters.receive(1)
        await desk.clock.until_asleep()
        await desk.clock.advance(30)
        await desk.until(lambda: book.done == ["a"])
        await desk.broker.send(letter.envelope)
        await desk.send("a", ce_id="5e7a7b34-6d3b-4b5c-9f0d-2f4f3a8f1c11")
        await desk.until(lambda: app.consumers[0].counts["handled"] == 3)
    assert ["a"] == book.done


@pytest.mark.parametrize(
    ("delays_s", "names"),
    [
        ((30, 300, 3600, 3600), ["p.30s", "p.5m", "p.1h", "p.1h"]),
        ([90, 0.25, 1.5, 86_400], ["p.90s", "p.250ms", "p.1500ms", "p.1d"]),
        ((), []),
    ],
)
def test_a_topic_is_called_by_its_delay(delays_s: Any, names: list[str]) -> None:
    """In the largest unit that makes a whole number; rounds with one delay share a topic."""
    assert [RetryTopic(name, delay_s) for name, delay_s in zip(names, delays_s, strict=True)] == list(
        retry_topics("p", delays_s)
    )


@pytest.mark.parametrize("delays_s", [30, "30", [0], [-1], ["30"], [True], [float("nan")], [float("inf")], None, {30}])
def test_delays_that_are_none_are_refused(delays_s: Any) -> None:
    """With what they may be."""
    with pytest.raises(InvalidOption, match=r"It must be seconds, each from 0\.001"):
        retry_topics("p", delays_s)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"order": "partition"},
            "It must be 'key' or 'none': a message that waits in a retry topic is overtaken",
        ),
        ({"dead_letter_topic": "payments.shop.retry.30s"}, "It must be the name of another topic"),
        ({"retry_topic_delays_s": [0]}, "It must be seconds"),
    ],
)
async def test_what_contradicts_retry_topics_is_refused(desk: Desk, options: dict[str, Any], problem: str) -> None:
    """When the program starts, with what to write instead."""
    app, _ = desk.app(**{"retry_topic_delays_s": [30], **options})

    with pytest.raises(cqrs.WiringError, match=problem):
        async with app:
            pass


async def test_a_retry_topic_is_not_to_be_consumed_by_hand(desk: Desk) -> None:
    """Its group does so already."""
    app, _ = desk.app(retry_topic_delays_s=[30])
    app.consume("payments.shop.retry.30s", {"Paid": cqrs.NotificationEvent[str]})

    with pytest.raises(cqrs.WiringError, match="is where messages of 'payments' wait for their next attempts"):
        async with app:
            pass


def restored(headers: dict[str, str], topic: str = "payments.shop.retry.30s") -> Delivery:
    received = Delivery(cqrs.Envelope(topic, b"{}", "k", headers), f"{topic}/0", "0/7", 2)
    returns = Returns("shop", {"payments.shop.retry.30s": ("payments", 30.0)})
    return returns.restored(received, now=NOON, monotonic=100.0)


def test_a_message_that_has_not_come_before_is_left_as_it_is() -> None:
    """The same object: it costs one look."""
    received = Delivery(cqrs.Envelope("payments", b"{}"), "payments/0", "0/7")

    assert received is Returns("shop", {}).restored(received, now=NOON, monotonic=0.0)


@pytest.mark.parametrize(
    ("due", "wait_s"),
    [
        (NOON + timedelta(seconds=12), 12.0),
        (NOON - timedelta(seconds=12), 0.0),
        (NOON + timedelta(days=1), 30.0),
        ("2026-11-29T12:00:20", 0.0),
        ("soon", 0.0),
        ("", 0.0),
    ],
)
def test_however_wrong_a_clock_is_no_message_waits_longer_than_its_delay(due: Any, wait_s: float) -> None:
    """A time that makes no sense is over."""
    text = due if isinstance(due, str) else due.isoformat()
    returned = restored({"cqrs_retry_due": text})

    assert isinstance(returned, Returned)
    assert 100.0 + wait_s == returned.due_at


@pytest.mark.parametrize("text", ["", "-1", "x", "\u0661", "1" * 19, "\udcff"])
def test_numbers_that_make_no_sense_are_nought(text: str) -> None:
    """Whoever wrote them: such a message begins anew."""
    returned = restored({"cqrs_retry_attempts": text, "cqrs_retry_round": text})

    assert isinstance(returned, Returned)
    assert (0, 0, 2) == (returned.rounds, returned.earlier_attempts, returned.attempt)
