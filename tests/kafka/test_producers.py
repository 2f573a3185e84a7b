"""A producer that broke is replaced; what it had is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import OutOfOrderSequenceNumber, ProducerClosed

from cqrs_core.broker import SendStatus
from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerNotStarted, BrokerUnavailable, MessageRefused
from cqrs_kafka import KafkaBroker
from cqrs_kafka.producers import Producer
from cqrs_kafka.sending import Sender


class Broken:
    """Lets the first so many calls of a method of all producers fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception, *, times: int = 1) -> None:
        self._usual = getattr(Producer, method)
        self._error = error
        self.left = times
        monkeypatch.setattr(Producer, method, lambda producer, *arguments: self(producer, *arguments))  # noqa: PLW0108 - it is bound

    def __call__(self, producer: Producer, *arguments: Any) -> Any:
        if self.left:
            self.left -= 1
            return self.fail()
        return self._usual(producer, *arguments)

    def fail(self) -> Any:
        raise self._error


class Answering(Broken):
    """The first batches are taken, and their answer is an error."""

    async def fail(self) -> Any:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        future.set_exception(self._error)
        return future


class Hesitating(Broken):
    """The first batches are not taken, but that is said only when the test lets it be said."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.asked, self.may_fail = asyncio.Event(), asyncio.Event()

    async def fail(self) -> Any:
        self.asked.set()
        await self.may_fail.wait()
        raise self._error


class GivingUp(Broken):
    """The first batches are taken, and then nobody answers for them any more."""

    async def fail(self) -> Any:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        future.cancel()
        return future


async def test_what_a_producer_does_not_take_goes_with_the_next(kafka: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not left: nobody has to know."""
    topic = await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        broken = Broken(monkeypatch, "send", ProducerClosed(), times=2)
        outcomes = await broker.send_many([Envelope(topic, b"%d" % number, "key") for number in range(3)])

    assert [SendStatus.DELIVERED] * 3 == [outcome.status for outcome in outcomes]
    assert 0 == broken.left


async def test_what_a_broken_producer_had_may_have_arrived(kafka: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker has forgotten its numbers, for one; the next message is sent by another."""
    topic = await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        Answering(monkeypatch, "send", OutOfOrderSequenceNumber())
        (first,) = await broker.send_many([Envelope(topic, b"1", "key")])
        (second,) = await broker.send_many([Envelope(topic, b"2", "key")])

    assert [SendStatus.UNKNOWN, SendStatus.DELIVERED] == [first.status, second.status]


async def test_an_error_that_nobody_foresaw_is_told_and_logged(
    kafka: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No message is waited for without an end."""
    topic = await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        Broken(monkeypatch, "batch", ZeroDivisionError())
        with pytest.raises(BrokerUnavailable, match="its client broke; see the log"):
            await broker.send(Envelope(topic, b"1", "key"))
        await broker.send(Envelope(topic, b"2", "key"))

    assert "ZeroDivisionError" in caplog.text


async def test_a_topic_that_the_broker_does_not_make_is_refused(kafka: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For now: somebody may make it. The broker of the tests makes any, so it is not asked."""

    async def find_none(*_: object) -> None:
        """As where topics are not made by themselves."""

    monkeypatch.setattr(Producer, "find_partitions", find_none)
    async with kafka.open_broker() as broker:
        with pytest.raises(MessageRefused, match="there is no such topic") as caught:
            await broker.send(Envelope("no-such-topic", b"1", "key"))
        sent = [Envelope("no-such-topic", b"1", "key"), Envelope("no-such-topic", b"2", "key")]
        outcomes = await broker.send_many(sent)

    assert not caught.value.is_permanent
    assert [SendStatus.REFUSED, SendStatus.NOT_SENT] == [outcome.status for outcome in outcomes]


async def test_who_waits_while_a_broker_is_stopped_is_told(kafka: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here for the partitions of a topic, which are found only then: no connection is made any more."""
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def find_late(*_: object) -> list[int]:
        asked.set()
        await may_answer.wait()
        return [0]

    monkeypatch.setattr(Producer, "find_partitions", find_late)
    broker = KafkaBroker(kafka.bootstrap)
    await broker.start()
    sending = asyncio.ensure_future(broker.send_many([Envelope("found-late", b"1", "key")]))
    await asked.wait()
    await broker.stop()
    may_answer.set()
    (outcome,) = await sending

    assert SendStatus.UNAVAILABLE is outcome.status


async def test_what_no_producer_takes_is_settled_when_the_broker_is_stopped(
    kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put back to be sent by the next one, and there is no next one: whoever waits for it is told."""
    topic = await kafka.make_topic(1)
    broker = KafkaBroker(kafka.bootstrap)
    await broker.start()
    hesitating = Hesitating(monkeypatch, "send", ProducerClosed(), times=1_000)
    sending = asyncio.ensure_future(broker.send_many([Envelope(topic, b"1", "key")]))
    await asyncio.wait_for(hesitating.asked.wait(), 30)
    given_up = Sender._give_up  # noqa: SLF001 - nothing else shows that stop() has done so
    has_settled = asyncio.Event()

    def give_up(*arguments: Any) -> None:
        given_up(*arguments)
        has_settled.set()

    monkeypatch.setattr(Sender, "_give_up", staticmethod(give_up))
    stopping = asyncio.ensure_future(broker.stop())
    await asyncio.wait_for(has_settled.wait(), 10)
    assert not sending.done()  # this one did not wait: it is with the client, and is put back only now
    hesitating.may_fail.set()
    await stopping
    (outcome,) = await asyncio.wait_for(sending, 10)

    assert SendStatus.UNAVAILABLE is outcome.status


async def test_what_the_client_gave_up_may_have_arrived(kafka: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A confirmation that was cancelled is none."""
    topic = await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        GivingUp(monkeypatch, "send", ProducerClosed())
        (outcome,) = await broker.send_many([Envelope(topic, b"1", "key")])

    assert SendStatus.UNKNOWN is outcome.status
    assert "the client gave it up." in str(outcome.error)


async def test_two_that_start_a_broker_at_once_share_it(kafka: Any) -> None:
    topic = await kafka.make_topic(1)
    broker = KafkaBroker(kafka.bootstrap)
    await asyncio.gather(broker.start(), broker.start())
    await broker.stop()
    await broker.send(Envelope(topic, b"1", "key"))
    await broker.stop()

    with pytest.raises(BrokerNotStarted):
        await broker.send_many([])
