"""
cqrs-kafka beside aiokafka as others use it: messages a second, on the server that TEST_KAFKA_BOOTSTRAP names.

Only ratios inside one run count, so rounds of all alternate: ``python benchmarks/kafka.py --rounds 5``. The first row
of each table is what python-cqrs 5.3, or a simple consumer, does: one message sent, or committed, after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
import uuid
from statistics import median
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from environment import KAFKA_SERVER
from topics import make_topic

import cqrs_core as cqrs
from cqrs_core.envelope import Envelope
from cqrs_kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    #: Does its work with so many messages of a topic, and gives the seconds that they took.
    Work = Callable[[str, str, int], Awaitable[float]]

KEYS = 5000
BODY = b'{"order_id": "order-%036d", "number": 1, "note": "%s"}' % (1, b"x" * 130)
HEADERS = {"ce_id": str(uuid.uuid4()), "ce_type": "Ordered", "content-type": "application/json"}
RAW_HEADERS = [(name, value.encode()) for name, value in HEADERS.items()]


class Ordered(cqrs.DomainEvent):
    order_id: str
    number: int


def envelope(topic: str, number: int) -> Envelope:
    return Envelope(topic, BODY, f"order-{number % KEYS:036d}", HEADERS)


# Sending ------------------------------------------------------------------------------------------------------------


async def one_by_one(server: str, topic: str, count: int) -> float:
    producer = AIOKafkaProducer(bootstrap_servers=server, acks=1)
    await producer.start()
    began = time.perf_counter()
    for _ in range(count):
        await producer.send_and_wait(topic, BODY, headers=RAW_HEADERS)
    taken = time.perf_counter() - began
    await producer.stop()
    return taken


async def in_turn_and_gathered(server: str, topic: str, count: int) -> float:
    producer = AIOKafkaProducer(bootstrap_servers=server, enable_idempotence=True)
    await producer.start()
    began = time.perf_counter()
    for first in range(0, count, 500):
        sent = [envelope(topic, number) for number in range(first, min(first + 500, count))]
        await asyncio.gather(
            *[await producer.send(topic, e.body, key=str(e.key).encode(), headers=RAW_HEADERS) for e in sent]
        )
    taken = time.perf_counter() - began
    await producer.stop()
    return taken


def by_send_many(size: int) -> Work:
    async def work(server: str, topic: str, count: int) -> float:
        broker = KafkaBroker(server)
        await broker.start()
        began = time.perf_counter()
        for first in range(0, count, size):
            sent = [envelope(topic, number) for number in range(first, min(first + size, count))]
            if not all(outcome.is_delivered for outcome in await broker.send_many(sent)):
                sys.exit("not everything was delivered")
        taken = time.perf_counter() - began
        await broker.stop()
        return taken

    return work


# Receiving ----------------------------------------------------------------------------------------------------------


async def commit_each(server: str, topic: str, count: int) -> float:
    await by_send_many(1000)(server, topic, count)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=server,
        group_id=uuid.uuid4().hex,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    began = time.perf_counter()
    for _ in range(count):
        await consumer.getone()
        await consumer.commit()
    taken = time.perf_counter() - began
    await consumer.stop()
    return taken


async def receive_and_acknowledge(server: str, topic: str, count: int) -> float:
    broker = KafkaBroker(server)
    await broker.start()
    subscription = await broker.subscribe([topic], group=uuid.uuid4().hex, on_revoked=nothing)
    await by_send_many(1000)(server, topic, count)
    began, received = time.perf_counter(), 0
    while received < count:
        deliveries = await subscription.receive(100)
        received += len(deliveries)
        await subscription.acknowledge(deliveries)
    taken = time.perf_counter() - began
    await broker.stop()
    return taken


async def handle(server: str, topic: str, count: int) -> float:
    left, done, began = count, asyncio.Event(), 0.0

    class Count(cqrs.EventHandler[Ordered]):
        async def handle(self, event: Ordered) -> None:  # noqa: ARG002 - it does nothing else
            nonlocal left, began
            began = began or time.perf_counter()
            left -= 1
            if not left:
                done.set()

    app = cqrs.App(uuid.uuid4().hex, broker=f"kafka://{server}")
    app.events.bind(Ordered, Count)
    app.consume(topic, {"Ordered": Ordered})
    async with app.running():
        await by_send_many(count)(server, topic, count)
        await done.wait()
        return time.perf_counter() - began


async def nothing(_partitions: Collection[str]) -> None:
    """Nobody else joins."""


TABLES: dict[str, dict[str, tuple[Work, int]]] = {
    "sending": {
        "aiokafka, one after the other, acks=1": (one_by_one, 1),
        "aiokafka, in turn and gathered, idempotent": (in_turn_and_gathered, 40),
        "send_many of 100": (by_send_many(100), 40),
        "send_many of 500": (by_send_many(500), 40),
    },
    "receiving": {
        "aiokafka, a commit for each message": (commit_each, 1),
        "receive(100), acknowledge": (receive_and_acknowledge, 40),
        "App: consumer and handler": (handle, 20),
    },
}


async def new_topic(server: str) -> str:
    name = f"bench-{uuid.uuid4().hex}"
    await make_topic(server, name, partitions=4)
    return name


async def measure(server: str, *, rounds: int, messages: int) -> None:
    """Print the tables."""
    for title, rows in TABLES.items():
        taken: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(rounds):
            for name, (work, factor) in rows.items():
                count = messages * factor
                taken[name].append(await work(server, await new_topic(server), count) / count)
        print(f"{title:46}{'messages/s':>12}{'ratio':>8}")
        reference = next(iter(taken.values()))
        for name, seconds in taken.items():
            ratio = median(other / own for own, other in zip(seconds, reference, strict=True))
            print(f"{name:46}{1 / median(seconds):12,.0f}{ratio:8.1f}")


def main() -> None:
    """Measure, if there is a server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each")
    parser.add_argument("--messages", type=int, default=500, help="how many, for the slowest; others take more")
    options = parser.parse_args()
    server = os.environ.get(KAFKA_SERVER)
    if not server:
        sys.exit(f'{KAFKA_SERVER} is not set: eval "$(scripts/services start kafka)"')
    asyncio.run(measure(server, rounds=options.rounds, messages=options.messages))


if __name__ == "__main__":
    main()
