"""Exactly once inside Kafka: what is made of a message is seen once, whoever is killed, frozen or taken for dead."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    TransactionalIdAuthorizationFailed,
)

from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerUnavailable, InvalidOption
from cqrs_kafka import KafkaSettings, KafkaTransformer
from cqrs_kafka.errors import AccessDenied, TakenOver, UnknownTopic
from cqrs_kafka.intake import NOTHING
from cqrs_kafka.member import Member
from cqrs_kafka.transactions import TransactionalProducer

PROCESS = Path(__file__).with_name("transforming_process.py")
KEYS = 10


class Doubling:
    """
    Sends on each number, twice as large, under its key.

    Attributes:
        failures: What it raises first, one each time.
        seen: What it was given, each time.
    """

    def __init__(self, to: str, *failures: BaseException) -> None:
        self._to = to
        self.failures = list(failures)
        self.seen: list[int] = []

    async def __call__(self, envelopes: Sequence[Envelope]) -> Iterable[Envelope]:
        self.seen += [int(envelope.body) for envelope in envelopes]
        if self.failures:
            raise self.failures.pop(0)
        return [Envelope(self._to, b"%d" % (2 * int(envelope.body)), envelope.key) for envelope in envelopes]


class Case:
    """
    A topic that is read, one that is written, and a group.

    Attributes:
        sent: How many messages there are to be transformed.
    """

    def __init__(self, kafka: Any, source: str, target: str) -> None:
        self.kafka = kafka
        self.source = source
        self.target = target
        self.group = uuid.uuid4().hex
        self.sent = 0

    def transformer(self, transform: Any, *, max_batch_size: int = 20, **options: Any) -> KafkaTransformer:
        settings = KafkaSettings(servers=(self.kafka.bootstrap,), **options)
        return KafkaTransformer(
            settings, [self.source], group=self.group, transform=transform, max_batch_size=max_batch_size
        )

    async def send(self, count: int) -> None:
        """Send the next *count* numbers, under one of ten keys each."""
        numbers = range(self.sent, self.sent + count)
        async with self.kafka.open_broker() as broker:
            outcomes = await broker.send_many([Envelope(self.source, b"%d" % n, f"key-{n % KEYS}") for n in numbers])
        assert all(outcome.is_delivered for outcome in outcomes)
        self.sent += count

    async def until_done(self) -> None:
        """Return when the group has committed all that was sent."""
        await asyncio.wait_for(self._until_done(), 60)

    async def _until_done(self) -> None:
        async with self.kafka.open_admin() as admin:
            while True:
                try:
                    found = await admin.list_consumer_group_offsets(self.group)
                except GroupCoordinatorNotAvailableError:  # of a group that has only just begun
                    continue
                if sum(place.offset for place in found.values()) == self.sent:
                    return

    async def read(self, isolation_level: str = "read_committed") -> list[tuple[str, int]]:
        """Give all that can be read of the target: key and number."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka.bootstrap, isolation_level=isolation_level)
        await consumer.start()
        try:
            await consumer._client._wait_on_metadata(self.target)  # noqa: SLF001 - it does not ask by itself
            partitions = [TopicPartition(self.target, n) for n in consumer.partitions_for_topic(self.target) or ()]
            consumer.assign(partitions)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(partitions)
            found: list[tuple[str, int]] = []
            while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [((record.key or b"").decode(), int(record.value)) for record in records]
        finally:
            await consumer.stop()
        return found

    async def assert_all_once(self) -> None:
        """Every number, twice as large, is there once; those of a key are in order."""
        await self.until_done()
        found = await self.read()
        for key in range(KEYS):
            expected = [2 * number for number in range(key, self.sent, KEYS)]
            assert expected == [number for name, number in found if name == f"key-{key}"]


@asynccontextmanager
async def running(transformer: KafkaTransformer) -> AsyncIterator[None]:
    """Let it run beside what the block does, and end as it should."""
    task = asyncio.ensure_future(transformer.run())
    try:
        yield
        assert not task.done()
        transformer.stop()
        await asyncio.wait_for(task, 60)
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
async def case(kafka: Any) -> Case:
    return Case(kafka, await kafka.make_topic(3), await kafka.make_topic(2))


async def test_what_is_made_of_messages_is_sent_once_and_in_order(case: Case) -> None:
    """Also what came before the group was there, and what comes while it works."""
    await case.send(200)
    async with running(case.transformer(Doubling(case.target))):
        await case.send(200)
        await case.assert_all_once()


async def test_it_goes_on_where_it_was_stopped(case: Case) -> None:
    for _ in range(2):
        doubling = Doubling(case.target)
        before = case.sent
        await case.send(100)
        async with running(case.transformer(doubling)):
            await case.until_done()
        assert set(range(before, case.sent)) == set(doubling.seen)
    await case.assert_all_once()


async def test_a_batch_that_fails_is_done_again_and_nothing_of_it_is_seen(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    """The others go on meanwhile; what went wrong is in the log."""
    await case.send(100)
    async with running(case.transformer(Doubling(case.target, ZeroDivisionError("by zero"), KeyError("no")))):
        await case.assert_all_once()

    told = [record for record in caplog.records if "begins anew in" in record.message]
    assert {"by zero", "'no'"} == {str(record.exc_info[1]) for record in told if record.exc_info}


async def test_a_batch_that_is_refused_in_part_is_not_seen_at_all(kafka: Any, caplog: pytest.LogCaptureFixture) -> None:
    """One message is larger than its topic allows: the others of its transaction are taken back."""
    case = Case(kafka, await kafka.make_topic(1), await kafka.make_topic(1, max_message_bytes="2000"))
    doubling = Doubling(case.target)
    odd = [[Envelope(case.target, bytes(5000), "key")], [Envelope("no topic", b"")]]

    async def with_odd_ones(envelopes: Sequence[Envelope]) -> Iterable[Envelope]:
        return [*await doubling(envelopes), *(odd.pop(0) if odd else [])]

    await case.send(10)
    async with running(case.transformer(with_odd_ones)):
        await case.assert_all_once()
    assert 10 == len(await case.read())
    assert "MessageSizeTooLargeError" in caplog.text
    assert "that is no name of a topic" in caplog.text


async def test_what_leads_to_nothing_is_done_as_well(case: Case) -> None:
    """How far the group has come is committed all the same."""

    async def leave_out(_envelopes: Sequence[Envelope]) -> list[Envelope]:
        return []

    await case.send(50)
    async with running(case.transformer(leave_out)):
        await case.until_done()
    assert [] == await case.read()


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_who_is_lost_in_the_middle_of_a_transaction_is_replaced(case: Case, tmp_path: Path, how: str) -> None:
    """
    What it had sent and not committed is never seen, and sent by another.

    Killed, it commits nothing any more. Frozen, it is taken for dead; when it goes on, it tries to, and is refused.
    """
    await case.send(300)
    names = [case.kafka.bootstrap, case.source, case.target, case.group, str(tmp_path)]
    with subprocess.Popen([sys.executable, str(PROCESS), *names]) as process:  # noqa: ASYNC220 - it takes a millisecond
        try:
            await case.kafka.until((tmp_path / "in the middle").exists)
            process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
            async with running(case.transformer(Doubling(case.target), session_timeout_s=3.0)):
                await case.until_done()
                if how == "frozen":
                    (tmp_path / "go").touch()
                    process.send_signal(signal.SIGCONT)
                    log = tmp_path / "log"
                    await case.kafka.until(lambda: "Another process works with the transactional id" in log.read_text())
                await case.send(100)
                await case.assert_all_once()
        finally:
            process.kill()

    seen, really_sent = await case.read(), await case.read("read_uncommitted")
    assert 400 == len(seen) < len(really_sent)  # more was sent than is seen: it was in the middle


async def test_who_takes_over_knows_how_far_the_group_has_come(case: Case) -> None:
    """All depends on it: when the next producer of the id has started, the last commit of the one before is known."""
    settings, partition = KafkaSettings(servers=(case.kafka.bootstrap,)), TopicPartition(case.source, 0)
    member = Member(settings, case.group)
    await member.connect()
    known: list[int | None] = []
    try:
        for offset in range(1, 31):
            producer, following = (TransactionalProducer(settings, case.group) for _ in range(2))
            await producer.start(30)
            await producer.commit([Envelope(case.target, b"1", "key")], case.group, {partition: offset}, 30)
            await following.start(30)
            known.append(await member.committed(partition))
            with pytest.raises(TakenOver):
                await producer.commit([Envelope(case.target, b"2", "key")], case.group, {partition: 0}, 30)
            await producer.abandon()
            await following.stop()
    finally:
        await member.leave()

    assert list(range(1, 31)) == known
    assert [1] * 30 == [number for _, number in await case.read()]


async def test_members_that_come_and_go_repeat_nothing(case: Case) -> None:
    await case.send(300)
    async with running(case.transformer(Doubling(case.target))):
        async with running(case.transformer(Doubling(case.target))):
            await case.send(300)
            async with running(case.transformer(Doubling(case.target))):
                await case.send(300)
        await case.send(300)
        await case.assert_all_once()


async def test_somebody_else_with_the_same_id_is_told(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is sent twice, and when it is not there any more, the work goes on."""
    await case.send(30)
    async with running(case.transformer(Doubling(case.target), session_timeout_s=2.0)):
        await case.until_done()
        for partition in range(3):
            transactional_id = f"{case.group}/{case.source}/{partition}"
            other = AIOKafkaProducer(bootstrap_servers=case.kafka.bootstrap, transactional_id=transactional_id)
            await other.start()
            await other.stop()
        await case.send(100)
        await case.assert_all_once()

    assert f"Another process works with the transactional id '{case.group}/{case.source}/" in caplog.text
    assert "something that is not in this group uses the same id" in caplog.text


async def test_a_broker_killed_under_load_repeats_nothing(own: Any) -> None:
    """Whether the last question, to commit, was heard is looked up when it is back."""
    case = Case(own, await own.make_topic(3), await own.make_topic(2))
    await case.send(2000)
    doubling = Doubling(case.target)
    async with running(case.transformer(doubling, unavailable_after_s=2.0, delivery_timeout_s=5.0)):
        await own.until(lambda: len(doubling.seen) > 500)
        own.kill()
        await own.restart()
        await case.assert_all_once()


async def test_who_stops_it_waits_for_the_batch_under_way(case: Case) -> None:
    """It is committed, and no other is begun."""
    begun, may_end = asyncio.Event(), asyncio.Event()
    doubling = Doubling(case.target)

    async def slowly(envelopes: Sequence[Envelope]) -> Iterable[Envelope]:
        begun.set()
        await may_end.wait()
        return await doubling(envelopes)

    await case.send(100)
    transformer = case.transformer(slowly, max_batch_size=5)
    task = asyncio.ensure_future(transformer.run())
    await asyncio.wait_for(begun.wait(), 60)
    transformer.stop()
    await asyncio.wait({task}, timeout=0.5)
    assert not task.done()
    may_end.set()
    await asyncio.wait_for(task, 60)

    assert sorted(2 * number for number in doubling.seen) == sorted(number for _, number in await case.read())
    assert 5 <= len(doubling.seen) <= 15  # a batch of each partition, or not yet


async def test_it_may_be_stopped_before_it_has_begun_to_work(case: Case) -> None:
    """And at any time when it does not run: that stops nothing."""
    doubling = Doubling(case.target)
    transformer = case.transformer(doubling)
    transformer.stop()
    await case.send(10)
    task = asyncio.ensure_future(transformer.run())
    await asyncio.sleep(0)
    transformer.stop()
    await asyncio.wait_for(task, 60)

    assert [] == doubling.seen
    async with running(transformer):
        await case.assert_all_once()


async def test_who_cancels_it_waits_for_nothing(case: Case) -> None:
    """The batch under way is given up, and nothing of it is seen."""
    begun = asyncio.Event()

    async def never_end(_envelopes: Sequence[Envelope]) -> list[Envelope]:
        begun.set()
        await asyncio.Event().wait()
        return []

    await case.send(10)
    task = asyncio.ensure_future(case.transformer(never_end).run())
    await asyncio.wait_for(begun.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 15)

    assert [] == await case.read()
    async with running(case.transformer(Doubling(case.target))):
        await case.assert_all_once()


async def test_it_knows_how_much_it_has_not_done(case: Case) -> None:
    transformer = case.transformer(Doubling(case.target))
    assert {} == transformer.lag()
    await case.send(50)
    async with running(transformer):
        await case.until_done()
        await case.kafka.until(lambda: set(transformer.lag().values()) == {0})
    assert {} == transformer.lag()


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ZeroDivisionError()])
async def test_a_function_that_fails_in_an_odd_way_ends_nothing(case: Case, error: BaseException) -> None:
    """Not even if it cancels itself."""
    await case.send(50)
    async with running(case.transformer(Doubling(case.target, error))):
        await case.assert_all_once()


async def test_a_member_whose_client_breaks_joins_again(
    case: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that aiokafka does not foresee ends its part in the group for good."""
    usual = GroupCoordinator.ensure_active_group
    breaks = ["once"]

    async def break_once(self: Any, subscription: Any, assignment: Any) -> Any:
        if assignment is not None and breaks:
            breaks.pop()
            raise ZeroDivisionError
        return await usual(self, subscription, assignment)

    async with running(case.transformer(Doubling(case.target))):
        await case.send(50)
        await case.until_done()
        monkeypatch.setattr(GroupCoordinator, "ensure_active_group", break_once)
        async with running(case.transformer(Doubling(case.target))):
            await case.kafka.until(lambda: not breaks)
            await case.send(50)
            await case.assert_all_once()
        await case.kafka.until(lambda: "broke, and joins it again" in caplog.text)
        await case.send(50)
        await case.assert_all_once()


async def test_a_client_that_does_not_notice_that_brokers_answer_is_replaced(
    case: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has answered it for three times 0.5 s."""
    async with running(case.transformer(Doubling(case.target), unavailable_after_s=0.5)):
        await case.send(50)
        await case.until_done()
        with monkeypatch.context() as patch:
            patch.setattr(Member, "answered_at", lambda *_: 1)
            await case.kafka.until(lambda: "has had no answer for" in caplog.text)
        await case.send(50)
        await case.assert_all_once()


async def test_messages_that_cannot_be_read_or_are_not_kept_are_told_and_passed(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    """As by any consumer: of ten, those from 4 on are unreadable, and then 5 more are removed before they were read."""
    await case.kafka.send_unreadable(case.source)
    doubling = Doubling(case.target)
    async with running(case.transformer(doubling)):
        await case.kafka.until(lambda: set(doubling.seen) >= {0, 1, 2, 3})
        await case.kafka.until(lambda: "at offset 9 of" in caplog.text)
    producer = AIOKafkaProducer(bootstrap_servers=case.kafka.bootstrap)
    await producer.start()
    for number in range(100, 110):
        await producer.send_and_wait(case.source, b"%d" % number, partition=0)
    await producer.stop()
    async with case.kafka.open_admin() as admin:
        await admin.delete_records({TopicPartition(case.source, 0): RecordsToDelete(before_offset=15)})
    async with running(case.transformer(doubling)):
        await case.kafka.until(lambda: 109 in doubling.seen)

    assert [0, 1, 2, 3] == [n for n in doubling.seen if n < 100]
    assert [105, 106, 107, 108, 109] == [n for n in doubling.seen if n >= 100]
    assert "Messages are lost: offset " in caplog.text


async def test_no_batch_is_larger_for_a_message_that_cannot_be_read(
    kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read while it was looked for is given like all else; until then, it counts as not given."""
    case = Case(kafka, await kafka.make_topic(1), await kafka.make_topic(1))
    doubling, sizes, lags = Doubling(case.target), [], []
    usual, errors = Member.poll, [UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")]

    async def poll(self: Member, partitions: Any, **options: Any) -> Any:
        found = await usual(self, partitions, **options)
        if found and errors:
            raise errors.pop()  # with what it had read; and then the message is not kept any more
        return found

    async def look(envelopes: Sequence[Envelope]) -> Iterable[Envelope]:
        sizes.append(len(envelopes))
        lags.append(transformer.lag())
        return await doubling(envelopes)

    await case.send(50)
    monkeypatch.setattr(Member, "poll", poll)
    transformer = case.transformer(look, max_batch_size=20)
    async with running(transformer):
        await case.assert_all_once()

    assert [20, 20, 10] == sizes
    assert [{f"{case.source}/0": left} for left in (30, 10, 0)] == lags
    assert list(range(50)) == doubling.seen


async def test_who_may_not_do_it_is_told(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the transactional ids of the group, or read as it."""

    async def deny_id(_self: Any) -> None:
        raise TransactionalIdAuthorizationFailed(case.group)

    usual = Member.poll

    async def deny_group(self: Member, partitions: Any, **options: Any) -> Any:
        if partitions == NOTHING:
            raise GroupAuthorizationFailedError(case.group)
        return await usual(self, partitions, **options)

    with monkeypatch.context() as patch:
        patch.setattr(KafkaTransformer, "_check", lambda *_: asyncio.sleep(0))
        patch.setattr(AIOKafkaProducer, "start", deny_id)
        with pytest.raises(AccessDenied, match=f"may not use the transactional id '{case.group}/{case.source}/"):
            await asyncio.wait_for(case.transformer(Doubling(case.target)).run(), 60)
    monkeypatch.setattr(Member, "poll", deny_group)
    with pytest.raises(AccessDenied, match=f"may not read as the group '{case.group}'"):
        await asyncio.wait_for(case.transformer(Doubling(case.target)).run(), 60)


async def test_what_cannot_work_is_told_at_once(kafka: Any) -> None:
    doubling = Doubling("target")
    with pytest.raises(BrokerUnavailable, match="^Kafka cannot be reached. 127.0.0.1:1: "):
        await KafkaTransformer("127.0.0.1:1", ["orders"], group="g", transform=doubling).run()
    settings = KafkaSettings(servers=(kafka.bootstrap,), unavailable_after_s=1.0)
    with pytest.raises(UnknownTopic, match="'no topic'"):
        await KafkaTransformer(settings, ["no topic"], group="g", transform=doubling).run()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"topics": "orders"}, "topics"),
        ({"topics": []}, "topics"),
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"stop_deadline_s": 60.0}, "stop_deadline_s"),
        ({"stop_deadline_s": 0.0}, "stop_deadline_s"),
        ({"to": KafkaSettings(servers=("one",), isolation_level="read_uncommitted")}, "isolation_level"),
    ],
)
def test_what_means_nothing_is_refused(options: dict[str, Any], name: str) -> None:
    usual: dict[str, Any] = {"to": "one", "topics": ["orders"], "group": "g", "transform": Doubling("target")}
    with pytest.raises(InvalidOption, match=f"^{name} is "):
        KafkaTransformer(**{**usual, **options})


def test_it_shows_what_it_does() -> None:
    """And no password."""
    made = KafkaTransformer("kafka://me:secret@one", ["orders"], group="totals", transform=Doubling("target"))

    assert "KafkaTransformer('one:9092', ['orders'], group='totals')" == repr(made)
