"""Retry topics on Kafka: what has failed waits there, across restarts, and no group sees what is another's."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core.envelope import Envelope
from cqrs_kafka.errors import UnknownTopic

ONCE = cqrs.RetryPolicy(max_attempts=1)


class Paid(cqrs.DomainEvent):
    number: int


class Till:
    """
    A program that handles payments, and fails at some of them.

    Attributes:
        attempts: Which payments were attempted, and when.
        handled: Which are done.
    """

    def __init__(self, kafka: Any, topic: str, *, fails: dict[int, int] | None = None, **options: Any) -> None:
        self.attempts: list[tuple[int, float]] = []
        self.handled: list[int] = []
        till, left = self, dict(fails or {})

        class Take(cqrs.EventHandler[Paid]):
            async def handle(self, event: Paid) -> None:
                till.attempts.append((event.number, time.monotonic()))
                if left.get(event.number):
                    left[event.number] -= 1
                    raise ConnectionError("the bank does not answer")
                till.handled.append(event.number)

        name = options.pop("name", None) or f"till-{uuid.uuid4().hex}"
        self.app = cqrs.App(name, broker=f"kafka://{kafka.bootstrap}?unavailable_after_s=2")
        self.app.events.bind(Paid, Take)
        self.app.consume(topic, {"Paid": Paid}, retry=ONCE, **options)


def payment(topic: str, number: int) -> Envelope:
    headers = {"ce_type": "Paid", "ce_id": str(uuid.uuid4()), "content-type": "application/json"}
    return Envelope(topic, b'{"number": %d}' % number, "key", headers)


async def test_what_failed_comes_again_when_it_is_due_and_holds_up_nobody(kafka: Any) -> None:
    """Twice by way of the same topic; another group handles each message once."""
    topic = await kafka.make_topic(3)
    till = Till(kafka, topic, fails={1: 2}, retry_topic_delays_s=[3, 3])
    other = Till(kafka, topic, fails={2: 1}, retry_topic_delays_s=[3])
    async with kafka.open_broker() as broker, till.app.running(), other.app.running():
        await broker.send_many([payment(topic, number) for number in range(4)])
        await kafka.until(lambda: len(till.handled) == 4 and len(other.handled) == 4)
        counts = till.app.consumers[0].counts

    assert [0, 2, 3, 1] == till.handled
    assert [0, 1, 3, 2] == other.handled
    assert {"handled": 4, "failed": 2, "retried": 2} == counts
    first, second, third = (moment for number, moment in till.attempts if number == 1)
    assert second - first >= 2.9  # three whole seconds, less what the clocks of one machine may differ
    assert third - second >= 2.9


async def test_a_message_that_waits_survives_its_consumer(kafka: Any) -> None:
    """Another process of the group handles it, with the id that it had; here one with the same name."""
    topic, name = await kafka.make_topic(1), f"till-{uuid.uuid4().hex}"
    first = Till(kafka, topic, name=name, fails={1: 1}, retry_topic_delays_s=[2])
    async with kafka.open_broker() as broker, first.app.running():
        await broker.send(payment(topic, 1))
        await kafka.until(lambda: first.app.consumers[0].counts["retried"] == 1)
    second = Till(kafka, topic, name=name, retry_topic_delays_s=[2])
    async with second.app.running():
        await kafka.until(lambda: second.handled == [1])

    assert [] == first.handled
    assert second.attempts[0][1] - first.attempts[0][1] >= 1.9


async def test_retry_topics_that_are_missing_are_told_together_when_the_program_starts(kafka: Any) -> None:
    """With the commands that make them; where the broker makes none by itself, which it does for no such name."""
    topic = await kafka.make_topic(1)
    till = Till(kafka, topic, name="no topic", retry_topic_delays_s=[30, 300])

    with pytest.raises(UnknownTopic, match="do not exist") as caught:
        async with till.app.running():
            pass
    assert (f"{topic}.no topic.retry.30s", f"{topic}.no topic.retry.5m") == caught.value.topics


def test_an_error_of_missing_topics_says_how_to_make_them() -> None:
    """One or several."""
    assert "The topic 'a' does not exist" in str(UnknownTopic("a"))
    text = str(UnknownTopic("a", "b"))
    assert "The topics 'a', 'b' do not exist" in text
    assert "kafka-topics.sh --create --topic a --partitions 6; kafka-topics.sh --create --topic b" in text
