"""Programs that consume from a memory broker, with a clock that is told the time."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from cqrs_core.broker import Subscription

ONCE = cqrs.RetryPolicy(max_attempts=1)


class Paid(cqrs.DomainEvent):
    what: str


class Book:
    """
    What handlers have done, and what they are told to do.

    Attributes:
        begun: What was given to handlers.
        done: What they have done.
        fails: By content, with what they fail: each of these once.
        messages: What they were told about each message that they were given.
    """

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done: list[str] = []
        self.fails: dict[str, list[Exception]] = {}
        self.messages: list[cqrs.CurrentMessage] = []

    async def take(self, what: str) -> None:
        self.begun.append(what)
        if self.fails.get(what):
            raise self.fails[what].pop(0)
        await anyio.lowlevel.checkpoint()
        self.done.append(what)


class WriteDown(cqrs.EventHandler[Paid]):
    def __init__(self, book: Book) -> None:
        self._book = book

    async def handle(self, event: Paid) -> None:
        message = cqrs.current_message()
        assert message is not None
        self._book.messages.append(message)
        await self._book.take(event.what)


class WriteDownMany(cqrs.EventBatchHandler[Paid]):
    def __init__(self, book: Book) -> None:
        self._book = book

    async def handle(self, events: Any) -> None:
        await self._book.take(" ".join(event.what for event in events))


class Desk:
    """A broker, a clock, and programs that consume the topic ``payments``, unless told otherwise."""

    def __init__(self) -> None:
        self.broker: Any = cqrs.MemoryBroker(max_kept=1000)
        self.clock = VirtualClock()

    def app(
        self, name: str = "shop", *, topic: str = "payments", storage: Any = None, observer: Any = None, **options: Any
    ) -> tuple[cqrs.App, Book]:
        """Make a program; it tries each message once, unless told otherwise."""
        book, container = Book(), cqrs.SimpleContainer()
        container.instance(Book, book)
        app = cqrs.App(
            name, broker=self.broker, storage=storage, observer=observer, container=container, clock=self.clock
        )
        if options.pop("in_batches", False):
            options["batch_handler"] = WriteDownMany
        else:
            app.events.bind(Paid, WriteDown)
        app.consume(topic, {"Paid": Paid}, **{"retry": ONCE, **options})
        return app, book

    async def send(self, *whats: str, key: str | None = "k", topic: str = "payments", **headers: str) -> None:
        for what in whats:
            body = json.dumps({"what": what}).encode()
            await self.broker.send(cqrs.Envelope(topic, body, key, {"ce_type": "Paid", **headers}))

    @asynccontextmanager
    async def reading(self, topic: str) -> AsyncIterator[Subscription]:
        """Subscribe to a topic, to see what comes there from now on."""
        subscription = await self.broker.subscribe([topic], group="observer", on_revoked=_nothing)
        yield subscription
        await subscription.close()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let others run until something is so; a bound on the turns, not on the time, ends a test that hangs."""
        for _ in range(20_000):
            if is_so():
                return
            await anyio.lowlevel.checkpoint()
        raise AssertionError("it has not come about")

    async def settle(self) -> None:
        """Let others do whatever they can do now."""
        for _ in range(300):
            await anyio.lowlevel.checkpoint()


async def _nothing(_: Collection[str]) -> None:
    """For subscriptions to which it is all the same."""


@pytest.fixture
async def desk(anyio_backend: str) -> AsyncIterator[Desk]:  # noqa: ARG001 - the fixture runs on it
    """Keep the broker running between programs that are started and stopped."""
    desk = Desk()
    await desk.broker.start()
    yield desk
    await desk.broker.stop()
