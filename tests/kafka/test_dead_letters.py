"""Dead letters on Kafka: read from the beginning of their topic, and sent back once."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import anyio
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaError

import cqrs_core as cqrs
from cqrs_core.cli import main
from cqrs_core.consumer import DeadLetters
from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerNotStarted, BrokerUnavailable, InvalidOption
from cqrs_kafka import KafkaBroker
from cqrs_kafka.errors import UnknownTopic
from cqrs_kafka.member import Member


class Paid(cqrs.DomainEvent):
    number: int


def consumer(kafka: Any, topic: str, dead_topic: str, *, fails: bool = False) -> tuple[cqrs.App, list[int]]:
    """Make a program that handles payments, but not number 3 at first."""
    handled: list[int] = []
    failing = [3] if fails else []

    class Take(cqrs.EventHandler[Paid]):
        async def handle(self, event: Paid) -> None:
            if event.number in failing:
                failing.clear()
                raise ConnectionError("the bank does not answer")
            handled.append(event.number)

    app = cqrs.App(f"till-{uuid.uuid4().hex}", broker=f"kafka://{kafka.bootstrap}")
    app.events.bind(Paid, Take)
    app.consume(topic, {"Paid": Paid}, retry=cqrs.RetryPolicy(max_attempts=1), dead_letter_topic=dead_topic)
    return app, handled


async def test_a_dead_letter_is_listed_sent_back_and_handled_by_the_group_that_failed(
    kafka: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command, in a process that knows the broker and the topic alone; then it is listed no more."""
    topic, dead_topic = await kafka.make_topic(3), await kafka.make_topic(3)
    failing, handled = consumer(kafka, topic, dead_topic, fails=True)
    other, by_other = consumer(kafka, topic, dead_topic)
    url = f"kafka://{kafka.bootstrap}"

    async def run(*words: str) -> Any:
        assert 0 == await asyncio.to_thread(main, ["deadletters", words[0], url, dead_topic, *words[1:], "--json"])
        return json.loads(capsys.readouterr().out)

    async with kafka.open_broker() as broker, failing.running(), other.running():
        for number in range(6):
            headers = {"ce_type": "Paid", "ce_id": str(uuid.uuid4()), "content-type": "application/json"}
            await broker.send(Envelope(topic, b'{"number": %d}' % number, f"key-{number}", headers))
        await kafka.until(lambda: failing.consumers[0].counts["dead_lettered"] == 1)
        (letter,) = await run("list")
        assert (topic, failing.name, "key-3", 1) == tuple(
            letter[name] for name in ("topic", "group", "key", "attempts")
        )
        assert '{"number": 3}' == letter["body"]
        assert {"replayed": 1, "left": []} == await run("replay", "--id", letter["id"])
        await kafka.until(lambda: 3 in handled)
        await kafka.until(lambda: other.consumers[0].counts["skipped"] == 1)
        assert [] == await run("list")

    assert [0, 1, 2, 3, 4, 5] == sorted(handled) == sorted(by_other)


async def test_letters_of_a_key_are_sent_back_in_order(kafka: Any) -> None:
    """A hundred of ten keys, from three partitions."""
    topic, dead_topic = await kafka.make_topic(3), await kafka.make_topic(3)
    sent: dict[str, list[bytes]] = {}
    async with kafka.open_broker() as broker:
        subscription = await kafka.subscribe(broker, topic)
        for number in range(100):
            key = f"key-{number % 10}"
            sent.setdefault(key, []).append(b"%d" % number)
            headers = {"cqrs_dead_topic": topic, "cqrs_dead_group": "shop"}
            await broker.send(Envelope(dead_topic, b"%d" % number, key, headers))
        replays = [replay async for replay in DeadLetters(broker, dead_topic).replay()]
        received: dict[str, list[bytes]] = {}
        with anyio.fail_after(30):
            while sum(map(len, received.values())) < 100:
                for delivery in await subscription.receive(100):
                    received.setdefault(delivery.envelope.key, []).append(delivery.envelope.body)

        assert [] == await DeadLetters(broker, dead_topic).look()
    assert 100 == len(replays)
    assert sent == received


async def read_all(reader: Any) -> list[bytes]:
    found: list[bytes] = []
    while deliveries := await asyncio.wait_for(reader.read(10), 30):
        found += [delivery.envelope.body for delivery in deliveries]
    return found


async def test_marks_of_transactions_behind_the_last_message_are_no_message_to_wait_for(kafka: Any) -> None:
    """What was taken back is not read, and the reader comes to an end behind it."""
    topic = await kafka.make_topic(1)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=uuid.uuid4().hex)
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(topic, b"committed")
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"taken back")
    async with kafka.open_broker() as broker:
        reader = await broker.open_reader(topic)

        assert [b"committed"] == await read_all(reader)  # nor is waited for one that is open
        await producer.abort_transaction()
        await producer.stop()
        await broker.send(Envelope(topic, b"next", "key"))
        found: list[bytes] = []
        with anyio.fail_after(30):
            while not found:  # it takes the broker a moment until it knows that the transaction has ended
                found = await read_all(reader)
        assert [b"next"] == found
        await reader.close()


async def test_a_reader_begins_with_the_oldest_that_is_kept(kafka: Any) -> None:
    """Also when that is removed while it reads."""
    topic = await kafka.make_topic(1)
    async with kafka.open_broker(max_fetch_bytes=1) as broker, kafka.open_admin() as admin:

        async def fill_and_remove(numbers: range, before: int) -> None:
            for number in numbers:
                await broker.send(Envelope(topic, b"%d" % number, "key"))
            await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=before)})

        await fill_and_remove(range(5), 3)
        reader = await broker.open_reader(topic)
        first = await read_all(reader)
        await fill_and_remove(range(5, 10), 8)
        second = await read_all(reader)
        await reader.close()

    assert [b"3", b"4"] == first
    assert [b"8", b"9"] == second[-2:]
    assert b"7" not in second  # but 5, which may have been fetched before it was removed


async def test_what_the_client_cannot_read_is_left_out(kafka: Any, caplog: pytest.LogCaptureFixture) -> None:
    """As for a subscription, and told the same way."""
    topic = await kafka.make_topic(1)
    async with kafka.open_broker() as broker:
        await broker.send(Envelope(topic, b"before", "key"))
        await kafka.send_unreadable(topic)
        await broker.send(Envelope(topic, b"after", "key"))
        reader = await broker.open_reader(topic)
        found = await read_all(reader)
        await reader.close()

    assert (b"before", b"after") == (found[0], found[-1])
    assert "is left out" in caplog.text


async def test_an_error_of_the_client_loses_nothing_that_it_had_read(
    kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is, of whichever partition: the next call begins with another client, behind what was given."""
    topic = await kafka.make_topic(3)
    usual, fails = Member.poll, [ZeroDivisionError(), OSError(), KafkaError()]

    async def poll(self: Member, *arguments: Any, **options: Any) -> Any:
        found = await usual(self, *arguments, **options)
        if found and fails:
            raise fails.pop()  # with what it had read
        return found

    async with kafka.open_broker() as broker:
        for number in range(30):
            await broker.send(Envelope(topic, b"%d" % number, f"key-{number}"))
        reader = await broker.open_reader(topic)
        monkeypatch.setattr(Member, "poll", poll)
        for _ in range(3):
            with pytest.raises(BrokerUnavailable):
                await reader.read(10)
        found = await read_all(reader)
        await reader.close()

    assert [b"%d" % number for number in range(30)] == sorted(found, key=int)


async def test_a_reader_of_a_frozen_broker_says_so_and_goes_on_when_it_is_back(own: Any) -> None:
    """Neither reading nor closing waits for ever; what was not read comes then."""
    topic = await own.make_topic(1)
    async with own.open_broker(unavailable_after_s=1.0, request_timeout_s=1.0) as broker:
        await broker.send(Envelope(topic, b"1", "key"))
        reader = await broker.open_reader(topic)
        own.freeze()
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            await read_all(reader)
        assert 20 > time.monotonic() - began
        own.thaw()
        found: list[bytes] = []
        with anyio.fail_after(60):
            while not found:
                try:
                    found = await read_all(reader)
                except BrokerUnavailable:
                    continue
        assert [b"1"] == found
        own.freeze()
        began = time.monotonic()
        await reader.close()
        assert 10 > time.monotonic() - began
        own.thaw()


async def test_a_reader_ends_with_its_broker(kafka: Any) -> None:
    """Who reads on is told, at once."""
    topic = await kafka.make_topic(1)
    async with kafka.open_broker(unavailable_after_s=1.0) as broker:
        reader = await broker.open_reader(topic)
        with pytest.raises(InvalidOption, match="limit"):
            await reader.read(0)
        with pytest.raises(UnknownTopic, match="The topic 'no topic' does not exist"):
            await broker.open_reader("no topic")
    with pytest.raises(BrokerUnavailable, match="was closed"):
        await reader.read(1)
    with pytest.raises(BrokerNotStarted):
        await KafkaBroker(kafka.bootstrap).open_reader(topic)
