"""Keys that are parked behind a dead letter, on Kafka: across restarts, and members that come and go."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core.consumer import DeadLetters
from cqrs_core.envelope import Envelope
from cqrs_kafka.errors import UnknownTopic

MEMBER = Path(__file__).with_name("parking_member.py")


class Paid(cqrs.DomainEvent):
    number: int


class Till:
    """
    A program that handles payments, and parks what comes after one that it cannot.

    Attributes:
        handled: By key, what is done, in its order.
        fails: Which payments fail, each once; or a chance that any does, drawn in the same order each time.
    """

    def __init__(
        self, kafka: Any, name: str, topic: str, dead_topic: str, handled: dict[str, list[int]], *, seed: int = 0
    ) -> None:
        self.fails: set[int] = set()
        self.chance = 0.0
        till, draw = self, random.Random(seed)  # noqa: S311 - no secrets

        class Take(cqrs.EventHandler[Paid]):
            async def handle(self, event: Paid) -> None:
                message = cqrs.current_message()
                assert message is not None
                if event.number in till.fails or draw.random() < till.chance:
                    till.fails.discard(event.number)
                    raise ConnectionError("the bank does not answer")
                handled.setdefault(str(message.key), []).append(event.number)

        self.app = cqrs.App(name, broker=f"kafka://{kafka.bootstrap}?unavailable_after_s=2")
        self.app.events.bind(Paid, Take)
        self.app.consume(
            topic,
            {"Paid": Paid},
            retry=cqrs.RetryPolicy(max_attempts=1),
            dead_letter_topic=dead_topic,
            on_dead="park",
        )

    def count(self, name: str) -> int:
        return self.app.consumers[0].counts[name]


async def send(broker: cqrs.Broker, topic: str, key: str, *numbers: int) -> None:
    for number in numbers:
        headers = {"ce_type": "Paid", "ce_id": str(uuid.uuid4()), "content-type": "application/json"}
        await broker.send(Envelope(topic, b'{"number": %d}' % number, key, headers))


async def replay(broker: cqrs.Broker, dead_topic: str) -> list[str | None]:
    async with aclosing(DeadLetters(broker, dead_topic).replay()) as replays:
        return [each.problem async for each in replays]


async def test_what_is_parked_stays_so_across_a_restart_and_is_handled_in_order(kafka: Any) -> None:
    """The second process knows it from the dead-letter topic; then the key goes on."""
    topic, dead_topic, group = await kafka.make_topic(3), await kafka.make_topic(3), f"till-{uuid.uuid4().hex}"
    handled: dict[str, list[int]] = {}
    async with kafka.open_broker() as broker:
        first = Till(kafka, group, topic, dead_topic, handled)
        first.fails = {0}
        async with first.app.running():
            await send(broker, topic, "a", 0, 1, 2)
            await send(broker, topic, "b", 10, 11)
            await kafka.until(lambda: first.count("parked") == 2 and handled == {"b": [10, 11]})
        second = Till(kafka, group, topic, dead_topic, handled)
        async with second.app.running():
            await send(broker, topic, "a", 3)
            await kafka.until(lambda: second.count("parked") == 1)
            assert [None] * 4 == await replay(broker, dead_topic)
            await kafka.until(lambda: handled.get("a") == [0, 1, 2, 3])
            await send(broker, topic, "a", 4)
            await kafka.until(lambda: handled["a"] == [0, 1, 2, 3, 4])
        assert [] == await DeadLetters(broker, dead_topic).look()


async def test_members_come_and_go_and_each_key_stays_in_order(kafka: Any) -> None:
    """Handlers fail at random, letters are sent back in between; repeats left out, each key is as it was sent."""
    topic, dead_topic, group = await kafka.make_topic(4), await kafka.make_topic(2), f"till-{uuid.uuid4().hex}"
    keys, rounds = [f"key-{number}" for number in range(12)], 3
    handled: dict[str, list[int]] = {}
    async with kafka.open_broker() as broker:
        for this in range(rounds):
            tills = [Till(kafka, group, topic, dead_topic, handled, seed=2 * this + one) for one in range(2)]
            async with AsyncExitStack() as running:
                await running.enter_async_context(tills[0].app.running())
                for till in tills:
                    till.chance = 0.2
                for number in range(this * 6, this * 6 + 6):
                    for key in keys:
                        await send(broker, topic, key, number)
                    if number == this * 6 + 2:
                        await running.enter_async_context(tills[1].app.running())
                        await replay(broker, dead_topic)
        last = Till(kafka, group, topic, dead_topic, handled)
        async with last.app.running():
            deadline = time.monotonic() + 60
            while any(rounds * 6 - 1 not in handled.get(key, ()) for key in keys):
                await replay(broker, dead_topic)
                assert time.monotonic() < deadline

    for key in keys:
        assert list(range(rounds * 6)) == list(dict.fromkeys(handled[key])), key


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    """Run a program, and kill it when the block ends."""
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.kill()


async def test_a_consumer_that_is_killed_twice_keeps_each_key_in_order(kafka: Any, tmp_path: Path) -> None:
    """Wherever it dies, between a letter and its commit too: nothing is lost, and nothing passes what is before it."""
    topic, dead_topic, group = await kafka.make_topic(3), await kafka.make_topic(2), f"till-{uuid.uuid4().hex}"
    notes = tmp_path / "notes"
    command = [sys.executable, str(MEMBER), kafka.bootstrap, topic, dead_topic, group, str(notes)]
    keys, count = [f"key-{number}" for number in range(6)], 0

    def lines() -> list[tuple[str, int]]:
        text = notes.read_text() if notes.exists() else ""
        return [(key, int(number)) for key, number in (line.split() for line in text.splitlines())]

    async def replay_until(is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not is_so():
            await replay(broker, dead_topic)
            assert time.monotonic() < deadline

    async with kafka.open_broker() as broker:
        for life in range(2):
            starts, before = lines().count(("ready", 0)), len(lines())
            with running([*command, f"{life}"]):
                await kafka.until(lambda starts=starts: lines().count(("ready", 0)) > starts)
                for _ in range(8):
                    for key in keys:
                        await send(broker, topic, key, count)
                    count += 1
                await replay_until(lambda before=before: len(lines()) > before + 20)
        with running([*command, "2"]):
            await replay_until(lambda: len(set(lines()) - {("ready", 0)}) == len(keys) * count)

    for key in keys:
        assert list(range(count)) == list(dict.fromkeys(number for name, number in lines() if name == key)), key


async def test_a_dead_letter_topic_that_is_missing_is_told_when_the_program_starts(kafka: Any) -> None:
    """For what is parked there has to be known; without parking, it is missed only when there is a dead letter."""
    topic = await kafka.make_topic(1)
    till = Till(kafka, f"till-{uuid.uuid4().hex}", topic, "no topic", {})

    with pytest.raises(UnknownTopic, match="'no topic' does not exist"):
        async with till.app.running():
            pass
