"""What becomes of a message: handler, events, scope, errors, cancellation."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Generic, TypeVar

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core.bootstrap import bootstrap, bootstrap_events, bootstrap_streaming
from cqrs_core.errors import EventHandlersFailed, HandlerNotFound

T = TypeVar("T")


class Placed(cqrs.DomainEvent):
    order_id: str


class Shipped(cqrs.DomainEvent):
    order_id: str


class OrderId(cqrs.Response):
    value: str


class PlaceOrder(cqrs.Request[OrderId]):
    order_id: str


class PlaceGift(PlaceOrder):
    wrapping: str = "paper"


class CountTo(cqrs.Request[int]):
    number: int


class Unbound(cqrs.Request[None]):
    pass


class Journal:
    """Remembers what happened, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


class PlaceOrderHandler(cqrs.RequestHandler[PlaceOrder, OrderId]):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, request: PlaceOrder) -> OrderId:
        self._journal.write(f"place {request.order_id}")
        self.events.append(Placed(request.order_id))
        return OrderId(request.order_id)


class ShipHandler(cqrs.EventHandler[Placed]):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, event: Placed) -> None:
        self._journal.write(f"ship {event.order_id}")
        self.events.append(Shipped(event.order_id))


class InvoiceHandler(cqrs.EventHandler[Shipped]):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, event: Shipped) -> None:
        self._journal.write(f"invoice {event.order_id}")


class FailingHandler(cqrs.EventHandler[Placed]):
    async def handle(self, event: Placed) -> None:
        raise ConnectionError(event.order_id)


class CountToHandler(cqrs.StreamingRequestHandler[CountTo, int]):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, request: CountTo) -> AsyncIterator[int]:
        try:
            for number in range(1, request.number + 1):
                self.events.append(Placed(str(number)))
                yield number
            self.events.append(Placed("after the last"))
        finally:
            self._journal.write("closed")


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def container(journal: Journal) -> cqrs.SimpleContainer:
    container = cqrs.SimpleContainer()
    container.instance(Journal, journal)
    return container


def orders(requests: cqrs.RequestMap) -> None:
    requests.bind(PlaceOrder, PlaceOrderHandler)


def shipping(events: cqrs.EventMap) -> None:
    events.bind(Placed, ShipHandler)
    events.bind(Shipped, InvoiceHandler)


# send ---------------------------------------------------------------------------------------------------------------


async def test_send_answers_with_what_the_handler_returns(container: cqrs.SimpleContainer) -> None:
    """The handler's answer reaches the sender."""
    mediator = bootstrap(container, commands_mapper=orders)

    assert OrderId("o-1") == await mediator.send(PlaceOrder("o-1"))


async def test_events_are_handled_before_send_returns_and_so_are_those_they_lead_to(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """Handler, then its events, then the events of their handlers."""
    mediator = bootstrap(container, commands_mapper=orders, domain_events_mapper=shipping)

    await mediator.send(PlaceOrder("o-1"))

    assert ["place o-1", "ship o-1", "invoice o-1"] == journal.lines


async def test_an_event_without_handlers_is_nobodys_error(container: cqrs.SimpleContainer, journal: Journal) -> None:
    """Events may be handled by nobody."""
    mediator = bootstrap(container, commands_mapper=orders)

    await mediator.send(PlaceOrder("o-1"))

    assert ["place o-1"] == journal.lines


async def test_an_unbound_request_is_refused_with_the_cure(container: cqrs.SimpleContainer) -> None:
    """The call itself raises, names the type and says how to bind it."""
    mediator = bootstrap(container, commands_mapper=orders)

    with pytest.raises(HandlerNotFound, match=r"RequestMap\.bind\(Unbound, YourHandler\)") as caught:
        mediator.send(Unbound())

    assert Unbound is caught.value.request_type
    assert isinstance(caught.value, LookupError)


async def test_a_subclass_of_a_bound_request_is_told_that_it_must_be_bound(container: cqrs.SimpleContainer) -> None:
    """Requests are served by exactly their class; the error names the base that is bound."""
    mediator = bootstrap(container, commands_mapper=orders)

    with pytest.raises(HandlerNotFound, match="Its base PlaceOrder is bound, .* bind PlaceGift"):
        mediator.send(PlaceGift("o-1"))


async def test_an_event_that_is_sent_is_told_to_be_published(container: cqrs.SimpleContainer) -> None:
    """The error says what the sender should have called."""
    mediator = bootstrap(container, commands_mapper=orders)

    with pytest.raises(HandlerNotFound, match="events are published"):
        mediator.send(Placed("o-1"))  # type: ignore[arg-type]  # that is the mistake


async def test_a_request_that_is_answered_by_a_stream_is_told_to_be_streamed(container: cqrs.SimpleContainer) -> None:
    """The error says what the sender should have called."""
    mediator = bootstrap(container, commands_mapper=lambda requests: requests.bind(CountTo, CountToHandler))

    with pytest.raises(HandlerNotFound, match=r"use stream\(\)"):
        mediator.send(CountTo(1))


class RefusingHandler(cqrs.RequestHandler[PlaceOrder, OrderId]):
    async def handle(self, request: PlaceOrder) -> OrderId:
        self.events.append(Placed(request.order_id))
        raise PermissionError(request.order_id)


async def test_events_of_a_handler_that_raised_are_dropped(container: cqrs.SimpleContainer, journal: Journal) -> None:
    """DESIGN 4.1: events of an attempt that raised are dropped; the handler's own error reaches the sender."""
    mediator = bootstrap(
        container,
        commands_mapper=lambda requests: requests.bind(PlaceOrder, RefusingHandler),
        domain_events_mapper=shipping,
    )

    with pytest.raises(PermissionError, match="o-1"):
        await mediator.send(PlaceOrder("o-1"))

    assert [] == journal.lines


class FickleHandler(cqrs.RequestHandler[PlaceOrder, OrderId]):
    """Raises for the first order, handles others."""

    async def handle(self, request: PlaceOrder) -> OrderId:
        self.events.append(Placed(request.order_id))
        if request.order_id == "first":
            raise PermissionError
        return OrderId(request.order_id)


async def test_a_shared_handler_never_repeats_events(container: cqrs.SimpleContainer, journal: Journal) -> None:
    """An object that serves again has forgotten its events, those of a failed attempt too."""
    container.singleton(FickleHandler)
    mediator = bootstrap(
        container,
        commands_mapper=lambda requests: requests.bind(PlaceOrder, FickleHandler),
        domain_events_mapper=lambda events: events.bind(Placed, ShipHandler),
    )

    with pytest.raises(PermissionError):
        await mediator.send(PlaceOrder("first"))
    await mediator.send(PlaceOrder("second"))
    await mediator.send(PlaceOrder("third"))

    assert ["ship second", "ship third"] == journal.lines


class OldStyleHandler(cqrs.RequestHandler[PlaceOrder, OrderId]):
    """As users of python-cqrs write it: a list of its own, and no call of the base's constructor."""

    def __init__(self) -> None:
        self._events: list[cqrs.Event] = []

    @property
    def events(self) -> list[cqrs.Event]:
        return self._events

    async def handle(self, request: PlaceOrder) -> OrderId:
        self._events.append(Placed(request.order_id))
        return OrderId(request.order_id)


async def test_an_overridden_events_property_is_honoured_and_not_repeated(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """Three sends through one shared object are three events, not one and two and three."""
    container.singleton(OldStyleHandler)
    mediator = bootstrap(
        container,
        commands_mapper=lambda requests: requests.bind(PlaceOrder, OldStyleHandler),
        domain_events_mapper=lambda events: events.bind(Placed, ShipHandler),
    )

    for order_id in ("a", "b", "c"):
        await mediator.send(PlaceOrder(order_id))

    assert ["ship a", "ship b", "ship c"] == journal.lines


# errors of event handlers -------------------------------------------------------------------------------------------


def one_of_three_fails(events: cqrs.EventMap) -> None:
    events.bind(Placed, FailingHandler)
    events.bind(Placed, ShipHandler)
    events.bind(Shipped, InvoiceHandler)


async def test_all_event_handlers_run_and_then_one_error_tells_of_those_that_failed(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """DESIGN 4: all handlers run, then one error that carries all, and the command's response."""
    mediator = bootstrap(container, commands_mapper=orders, domain_events_mapper=one_of_three_fails)

    with pytest.raises(EventHandlersFailed, match="1 event handler failed") as caught:
        await mediator.send(PlaceOrder("o-1"))

    assert ["place o-1", "ship o-1", "invoice o-1"] == journal.lines
    assert [ConnectionError] == [type(error) for error in caught.value.errors]
    assert OrderId("o-1") == caught.value.response


async def test_errors_of_event_handlers_are_logged_where_that_is_the_policy(
    container: cqrs.SimpleContainer, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    """With event_errors="log", send answers as if nothing had happened, and the error is in the log."""
    mediator = bootstrap(container, commands_mapper=orders, domain_events_mapper=one_of_three_fails, event_errors="log")

    assert OrderId("o-1") == await mediator.send(PlaceOrder("o-1"))

    assert ["place o-1", "ship o-1", "invoice o-1"] == journal.lines
    assert ["ERROR"] == [record.levelname for record in caplog.records]
    assert caplog.records[0].exc_info is not None
    assert isinstance(caplog.records[0].exc_info[1], ConnectionError)


# nested ------------------------------------------------------------------------------------------------------------


class Follow(cqrs.Request[None]):
    depth: int


class Followed(cqrs.DomainEvent):
    depth: int


class FollowHandler(cqrs.RequestHandler[Follow, None]):
    async def handle(self, request: Follow) -> None:
        self.events.append(Followed(request.depth))


class SendAgain(cqrs.EventHandler[Followed]):
    def __init__(self, mediator: cqrs.RequestMediator, journal: Journal) -> None:
        self._mediator = mediator
        self._journal = journal

    async def handle(self, event: Followed) -> None:
        self._journal.write(f"depth {event.depth}")
        if event.depth:
            await self._mediator.send(Follow(event.depth - 1))


class AlsoSendAgain(SendAgain):
    pass


@pytest.mark.parametrize("is_parallel", [False, True])
async def test_a_nested_send_never_deadlocks(
    container: cqrs.SimpleContainer, journal: Journal, *, is_parallel: bool
) -> None:
    """However few handlers may run at a time, one that sends a command does not wait for itself."""

    def follow(events: cqrs.EventMap) -> None:
        events.bind(Followed, SendAgain)
        events.bind(Followed, AlsoSendAgain)

    mediator = bootstrap(
        container,
        commands_mapper=lambda requests: requests.bind(Follow, FollowHandler),
        domain_events_mapper=follow,
        max_concurrent_event_handlers=2,
        concurrent_event_handle_enable=is_parallel,
    )

    with anyio.fail_after(10):
        await mediator.send(Follow(3))

    assert {"depth 3": 2, "depth 2": 4, "depth 1": 8, "depth 0": 16} == {  # each of two handlers sends: 2, 2·2, ...
        line: journal.lines.count(line) for line in journal.lines
    }


# cancellation --------------------------------------------------------------------------------------------------------


class Stuck(cqrs.EventHandler[Placed]):
    """Waits for ever, and says when it began and how it ended."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, event: Placed) -> None:
        self._journal.write("begun")
        try:
            await anyio.sleep_forever()
        except BaseException:
            self._journal.write("ended")
            raise


class AlsoStuck(Stuck):
    pass


@pytest.mark.parametrize("is_parallel", [False, True])
async def test_a_cancelled_send_leaves_no_handler_running(
    container: cqrs.SimpleContainer, journal: Journal, *, is_parallel: bool
) -> None:
    """When send has been cancelled, everything it began has ended."""

    def stuck(events: cqrs.EventMap) -> None:
        events.bind(Placed, Stuck)
        events.bind(Placed, AlsoStuck)

    mediator = bootstrap(
        container,
        commands_mapper=orders,
        domain_events_mapper=stuck,
        max_concurrent_event_handlers=2,
        concurrent_event_handle_enable=is_parallel,
    )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mediator.send, PlaceOrder("o-1"))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    begun = 2 if is_parallel else 1
    assert ["place o-1", *["begun"] * begun, *["ended"] * begun] == journal.lines


def test_a_send_that_timed_out_leaves_no_task(container: cqrs.SimpleContainer, journal: Journal) -> None:
    """asyncio.wait_for cancels the send, and with it the tasks of its event handlers."""

    def stuck(events: cqrs.EventMap) -> None:
        events.bind(Placed, Stuck)
        events.bind(Placed, AlsoStuck)

    mediator = bootstrap(
        container,
        commands_mapper=orders,
        domain_events_mapper=stuck,
        max_concurrent_event_handlers=2,
        concurrent_event_handle_enable=True,
    )

    async def main() -> int:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(mediator.send(PlaceOrder("o-1")), timeout=0)
        sending = asyncio.ensure_future(mediator.send(PlaceOrder("o-2")))
        await anyio.wait_all_tasks_blocked()
        sending.cancel()
        await asyncio.wait({sending})
        return len(asyncio.all_tasks()) - 1  # this one

    assert 0 == asyncio.run(main())
    assert 2 == journal.lines.count("ended")


def test_one_mediator_serves_two_event_loops_one_after_the_other(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """Nothing that belongs to a loop is kept."""

    def ship_twice(events: cqrs.EventMap) -> None:
        events.bind(Placed, ShipHandler)
        events.bind(Placed, FirstAudit)

    mediator = bootstrap(
        container,
        commands_mapper=orders,
        domain_events_mapper=ship_twice,
        max_concurrent_event_handlers=2,
        concurrent_event_handle_enable=True,
    )

    async def main(order_id: str) -> OrderId:
        return await mediator.send(PlaceOrder(order_id))

    assert [OrderId("a"), OrderId("b")] == [asyncio.run(main("a")), asyncio.run(main("b"))]
    assert {"audit a", "ship a", "audit b", "ship b"} <= set(journal.lines)


class FirstAudit(cqrs.EventHandler[Placed]):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, event: Placed) -> None:
        self._journal.write(f"audit {event.order_id}")


# scopes --------------------------------------------------------------------------------------------------------------


class Session:
    pass


class ScopedHandler(cqrs.RequestHandler[PlaceOrder, OrderId]):
    def __init__(self, session: Session, journal: Journal) -> None:
        self._session = session
        self._journal = journal

    async def handle(self, request: PlaceOrder) -> OrderId:
        self._journal.write(f"handle in {id(self._session)}")
        self.events.append(Placed(request.order_id))
        return OrderId(request.order_id)


class ScopedEventHandler(cqrs.EventHandler[Placed]):
    def __init__(self, session: Session, journal: Journal) -> None:
        self._session = session
        self._journal = journal

    async def handle(self, event: Placed) -> None:
        self._journal.write(f"event in {id(self._session)}")


class OtherScopedEventHandler(ScopedEventHandler):
    pass


@pytest.fixture
def sessions(container: cqrs.SimpleContainer, journal: Journal) -> list[Session]:
    """The sessions that were opened; the journal says when they were closed."""
    opened: list[Session] = []

    async def session() -> AsyncIterator[Session]:
        opened.append(Session())
        yield opened[-1]
        journal.write("session closed")

    container.scoped(Session, session)
    return opened


async def test_a_handler_and_the_handlers_of_its_events_share_one_scope(
    container: cqrs.SimpleContainer, journal: Journal, sessions: list[Session]
) -> None:
    """DESIGN 4.1: one scope per attempt, around the handler and the domain event handlers; closed at the end."""
    mediator = bootstrap(
        container,
        commands_mapper=lambda requests: requests.bind(PlaceOrder, ScopedHandler),
        domain_events_mapper=lambda events: events.bind(Placed, ScopedEventHandler),
    )

    await mediator.send(PlaceOrder("o-1"))

    (session,) = sessions
    assert [f"handle in {id(session)}", f"event in {id(session)}", "session closed"] == journal.lines


async def test_each_send_has_a_scope_of_its_own(container: cqrs.SimpleContainer, sessions: list[Session]) -> None:
    """Two messages share nothing that is scoped."""
    mediator = bootstrap(container, commands_mapper=lambda requests: requests.bind(PlaceOrder, ScopedHandler))

    await mediator.send(PlaceOrder("o-1"))
    await mediator.send(PlaceOrder("o-2"))

    assert 2 == len(sessions)


async def test_event_handlers_that_run_side_by_side_have_a_scope_each(
    container: cqrs.SimpleContainer, sessions: list[Session]
) -> None:
    """DESIGN 4.1: outside a unit of work, parallel handlers have a scope each."""

    def in_parallel(events: cqrs.EventMap) -> None:
        events.bind(Placed, ScopedEventHandler)
        events.bind(Placed, OtherScopedEventHandler)

    mediator = bootstrap(
        container,
        commands_mapper=orders,
        domain_events_mapper=in_parallel,
        max_concurrent_event_handlers=2,
        concurrent_event_handle_enable=True,
    )

    await mediator.send(PlaceOrder("o-1"))

    assert 2 == len(sessions)


async def test_event_handlers_open_a_scope_where_the_request_needed_none(
    container: cqrs.SimpleContainer, journal: Journal, sessions: list[Session]
) -> None:
    """They share one, which is closed when all events are handled."""

    def scoped(events: cqrs.EventMap) -> None:
        events.bind(Placed, ScopedEventHandler)
        events.bind(Placed, OtherScopedEventHandler)

    mediator = bootstrap(container, commands_mapper=orders, domain_events_mapper=scoped)

    await mediator.send(PlaceOrder("o-1"))

    (session,) = sessions
    assert ["place o-1", *[f"event in {id(session)}"] * 2, "session closed"] == journal.lines


async def test_a_scope_is_closed_with_the_error_that_ended_the_attempt(container: cqrs.SimpleContainer) -> None:
    """What a scope holds can roll back: it sees the handler's error, which then reaches the sender unchanged."""
    seen: list[BaseException] = []

    async def session() -> AsyncIterator[Session]:
        try:
            yield Session()
        except PermissionError as error:
            seen.append(error)
            raise

    class Refusing(ScopedHandler):
        async def handle(self, request: PlaceOrder) -> OrderId:
            raise PermissionError(request.order_id)

    container.scoped(Session, session)
    mediator = bootstrap(container, commands_mapper=lambda requests: requests.bind(PlaceOrder, Refusing))

    with pytest.raises(PermissionError) as caught:
        await mediator.send(PlaceOrder("o-1"))

    assert [caught.value] == seen


# streams -------------------------------------------------------------------------------------------------------------


def counting(requests: cqrs.RequestMap) -> None:
    requests.bind(CountTo, CountToHandler)


def shipping_only(events: cqrs.EventMap) -> None:
    events.bind(Placed, ShipHandler)


async def test_events_are_handled_before_each_item_and_after_the_last(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """DESIGN 4.1: an item is handed out with its events done; those appended after the last one are not lost."""
    mediator = bootstrap_streaming(container, commands_mapper=counting, domain_events_mapper=shipping_only)

    async for number in mediator.stream(CountTo(2)):
        journal.write(f"got {number}")

    assert ["ship 1", "got 1", "ship 2", "got 2", "closed", "ship after the last"] == journal.lines


async def test_a_stream_that_is_left_early_closes_its_handler(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """Leaving runs the handler's finally at once, and nothing of the items after."""
    mediator = bootstrap_streaming(container, commands_mapper=counting, domain_events_mapper=shipping_only)

    async with aclosing(mediator.stream(CountTo(5))) as numbers:
        async for _ in numbers:
            break

    assert ["ship 1", "closed"] == journal.lines


async def test_a_stream_has_one_scope_for_all_of_its_items(
    container: cqrs.SimpleContainer, journal: Journal, sessions: list[Session]
) -> None:
    """DESIGN 4.1: one scope per stream, closed when the stream ends or is left."""

    class Counting(CountToHandler):
        def __init__(self, journal: Journal, session: Session) -> None:
            super().__init__(journal)
            self.session = session

    mediator = bootstrap_streaming(container, commands_mapper=lambda requests: requests.bind(CountTo, Counting))

    assert [1, 2, 3] == [number async for number in mediator.stream(CountTo(3))]

    assert 1 == len(sessions)
    assert ["closed", "session closed"] == journal.lines


class OldStyleCounting(cqrs.StreamingRequestHandler[CountTo, int]):
    """As users of python-cqrs write it: ``events`` is a copy, ``clear_events`` clears the original."""

    def __init__(self) -> None:
        self._events: list[cqrs.Event] = []

    @property
    def events(self) -> list[cqrs.Event]:
        return self._events.copy()

    def clear_events(self) -> None:
        self._events.clear()

    async def handle(self, request: CountTo) -> AsyncIterator[int]:
        for number in range(request.number):
            self._events.append(Placed(str(number)))
            yield number


async def test_an_overridden_clear_events_is_honoured(container: cqrs.SimpleContainer, journal: Journal) -> None:
    """Each event is handled once, although ``events`` shows a copy."""
    mediator = bootstrap_streaming(
        container,
        commands_mapper=lambda requests: requests.bind(CountTo, OldStyleCounting),
        domain_events_mapper=shipping_only,
    )

    assert [0, 1, 2] == [number async for number in mediator.stream(CountTo(3))]

    assert ["ship 0", "ship 1", "ship 2"] == journal.lines


async def test_a_failing_event_handler_ends_the_stream_and_its_item_is_in_the_error(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """The item whose events failed is not handed out; the error carries it, and the handler is closed."""
    mediator = bootstrap_streaming(
        container,
        commands_mapper=counting,
        domain_events_mapper=lambda events: events.bind(Placed, FailingHandler),
    )

    stream = mediator.stream(CountTo(2))
    with pytest.raises(EventHandlersFailed) as caught:
        await stream.__anext__()

    assert [] == [number async for number in stream]
    assert 1 == caught.value.response
    assert ["closed"] == journal.lines


async def test_a_stream_of_a_request_that_is_answered_once_is_told_to_be_sent(
    container: cqrs.SimpleContainer,
) -> None:
    """The error says what should have been called, and is raised by the call."""
    mediator = bootstrap_streaming(container, commands_mapper=orders)

    with pytest.raises(HandlerNotFound, match=r"use send\(\)"):
        mediator.stream(PlaceOrder("o-1"))


# events from outside -----------------------------------------------------------------------------------------------


class Joined(cqrs.Response):
    user_id: str


class UserJoined(cqrs.NotificationEvent[Joined]):
    event_name: str = "UserJoined"


class Welcome(cqrs.EventHandler[cqrs.NotificationEvent[Joined]]):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, event: cqrs.NotificationEvent[Joined]) -> None:
        self._journal.write(f"welcome {event.payload.user_id}")


def welcoming(events: cqrs.EventMap) -> None:
    events.bind(cqrs.NotificationEvent[Joined], Welcome)


@pytest.mark.parametrize(
    "event",
    [
        cqrs.NotificationEvent[Joined](event_name="UserJoined", payload=Joined("u-1")),
        cqrs.NotificationEvent(event_name="UserJoined", payload=Joined("u-1")),
        UserJoined(payload=Joined("u-1")),
    ],
    ids=["parameterised", "plain", "subclass"],
)
async def test_a_notification_reaches_the_handlers_of_its_payload_however_it_was_made(
    container: cqrs.SimpleContainer, journal: Journal, event: cqrs.NotificationEvent[Joined]
) -> None:
    """DESIGN 3: handlers are kept by the payload's type."""
    mediator = bootstrap_events(container, events_mapper=welcoming)

    await mediator.send(event)

    assert ["welcome u-1"] == journal.lines


async def test_a_notification_with_another_payload_does_not_reach_them(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """The payload's type decides."""
    mediator = bootstrap_events(container, events_mapper=welcoming)

    await mediator.send(cqrs.NotificationEvent(event_name="UserJoined", payload=OrderId("o-1")))

    assert [] == journal.lines


async def test_an_event_from_outside_leads_to_others(container: cqrs.SimpleContainer, journal: Journal) -> None:
    """Events that its handlers emit are handled as those of a command are."""
    mediator = bootstrap_events(container, events_mapper=shipping)

    await mediator.send(Placed("o-1"))

    assert ["ship o-1", "invoice o-1"] == journal.lines


async def test_errors_of_an_event_from_outside_are_raised_when_all_handlers_ran(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """The same policy as for the events of a command; there is no response."""
    mediator = bootstrap_events(container, events_mapper=one_of_three_fails)

    with pytest.raises(EventHandlersFailed) as caught:
        await mediator.send(Placed("o-1"))

    assert ["ship o-1", "invoice o-1"] == journal.lines
    assert None is caught.value.response


# foreign containers --------------------------------------------------------------------------------------------------


class ForeignContainer:
    """The least that a container can be."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def resolve(self, wanted: type[Any]) -> Any:
        return self._journal if wanted is Journal else wanted(self._journal)


async def test_any_object_with_resolve_is_a_container(journal: Journal) -> None:
    """Handlers, of events too, come from it, one object per message."""
    mediator = bootstrap(ForeignContainer(journal), commands_mapper=orders, domain_events_mapper=shipping)

    await mediator.send(PlaceOrder("o-1"))

    assert ["place o-1", "ship o-1", "invoice o-1"] == journal.lines


async def test_handlers_of_a_foreign_container_may_ask_for_the_mediator(journal: Journal) -> None:
    """They are built from what the container knows, and what it cannot know."""
    mediator = bootstrap(
        ForeignContainer(journal),
        commands_mapper=lambda requests: requests.bind(Follow, FollowHandlerWithJournal),
        domain_events_mapper=lambda events: events.bind(Followed, SendAgain),
    )

    await mediator.send(Follow(1))

    assert ["depth 1", "depth 0"] == journal.lines


class FollowHandlerWithJournal(FollowHandler):
    def __init__(self, journal: Journal) -> None:
        self.journal = journal


class Interrupted(cqrs.EventHandler[Placed]):
    """Gathers an event, and then waits for ever, but for the order that is not stuck."""

    async def handle(self, event: Placed) -> None:
        self.events.append(Shipped(event.order_id))
        if event.order_id == "stuck":
            await anyio.sleep_forever()


async def test_events_of_a_shared_handler_that_was_cancelled_are_not_handled_with_the_next_message(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """What a cancelled handler had gathered did not happen."""

    def shipping(events: cqrs.EventMap) -> None:
        events.bind(Placed, Interrupted)
        events.bind(Shipped, InvoiceHandler)

    container.singleton(Interrupted)
    mediator = bootstrap(container, commands_mapper=orders, domain_events_mapper=shipping)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mediator.send, PlaceOrder("stuck"))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    await mediator.send(PlaceOrder("next"))

    assert ["place stuck", "place next", "invoice next"] == journal.lines


class ForeignScope:
    """A scope that makes handlers, and writes down how it ends."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def resolve(self, wanted: type[Any]) -> Any:
        return self._journal if wanted is Journal else wanted(self._journal)

    async def aclose(self, error: BaseException | None = None) -> None:
        self._journal.write(f"closed with {type(error).__name__}" if error else "closed")


class ForeignScopingContainer(ForeignContainer):
    def scope(self, values: Any = None) -> ForeignScope:
        return ForeignScope(self._journal)


async def test_a_foreign_container_with_scopes_has_one_opened_and_closed_for_each_attempt(journal: Journal) -> None:
    """Handlers of the events are made in it too; those that ask for the mediator are built from it."""
    mediator = bootstrap(
        ForeignScopingContainer(journal),
        commands_mapper=lambda requests: requests.bind(Follow, FollowHandlerWithJournal),
        domain_events_mapper=lambda events: events.bind(Followed, SendAgain),
    )

    await mediator.send(Follow(1))

    assert ["depth 1", "depth 0", "closed", "closed"] == journal.lines  # the nested send has a scope of its own


class FollowByMediator(cqrs.RequestHandler[Follow, None]):
    def __init__(self, mediator: cqrs.RequestMediator, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, request: Follow) -> None:
        self.events.append(Followed(request.depth))
        if request.depth:
            raise PermissionError
        self._journal.write("handled")


async def test_a_handler_that_is_built_in_a_foreign_scope_closes_it_with_its_error(journal: Journal) -> None:
    """Whether the container makes the handler or not, its scope learns how the attempt ended."""
    mediator = bootstrap(
        ForeignScopingContainer(journal),
        commands_mapper=lambda requests: requests.bind(Follow, FollowByMediator),
    )

    await mediator.send(Follow(0))
    with pytest.raises(PermissionError):
        await mediator.send(Follow(1))

    assert ["handled", "closed", "closed with PermissionError"] == journal.lines


async def test_a_scope_that_cannot_make_the_handler_is_closed(journal: Journal) -> None:
    """The error is the scope's own."""

    class Broken(ForeignScope):
        async def resolve(self, wanted: type[Any]) -> Any:
            raise LookupError(wanted.__name__)

    class BrokenContainer(ForeignContainer):
        def scope(self, values: Any = None) -> ForeignScope:
            return Broken(self._journal)

    mediator = bootstrap(BrokenContainer(journal), commands_mapper=orders)

    with pytest.raises(LookupError, match="PlaceOrderHandler"):
        await mediator.send(PlaceOrder("o-1"))

    assert ["closed with LookupError"] == journal.lines


class Sharing:
    """A foreign container that has one object of each type."""

    def __init__(self) -> None:
        self._made: dict[type[Any], Any] = {}

    async def resolve(self, wanted: type[Any]) -> Any:
        return self._made.setdefault(wanted, wanted())


class LogPlaced(cqrs.EventHandler[Placed]):
    seen: list[str] = []

    async def handle(self, event: Placed) -> None:
        self.seen.append(event.order_id)


async def test_events_of_a_shared_foreign_handler_that_raised_are_dropped() -> None:
    """As those of the built-in container."""
    LogPlaced.seen.clear()
    mediator = bootstrap(
        Sharing(),
        commands_mapper=lambda requests: requests.bind(PlaceOrder, FickleHandler),
        domain_events_mapper=lambda events: events.bind(Placed, LogPlaced),
    )

    with pytest.raises(PermissionError):
        await mediator.send(PlaceOrder("first"))
    await mediator.send(PlaceOrder("second"))

    assert ["second"] == LogPlaced.seen


class ScopedWelcome(Welcome):
    def __init__(self, journal: Journal, session: Session) -> None:
        super().__init__(journal)
        self.session = session


async def test_a_notification_that_arrives_has_a_scope_for_its_handlers(
    container: cqrs.SimpleContainer, journal: Journal, sessions: list[Session]
) -> None:
    """One for all of them, closed when they are done; the second time as the first."""
    mediator = bootstrap_events(
        container, events_mapper=lambda events: events.bind(cqrs.NotificationEvent[Joined], ScopedWelcome)
    )

    for _ in range(2):
        await mediator.send(UserJoined(payload=Joined("u-1")))

    assert ["welcome u-1", "session closed"] * 2 == journal.lines
    assert 2 == len(sessions)


def test_a_start_up_that_has_to_wait_says_what_it_needs() -> None:
    """Outside asyncio and trio nobody could wait for it."""

    async def start() -> None:
        return None

    mediator = bootstrap(commands_mapper=lambda requests: requests.bind(Follow, FollowHandler), on_startup=[start])

    with pytest.raises(cqrs.errors.NoEventLoop):
        mediator.send(Follow(0)).send(None)


# what a review found -------------------------------------------------------------------------------------------------


class Committed(cqrs.RequestHandler[PlaceOrder, OrderId]):
    def __init__(self, session: Session) -> None: ...

    async def handle(self, request: PlaceOrder) -> OrderId:
        self.events.append(Placed(request.order_id))
        return OrderId(request.order_id)


class CommittedLink(cqrs.CORRequestHandler[PlaceOrder, OrderId]):
    def __init__(self, session: Session) -> None: ...

    async def handle(self, request: PlaceOrder) -> OrderId | None:
        self.events.append(Placed(request.order_id))
        return OrderId(request.order_id)


class CommittedStream(cqrs.StreamingRequestHandler[CountTo, int]):
    def __init__(self, session: Session) -> None: ...

    async def handle(self, request: CountTo) -> AsyncIterator[int]:
        self.events.append(Placed("1"))
        yield 1


async def test_a_failing_event_handler_does_not_make_the_scope_of_its_command_roll_back(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """DESIGN 4.1: the command has taken effect; so a handler's, a chain's and a stream's scope end without an error."""

    async def session() -> AsyncIterator[Session]:
        try:
            yield Session()
        except BaseException:
            journal.write("rollback")
            raise
        journal.write("commit")

    container.scoped(Session, session)

    def failing(events: cqrs.EventMap) -> None:
        events.bind(Placed, FailingHandler)

    single = bootstrap(container, commands_mapper=lambda r: r.add(Committed), domain_events_mapper=failing)
    chain = bootstrap(
        container, commands_mapper=lambda r: r.bind(PlaceOrder, [CommittedLink]), domain_events_mapper=failing
    )
    streams = bootstrap_streaming(
        container, commands_mapper=lambda r: r.add(CommittedStream), domain_events_mapper=failing
    )

    for sending in (single.send(PlaceOrder("a")), chain.send(PlaceOrder("b")), streams.stream(CountTo(1)).__anext__()):
        with pytest.raises(EventHandlersFailed):
            await sending

    assert ["commit"] * 3 == journal.lines


class Nested(cqrs.RequestHandler[Follow, None]):
    """Sends a command whose event handlers fail."""

    def __init__(self, mediator: cqrs.RequestMediator, session: Session) -> None:
        self._mediator = mediator

    async def handle(self, request: Follow) -> None:
        await self._mediator.send(PlaceOrder("o-1"))


async def test_a_nested_command_whose_events_failed_is_an_error_of_the_handler_that_sent_it(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """The outer scope sees it, unless the handler deals with it."""

    async def session() -> AsyncIterator[Session]:
        try:
            yield Session()
        except EventHandlersFailed:
            journal.write("outer rollback")
            raise

    def requests(mapper: cqrs.RequestMap) -> None:
        mapper.add(Nested)
        mapper.add(PlaceOrderHandler)

    container.scoped(Session, session)
    mediator = bootstrap(
        container,
        commands_mapper=requests,
        domain_events_mapper=lambda events: events.bind(Placed, FailingHandler),
    )

    with pytest.raises(EventHandlersFailed):
        await mediator.send(Follow(0))

    assert ["place o-1", "outer rollback"] == journal.lines


@dataclasses.dataclass(frozen=True)
class FrozenHandler(cqrs.RequestHandler[PlaceOrder, OrderId]):
    journal: Journal

    async def handle(self, request: PlaceOrder) -> OrderId:
        self.events.append(Placed(request.order_id))
        if request.order_id == "refused":
            raise PermissionError(request.order_id)
        return OrderId(request.order_id)


async def test_a_handler_may_be_a_frozen_dataclass(container: cqrs.SimpleContainer, journal: Journal) -> None:
    """It gathers events like any other, and its errors come out as they are."""
    mediator = bootstrap(
        container, commands_mapper=lambda requests: requests.add(FrozenHandler), domain_events_mapper=shipping_only
    )

    await mediator.send(PlaceOrder("o-1"))
    with pytest.raises(PermissionError, match="refused"):
        await mediator.send(PlaceOrder("refused"))

    assert ["ship o-1"] == journal.lines


class AssigningHandler(cqrs.RequestHandler[PlaceOrder, OrderId]):
    def __init__(self) -> None:
        self.events = []  # type: ignore[misc]  # read-only for type checkers, and yet written by some

    async def handle(self, request: PlaceOrder) -> OrderId:
        self.events.append(Placed(request.order_id))
        return OrderId(request.order_id)


async def test_a_handler_may_assign_its_list_of_events(container: cqrs.SimpleContainer, journal: Journal) -> None:
    """What is appended to that list is handled."""
    mediator = bootstrap(
        container, commands_mapper=lambda requests: requests.add(AssigningHandler), domain_events_mapper=shipping_only
    )

    await mediator.send(PlaceOrder("o-1"))

    assert ["ship o-1"] == journal.lines


@pytest.mark.parametrize("garbage", [Placed, "placed", None, PlaceOrder("o-1")])
async def test_what_is_no_event_is_refused_and_not_lost(container: cqrs.SimpleContainer, garbage: Any) -> None:
    """A class whose parentheses were forgotten, a text, nothing, a request: emitted or sent, somebody is told."""

    class Emitting(PlaceOrderHandler):
        async def handle(self, request: PlaceOrder) -> OrderId:
            self.events.append(garbage)
            return OrderId(request.order_id)

    mediator = bootstrap(container, commands_mapper=lambda requests: requests.bind(PlaceOrder, Emitting))

    with pytest.raises(EventHandlersFailed) as emitted:
        await mediator.send(PlaceOrder("o-1"))
    with pytest.raises(EventHandlersFailed) as sent:
        await bootstrap_events(container).send(garbage)

    assert [cqrs.errors.NotAMessage] * 2 == [type(e) for e in (*emitted.value.errors, *sent.value.errors)]
    assert OrderId("o-1") == emitted.value.response


async def test_a_class_that_is_sent_in_place_of_an_instance_is_told_so(container: cqrs.SimpleContainer) -> None:
    """The parentheses were forgotten."""
    mediator = bootstrap(container, commands_mapper=orders)

    with pytest.raises(HandlerNotFound, match="add the parentheses"):
        mediator.send(PlaceOrder)  # type: ignore[arg-type]  # that is the mistake


class Changed(cqrs.DomainEvent, Generic[T]):
    value: T


class OnChanged(cqrs.EventHandler[Changed[int]]):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, event: Changed[int]) -> None:
        self._journal.write(f"changed to {event.value}")


class OnAnyNotification(cqrs.EventHandler[cqrs.NotificationEvent[Any]]):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def handle(self, event: cqrs.NotificationEvent[Any]) -> None:
        self._journal.write(f"any {type(event.payload).__name__}")


async def test_a_generic_event_is_handled_by_those_of_its_aliases(
    container: cqrs.SimpleContainer, journal: Journal
) -> None:
    """Changed[int](1) is an instance of Changed; a notification of Any is a notification of anything."""

    def mapper(events: cqrs.EventMap) -> None:
        events.bind(Changed[int], OnChanged)
        events.add(OnAnyNotification)

    mediator = bootstrap_events(container, events_mapper=mapper)

    await mediator.send(Changed[int](1))
    await mediator.send(Changed(2))
    await mediator.send(UserJoined(payload=Joined("u-1")))

    assert ["changed to 1", "changed to 2", "any Joined"] == journal.lines
