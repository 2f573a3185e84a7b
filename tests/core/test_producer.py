"""The producer for programs that have a loop of their own: what it sends, what it holds back, when it looks again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime, timezone

import pytest

import cqrs_core as cqrs
from cqrs_core.envelope import Envelope
from cqrs_core.errors import (
    BrokerNotStarted,
    BrokerUnavailable,
    CqrsError,
    InvalidOption,
    MessageRefused,
    OutcomeUnknown,
)
from cqrs_core.outbox import OutboxRecord
from cqrs_core.producer import EventProducer
from cqrs_core.relay import OnDead, RelayOptions
from cqrs_core.resilience import RetryPolicy
from cqrs_core.testing import VirtualClock

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
RETRY = RetryPolicy(max_attempts=3, delay_s=5.0, jitter=0)


class Repository:
    """An outbox in a list; what a session would do is what is committed."""

    def __init__(self, *bodies: str, attempts: int = 0) -> None:
        self.waiting = [record(number, body, attempts) for number, body in enumerate(bodies, 1)]
        self.sent: list[int] = []
        self.log: list[str] = []

    async def get_many(self, batch_size: int = 100) -> Sequence[OutboxRecord]:
        return [one for one in self.waiting if one.position not in self.sent][:batch_size]

    async def remove(self, positions: Sequence[int]) -> None:
        self.sent += positions

    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        self.log.append(f"postpone {position} by {delay_s}: {error}")
        self._drop(position)

    async def bury(self, position: int, *, reason: str, error: str) -> None:
        self.log.append(f"bury {position}, {reason}: {error}")
        self._drop(position)

    async def commit(self) -> None:
        for position in self.sent:
            self._drop(position)
        self.sent.clear()

    def _drop(self, position: int) -> None:
        self.waiting = [one for one in self.waiting if one.position != position]


class Broker:
    """Takes what it is given, unless it is told not to: an error for each body."""

    is_durable = True
    keeps_order_after_failure = False

    def __init__(self, **failures: Exception) -> None:
        self.failures = failures
        self.bodies: list[str] = []

    async def send(self, envelope: Envelope) -> None:
        body = envelope.body.decode()
        if body in self.failures:
            raise self.failures[body]
        self.bodies.append(body)


def record(position: int, body: str, attempts: int) -> OutboxRecord:
    """``a1`` is of the key ``a``; what is in capitals has none."""
    key = None if body.isupper() else body[0]
    return OutboxRecord(position, Envelope("news", body.encode(), key, {"ce_id": body}), NOW, attempts)


def producer_of(
    repository: Repository, broker: Broker, *, clock: VirtualClock | None = None, on_dead: OnDead = "skip"
) -> EventProducer:
    options = RelayOptions(retry=RETRY, on_dead=on_dead, shortest_poll_s=1.0, longest_poll_s=4.0)
    return EventProducer(broker, repository, options=options, clock=clock or VirtualClock(jumps=True))  # type: ignore[arg-type]  # it has what is used


@asynccontextmanager
async def batches_of(producer: EventProducer, size: int = 100) -> AsyncIterator[AsyncIterator[Sequence[OutboxRecord]]]:
    async with aclosing(producer.event_batch_generator(size)) as batches:
        yield batches


async def turn(producer: EventProducer, batches: AsyncIterator[Sequence[OutboxRecord]]) -> list[bool]:
    """Do what a program does with one batch."""
    answers = [await producer.send_message(message) for message in await anext(batches)]
    await producer.repository.commit()
    return answers


async def test_the_loop_of_python_cqrs_works() -> None:
    """As its documentation has it."""
    repository, broker = Repository("a1", "b1", "A", "a2", "b2"), Broker()
    producer = cqrs.EventProducer(broker, repository)  # type: ignore[arg-type]  # it has what is used
    async with aclosing(producer.event_batch_generator(batch_size=2)) as batches:
        async for messages in batches:
            for message in messages:
                await producer.send_message(message)
            await producer.repository.commit()
            if not repository.waiting:
                break

    assert ["a1", "b1", "A", "a2", "b2"] == broker.bodies
    assert (broker, repository) == (producer.message_broker, producer.repository)


async def test_what_was_sent_is_removed_when_the_program_commits() -> None:
    """Not before: a crash between the two repeats it; the other order would lose it."""
    repository, broker = Repository("a1", "b1"), Broker()
    producer = producer_of(repository, broker)
    async with batches_of(producer) as batches:
        first, _ = await anext(batches)

        assert await producer.send_message(first)
        assert ["a1", "b1"] == [one.envelope.body.decode() for one in repository.waiting]

        await producer.repository.commit()

    assert ["b1"] == [one.envelope.body.decode() for one in repository.waiting]


# Failures -------------------------------------------------------------------------------------------------------------

UNKNOWN = OutcomeUnknown("news", "No answer.")
REFUSED = MessageRefused("news", "Not now.", is_permanent=False)
PERMANENT = MessageRefused("news", "Too long.", is_permanent=True)


@pytest.mark.parametrize("error", [UNKNOWN, REFUSED, PERMANENT])
async def test_behind_a_message_that_failed_its_key_waits(error: CqrsError) -> None:
    """Others go on; in the next batch, the key is tried again."""
    repository, broker = Repository("a1", "b1", "a2", "b2", "A"), Broker(a1=error)
    producer = producer_of(repository, broker)
    async with batches_of(producer) as batches:
        assert [False, True, False, True, True] == await turn(producer, batches)

        broker.failures.clear()
        await turn(producer, batches)

    again = ["a1"] if error is UNKNOWN else []
    assert ["b1", "b2", "A", *again, "a2"] == broker.bodies


async def test_a_broker_that_nobody_has_started_is_told_of() -> None:
    """The program would wait for ever: it is at fault, and loses nothing."""
    repository = Repository("1")
    producer = cqrs.EventProducer(cqrs.MemoryBroker(), repository)  # type: ignore[arg-type]  # a part of one
    async with aclosing(producer.event_batch_generator()) as batches:
        (message,) = await anext(batches)
        with pytest.raises(BrokerNotStarted):
            await producer.send_message(message)

    assert [1] == [one.position for one in repository.waiting]


async def test_messages_without_a_key_wait_for_nobody() -> None:
    repository, broker = Repository("A", "B", "C"), Broker(A=UNKNOWN, B=REFUSED)
    producer = producer_of(repository, broker)
    async with batches_of(producer) as batches:
        assert [False, False, True] == await turn(producer, batches)


@pytest.mark.parametrize("error", [BrokerUnavailable("Gone."), OSError("It says nothing of this.")])
async def test_while_the_broker_is_not_available_nothing_is_tried(error: Exception) -> None:
    """Each would take its time to fail. No attempt is counted, and the next batch comes later and later."""
    clock = VirtualClock(jumps=True)
    repository, broker = Repository("a1", "b1"), Broker(a1=error, b1=ValueError("It must not be tried."))
    producer = producer_of(repository, broker, clock=clock)
    async with batches_of(producer) as batches:
        for _ in range(3):
            assert [False, False] == await turn(producer, batches)

        broker.failures.clear()
        assert [True, True] == await turn(producer, batches)

        await anext(batches)

    assert [] == repository.log
    assert 3 == len(clock.slept)  # after each of the three; none after the one that went well
    assert [True] * 3 == [0.9 * 0.1 * 2**n <= slept <= 0.1 * 2**n for n, slept in enumerate(clock.slept)]


@pytest.mark.parametrize(
    ("error", "attempts", "on_dead", "what"),
    [
        (REFUSED, 0, "skip", "postpone 1 by 5.0: MessageRefused: {}"),
        (REFUSED, 1, "halt", "postpone 1 by 10.0: MessageRefused: {}"),  # 5 · 2¹
        (REFUSED, 2, "skip", "bury 1, attempts: MessageRefused: {}"),
        (REFUSED, 2, "halt", "postpone 1 by None: MessageRefused: {}"),
        (PERMANENT, 0, "skip", "bury 1, permanent: MessageRefused: {}"),
        (PERMANENT, 0, "halt", "postpone 1 by None: MessageRefused: {}"),
    ],
)
async def test_what_is_refused_waits_or_is_given_up(
    error: MessageRefused, attempts: int, on_dead: OnDead, what: str
) -> None:
    """As with a relay: after ``max_attempts`` of three, or at once if it will never pass."""
    repository = Repository("a1", attempts=attempts)
    producer = producer_of(repository, Broker(a1=error), on_dead=on_dead)
    async with batches_of(producer) as batches:
        assert [False] == await turn(producer, batches)

    assert [what.format(error)] == repository.log


# Waiting --------------------------------------------------------------------------------------------------------------


async def test_an_empty_outbox_is_looked_at_less_and_less_often() -> None:
    """Up to the longest; and from the beginning when there was something again."""
    clock = VirtualClock(jumps=True)
    repository, broker = Repository(), Broker()
    producer = producer_of(repository, broker, clock=clock)
    async with batches_of(producer) as batches:
        for _ in range(5):
            await turn(producer, batches)
        repository.waiting.append(record(1, "a1", 0))
        await turn(producer, batches)
        for _ in range(2):
            await turn(producer, batches)

    assert [1.0, 2.0, 4.0, 4.0, 4.0, 1.0] == clock.slept


@pytest.mark.parametrize(("own_s", "slept"), [(0.0, [1.0]), (0.4, [0.4, 0.6]), (10.0, [10.0])])
async def test_what_the_program_sleeps_by_itself_counts(own_s: float, slept: list[float]) -> None:
    """Programs of python-cqrs have to, and do not wait twice."""
    clock = VirtualClock(jumps=True)
    producer = producer_of(Repository(), Broker(), clock=clock)
    async with batches_of(producer) as batches:
        await turn(producer, batches)
        if own_s:
            await clock.sleep(own_s)
        await turn(producer, batches)

    assert slept == clock.slept


async def test_while_there_is_something_nothing_is_waited_for() -> None:
    clock = VirtualClock(jumps=True)
    repository = Repository("a1", "a2", "a3")
    producer = producer_of(repository, Broker(), clock=clock)
    async with batches_of(producer, size=1) as batches:
        for _ in range(4):
            await turn(producer, batches)

    assert [] == clock.slept


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_has_at_least_one_message(size: int) -> None:
    """It is told when it is asked for, not when it is read."""
    with pytest.raises(InvalidOption, match="batch_size"):
        producer_of(Repository(), Broker()).event_batch_generator(size)
