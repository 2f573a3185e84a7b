"""The suite for brokers finds what is wrong with one, and says so."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cqrs_core.broker import Delivery, OnRevoked, SendOutcome, SendStatus, Subscription, TopicReader
from cqrs_core.concurrency import sleep
from cqrs_core.envelope import Envelope
from cqrs_core.memory import MemoryBroker
from cqrs_core.testing.conformance import BrokerConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

# Brokers with one fault each -----------------------------------------------------------------------------------------


class Passing:
    """A subscription that does what another does: what is wrong with it is in its subclasses."""

    def __init__(self, right: Subscription) -> None:
        self.right = right
        self.received: list[Delivery] = []

    async def receive(self, limit: int) -> Sequence[Delivery]:
        deliveries = await self.right.receive(limit)
        self.received += deliveries
        return deliveries

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        await self.right.acknowledge(deliveries)

    def pause(self, partition: str) -> None:
        self.right.pause(partition)

    def resume(self, partition: str) -> None:
        self.right.resume(partition)

    def lag(self) -> dict[str, int]:
        lag: dict[str, int] = self.right.lag()  # type: ignore[attr-defined]  # that of the memory broker has it
        return lag

    async def close(self) -> None:
        await self.right.close()


class PassingReader:
    """The same for a reader."""

    def __init__(self, right: TopicReader) -> None:
        self.right = right

    async def read(self, limit: int) -> Sequence[Delivery]:
        return await self.right.read(limit)

    async def close(self) -> None:
        await self.right.close()


class Faulty(MemoryBroker):
    subscription: type[Passing] = Passing
    reader: type[PassingReader] = PassingReader

    def __init__(self) -> None:
        super().__init__(max_kept=1000)

    async def open_reader(self, topic: str) -> TopicReader:  # type: ignore[override]  # not the one of the memory broker
        return self.reader(await super().open_reader(topic))

    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> Subscription:
        return self.subscription(await super().subscribe(topics, group=group, on_revoked=on_revoked))


class DropsHeaders(Faulty):
    async def send(self, envelope: Envelope) -> None:
        await super().send(replace(envelope, headers={}))


class ReplacesWhatIsNoText(Faulty):
    async def send(self, envelope: Envelope) -> None:
        headers = {name: value.encode("utf-8", "replace").decode() for name, value in envelope.headers.items()}
        await super().send(replace(envelope, headers=headers))


class TakesEmptyKeysForNone(Faulty):
    async def send(self, envelope: Envelope) -> None:
        await super().send(replace(envelope, key=envelope.key or None))


class ForgetsKeys(Faulty):
    """Keys arrive, but are nothing to its partitions."""

    class subscription(Passing):
        async def receive(self, limit: int) -> Sequence[Delivery]:
            deliveries = await self.right.receive(limit)
            return [
                replace(delivery, partition=f"{delivery.partition}-{index % 2}")
                for index, delivery in enumerate(deliveries)
            ]


class DropsRepetitions(Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    async def send(self, envelope: Envelope) -> None:
        if envelope.id is None or envelope.id not in self.seen:
            await super().send(envelope)
        if envelope.id is not None:
            self.seen.add(envelope.id)


class ReversesOrder(Faulty):
    class subscription(Passing):
        async def receive(self, limit: int) -> Sequence[Delivery]:
            return (await self.right.receive(limit))[::-1]


class SendsManyBackwards(Faulty):
    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        return await super().send_many(envelopes[::-1])


class IgnoresTheLimit(Faulty):
    class subscription(Passing):
        async def receive(self, limit: int) -> Sequence[Delivery]:
            return await self.right.receive(limit * 2)


class LosesWhatIsNotAcknowledged(Faulty):
    class subscription(Passing):
        async def close(self) -> None:
            await self.right.acknowledge(self.received)
            await self.right.close()


class ForgetsAcknowledgements(Faulty):
    class subscription(Passing):
        async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
            pass


class AcknowledgesWhatIsBefore(Faulty):
    """As one does who keeps one offset, and does not think."""

    class subscription(Passing):
        async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
            last = max(self.received.index(delivery) for delivery in deliveries)
            await self.right.acknowledge(self.received[: last + 1])


class AcknowledgesOnlyForwards(Faulty):
    """As one does who keeps one offset, and forgets what was acknowledged out of turn."""

    class subscription(Passing):
        async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
            for delivery in deliveries:
                if delivery == self.received[0]:
                    self.received.remove(delivery)
                    await self.right.acknowledge([delivery])


class IgnoresPause(Faulty):
    class subscription(Passing):
        def pause(self, partition: str) -> None:
            pass


class MindsUnknownPartitions(Faulty):
    class subscription(Passing):
        def pause(self, partition: str) -> None:
            {delivery.partition: delivery for delivery in self.received}[partition]


class LosesWhatComesWhileCancelled(Faulty):
    class subscription(Passing):
        async def receive(self, limit: int) -> Sequence[Delivery]:
            deliveries = await self.right.receive(limit)
            await sleep(0)
            return deliveries


class HasOneGroup(Faulty):
    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> Subscription:
        return await super().subscribe(topics, group=f"not {group}"[:3], on_revoked=on_revoked)


class ForgetsGroups(Faulty):
    """Each subscription is a group of its own, as with Redis' channels."""

    groups = 0

    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> Subscription:
        self.groups += 1
        return await super().subscribe(topics, group=f"{group}-{self.groups}", on_revoked=on_revoked)


class SubscribesToOneTopic(Faulty):
    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> Subscription:
        return await super().subscribe(list(topics)[:1], group=group, on_revoked=on_revoked)


class RevokesSilently(Faulty):
    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> Subscription:
        async def nothing(partitions: Collection[str]) -> None:
            pass

        return await super().subscribe(topics, group=group, on_revoked=nothing)


class MindsLateAcknowledgements(Faulty):
    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> Subscription:
        gone: set[str] = set()

        async def note(partitions: Collection[str]) -> None:
            gone.update(partitions)
            await on_revoked(partitions)

        class Minding(Passing):
            async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
                if any(delivery.partition in gone for delivery in deliveries):
                    raise RuntimeError("these are not mine")
                await self.right.acknowledge(deliveries)

        return Minding(await super().subscribe(topics, group=group, on_revoked=note))


class HonoursLateAcknowledgements(Faulty):
    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> Subscription:
        class Honouring(Passing):
            async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
                for member in members:
                    await member.acknowledge(deliveries)

        members = self.__dict__.setdefault("members", [])
        members.append(await super().subscribe(topics, group=group, on_revoked=on_revoked))
        return Honouring(members[-1])


class AnswersTooEarly(Faulty):
    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        for envelope in envelopes:
            await super().send(envelope)
        return [SendOutcome(SendStatus.DELIVERED)] * len(envelopes)


class WaitsThoughDurable(Faulty):
    is_durable = True

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        async with _member(self, envelopes[0].topic):
            return await super().send_many(envelopes)


class TellsOneOutcome(Faulty):
    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        return (await super().send_many(envelopes))[:1]


class CannotSendNothing(Faulty):
    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        _ = envelopes[0]
        return await super().send_many(envelopes)


class RefusesWithAStrangersError(Faulty):
    async def send(self, envelope: Envelope) -> None:
        if len(envelope.body) > 1_000_000:
            raise ValueError("too long")
        await super().send(envelope)


class PassesWhatIsHeldBack(Faulty):
    """It says that it keeps the order of a key when one of its messages fails, and does not."""

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        return [(await super(PassesWhatIsHeldBack, self).send_many([envelope]))[0] for envelope in envelopes]


class ForgetsOnStop(Faulty):
    is_durable = True


class CannotStopTwice(Faulty):
    async def stop(self) -> None:
        del self.started
        await super().stop()

    async def start(self) -> None:
        self.started = True
        await super().start()


class StartsByItself(Faulty):
    async def send(self, envelope: Envelope) -> None:
        await self.start()
        await super().send(envelope)


class StartsOnce(Faulty):
    was_started = False

    async def start(self) -> None:
        if not self.was_started:
            await super().start()
        self.was_started = True


@asynccontextmanager
async def _member(broker: MemoryBroker, topic: str) -> AsyncIterator[None]:
    async def nothing(partitions: Collection[str]) -> None:
        pass

    subscription = await MemoryBroker.subscribe(broker, [topic], group="own", on_revoked=nothing)
    yield
    await subscription.close()


class LagsForEver(Faulty):
    class subscription(Passing):
        def lag(self) -> dict[str, int]:
            return {"p": 5}


class ReadsBackwards(Faulty):
    class reader(PassingReader):
        async def read(self, limit: int) -> Sequence[Delivery]:
            return (await self.right.read(limit))[::-1]


class NumbersWhatItReads(Faulty):
    class reader(PassingReader):
        async def read(self, limit: int) -> Sequence[Delivery]:
            return [replace(each, position=str(n)) for n, each in enumerate(await self.right.read(limit))]


class ReadsOnce(Faulty):
    class reader(PassingReader):
        is_over = False

        async def read(self, limit: int) -> Sequence[Delivery]:
            found = [] if self.is_over else await self.right.read(limit)
            self.is_over = not found
            return found


class ReadsForTheGroup(Faulty):
    """Who reads takes from every group what it has."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: set[str] = set()

    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> Subscription:
        self.groups.add(group)
        return await super().subscribe(topics, group=group, on_revoked=on_revoked)

    async def open_reader(self, topic: str) -> TopicReader:
        for group in self.groups:
            subscription = await MemoryBroker.subscribe(self, [topic], group=group, on_revoked=_say_nothing)
            await subscription.acknowledge(await subscription.receive(100))
            await subscription.close()
        return await super().open_reader(topic)


async def _say_nothing(partitions: Collection[str]) -> None:
    """Do nothing about partitions that go."""


class IgnoresTheLimitOfReaders(Faulty):
    class reader(PassingReader):
        async def read(self, limit: int) -> Sequence[Delivery]:
            return await self.right.read(limit * 2)


class ReadsWhenStopped(Faulty):
    async def open_reader(self, topic: str) -> TopicReader:
        await self.start()
        return await super().open_reader(topic)


FAULTS = [
    (LagsForEver, "test_lag_tells_what_is_not_acknowledged"),
    (ReadsBackwards, "test_a_reader_begins_with_the_oldest_message"),
    (NumbersWhatItReads, "test_a_reader_says_where_a_message_stands_as_a_subscription_does"),
    (ReadsOnce, "test_at_the_end_a_reader_gives_nothing_and_then_what_has_come_since"),
    (ReadsForTheGroup, "test_a_reader_takes_nothing_from_a_group"),
    (IgnoresTheLimitOfReaders, "test_a_reader_gives_no_more_than_was_asked_for"),
    (ReadsWhenStopped, "test_a_broker_that_is_not_started_opens_no_reader"),
    (DropsHeaders, "test_bodies_keys_and_headers_survive"),
    (ReplacesWhatIsNoText, "test_bodies_keys_and_headers_survive"),
    (TakesEmptyKeysForNone, "test_bodies_keys_and_headers_survive"),
    (DropsRepetitions, "test_equal_messages_are_different_messages"),
    (ForgetsKeys, "test_messages_of_a_key_come_in_order"),
    (ReversesOrder, "test_messages_of_a_key_come_in_order"),
    (SendsManyBackwards, "test_send_many_keeps_the_order_of_a_key"),
    (SubscribesToOneTopic, "test_one_subscription_may_have_several_topics"),
    (IgnoresTheLimit, "test_receive_gives_no_more_than_was_asked_for"),
    (ReversesOrder, "test_what_was_not_acknowledged_comes_again"),
    (LosesWhatIsNotAcknowledged, "test_what_was_not_acknowledged_comes_again"),
    (ForgetsAcknowledgements, "test_what_was_acknowledged_does_not_come_again"),
    (AcknowledgesWhatIsBefore, "test_acknowledging_one_does_not_acknowledge_those_before_it"),
    (AcknowledgesOnlyForwards, "test_acknowledging_backwards_acknowledges_all"),
    (IgnoresPause, "test_pause_holds_a_partition_back"),
    (MindsUnknownPartitions, "test_pause_and_resume_may_be_called_at_any_time"),
    (LosesWhatComesWhileCancelled, "test_cancelling_receive_loses_nothing"),
    (HasOneGroup, "test_each_group_gets_everything"),
    (HasOneGroup, "test_a_new_group_gets_what_is_sent_from_then_on"),
    (ForgetsGroups, "test_a_group_gets_what_was_sent_while_nobody_was_there"),
    (ForgetsGroups, "test_members_of_a_group_share_its_messages"),
    (RevokesSilently, "test_a_partition_goes_to_a_new_member_after_its_owner_was_told"),
    (MindsLateAcknowledgements, "test_acknowledging_what_was_taken_away_does_nothing"),
    (HonoursLateAcknowledgements, "test_acknowledging_what_was_taken_away_does_nothing"),
    (TellsOneOutcome, "test_send_many_gives_one_outcome_each"),
    (CannotSendNothing, "test_send_many_of_nothing_answers_nothing"),
    (RefusesWithAStrangersError, "test_send_refuses_what_the_broker_cannot_take"),
    (PassesWhatIsHeldBack, "test_a_refused_message_holds_back_its_key_and_nothing_else"),
    (AnswersTooEarly, "test_send_many_answers_when_the_messages_are_safe"),
    (WaitsThoughDurable, "test_send_many_answers_when_the_messages_are_safe"),
    (CannotStopTwice, "test_stop_may_be_called_twice"),
    (StartsOnce, "test_a_stopped_broker_can_be_started_again"),
    (StartsByItself, "test_using_a_broker_that_is_not_started_is_an_error"),
    (ForgetsOnStop, "test_a_durable_broker_keeps_messages_while_it_is_stopped"),
]


def suite_for(broker_type: type[MemoryBroker], *, seconds: float) -> BrokerConformance:
    class Suite(BrokerConformance):
        deadline_s = seconds

        @asynccontextmanager
        async def open_broker(self) -> AsyncIterator[MemoryBroker]:
            broker = broker_type()
            await broker.start()
            yield broker

    return Suite()


@pytest.mark.parametrize(("broker_type", "check"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_fails_the_check_that_is_about_it(broker_type: type[MemoryBroker], check: str) -> None:
    """What does not come because of the fault is waited for, but not long: the deadline is what fails."""
    with pytest.raises((AssertionError, RuntimeError, LookupError, ValueError, AttributeError, pytest.fail.Exception)):
        getattr(suite_for(broker_type, seconds=0.05), check)("asyncio")


def test_there_is_a_fault_for_every_check() -> None:
    """A check that nothing fails proves nothing."""
    checks = {name for name in dir(BrokerConformance) if name.startswith("test_")}

    assert checks == {check for _, check in FAULTS}


@pytest.mark.parametrize("check", sorted({check for _, check in FAULTS}))
def test_the_same_broker_without_a_fault_passes(check: str) -> None:
    """So it is the fault that the check found."""
    if check == "test_a_durable_broker_keeps_messages_while_it_is_stopped":
        pytest.skip("the memory broker is not durable")

    getattr(suite_for(Faulty, seconds=30), check)("asyncio")


# What pytest shows ---------------------------------------------------------------------------------------------------

AUTHORS_TESTS = """
from contextlib import asynccontextmanager

from cqrs_core.memory import MemoryBroker
from cqrs_core.testing.conformance import BrokerConformance


class Forgetful(MemoryBroker):
    async def send_many(self, envelopes):
        return (await super().send_many(envelopes))[1:]


class TestForgot(BrokerConformance):
    pass


class TestMisspelt(BrokerConformance):
    waived = {"test_everything": "why not"}


class TestFaulty(BrokerConformance):
    waived = {"test_each_group_gets_everything": "it has no groups"}

    @asynccontextmanager
    async def open_broker(self):
        broker = Forgetful()
        await broker.start()
        yield broker
        await broker.stop()
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest, with no plug-in, says about an author's tests."""
    folder: Path = tmp_path_factory.mktemp("author")
    (folder / "test_author.py").write_text(AUTHORS_TESTS, encoding="utf-8")
    # Its own settings, or those of a project around the temporary folder would count.
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-rsf", "-p", "no:cacheprovider", "--rootdir", "."]
    checks = ["-k", "groups_everything or each_group or one_outcome"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200"}
    ended = subprocess.run(
        [*command, *checks], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stdout, ended.stderr
    return ended.stdout


def test_a_forgotten_open_broker_fails_loudly(output: str) -> None:
    """An abstract class would be left out by pytest, without a word."""
    assert "NotImplementedError: TestForgot must implement open_broker()" in output


def test_a_waived_check_is_skipped_with_the_reason(output: str) -> None:
    assert "waived: it has no groups" in output


def test_waiving_what_is_no_check_fails(output: str) -> None:
    """A check that was renamed would be waived for nothing."""
    assert "TestMisspelt.waived names what is no check: test_everything." in output


def test_a_failing_check_shows_the_values(output: str) -> None:
    """Assertions of the suite are rewritten as those of tests are."""
    assert "At index" in output or "Right contains" in output or "Left contains" in output
