"""What steps emit: handled within the step in this process, and sent to others if, and only if, the step is durable."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.bootstrap import bootstrap_sagas
from cqrs_core.saga.log import SagaStatus


class Reserved(cqrs.DomainEvent):
    order_id: str


class Sent(cqrs.NotificationEvent[str]):
    pass


class Session:
    """Lives as long as a scope."""


def sent(text: str) -> Sent:
    return Sent(event_name="Sent", payload=text)


class Publisher:
    """Notes what is published, and how far the saga was then."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.fails = False
        self.look: Any = None

    async def publish(self, event: Any) -> None:
        if self.fails:
            raise ConnectionError("no broker")
        position = "" if self.look is None else f" at {await self.look()}"
        self.published.append(f"{event.payload}{position}")


def emitting(story: Any, name: str, *events: Any) -> Any:
    async def act(self: Any, context: Any) -> Any:
        self.events.extend(events)
        await story.tell(f"act {name}", context)
        return self.result(name.lower())

    return story.step(name, act=act)


def mediator_of(story: Any, saga: Any, handler: Any = None, broker: Any = None) -> cqrs.SagaMediator:
    def bind_events(events: cqrs.EventMap) -> None:
        if handler is not None:
            events.bind(Reserved, handler)

    return bootstrap_sagas(
        sagas_mapper=lambda sagas: sagas.bind(story.Order, saga),
        domain_events_mapper=bind_events,
        message_broker=broker,
    )


async def test_events_for_this_process_are_handled_within_the_step(story: Any) -> None:
    class Handler(cqrs.EventHandler[Reserved]):
        async def handle(self, event: Reserved) -> None:
            story.events.append(f"handled {event.order_id} in {cqrs.current_step().step_id}")
            self.events.append(sent("of the handler"))

    broker = Publisher()
    mediator = mediator_of(story, story.saga(emitting(story, "A", Reserved("o-1"))), Handler, broker)
    async for _ in mediator.stream(story.Order()):
        story.events.append("handed out")

    assert ["act A", "handled o-1 in A", "handed out"] == story.events
    assert ["of the handler"] == broker.published


async def test_a_handler_that_fails_is_a_failure_of_the_step_which_has_taken_effect(story: Any) -> None:
    class Handler(cqrs.EventHandler[Reserved]):
        async def handle(self, event: Reserved) -> None:
            raise ValueError("the projection is broken")

    mediator = mediator_of(story, story.saga("A", emitting(story, "B", Reserved("o-1"))), Handler)
    with pytest.raises(errors.EventHandlersFailed):
        await story.run(mediator)

    assert ["act A", "act B", "undo B", "undo A"] == story.events


async def test_notifications_leave_when_the_step_is_durable(story: Any) -> None:
    """And before its result is handed out."""
    broker = Publisher()
    mediator = mediator_of(story, story.saga(emitting(story, "A", sent("1"), sent("2")), "B"), None, broker)
    saga_id = uuid.uuid4()

    async def look() -> int:
        record = await mediator.storage.load(saga_id)
        assert record is not None
        return record.cursor

    broker.look = look
    async for result in mediator.stream(story.Order(), saga_id):
        story.events.append(f"handed out {result.response}")

    assert ["1 at 1", "2 at 1"] == broker.published
    assert ["act A", "handed out a", "act B", "handed out b"] == story.events


async def test_events_of_a_step_that_fails_did_not_happen(story: Any) -> None:
    broker = Publisher()
    mediator = mediator_of(story, story.saga(emitting(story, "A", sent("1"))), None, broker)
    story.failures["act A"] = [ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator)

    assert [] == broker.published


async def test_a_step_that_is_undone_may_emit_too(story: Any) -> None:
    async def compensate(self: Any, context: Any) -> None:
        self.events.append(sent("undone"))
        await story.tell("undo A", context)

    broker = Publisher()
    mediator = mediator_of(story, story.saga(story.step("A", compensate=compensate), "B"), None, broker)
    story.failures["act B"] = [ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator)

    assert ["undone"] == broker.published


async def test_a_broker_that_is_down_undoes_nothing(story: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Without an outbox a notification is sent at most once, and the log says that it is lost."""
    broker = Publisher()
    broker.fails = True
    mediator = mediator_of(story, story.saga(emitting(story, "A", sent("1")), "B"), None, broker)

    assert ["a", "b"] == await story.run(mediator)
    assert "An event of a saga is lost" in caplog.text
    assert [logging.ERROR] == [record.levelno for record in caplog.records]


async def test_without_a_broker_a_saga_whose_step_notifies_others_is_left_as_it_is(story: Any) -> None:
    """Its notification would be lost without a word. A program that is put together wrongly undoes nothing for that."""
    mediator = mediator_of(story, story.saga("A", emitting(story, "B", sent("1"))))
    saga_id = uuid.uuid4()
    with pytest.raises(errors.SagaUnrunnable, match="Sent") as raised:
        await story.run(mediator, saga_id)
    record = await mediator.storage.load(saga_id)

    assert isinstance(raised.value.__cause__, errors.NoPublisher)
    assert record is not None
    assert (SagaStatus.RUNNING, 1) == (record.status, record.cursor)
    assert ["act A", "act B"] == story.events


async def test_without_a_broker_an_undo_that_notifies_others_is_left_to_who_has_one(story: Any) -> None:
    async def compensate(self: Any, context: Any) -> None:
        self.events.append(sent("undone"))
        await story.tell("undo A", context)

    mediator = mediator_of(story, story.saga(story.step("A", compensate=compensate), "B"))
    story.failures["act B"] = [ValueError("no")]
    saga_id = uuid.uuid4()
    with pytest.raises(errors.SagaUnrunnable, match="Sent"):
        await story.run(mediator, saga_id)
    record = await mediator.storage.load(saga_id)

    assert record is not None
    assert SagaStatus.COMPENSATING is record.status


async def test_each_attempt_has_a_scope_and_a_handler_of_its_own(story: Any) -> None:
    """As attempts at requests have; undoing too."""
    container = cqrs.SimpleContainer()
    container.scoped(Session)
    seen: list[tuple[str, Session, Any]] = []

    class Asks(story.step("A")):  # type: ignore[misc] # a class that is made here
        step_id = "A"
        retry = cqrs.RetryPolicy(max_attempts=2, delay_s=0.0)

        def __init__(self, session: Session) -> None:
            self.session = session

        async def act(self, context: Any) -> Any:
            seen.append(("act", self.session, self))
            return await super().act(context)

        async def compensate(self, context: Any) -> None:
            seen.append(("undo", self.session, self))
            await super().compensate(context)

    story.failures |= {"act A": [ValueError("once")], "act B": [ValueError("no")]}
    with pytest.raises(ValueError, match="no"):
        await story.run(story.mediator(story.saga(Asks, "B"), di_container=container))

    assert ["act", "act", "undo"] == [what for what, _, _ in seen]
    assert 3 == len({id(session) for _, session, _ in seen}) == len({id(handler) for _, _, handler in seen})


async def test_a_handler_may_ask_for_the_mediator(story: Any) -> None:
    class Asks(story.step("A")):  # type: ignore[misc] # as above
        step_id = "A"

        def __init__(self, mediator: cqrs.SagaMediator) -> None:
            story.events.append(type(mediator).__name__)

    await story.run(story.mediator(story.saga(Asks)))

    assert ["SagaMediator", "act A"] == story.events


class Plain:
    """The least that a container can be: it makes its objects in a coroutine, and knows no scopes."""

    async def resolve(self, wanted: type) -> Any:
        return wanted()


@pytest.mark.parametrize("timeout_s", [None, 5.0])
async def test_a_container_without_scopes_will_do(story: Any, timeout_s: float | None) -> None:
    """Events are handled with it, and forgotten if the step fails; with a time limit too."""

    class Handler(cqrs.EventHandler[Reserved]):
        async def handle(self, event: Reserved) -> None:
            story.events.append(f"handled {event.order_id}")

    async def act(self: Any, context: Any) -> Any:
        self.events.append(Reserved(context.order_id))
        await story.tell("act A", context)
        return self.result()

    step = story.step("A", act=act, timeout_s=timeout_s, retry=cqrs.RetryPolicy(max_attempts=2, delay_s=0.0))
    mediator = bootstrap_sagas(
        Plain(),
        sagas_mapper=lambda sagas: sagas.bind(story.Order, story.saga(step)),
        domain_events_mapper=lambda events: events.bind(Reserved, Handler),
    )
    story.failures["act A"] = [ValueError("once")]
    await story.run(mediator)

    assert ["act A", "act A", "handled o-1"] == story.events


async def test_a_handler_of_events_has_a_scope_if_the_step_has_none(story: Any) -> None:
    """The step needs none, and is made at once; its events are handled in one of their own."""
    container = cqrs.SimpleContainer()
    container.scoped(Session)
    seen: list[Session] = []

    class Handler(cqrs.EventHandler[Reserved]):
        def __init__(self, session: Session) -> None:
            seen.append(session)

        async def handle(self, event: Reserved) -> None: ...

    mediator = bootstrap_sagas(
        container,
        sagas_mapper=lambda sagas: sagas.bind(story.Order, story.saga(emitting(story, "A", Reserved("o-1")))),
        domain_events_mapper=lambda events: events.bind(Reserved, Handler),
    )
    await story.run(mediator)

    assert 1 == len(seen)
