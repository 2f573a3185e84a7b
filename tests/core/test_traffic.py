"""What an App exchanges with others: published events, consumed topics, and the life of its broker and its loops."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.concurrency import Gate
from cqrs_core.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from cqrs_core.broker import Subscription


class Placed(cqrs.DomainEvent):
    order_id: str


class Shipped(cqrs.DomainEvent):
    order_id: str


class Joined(cqrs.DomainEvent):
    name: str


class Place(cqrs.Request[str]):
    order_id: str


class PlaceHandler(cqrs.RequestHandler[Place, str]):
    async def handle(self, request: Place) -> str:
        self.events.append(Placed(request.order_id))
        return request.order_id


class Books:
    """What handlers have seen, and what they are to do."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.messages: list[cqrs.CurrentMessage | None] = []
        self.failures: list[Exception] = []
        self.scopes: list[Scoped] = []
        self._changed = anyio.Event()

    def note(self, line: str) -> None:
        self.messages.append(cqrs.current_message())
        if self.failures:
            raise self.failures.pop(0)
        self.lines.append(line)
        self._changed.set()

    async def until(self, count: int) -> None:
        """Return when *count* lines are written."""
        with anyio.fail_after(30):
            while len(self.lines) < count:
                self._changed = anyio.Event()
                await self._changed.wait()


class Scoped:
    """One for each scope; notes how the scope ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []


class NotePlaced(cqrs.EventHandler[Placed]):
    def __init__(self, books: Books) -> None:
        self._books = books

    async def handle(self, event: Placed) -> None:
        self._books.note(f"placed {event.order_id}")


class ShipPlaced(cqrs.EventHandler[Placed]):
    def __init__(self, books: Books) -> None:
        self._books = books

    async def handle(self, event: Placed) -> None:
        self._books.note(f"ship {event.order_id}")
        self.events.append(Shipped(event.order_id))


class NoteShipped(cqrs.EventHandler[Shipped]):
    def __init__(self, books: Books) -> None:
        self._books = books

    async def handle(self, event: Shipped) -> None:
        self._books.note(f"shipped {event.order_id}")


class Welcome(cqrs.EventHandler[cqrs.NotificationEvent[Joined]]):
    def __init__(self, books: Books) -> None:
        self._books = books

    async def handle(self, event: cqrs.NotificationEvent[Joined]) -> None:
        self._books.note(f"welcome {event.payload.name} {event.key} {event.headers}")


class NoteBatch(cqrs.EventBatchHandler[Placed]):
    def __init__(self, books: Books) -> None:
        self._books = books

    async def handle(self, events: Sequence[Placed]) -> None:
        self.events.append(Shipped(events[0].order_id))
        self._books.note(" ".join(event.order_id for event in events))


@pytest.fixture
def books(anyio_backend: str) -> Books:  # noqa: ARG001 - it holds an event of that loop
    return Books()


@pytest.fixture
def broker() -> cqrs.MemoryBroker:
    return cqrs.MemoryBroker()


def make_app(books: Books, name: str = "orders", **options: Any) -> cqrs.App:
    container = cqrs.SimpleContainer()
    container.instance(Books, books)
    app = cqrs.App(name, container=container, **options)
    app.requests.bind(Place, PlaceHandler)
    return app


async def nothing(_: Collection[str]) -> None:
    """For subscriptions to which it is all the same."""


async def listen(broker: cqrs.Broker, *topics: str) -> Subscription:
    return await broker.subscribe(topics, group="observer", on_revoked=nothing)


async def take(subscription: Subscription, count: int = 1) -> list[cqrs.Envelope]:
    found: list[cqrs.Envelope] = []
    with anyio.fail_after(30):
        while len(found) < count:
            found += [delivery.envelope for delivery in await subscription.receive(count - len(found))]
    return found


# Publishing ----------------------------------------------------------------------------------------------------------


async def test_a_published_event_reaches_its_handlers_here_and_others_as_it_is(
    books: Books, broker: cqrs.MemoryBroker
) -> None:
    """DESIGN 3: to others goes the plain event, no wrapping; DESIGN 4.1: an event may do both."""
    app = make_app(books, broker=broker)
    app.publishes("orders", {"OrderPlaced": Placed}, key="order_id")
    app.events.bind(Placed, NotePlaced)
    async with app:
        subscription = await listen(broker, "orders")
        await app.send(Place("o-1"))
        (envelope,) = await take(subscription)
    assert ["placed o-1"] == books.lines
    assert b'{"order_id":"o-1"}' == envelope.body
    assert ("orders", "o-1") == (envelope.topic, envelope.key)
    assert ("OrderPlaced", "orders") == (envelope.headers["ce_type"], envelope.headers["ce_source"])


async def test_an_event_without_handlers_here_is_published_too(books: Books, broker: cqrs.MemoryBroker) -> None:
    """DESIGN 3: ``await app.publish(...)``, an event without a handler."""
    app = make_app(books, broker=broker)
    app.publishes("orders", {"OrderPlaced": Placed})
    async with app:
        subscription = await listen(broker, "orders")
        await app.publish(Placed("o-1"))
        (envelope,) = await take(subscription)
    assert envelope.key is None


async def test_an_event_may_go_to_several_topics(books: Books, broker: cqrs.MemoryBroker) -> None:
    """Each call of ``publishes`` is one way out."""
    app = make_app(books, broker=broker)
    app.publishes("orders", {"OrderPlaced": Placed})
    app.publishes("audit", {"Placed": Placed}, key=lambda event: f"<{event.order_id}>")
    async with app:
        subscription = await listen(broker, "orders", "audit")
        await app.publish(Placed("o-1"))
        envelopes = await take(subscription, 2)
    names = {(envelope.topic, envelope.headers["ce_type"], envelope.key) for envelope in envelopes}
    assert {("orders", "OrderPlaced", None), ("audit", "Placed", "<o-1>")} == names


async def test_events_leave_after_the_handlers_and_also_if_those_fail(books: Books, broker: cqrs.MemoryBroker) -> None:
    """DESIGN 4.1: without a unit of work, notifications leave after the domain event handlers; nothing undoes those."""
    app = make_app(books, broker=broker)
    app.publishes("orders", {"OrderPlaced": Placed})
    app.events.bind(Placed, NotePlaced)
    books.failures = [ValueError("no")]
    async with app:
        subscription = await listen(broker, "orders")
        with pytest.raises(cqrs.EventHandlersFailed) as caught:
            await app.send(Place("o-1"))
        await take(subscription)
    assert "o-1" == caught.value.response


async def test_what_cannot_be_sent_is_told_to_the_caller(books: Books) -> None:
    """At most once without an outbox; but never silently."""
    app = make_app(books, broker=cqrs.MemoryBroker(max_message_bytes=20))
    app.publishes("orders", {"OrderPlaced": Placed})
    async with app:
        with pytest.raises(cqrs.EventHandlersFailed) as caught:
            await app.send(Place("o" * 100))
    (error,) = caught.value.errors
    assert isinstance(error, errors.MessageRefused)
    assert error.is_permanent


async def test_without_a_broker_a_notification_goes_nowhere_and_a_warning_says_so(
    books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    """The default is a broker in this process, for the App itself; a topic nobody subscribes to keeps nothing."""
    app = make_app(books)
    async with app:
        await app.publish(cqrs.NotificationEvent(event_name="Joined", topic="users", payload=Joined("Ann")))
    assert [logging.WARNING] == [record.levelno for record in caplog.records]
    assert "'users'" in caplog.text


async def test_a_handler_may_publish_what_it_consumes_elsewhere(books: Books, broker: cqrs.MemoryBroker) -> None:
    """An event that arrives does not go out again by itself, even if events of its class are published."""
    app = make_app(books, broker=broker)
    app.publishes("copies", {"OrderPlaced": Placed, "Shipped": Shipped})
    app.consume("orders", {"OrderPlaced": Placed})
    app.events.bind(Placed, ShipPlaced)
    async with app.running():
        subscription = await listen(broker, "copies")
        await broker.send(cqrs.Envelope("orders", b'{"order_id": "o-1"}', None, {"ce_type": "OrderPlaced"}))
        (envelope,) = await take(subscription)
    assert "Shipped" == envelope.headers["ce_type"]


# Consuming -----------------------------------------------------------------------------------------------------------


async def test_what_one_app_publishes_another_one_handles(books: Books, broker: cqrs.MemoryBroker) -> None:
    """Ids of the conversation go along: the second message was caused by the first, and belongs to the same."""
    orders, shipping = make_app(Books(), broker=broker), make_app(books, "shipping", broker=broker)
    orders.publishes("orders", {"OrderPlaced": Placed}, key="order_id")
    shipping.consume("orders", {"OrderPlaced": Placed})
    shipping.events.bind(Placed, ShipPlaced)
    shipping.publishes("parcels", {"Shipped": Shipped})
    async with shipping.running(), orders:
        subscription = await listen(broker, "orders", "parcels")
        await orders.send(Place("o-1"))
        await books.until(1)
        first, second = sorted(await take(subscription, 2), key=lambda envelope: envelope.topic)
    (message,) = books.messages
    assert message is not None
    assert ("OrderPlaced", "orders", "shipping", "o-1", 1) == (
        message.name,
        message.topic,
        message.group,
        message.key,
        message.attempt,
    )
    assert first.headers["ce_id"] == str(message.id) == message.correlation_id
    assert (str(message.id), message.correlation_id) == (
        second.headers["ce_causationid"],
        second.headers["ce_correlationid"],
    )


async def test_a_notification_is_handled_where_it_arrives_and_only_there(books: Books) -> None:
    """DESIGN 4.1: a notification emitted by a handler goes out only. The App may consume its own."""
    app = make_app(books)
    app.events.bind(cqrs.NotificationEvent[Joined], Welcome)
    app.consume("users", {"Joined": cqrs.NotificationEvent[Joined]})
    async with app.running():
        await app.publish(
            cqrs.NotificationEvent(
                event_name="Joined", topic="users", payload=Joined("Ann"), key="k", headers={"tenant": "t"}
            )
        )
        await books.until(1)
    assert ["welcome Ann k {'tenant': 't'}"] == books.lines


async def test_all_handlers_of_a_message_share_one_scope_which_ends_before_the_acknowledgement(
    broker: cqrs.MemoryBroker, books: Books
) -> None:
    """DESIGN 4.1: one message = one scope; an attempt that fails ends its own with the error."""
    clock = VirtualClock()
    container = cqrs.SimpleContainer()
    container.instance(Books, books)

    async def scoped() -> AsyncIterator[Scoped]:
        made = Scoped()
        books.scopes.append(made)
        try:
            yield made
        except BaseException as error:
            made.ended.append(type(error).__name__)
            raise
        made.ended.append("well")

    class First(cqrs.EventHandler[Placed]):
        def __init__(self, scoped: Scoped, books: Books) -> None:
            self._scoped, self._books = scoped, books

        async def handle(self, event: Placed) -> None:
            self._books.note("first")

    class Second(cqrs.EventHandler[Placed]):
        def __init__(self, scoped: Scoped, books: Books) -> None:
            self._scoped, self._books = scoped, books

        async def handle(self, event: Placed) -> None:
            self._books.note("second")

    container.scoped(Scoped, scoped)
    app = cqrs.App("orders", container=container, broker=broker, clock=clock)
    app.events.bind(Placed, First)
    app.events.bind(Placed, Second)
    app.consume("orders", {"Placed": Placed})
    books.failures = [ValueError("once")]
    async with app.running():
        await broker.send(cqrs.Envelope("orders", b'{"order_id": "o-1"}', None, {"ce_type": "Placed"}))
        await clock.until_asleep()
        await clock.advance(1)
        await books.until(3)
    assert ["second", "first", "second"] == books.lines
    assert [["EventHandlersFailed"], ["well"]] == [scope.ended for scope in books.scopes]


async def test_errors_of_consumed_events_are_never_only_logged(books: Books, broker: cqrs.MemoryBroker) -> None:
    """DESIGN 4.1: a consumer always uses ``raise``; else a message would be acknowledged that was not handled."""
    app = make_app(books, broker=broker, event_errors="log", clock=(clock := VirtualClock()))
    app.events.bind(Placed, NotePlaced)
    app.consume("orders", {"Placed": Placed})
    books.failures = [ValueError("once")]
    async with app.running():
        await broker.send(cqrs.Envelope("orders", b'{"order_id": "o-1"}', None, {"ce_type": "Placed"}))
        await clock.until_asleep()
        await clock.advance(1)
        await books.until(1)
    assert ["placed o-1"] == books.lines


async def test_a_handler_of_batches_is_injected_and_what_it_emits_is_handled(
    books: Books, broker: cqrs.MemoryBroker
) -> None:
    """As any other handler; what an attempt emitted that failed is dropped."""
    app = make_app(books, broker=broker, clock=(clock := VirtualClock()))
    app.consume("orders", {"Placed": Placed}, batch_handler=NoteBatch)
    app.events.bind(Shipped, NoteShipped)
    books.failures = [ValueError("once")]
    async with app.running():
        await broker.send(cqrs.Envelope("orders", b'{"order_id": "o-1"}', None, {"ce_type": "Placed"}))
        await clock.until_asleep()
        await clock.advance(1)
        await books.until(2)
    assert ["o-1", "shipped o-1"] == books.lines


async def test_what_a_batch_emitted_before_it_failed_at_an_index_is_handled(
    books: Books, broker: cqrs.MemoryBroker
) -> None:
    """Those before the index are done, and so is what they brought."""
    app = make_app(books, broker=broker, clock=(clock := VirtualClock()))
    app.consume("orders", {"Placed": Placed}, batch_handler=NoteBatch)
    app.events.bind(Shipped, NoteShipped)
    books.failures = [cqrs.BatchFailed(0)]
    async with app.running():
        await broker.send(cqrs.Envelope("orders", b'{"order_id": "o-1"}', None, {"ce_type": "Placed"}))
        await clock.until_asleep()
        assert ["shipped o-1"] == books.lines
        await clock.advance(1)
        await books.until(3)
    assert ["o-1", "shipped o-1"] == books.lines[1:]


async def test_groups_of_one_app_each_get_every_message(books: Books, broker: cqrs.MemoryBroker) -> None:
    """The group is the App's name unless it is given; consumers can be looked at."""
    app = make_app(books, broker=broker)
    app.events.bind(Placed, NotePlaced)
    app.consume("orders", {"Placed": Placed})
    app.consume("orders", {"Placed": Placed}, group="second")
    async with app.running():
        await broker.send(cqrs.Envelope("orders", b'{"order_id": "o-1"}', None, {"ce_type": "Placed"}))
        await books.until(2)
    assert {"orders": 1, "second": 1} == {consumer.group: consumer.counts["handled"] for consumer in app.consumers}


async def test_dead_letters_go_where_topic_and_group_say_unless_told_otherwise(
    books: Books, broker: cqrs.MemoryBroker
) -> None:
    """Two groups that give up the same message do not mix their dead letters."""
    app = make_app(books, broker=broker)
    app.events.bind(Placed, NotePlaced)
    app.consume("orders", {"Placed": Placed})
    app.consume("more", {"Placed": Placed}, dead_letter_topic="graveyard")
    async with app.running():
        subscription = await listen(broker, "orders.orders.dead", "graveyard")
        for topic in ("orders", "more"):
            await broker.send(cqrs.Envelope(topic, b"?", None, {"ce_type": "Placed"}))
        letters = await take(subscription, 2)
    assert {"orders.orders.dead", "graveyard"} == {letter.topic for letter in letters}


# The life of an App with a broker ------------------------------------------------------------------------------------


class Recorded(cqrs.MemoryBroker):
    """A memory broker that notes how it is started and stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.start_error: Exception | None = None

    async def start(self) -> None:
        self.calls.append("start")
        if self.start_error is not None:
            raise self.start_error
        await super().start()

    async def stop(self) -> None:
        self.calls.append("stop")
        await super().stop()


async def test_a_broker_is_started_and_stopped_with_the_app_and_may_be_so_again(books: Books) -> None:
    """An App may be started again."""
    broker = Recorded()
    app = make_app(books, broker=broker)
    app.events.bind(Placed, NotePlaced)
    app.consume("orders", {"Placed": Placed})
    for number in range(1, 3):
        async with app.running():
            await broker.send(cqrs.Envelope("orders", b'{"order_id": "o-1"}', None, {"ce_type": "Placed"}))
            await books.until(number)
    assert ["start", "stop", "start", "stop"] == broker.calls


async def test_a_broker_that_does_not_start_leaves_the_app_stopped(books: Books) -> None:
    """The App can be started when the broker is back."""
    broker = Recorded()
    app = make_app(books, broker=broker)
    broker.start_error = errors.BrokerUnavailable("it is away")
    with pytest.raises(errors.BrokerUnavailable, match="it is away"):
        await app.__aenter__()
    with pytest.raises(errors.AppNotStarted):
        app.send(Place("o-1"))
    broker.start_error = None
    async with app:
        assert "o-1" == await app.send(Place("o-1"))


def test_an_app_runs_on_one_event_loop_after_the_other() -> None:
    """Nothing of the first loop is left over."""

    async def run() -> list[str]:
        books = Books()
        app = make_app(books, broker=broker)
        app.events.bind(Placed, NotePlaced)
        app.consume("orders", {"Placed": Placed})
        async with app.running():
            await broker.send(cqrs.Envelope("orders", b'{"order_id": "o-1"}', None, {"ce_type": "Placed"}))
            await books.until(1)
        return books.lines

    broker = cqrs.MemoryBroker()
    assert ["placed o-1"] == asyncio.run(run())
    assert ["placed o-1"] == asyncio.run(run())


async def test_only_running_consumes(books: Books, broker: cqrs.MemoryBroker) -> None:
    """A web process sends; it takes no messages from the workers. So does ``only`` without the consumers."""
    app = make_app(books, broker=broker)
    app.events.bind(Placed, NotePlaced)
    app.consume("orders", {"Placed": Placed})
    async with app:
        assert () == app.consumers
    async with app.running(only=[]):
        assert () == app.consumers
    async with app.running(only=["consumers"]):
        assert ["orders"] == [consumer.group for consumer in app.consumers]


@pytest.mark.parametrize("only", [["consumer"], "relays", ["consumers", ""]])
async def test_a_loop_that_does_not_exist_is_refused(books: Books, only: Any) -> None:
    """With the names of those that do; nothing is started."""
    app = make_app(books)
    with pytest.raises(errors.InvalidOption, match="one of the loops: consumers"):
        await app.running(only=only).__aenter__()
    async with app.running(only="consumers"):
        pass


async def test_an_error_in_the_block_ends_the_loops_in_good_order_and_is_raised(books: Books) -> None:
    """What was being handled ends first; the error comes as it is, under trio without a group."""
    broker = Recorded()
    app = make_app(books, broker=broker)

    class Slow(cqrs.EventHandler[Placed]):
        async def handle(self, event: Placed) -> None:
            begun.open()
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
            books.lines.append(event.order_id)

    begun = Gate()
    app.events.bind(Placed, Slow)
    app.consume("orders", {"Placed": Placed})
    with pytest.raises(KeyError, match="the block"):
        async with app.running():
            await broker.send(cqrs.Envelope("orders", b'{"order_id": "o-1"}', None, {"ce_type": "Placed"}))
            await begun.wait()
            raise KeyError("the block")
    assert ["o-1"] == books.lines
    assert ["start", "stop"] == broker.calls


async def test_a_loop_that_breaks_ends_the_block_and_its_error_is_raised(books: Books) -> None:
    """A program whose consumer is dead does not look alive."""

    class Broken(Recorded):
        async def subscribe(self, *args: Any, **options: Any) -> Any:
            subscription = await super().subscribe(*args, **options)

            async def receive(limit: int) -> Any:  # noqa: ARG001 - the contract's
                raise ZeroDivisionError("a fault")

            subscription.receive = receive  # type: ignore[method-assign]  # it is to break
            return subscription

    broker = Broken()
    app = make_app(books, broker=broker)
    app.events.bind(Placed, NotePlaced)
    app.consume("orders", {"Placed": Placed})
    with pytest.raises(ZeroDivisionError, match="a fault"):
        async with app.running():
            await Gate().wait()
    assert ["start", "stop"] == broker.calls
    with pytest.raises(errors.AppNotStarted):
        app.send(Place("o-1"))


async def test_once_started_nothing_more_can_be_published_or_consumed(books: Books) -> None:
    """What is wired stays as it was checked."""
    app = make_app(books)
    async with app:
        with pytest.raises(errors.AppStarted):
            app.publishes("orders", {"Placed": Placed})
        with pytest.raises(errors.AppStarted):
            app.consume("orders", {"Placed": Placed})


# Bad input -----------------------------------------------------------------------------------------------------------


class Unwritable(cqrs.DomainEvent):
    thing: object = None
    when: complex = 0j


async def test_everything_that_is_wrong_is_told_at_once(books: Books) -> None:
    """Wrong names, wrong classes, wrong keys, wrong options, no handler, no broker: one error with all of them."""
    app = make_app(books, broker=object(), max_concurrent_messages=0, stop_deadline_s=-1)  # type: ignore[arg-type]  # wrong on purpose
    app.publishes("orders", {"Placed": Placed}, key="order")
    app.publishes("orders", {"": Placed, "Place": Place, "N": cqrs.NotificationEvent})  # type: ignore[dict-item]  # wrong on purpose
    app.publishes("", {})
    app.publishes("orders", {"Unwritable": Unwritable})
    app.consume("orders", {"Placed": Placed, "Place": Place})
    app.consume("orders", {"Placed": Placed})
    app.consume("payments", {"Placed": Placed}, order="keys", on_unknown="drop", retry=3, max_batch_size=0)  # type: ignore[arg-type]  # wrong on purpose
    app.consume("batches", {"Shipped": Shipped}, batch_handler=NoteBatch)
    app.consume("", {"Placed": Placed})
    with pytest.raises(cqrs.WiringError) as caught:
        await app.__aenter__()
    texts = [str(problem) for problem in caught.value.problems]
    expected = [
        "Placed has no field 'order' to take its key from. Did you mean 'order_id'?",
        "names is ''. It must be",
        "Place stands where a message should",
        "NotificationEvent is a notification, which says itself where it goes",
        "topic is ''. It must be the name of a topic",
        "names is {}. It must be a dict of event classes",
        "In Unwritable at ",
        "Placed is consumed from 'orders', but nothing handles it",
        "topic is 'orders'. It must be a topic that the group 'orders' does not consume yet",
        "order is 'keys'. It must be 'key', 'partition' or 'none'.",
        "on_unknown is 'drop'",
        "retry is 3. It must be a RetryPolicy",
        "max_batch_size is 0",
        "NoteBatch",
        "topic is ''. It must be a text that is not empty",
        "max_concurrent_messages is 0",
        "stop_deadline_s is -1",
        "broker is <class 'object'>. It must be a URL, a name, or a broker",
    ]
    missing = [part for part in expected if not any(part in text for text in texts)]
    assert [] == missing, "\n".join(texts)


async def test_an_app_does_not_consume_what_it_publishes_there_itself(books: Books) -> None:
    """Its handlers would run twice."""
    app = make_app(books)
    app.events.bind(Placed, NotePlaced)
    app.publishes("orders", {"Placed": Placed})
    app.consume("orders", {"Placed": Placed})
    with pytest.raises(cqrs.WiringError) as caught:
        await app.__aenter__()
    (problem,) = caught.value.problems
    assert isinstance(problem, errors.PublishedAndConsumed)
    assert (Placed, "orders") == (problem.event_type, problem.topic)


async def test_an_event_that_holds_nan_does_not_leave(books: Books, broker: cqrs.MemoryBroker) -> None:
    """JSON has no NaN; the caller is told, with the path."""

    class Measured(cqrs.DomainEvent):
        values: list[float]

    app = make_app(books, broker=broker)
    app.publishes("measures", {"Measured": Measured})
    async with app:
        with pytest.raises(cqrs.EventHandlersFailed) as caught:
            await app.publish(Measured([1.0, float("nan")]))
    assert "values[1]" in str(caught.value.errors[0])


def test_a_program_that_exchanges_nothing_pays_nothing() -> None:
    """What a first send does not need is not imported, for an App, too."""
    program = """
import asyncio, sys
import cqrs_core as cqrs

class Ask(cqrs.Request[int]):
    pass

class Answer(cqrs.RequestHandler[Ask, int]):
    async def handle(self, request):
        return 1

async def main():
    app = cqrs.App("small")
    app.requests.bind(Ask, Answer)
    async with app:
        await app.send(Ask())

asyncio.run(main())
parts = ("traffic", "memory", "consumer", "plugins", "outgoing", "incoming", "testing", "cli")
parts += ("resilience.calls", "resilience.streams", "resilience.deadline")
wanted = tuple(f"cqrs_core.{part}" for part in parts) + ("importlib.metadata", "pluggy", "random", "difflib")
import json
print(json.dumps([name for name in sys.modules if name.startswith(wanted)]))
"""
    found = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert [] == json.loads(found.stdout)


async def test_a_message_that_outlives_its_app_does_not_start_the_broker_again(books: Books) -> None:
    """What its handler emits has nowhere to go, and its caller is told."""
    broker = Recorded()
    app = make_app(books, broker=broker)
    app.publishes("orders", {"OrderPlaced": Placed})
    async with app:
        late = app.send(Place("o-1"))
    with pytest.raises(cqrs.EventHandlersFailed) as caught:
        await late
    assert [errors.AppNotStarted] == [type(error) for error in caught.value.errors]
    assert ["start", "stop"] == broker.calls


class Lost(cqrs.DomainEvent):
    """Made of whatever has become a dead letter under the name ``Placed``."""


class NoteLost(cqrs.EventHandler[Lost]):
    def __init__(self, books: Books) -> None:
        self._books = books

    async def handle(self, event: Lost) -> None:  # it is gone
        self._books.note("lost")


async def test_a_group_that_consumes_its_own_dead_letters_does_not_wait_for_itself(books: Books) -> None:
    """However many there are, and however few the broker keeps: what a consumer sends is not held back."""
    broker = cqrs.MemoryBroker(max_waiting=5)
    app = make_app(books, broker=broker, max_concurrent_messages=1)
    app.events.bind(Placed, NotePlaced)
    app.events.bind(Lost, NoteLost)
    app.consume("orders", {"Placed": Placed}, dead_letter_topic="lost")
    app.consume("lost", {"Placed": Lost})
    async with app.running():
        with anyio.fail_after(30):
            for _ in range(50):
                await broker.send(cqrs.Envelope("orders", b"{}", None, {"ce_type": "Placed"}))
        await books.until(50)


async def test_a_batch_may_publish_to_a_topic_of_its_own_group(books: Books) -> None:
    """As above; and its handler may know the messages that it was made of, one for each event."""
    broker = cqrs.MemoryBroker(max_waiting=5)
    seen: list[tuple[cqrs.CurrentMessage, ...]] = []

    class Copy(cqrs.EventBatchHandler[Placed]):
        async def handle(self, events: Sequence[Placed]) -> None:
            seen.append(cqrs.current_messages())
            assert [event.order_id for event in events] == [message.key for message in cqrs.current_messages()]
            assert (cqrs.current_message() is None) == (len(events) > 1)
            self.events.extend(
                cqrs.NotificationEvent(event_name="Copied", topic="copies", payload=event) for event in events * 5
            )

    class NoteCopy(cqrs.EventHandler[cqrs.NotificationEvent[Placed]]):
        async def handle(self, event: cqrs.NotificationEvent[Placed]) -> None:
            books.note(event.payload.order_id)

    app = make_app(books, broker=broker, max_concurrent_messages=1)
    app.events.bind(cqrs.NotificationEvent[Placed], NoteCopy)
    app.consume("orders", {"Placed": Placed}, batch_handler=Copy, order="partition")
    app.consume("copies", {"Copied": cqrs.NotificationEvent[Placed]})
    async with app.running():
        with anyio.fail_after(30):
            for number in range(50):
                body = json.dumps({"order_id": str(number)}).encode()
                await broker.send(cqrs.Envelope("orders", body, str(number), {"ce_type": "Placed"}))
        await books.until(250)
    assert 50 == sum(map(len, seen))


async def test_what_a_failed_attempt_would_have_published_is_published_once(
    books: Books, broker: cqrs.MemoryBroker
) -> None:
    """Whatever one handler of a message has emitted, as long as another one fails nothing leaves."""
    clock = VirtualClock()
    app = make_app(books, broker=broker, clock=clock)
    app.events.bind(Placed, ShipPlaced)
    app.events.bind(Placed, NotePlaced)
    app.publishes("parcels", {"Shipped": Shipped})
    app.consume("orders", {"Placed": Placed})
    async with app.running():
        subscription = await listen(broker, "parcels", "end")
        books.lines.append("ship first")
        books.failures = []
        fails = iter([False, True, False, True, False, False])
        note = books.note

        def note_or_fail(line: str) -> None:
            note(line)
            if next(fails):
                raise ValueError(line)

        books.note = note_or_fail  # type: ignore[method-assign]  # for this test
        await broker.send(cqrs.Envelope("orders", b'{"order_id": "o-1"}', None, {"ce_type": "Placed"}))
        for delay in (1, 2):
            await clock.until_asleep()
            await clock.advance(delay)
        (parcel,) = await take(subscription)
        await broker.send(cqrs.Envelope("end", b""))
        (end,) = await take(subscription)
    assert ("Shipped", "end") == (parcel.headers["ce_type"], end.topic)


async def test_a_message_that_is_handled_again_publishes_the_same_under_the_same_ids(
    books: Books, broker: cqrs.MemoryBroker
) -> None:
    """So those who consume it know the repetition; two equal events of one message are two all the same."""

    class ShipTwice(cqrs.EventHandler[Placed]):
        async def handle(self, event: Placed) -> None:
            self.events.extend([Shipped(event.order_id), Shipped(event.order_id), Shipped(f"{len(ids)}")])

    ids: list[str] = []
    app = make_app(books, broker=broker)
    app.events.bind(Placed, ShipTwice)
    app.publishes("parcels", {"Shipped": Shipped}, key=lambda _: "one")
    app.consume("orders", {"Placed": Placed})
    headers = {"ce_type": "Placed", "ce_id": "5d4a4a0e-9d2f-4a5e-8f0c-0d5d3a0f7a11"}
    async with app.running():
        subscription = await listen(broker, "parcels")
        for _ in range(2):
            await broker.send(cqrs.Envelope("orders", b'{"order_id": "o-1"}', None, headers))
            ids += [envelope.headers["ce_id"] for envelope in await take(subscription, 3)]
    first, again = ids[:3], ids[3:]
    assert first[:2] == again[:2]
    assert first[2] != again[2]  # another content
    assert 3 == len(set(first))


class Slow(Recorded):
    """A broker that has to await something to start and to stop."""

    async def start(self) -> None:
        await anyio.lowlevel.checkpoint()
        await super().start()

    async def stop(self) -> None:
        await anyio.lowlevel.checkpoint()
        await super().stop()


async def test_stopping_is_not_interrupted_by_what_cancels_the_block(books: Books) -> None:
    """Else a broker would not flush what it has, on trio."""
    broker = Slow()
    app = make_app(books, broker=broker)
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            async with app.running():
                started.set()
                await anyio.sleep_forever()

        started = anyio.Event()
        tasks.start_soon(run)
        await started.wait()
        tasks.cancel_scope.cancel()
    assert ["start", "stop"] == broker.calls


async def test_a_start_that_is_cancelled_stops_what_it_had_begun(books: Books) -> None:
    """And the App can be started again."""

    class Hanging(Slow):
        async def start(self) -> None:
            await super().start()
            if hangs:
                await anyio.sleep_forever()

    hangs = True
    broker = Hanging()
    app = make_app(books, broker=broker)
    with anyio.move_on_after(0):
        await app.__aenter__()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(app.__aenter__)
        while "start" not in broker.calls:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert "stop" == broker.calls[-1]
    hangs = False
    async with app:
        assert "o-1" == await app.send(Place("o-1"))


async def test_of_two_that_start_an_app_at_once_one_is_refused(books: Books) -> None:
    """While the first awaits its broker, the App is not to be had."""
    broker = Slow()
    app = make_app(books, broker=broker)
    refused: list[type] = []

    async def start() -> None:
        try:
            await app.__aenter__()
        except errors.AppStarted as error:
            refused.append(type(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(start)
        tasks.start_soon(start)
    assert [errors.AppStarted] == refused
    assert ["start"] == broker.calls
    await app.__aexit__(None, None, None)
