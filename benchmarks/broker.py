"""
The memory broker, and the consumer over it, beside a bare ``asyncio.Queue``: messages per second of processor time.

Only ratios inside one run count, so blocks of both alternate: ``python benchmarks/broker.py --rounds 21``.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from blocks import Spread, alternate, timed

import cqrs_core as cqrs
from cqrs_core.envelope import Envelope
from cqrs_core.memory import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from blocks import Block, Work

#: How many messages may wait, in the queue as in the broker.
MAX_WAITING = 1000
KEYS = 100
MESSAGES = [Envelope("orders", b'{"order_id": 1}', f"key-{number}") for number in range(KEYS)]
REFERENCE = "asyncio.Queue"


async def through_a_queue(count: int) -> None:
    queue: asyncio.Queue[Envelope] = asyncio.Queue(MAX_WAITING)

    async def produce() -> None:
        for number in range(count):
            await queue.put(MESSAGES[number % KEYS])

    producing = asyncio.ensure_future(produce())
    for _ in range(count):
        await queue.get()
        queue.task_done()
    await producing


async def nothing(partitions: Collection[str]) -> None:
    """Nobody else joins."""


def through_the_broker(*, limit: int, groups: int = 1, batch: int = 0) -> Work:
    """
    Send messages in one task, and receive and acknowledge them in others.

    Args:
        limit: How many are received at once.
        groups: How many receive all of them.
        batch: How many are sent in one call; 0: each in a call of its own, which does not wait for acknowledgements.
    """

    async def work(count: int) -> None:
        broker = MemoryBroker(max_waiting=MAX_WAITING)
        await broker.start()

        async def produce() -> None:
            if not batch:
                for number in range(count):
                    await broker.send(MESSAGES[number % KEYS])
            for begin in range(0, count, batch) if batch else ():
                await broker.send_many([MESSAGES[n % KEYS] for n in range(begin, min(begin + batch, count))])

        async def consume(group: str) -> None:
            subscription = await broker.subscribe(["orders"], group=group, on_revoked=nothing)
            received = 0
            while received < count:
                deliveries = await subscription.receive(limit)
                received += len(deliveries)
                await subscription.acknowledge(deliveries)

        consuming = [asyncio.ensure_future(consume(f"group-{number}")) for number in range(groups)]
        await asyncio.sleep(0)  # they have subscribed
        await asyncio.gather(produce(), *consuming)
        await broker.stop()

    return work


class Ordered(cqrs.DomainEvent):
    order_id: str
    number: int


class Left:
    """Counts down, and says when nothing is left."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.is_none = asyncio.Event()

    def take(self, count: int = 1) -> None:
        self._count -= count
        if not self._count:
            self.is_none.set()


class TakeOne(cqrs.EventHandler[Ordered]):
    def __init__(self, left: Left) -> None:
        self._left = left

    async def handle(self, event: Ordered) -> None:  # noqa: ARG002 - it does nothing else
        self._left.take()


class TakeMany(cqrs.EventBatchHandler[Ordered]):
    def __init__(self, left: Left) -> None:
        self._left = left

    async def handle(self, events: Sequence[Ordered]) -> None:
        self._left.take(len(events))


def from_app_to_app(*, in_batches: bool) -> Work:
    """Publish events in one App and handle them in another: JSON, headers, lanes by key, acknowledgements and all."""

    async def work(count: int) -> None:
        left = Left(count)
        container = cqrs.SimpleContainer()
        container.instance(Left, left)
        broker = cqrs.MemoryBroker(max_waiting=MAX_WAITING)
        sender = cqrs.App("sender", broker=broker)
        sender.publishes("orders", {"Ordered": Ordered}, key="order_id")
        receiver = cqrs.App("receiver", broker=broker, container=container)
        if in_batches:
            receiver.consume("orders", {"Ordered": Ordered}, order="partition", batch_handler=TakeMany)
        else:
            receiver.events.bind(Ordered, TakeOne)
            receiver.consume("orders", {"Ordered": Ordered})
        async with receiver.running(), sender:
            for number in range(count):
                await sender.publish(Ordered(f"key-{number % KEYS}", number))
            await left.is_none.wait()

    return work


WORK: dict[str, Work] = {
    REFERENCE: through_a_queue,
    "send, receive(100), acknowledge": through_the_broker(limit=100),
    "send, receive(1), acknowledge": through_the_broker(limit=1),
    "the same with three groups, receive(100)": through_the_broker(limit=100, groups=3),
    "send_many of 500, receive(100), acknowledge": through_the_broker(limit=100, batch=500),
    "App.publish, consumer, handler": from_app_to_app(in_batches=False),
    "App.publish, consumer, batches of 100": from_app_to_app(in_batches=True),
}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, help="how many blocks of each")
    parser.add_argument("--seconds", type=float, default=0.2, help="how long a block takes")
    options = parser.parse_args()

    loop = asyncio.new_event_loop()
    blocks: dict[str, Block] = {name: timed(work, loop) for name, work in WORK.items()}
    taken = alternate(blocks, rounds=options.rounds, seconds=options.seconds)
    loop.close()

    print(f"{'':46}{'messages/s':>12}{'ratio':>8}  (quartiles)")
    for name, seconds in taken.items():
        ratio = Spread.of([own / other for own, other in zip(seconds, taken[REFERENCE], strict=True)])
        per_second = 1 / Spread.of(seconds).median
        print(f"{name:46}{per_second:12,.0f}{ratio.median:8.2f}  ({ratio.low:.2f} - {ratio.high:.2f})")


if __name__ == "__main__":
    main()
