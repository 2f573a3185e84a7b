"""The App: maps, mediators and their life."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core import errors


class Placed(cqrs.DomainEvent):
    order_id: str


class Place(cqrs.Request[str]):
    order_id: str


class Letters(cqrs.Request[str]):
    text: str


class Books:
    def __init__(self) -> None:
        self.lines: list[str] = []


class PlaceHandler(cqrs.RequestHandler[Place, str]):
    async def handle(self, request: Place) -> str:
        self.events.append(Placed(request.order_id))
        return request.order_id


class PlacedHandler(cqrs.EventHandler[Placed]):
    def __init__(self, books: Books) -> None:
        self._books = books

    async def handle(self, event: Placed) -> None:
        self._books.lines.append(event.order_id)


class LettersHandler(cqrs.StreamingRequestHandler[Letters, str]):
    async def handle(self, request: Letters) -> AsyncIterator[str]:
        for letter in request.text:
            self.events.append(Placed(letter))
            yield letter


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def app(books: Books) -> cqrs.App:
    container = cqrs.SimpleContainer()
    container.instance(Books, books)
    app = cqrs.App("orders", container=container)
    app.requests.bind(Place, PlaceHandler)
    app.requests.bind(Letters, LettersHandler)
    app.events.bind(Placed, PlacedHandler)
    return app


async def test_an_app_sends_streams_and_publishes(app: cqrs.App, books: Books) -> None:
    """One object for the three ways in; events of all of them reach their handlers."""
    async with app:
        assert "o-1" == await app.send(Place("o-1"))
        assert ["a", "b"] == [letter async for letter in app.stream(Letters("ab"))]
        await app.publish(Placed("o-2"))

    assert ["o-1", "a", "b", "o-2"] == books.lines


async def test_publishing_answers_nothing(app: cqrs.App) -> None:
    """What is inside does not leak out."""
    async with app:
        result: object = await app.publish(Placed("o-1"))  # type: ignore[func-returns-value]  # that is the question

    assert None is result


@pytest.mark.parametrize("use", ["send", "stream", "publish"])
async def test_an_app_that_is_not_started_says_so(app: cqrs.App, use: str) -> None:
    """Before, and after: the error names the App and the cure."""
    with pytest.raises(errors.AppNotStarted, match="Use it inside `async with app:`") as caught:
        getattr(app, use)(Place("o-1"))
    async with app:
        pass
    with pytest.raises(errors.AppNotStarted):
        getattr(app, use)(Place("o-1"))

    assert "orders" == caught.value.app_name


async def test_an_app_cannot_be_started_twice_at_the_same_time(app: cqrs.App) -> None:
    """The second start is an error; the first goes on."""
    async with app:
        with pytest.raises(errors.AppStarted, match="'orders' is already started"):
            await app.__aenter__()
        assert "o-1" == await app.send(Place("o-1"))


async def test_an_app_may_be_started_again(app: cqrs.App, books: Books) -> None:
    """With the same bindings."""
    for order_id in ("a", "b"):
        async with app:
            await app.send(Place(order_id))

    assert ["a", "b"] == books.lines


async def test_everything_that_is_wrong_with_an_app_is_reported_when_it_starts() -> None:
    """Requests, streams, events and dependencies; each fault once, although two mediators share the map."""
    app = cqrs.App("orders")
    app.requests.bind(Place, LettersHandler)  # type: ignore[type-var]  # that is the mistake
    app.requests.bind(Letters, PlaceHandler)  # type: ignore[type-var]  # ditto
    app.events.bind(Placed, PlaceHandler)  # type: ignore[arg-type]  # ditto

    with pytest.raises(errors.WiringError) as caught:
        await app.__aenter__()

    assert [errors.NotAHandler, errors.WrongHandler, errors.WrongHandler] == [
        type(problem) for problem in caught.value.problems
    ]


async def test_the_maps_are_frozen_by_the_start(app: cqrs.App) -> None:
    """What is bound later would not be seen."""
    async with app:
        with pytest.raises(errors.MapFrozen):
            app.requests.bind(Place, PlaceHandler)
    with pytest.raises(errors.MapFrozen):
        app.events.bind(Placed, PlacedHandler)


class Greedy(cqrs.RequestHandler[Place, str]):
    """Asks for everything that an App offers."""

    def __init__(
        self,
        app: cqrs.App,
        requests: cqrs.RequestMediator,
        streams: cqrs.StreamingRequestMediator,
        events: cqrs.EventMediator,
    ) -> None:
        self._app, self._requests, self._streams, self._events = app, requests, streams, events

    async def handle(self, request: Place) -> str:
        letters = [letter async for letter in self._streams.stream(Letters("ab"))]
        return f"{self._app.name} {letters} {type(self._requests).__name__} {type(self._events).__name__}"


class Service:
    """Needs the App, and is needed by a handler: two levels below."""

    def __init__(self, app: cqrs.App) -> None:
        self.app = app


class UsesService(cqrs.RequestHandler[Place, str]):
    def __init__(self, service: Service) -> None:
        self._service = service

    async def handle(self, request: Place) -> str:
        return self._service.app.name


async def test_handlers_may_ask_for_the_app_and_its_mediators() -> None:
    """DESIGN 3: in their constructors."""
    app = cqrs.App("orders")
    app.requests.bind(Place, Greedy)
    app.requests.bind(Letters, LettersHandler)

    async with app:
        assert "orders ['a', 'b'] RequestMediator EventMediator" == await app.send(Place("o-1"))


async def test_services_of_handlers_may_ask_for_the_app_too() -> None:
    """A service of one container that serves two Apps gets the one that it is made for."""
    container = cqrs.SimpleContainer()
    container.singleton(Service)
    apps = [cqrs.App(name, container=container) for name in ("first", "second")]
    for app in apps:
        app.requests.bind(Place, UsesService)

    async with apps[0], apps[1]:
        assert ["first", "second"] == [await app.send(Place("o-1")) for app in apps]


class Pool:
    def __init__(self, books: Books) -> None:
        self.books = books


class UsesPool(cqrs.RequestHandler[Place, str]):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def handle(self, request: Place) -> str:
        return "done"


async def test_a_container_that_was_given_is_its_owners_to_close(books: Books) -> None:
    """Stopping the App does not end it; closing the container does."""

    async def pool() -> AsyncIterator[Pool]:
        yield Pool(books)
        books.lines.append("pool closed")

    container = cqrs.SimpleContainer()
    container.singleton(Pool, pool)
    app = cqrs.App("orders", container=container)
    app.requests.bind(Place, UsesPool)

    async with app:
        await app.send(Place("o-1"))
    assert [] == books.lines
    await container.aclose()

    assert ["pool closed"] == books.lines


class Wrapping:
    """One middleware for requests and streams."""

    def __init__(self, books: Books) -> None:
        self._books = books

    async def __call__(self, request: Any, handle: Any) -> Any:
        self._books.lines.append("wrapped")
        return await handle(request)

    async def stream(self, request: Any, handle: Any) -> AsyncIterator[Any]:
        self._books.lines.append("wrapped stream")
        async for answer in handle(request):
            yield answer


async def test_middlewares_of_an_app_wrap_requests_and_streams(books: Books) -> None:
    """And those for events wrap events."""
    app = cqrs.App("orders", middlewares=[Wrapping(books)], event_middlewares=[Wrapping(books)])
    app.requests.bind(Place, PlaceHandler)
    app.requests.bind(Letters, LettersHandler)
    app.events.bind(Placed, Quiet)

    async with app:
        await app.send(Place("o-1"))
        async for _ in app.stream(Letters("a")):
            pass

    assert ["wrapped", "wrapped", "wrapped stream", "wrapped"] == books.lines


class Quiet(cqrs.EventHandler[Placed]):
    async def handle(self, event: Placed) -> None:
        return None


class Hub(cqrs.App):
    """An App of one's own."""

    def __init__(self) -> None:
        super().__init__("hub")


class WantsHub(cqrs.RequestHandler[Place, str]):
    def __init__(self, hub: Hub, app: cqrs.App) -> None:
        self._is_one = hub is app

    async def handle(self, request: Place) -> str:
        return f"one: {self._is_one}"


async def test_an_app_of_a_subclass_is_found_by_its_own_class_too() -> None:
    """And no second one is made."""
    hub = Hub()
    hub.requests.bind(Place, WantsHub)

    async with hub:
        assert "one: True" == await hub.send(Place("o-1"))


async def test_an_app_that_could_not_start_can_be_mended() -> None:
    """What is missing may be bound after the error that told so: nothing is in use yet."""
    app = cqrs.App("orders")
    app.requests.bind(Place, PlaceHandler)
    app.events.bind(Placed, Unprovided)
    with pytest.raises(errors.WiringError):
        await app.__aenter__()

    app.requests.bind(Letters, LettersHandler)

    with pytest.raises(errors.WiringError, match="1 wiring problem:"):
        await app.__aenter__()


class Unprovided(cqrs.EventHandler[Placed]):
    def __init__(self, url: str) -> None: ...

    async def handle(self, event: Placed) -> None:
        return None
