"""What the checks for brokers share: a broker for each, and how they send and receive."""

from __future__ import annotations

import functools
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, TypeVar

from cqrs_core.concurrency import open_task_group
from cqrs_core.envelope import Envelope
from cqrs_core.testing.conformance.running import as_test, within
from cqrs_core.testing.conformance.suite import Suite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence

    from cqrs_core.broker import Broker, Delivery, OnRevoked, SendOutcome, Subscription

    S = TypeVar("S", bound="BrokerSuite")


class BrokerSuite(Suite):
    """
    What an author implements, and what the checks use.

    Attributes:
        too_large_bytes: A body of this length is refused by the broker.
    """

    too_large_bytes: ClassVar[int] = 2 * 1024 * 1024

    # What authors implement, or change -------------------------------------------------------------------------------

    @asynccontextmanager
    async def open_broker(self) -> AsyncIterator[Broker]:
        """Give a broker that is started, and stop it afterwards; the check may have stopped it already."""
        raise NotImplementedError(f"{type(self).__name__} must implement open_broker()")
        yield  # type: ignore[unreachable] # what makes it a generator

    async def new_topic(self) -> str:
        """Name a topic that is empty. Override it if topics must be made before; with several partitions, then."""
        return f"conformance-{uuid.uuid4().hex}"

    def unsendable(self, topic: str, key: str | None) -> Envelope:
        """Make a message that the broker refuses."""
        return Envelope(topic, bytes(self.too_large_bytes), key)

    # What the checks use ---------------------------------------------------------------------------------------------

    def new_group(self) -> str:
        """Name a group that nobody has joined."""
        return f"conformance-{uuid.uuid4().hex}"

    @asynccontextmanager
    async def member(
        self, broker: Broker, *topics: str, group: str | None = None, on_revoked: OnRevoked | None = None
    ) -> AsyncIterator[Subscription]:
        """Join a group, a new one if none is named, and leave it when the block ends."""
        name = group or self.new_group()

        async def join() -> Subscription:
            return await broker.subscribe(topics, group=name, on_revoked=on_revoked or _say_nothing)

        subscription = await within(self.deadline_s, join, failure=lambda: "subscribe() did not return.")
        try:
            yield subscription
        finally:
            await within(self.deadline_s, subscription.close, failure=lambda: "close() did not return.")

    async def take(self, subscription: Subscription, count: int) -> list[Delivery]:
        """Receive exactly *count* messages, without acknowledging them."""
        deliveries: list[Delivery] = []

        async def receive() -> None:
            while len(deliveries) < count:
                deliveries.extend(await subscription.receive(count - len(deliveries)))

        await within(self.deadline_s, receive, failure=lambda: f"{count} messages should come, {_list(deliveries)}.")
        return deliveries

    async def consume(self, subscription: Subscription, count: int) -> list[Delivery]:
        """Receive exactly *count* messages, and acknowledge them."""
        deliveries = await self.take(subscription, count)
        await subscription.acknowledge(deliveries)
        return deliveries

    async def consume_shared(
        self, subscriptions: Sequence[Subscription], *, until: Callable[[Sequence[Sequence[Delivery]]], bool]
    ) -> list[list[Delivery]]:
        """Receive with several members at once, and acknowledge, *until* what each of them received is enough."""
        shares: list[list[Delivery]] = [[] for _ in subscriptions]

        async def receive() -> None:
            async with open_task_group() as tasks:
                for subscription, share in zip(subscriptions, shares, strict=True):
                    tasks.start(functools.partial(pump, subscription, share, tasks.cancel))

        async def pump(subscription: Subscription, share: list[Delivery], end: Callable[[], None]) -> None:
            while not until(shares):
                deliveries = await subscription.receive(10)
                await subscription.acknowledge(deliveries)
                share += deliveries
            end()

        await within(self.deadline_s, receive, failure=lambda: f"By member: {'; '.join(map(_list, shares))}.")
        return shares

    async def send_many(
        self, broker: Broker, envelopes: Sequence[Envelope], subscription: Subscription, *, expected: int
    ) -> tuple[Sequence[SendOutcome], list[Delivery]]:
        """Send *envelopes* while *subscription* consumes as many as are *expected*."""
        outcomes: list[SendOutcome] = []
        deliveries: list[Delivery] = []

        async def consume() -> None:
            deliveries.extend(await self.consume(subscription, expected))

        async def exchange() -> None:
            async with open_task_group() as tasks:
                tasks.start(consume)
                outcomes.extend(await broker.send_many(envelopes))

        await within(2 * self.deadline_s, exchange, failure=lambda: f"send_many() did not return; {_list(deliveries)}.")
        return outcomes, deliveries


def check(body: Callable[[S, Broker], Coroutine[None, None, None]]) -> Callable[[S, str], None]:
    """Make a test of a method that wants a broker: it runs on a loop of its own, for a limited time."""

    async def main(self: S) -> None:
        async def opened() -> None:
            async with self.open_broker() as broker:
                await body(self, broker)

        await within(5 * self.deadline_s, opened, failure=lambda: f"{body.__name__} did not end.")

    return as_test(body, main)


def bodies(deliveries: Collection[Delivery]) -> list[bytes]:
    """List what is in *deliveries*."""
    return [delivery.envelope.body for delivery in deliveries]


async def _say_nothing(partitions: Collection[str]) -> None:
    """Do nothing about partitions that go."""


def _list(deliveries: Collection[Delivery]) -> str:
    return f"{len(deliveries)} came: {bodies(deliveries)[:50]}"
