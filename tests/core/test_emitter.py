"""Where events go: levels, depth, several at a time, bases, middlewares, notifications."""

from __future__ import annotations

import dataclasses
from typing import Any

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core.bootstrap import bootstrap, bootstrap_events
from cqrs_core.errors import EventCascadeTooDeep, EventHandlersFailed, NoPublisher


class Log:
    """Remembers what happened, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []


class Animal(cqrs.DomainEvent):
    name: str = "animal"


class Dog(Animal, frozen=True):
    pass


class Puppy(Dog, frozen=True):
    pass


class Countdown(cqrs.DomainEvent):
    left: int


class Circle(cqrs.DomainEvent):
    pass


class Square(cqrs.DomainEvent):
    pass


class Told(cqrs.Response):
    text: str


class Emit(cqrs.Request[str]):
    what: tuple[cqrs.Event, ...] = dataclasses.field(default_factory=tuple)


class EmitHandler(cqrs.RequestHandler[Emit, str]):
    async def handle(self, request: Emit) -> str:
        self.events.extend(request.what)
        return "done"


def emitting(requests: cqrs.RequestMap) -> None:
    requests.bind(Emit, EmitHandler)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def container(log: Log) -> cqrs.SimpleContainer:
    container = cqrs.SimpleContainer()
    container.instance(Log, log)
    return container


class Writing:
    """A handler with a log."""

    def __init__(self, log: Log) -> None:
        self.log = log


# levels --------------------------------------------------------------------------------------------------------------


class CountdownHandler(Writing, cqrs.EventHandler[Countdown]):
    async def handle(self, event: Countdown) -> None:
        self.log.lines.append(f"{event.left}")
        if event.left:
            self.events.append(Countdown(event.left - 1))


class OtherCountdownHandler(Writing, cqrs.EventHandler[Countdown]):
    async def handle(self, event: Countdown) -> None:
        self.log.lines.append(f"{event.left}'")


@pytest.mark.parametrize("limit", [1, 3])
async def test_events_are_handled_breadth_first(container: cqrs.SimpleContainer, log: Log, limit: int) -> None:
    """All handlers of a level's events run before those of the events that they emit."""

    def counting(events: cqrs.EventMap) -> None:
        events.bind(Countdown, CountdownHandler)
        events.bind(Countdown, OtherCountdownHandler)

    mediator = bootstrap(
        container,
        commands_mapper=emitting,
        domain_events_mapper=counting,
        max_concurrent_event_handlers=limit,
        concurrent_event_handle_enable=True,
    )

    await mediator.send(Emit((Countdown(1), Countdown(0))))

    assert ["1", "1'", "0", "0'", "0", "0'"] == log.lines


async def test_a_cascade_of_twenty_levels_passes(container: cqrs.SimpleContainer, log: Log) -> None:
    """A legitimate cascade is no circle."""
    mediator = bootstrap(
        container,
        commands_mapper=emitting,
        domain_events_mapper=lambda events: events.bind(Countdown, CountdownHandler),
    )

    await mediator.send(Emit((Countdown(20),)))

    assert [str(left) for left in range(20, -1, -1)] == log.lines


async def test_the_deepest_level_that_is_allowed_is_handled(container: cqrs.SimpleContainer, log: Log) -> None:
    """max_event_depth counts the events after the first: 3 allows 3, 2, 1, 0."""
    mediator = bootstrap(
        container,
        commands_mapper=emitting,
        domain_events_mapper=lambda events: events.bind(Countdown, CountdownHandler),
        max_event_depth=3,
    )

    await mediator.send(Emit((Countdown(3),)))
    with pytest.raises(EventHandlersFailed) as caught:
        await mediator.send(Emit((Countdown(4),)))

    assert ["3", "2", "1", "0", "4", "3", "2", "1"] == log.lines
    assert [EventCascadeTooDeep] == [type(error) for error in caught.value.errors]


class ToSquare(cqrs.EventHandler[Circle]):
    async def handle(self, event: Circle) -> None:
        self.events.append(Square())


class ToCircle(cqrs.EventHandler[Square]):
    async def handle(self, event: Square) -> None:
        self.events.append(Circle())


def in_circles(events: cqrs.EventMap) -> None:
    events.bind(Circle, ToSquare)
    events.bind(Square, ToCircle)


async def test_an_event_cycle_ends_in_an_error_that_names_the_chain(container: cqrs.SimpleContainer) -> None:
    """Circle leads to Square leads to Circle: after 32 levels the error says so, and how to go on."""
    mediator = bootstrap(container, commands_mapper=emitting, domain_events_mapper=in_circles)

    with pytest.raises(EventHandlersFailed) as caught:
        await mediator.send(Emit((Circle(),)))

    (error,) = caught.value.errors
    assert isinstance(error, EventCascadeTooDeep)
    assert 32 == error.max_event_depth
    assert (Circle, *[Square, Circle] * 16, Square) == error.chain  # the first, 32 that were allowed, and one more
    assert "Circle -> Square -> Circle" in str(error)
    assert "raise max_event_depth" in str(error)
    assert "done" == caught.value.response


# several at a time ---------------------------------------------------------------------------------------------------


class Meter:
    """Counts how many are inside at the same time."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0

    async def pass_through(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        self.inside -= 1


class Metered(cqrs.EventHandler[Animal]):
    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    async def handle(self, event: Animal) -> None:
        await self._meter.pass_through()
        if event.name == "fails":
            raise ValueError(event.name)


@pytest.mark.parametrize(("limit", "is_enabled", "most"), [(3, True, 3), (100, True, 10), (3, False, 1), (1, True, 1)])
async def test_at_most_so_many_handlers_run_at_the_same_time(
    container: cqrs.SimpleContainer, limit: int, *, is_enabled: bool, most: int
) -> None:
    """The limit holds across the events of a level; unless enabled, handlers run one after the other."""
    meter = Meter()
    container.instance(Meter, meter)
    mediator = bootstrap(
        container,
        commands_mapper=emitting,
        domain_events_mapper=lambda events: events.bind(Animal, Metered),
        max_concurrent_event_handlers=limit,
        concurrent_event_handle_enable=is_enabled,
    )

    await mediator.send(Emit(tuple(Animal(str(number)) for number in range(10))))

    assert most == meter.most


async def test_an_error_ends_none_of_those_that_run_beside_it(container: cqrs.SimpleContainer) -> None:
    """All ten run; the two errors come together, at the end."""
    meter = Meter()
    container.instance(Meter, meter)
    mediator = bootstrap(
        container,
        commands_mapper=emitting,
        domain_events_mapper=lambda events: events.bind(Animal, Metered),
        max_concurrent_event_handlers=10,
        concurrent_event_handle_enable=True,
    )
    names = ["fails", *"abcdefgh", "fails"]

    with pytest.raises(EventHandlersFailed) as caught:
        await mediator.send(Emit(tuple(map(Animal, names))))

    assert [ValueError, ValueError] == [type(error) for error in caught.value.errors]
    assert 0 == meter.inside


class EventsOfEach(cqrs.EventHandler[Animal]):
    async def handle(self, event: Animal) -> None:
        for _ in range(3 - int(event.name)):  # the first takes longest
            await anyio.lowlevel.checkpoint()
        self.events.append(Countdown(int(event.name)))


async def test_follow_ups_of_parallel_handlers_keep_the_order_of_their_causes(
    container: cqrs.SimpleContainer, log: Log
) -> None:
    """Which handler ends first does not decide in what order the next level is handled."""

    def mapper(events: cqrs.EventMap) -> None:
        events.bind(Animal, EventsOfEach)
        events.bind(Countdown, OtherCountdownHandler)

    mediator = bootstrap(
        container,
        commands_mapper=emitting,
        domain_events_mapper=mapper,
        max_concurrent_event_handlers=3,
        concurrent_event_handle_enable=True,
    )

    await mediator.send(Emit((Animal("0"), Animal("1"), Animal("2"))))

    assert ["0'", "1'", "2'"] == log.lines


# bases ---------------------------------------------------------------------------------------------------------------


class OnAnimal(Writing, cqrs.EventHandler[Animal]):
    async def handle(self, event: Animal) -> None:
        self.log.lines.append(f"animal: {type(event).__name__}")


class OnDog(Writing, cqrs.EventHandler[Dog]):
    async def handle(self, event: Dog) -> None:
        self.log.lines.append(f"dog: {type(event).__name__}")


def animals(events: cqrs.EventMap) -> None:
    events.bind(Animal, OnAnimal)
    events.bind(Dog, OnDog)
    events.bind(Dog, OnAnimal)


async def test_a_polymorphic_event_reaches_the_handlers_of_its_bases_once_the_most_specific_first(
    container: cqrs.SimpleContainer, log: Log
) -> None:
    """OnAnimal is bound to Dog and to Animal, and runs once."""
    mediator = bootstrap(container, commands_mapper=emitting, domain_events_mapper=animals, polymorphic=True)

    await mediator.send(Emit((Puppy(),)))

    assert ["dog: Puppy", "animal: Puppy"] == log.lines


async def test_without_polymorphic_only_the_events_own_class_counts(container: cqrs.SimpleContainer, log: Log) -> None:
    """The default: exactly the bound class."""
    mediator = bootstrap(container, commands_mapper=emitting, domain_events_mapper=animals)

    await mediator.send(Emit((Puppy(), Animal())))

    assert ["animal: Animal"] == log.lines


# notifications -------------------------------------------------------------------------------------------------------


class News(cqrs.NotificationEvent[Told]):
    event_name: str = "News"


class OnNews(Writing, cqrs.EventHandler[News]):
    async def handle(self, event: News) -> None:
        self.log.lines.append(f"news: {event.payload.text}")


class OnTold(Writing, cqrs.EventHandler[cqrs.NotificationEvent[Told]]):
    async def handle(self, event: cqrs.NotificationEvent[Told]) -> None:
        self.log.lines.append(f"told: {event.payload.text}")


class Publisher:
    """Writes down what is published, and fails on request."""

    def __init__(self, log: Log, *, failing: str = "") -> None:
        self._log = log
        self._failing = failing

    async def publish(self, event: cqrs.NotificationEvent[Any]) -> None:
        if event.payload.text == self._failing:
            raise ConnectionError(event.payload.text)
        self._log.lines.append(f"published: {event.payload.text}")


def news(events: cqrs.EventMap) -> None:
    events.bind(News, OnNews)
    events.bind(cqrs.NotificationEvent[Told], OnTold)
    events.bind(Countdown, CountdownHandler)


async def test_an_emitted_notification_goes_out_only_and_after_the_domain_events(
    container: cqrs.SimpleContainer, log: Log
) -> None:
    """DESIGN 4.1: notifications leave after the domain event handlers; DESIGN 5: they go out only."""
    mediator = bootstrap(container, commands_mapper=emitting, domain_events_mapper=news, message_broker=Publisher(log))

    await mediator.send(Emit((News(payload=Told("a")), Countdown(1), News(payload=Told("b")))))

    assert ["1", "0", "published: a", "published: b"] == log.lines


async def test_a_notification_without_a_broker_is_an_error_and_not_lost_in_silence(
    container: cqrs.SimpleContainer,
) -> None:
    """The command has taken effect; its sender is told that the notification went nowhere, and what to do."""
    mediator = bootstrap(container, commands_mapper=emitting)

    with pytest.raises(EventHandlersFailed) as caught:
        await mediator.send(Emit((News(payload=Told("a")),)))

    (error,) = caught.value.errors
    assert isinstance(error, NoPublisher)
    assert News is error.event_type
    assert "message_broker=" in str(error)


async def test_a_publisher_that_fails_does_not_keep_others_from_leaving(
    container: cqrs.SimpleContainer, log: Log
) -> None:
    """Each notification is tried once; the failure is raised with the response."""
    mediator = bootstrap(container, commands_mapper=emitting, message_broker=Publisher(log, failing="a"))

    with pytest.raises(EventHandlersFailed) as caught:
        await mediator.send(Emit((News(payload=Told("a")), News(payload=Told("b")))))

    assert ["published: b"] == log.lines
    assert [ConnectionError] == [type(error) for error in caught.value.errors]
    assert "done" == caught.value.response


async def test_a_notification_that_arrives_reaches_handlers_by_class_and_by_payload(
    container: cqrs.SimpleContainer, log: Log
) -> None:
    """The most specific first: its own class, then its payload's type."""
    mediator = bootstrap_events(container, events_mapper=news)

    await mediator.send(News(payload=Told("a")))

    assert ["news: a", "told: a"] == log.lines


class Retell(cqrs.EventHandler[News]):
    async def handle(self, event: News) -> None:
        self.events.append(News(payload=Told(f"re: {event.payload.text}")))


async def test_a_notification_that_follows_an_arrived_one_is_published(
    container: cqrs.SimpleContainer, log: Log
) -> None:
    """It goes out, and does not come round again to the handlers here."""
    mediator = bootstrap_events(
        container, events_mapper=lambda events: events.bind(News, Retell), message_broker=Publisher(log)
    )

    await mediator.send(News(payload=Told("a")))

    assert ["published: re: a"] == log.lines


class OnEither(Writing, cqrs.EventHandler[cqrs.NotificationEvent[Any]]):
    async def handle(self, event: cqrs.NotificationEvent[Any]) -> None:
        self.log.lines.append(type(event.payload).__name__)


async def test_a_union_of_payloads_binds_each(container: cqrs.SimpleContainer, log: Log) -> None:
    """NotificationEvent[A | B] serves both."""
    mediator = bootstrap_events(
        container, events_mapper=lambda events: events.bind(cqrs.NotificationEvent[Told | int], OnEither)
    )

    await mediator.send(cqrs.NotificationEvent(event_name="n", payload=Told("x")))
    await mediator.send(cqrs.NotificationEvent(event_name="n", payload=5))
    await mediator.send(cqrs.NotificationEvent(event_name="n", payload="text"))

    assert ["Told", "int"] == log.lines


# middlewares of events -----------------------------------------------------------------------------------------------


class Tracing:
    def __init__(self, name: str, log: Log) -> None:
        self._name = name
        self._log = log

    async def __call__(self, event: Any, handle: Any) -> None:
        self._log.lines.append(f"{self._name} in")
        await handle(event)
        self._log.lines.append(f"{self._name} out")


async def test_event_middlewares_run_once_for_each_handler_global_before_per_event(
    container: cqrs.SimpleContainer, log: Log
) -> None:
    """Outermost first; both handlers of the event are wrapped, one of them in a middleware of its own as well."""

    def mapper(events: cqrs.EventMap) -> None:
        events.bind(Animal, OnAnimal, middlewares=[Tracing("own", log)])
        events.bind(Dog, OnDog)

    mediator = bootstrap(
        container,
        commands_mapper=emitting,
        domain_events_mapper=mapper,
        event_middlewares=[Tracing("global", log)],
        polymorphic=True,
    )

    await mediator.send(Emit((Dog(),)))

    assert [
        *["global in", "dog: Dog", "global out"],
        *["global in", "own in", "animal: Dog", "own out", "global out"],
    ] == log.lines


async def test_events_emitted_inside_middlewares_are_followed_up(container: cqrs.SimpleContainer, log: Log) -> None:
    """A wrapped handler's events make the next level."""
    mediator = bootstrap_events(
        container,
        events_mapper=lambda events: events.bind(Countdown, CountdownHandler),
        middlewares=[Tracing("m", log)],
    )

    await mediator.send(Countdown(1))

    assert ["m in", "1", "m out", "m in", "0", "m out"] == log.lines


class Sulking(cqrs.EventHandler[Animal]):
    async def handle(self, event: Animal) -> None:
        self.events.append(Countdown(0))
        raise ValueError(event.name)


@pytest.mark.parametrize("limit", [1, 2])
async def test_events_of_an_event_handler_that_raised_are_dropped(
    container: cqrs.SimpleContainer, log: Log, limit: int
) -> None:
    """As with a request handler: what it was about to announce did not happen, for a shared object either."""

    def mapper(events: cqrs.EventMap) -> None:
        events.bind(Animal, Sulking)
        events.bind(Animal, OnAnimal)
        events.bind(Countdown, CountdownHandler)

    container.singleton(Sulking)
    mediator = bootstrap(
        container,
        commands_mapper=emitting,
        domain_events_mapper=mapper,
        max_concurrent_event_handlers=limit,
        concurrent_event_handle_enable=True,
    )

    for _ in range(2):
        with pytest.raises(EventHandlersFailed):
            await mediator.send(Emit((Animal(),)))

    assert ["animal: Animal", "animal: Animal"] == log.lines


async def test_a_middleware_of_one_event_does_not_change_the_order(container: cqrs.SimpleContainer, log: Log) -> None:
    """Events are handled in the order in which they were emitted, wrapped or not."""

    def mapper(events: cqrs.EventMap) -> None:
        events.bind(Animal, OnAnimal, middlewares=[Tracing("m", log)])
        events.bind(Countdown, OtherCountdownHandler)

    mediator = bootstrap(container, commands_mapper=emitting, domain_events_mapper=mapper)

    await mediator.send(Emit((Animal(), Countdown(0))))

    assert ["m in", "animal: Animal", "m out", "0'"] == log.lines


async def fail_afterwards(event: Any, handle: Any) -> None:
    """A middleware that fails when the handler has succeeded."""
    await handle(event)
    raise ConnectionError


async def test_events_of_a_handler_that_succeeded_are_handled_though_its_middleware_failed(
    container: cqrs.SimpleContainer, log: Log
) -> None:
    """What happened, happened; the middleware's error is told all the same."""
    mediator = bootstrap(
        container,
        commands_mapper=emitting,
        domain_events_mapper=lambda events: events.bind(Countdown, CountdownHandler),
        event_middlewares=[fail_afterwards],
    )

    with pytest.raises(EventHandlersFailed) as caught:
        await mediator.send(Emit((Countdown(1),)))

    assert ["1", "0"] == log.lines
    assert [ConnectionError, ConnectionError] == [type(error) for error in caught.value.errors]
