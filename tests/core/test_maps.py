"""What is refused when a mediator is built, with all its facts, all at once; and what is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, Protocol, TypeVar, Union

import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.bootstrap import bootstrap, bootstrap_events, bootstrap_streaming

T = TypeVar("T")


class Answer(cqrs.Response):
    value: int


class Ask(cqrs.Request[Answer]):
    pass


class AskMore(Ask):
    pass


class Tell(cqrs.Request[None]):
    pass


class Told(cqrs.DomainEvent):
    pass


class Heard(cqrs.DomainEvent):
    pass


class AskHandler(cqrs.RequestHandler[Ask, Answer]):
    async def handle(self, request: Ask) -> Answer:
        return Answer(42)


class OtherAskHandler(AskHandler):
    pass


class TellHandler(cqrs.RequestHandler[Tell, None]):
    async def handle(self, request: Tell) -> None:
        return None


class ToldHandler(cqrs.EventHandler[Told]):
    async def handle(self, event: Told) -> None:
        return None


def problems_of(*binds: tuple[Any, Any]) -> tuple[errors.CqrsError, ...]:
    """What building a mediator from these bindings reports."""

    def mapper(requests: cqrs.RequestMap) -> None:
        for request, handler in binds:
            requests.bind(request, handler)

    with pytest.raises(errors.WiringError) as caught:
        bootstrap(commands_mapper=mapper)
    return caught.value.problems


def event_problems_of(*binds: tuple[Any, Any]) -> tuple[errors.CqrsError, ...]:
    """The same for bindings of events."""

    def mapper(events: cqrs.EventMap) -> None:
        for event, handler in binds:
            events.bind(event, handler)

    with pytest.raises(errors.WiringError) as caught:
        bootstrap_events(events_mapper=mapper)
    return caught.value.problems


# requests ------------------------------------------------------------------------------------------------------------


def test_a_handler_of_another_request_is_refused() -> None:
    """The error has the handler, what it was bound to, and what it declares."""
    (problem,) = problems_of((Ask, TellHandler))

    assert isinstance(problem, errors.WrongHandler)
    assert isinstance(problem, TypeError)
    assert (TellHandler, Ask, Tell) == (problem.handler, problem.message_type, problem.declared_type)
    assert "Bind a handler of Ask, or correct the type parameters of TellHandler." in str(problem)


def test_a_handler_of_a_base_may_serve_a_subclass() -> None:
    """Who handles any Ask handles an AskMore."""
    assert bootstrap(commands_mapper=lambda requests: requests.bind(AskMore, AskHandler)) is not None


def test_two_handlers_for_one_request_are_refused() -> None:
    """The error has both, and says what a request with several handlers is."""
    (problem,) = problems_of((Ask, AskHandler), (Ask, OtherAskHandler))

    assert isinstance(problem, errors.DuplicateHandler)
    assert isinstance(problem, KeyError)
    assert (Ask, AskHandler, OtherAskHandler) == (problem.request_type, problem.bound, problem.refused)
    assert "remove one of the two, or bind a list of CORRequestHandler classes" in str(problem)


@pytest.mark.parametrize("handler", [int, list[int], "AskHandler", AskHandler(), None, ToldHandler])
def test_what_is_no_handler_class_is_refused(handler: Any) -> None:
    """A class of something else, a name, an object, nothing, a handler of events."""
    (problem,) = problems_of((Ask, handler))

    assert isinstance(problem, errors.NotAHandler)
    assert (handler, ("RequestHandler", "StreamingRequestHandler")) == (problem.handler, problem.expected)
    assert "Bind a class that derives from" in str(problem)


@pytest.mark.parametrize("request_type", [int, Told, Answer, "Ask", None, Ask()])
def test_what_is_no_request_class_is_refused(request_type: Any) -> None:
    """Another class, an event, a response, a name, nothing, an object."""
    (problem,) = problems_of((request_type, AskHandler))

    assert isinstance(problem, errors.NotAMessage)
    assert (request_type, cqrs.Request) == (problem.target, problem.expected)
    assert "derives from cqrs_core.Request" in str(problem)


class Blocking(cqrs.RequestHandler[Ask, Answer]):
    def handle(self, request: Ask) -> Answer:  # type: ignore[override]  # that is the mistake
        return Answer(1)


class Yielding(cqrs.RequestHandler[Ask, Answer]):
    async def handle(self, request: Ask) -> Any:
        yield Answer(1)


class NotYielding(cqrs.StreamingRequestHandler[Ask, Answer]):
    async def handle(self, request: Ask) -> Any:  # type: ignore[override]  # that is the mistake
        return Answer(1)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (Blocking, "an `async def` without `yield`"),
        (Yielding, "an `async def` without `yield`"),
        (NotYielding, "an `async def` with `yield`"),
    ],
)
def test_a_handle_that_cannot_be_run_is_refused(handler: Any, expected: str) -> None:
    """A plain function, and a generator where a coroutine function should be, or the other way round."""
    (problem,) = problems_of((Ask, handler))

    assert isinstance(problem, errors.HandlerNotAsync)
    assert (handler, expected) == (problem.handler, problem.expected)
    assert f"{handler.__qualname__}.handle cannot be run: it must be {expected}." == str(problem)


class Unfinished(cqrs.RequestHandler[Ask, Answer]):
    pass


def test_a_handler_without_handle_is_refused() -> None:
    """It could not be built."""
    (problem,) = problems_of((Ask, Unfinished))

    assert isinstance(problem, errors.HandlerIncomplete)
    assert (Unfinished, ("handle",)) == (problem.handler, problem.methods)
    assert "Unfinished does not define handle" in str(problem)


class WrongAnswer(cqrs.RequestHandler[Ask, str]):
    async def handle(self, request: Ask) -> str:
        return "42"


def test_a_handler_that_answers_with_another_type_is_refused() -> None:
    """The request promises Answer to whoever sends it."""
    (problem,) = problems_of((Ask, WrongAnswer))

    assert isinstance(problem, errors.WrongResponse)
    assert (WrongAnswer, Ask, Answer, str) == (
        problem.handler,
        problem.request_type,
        problem.promised_type,
        problem.declared_type,
    )


class Loose(cqrs.Request):  # type: ignore[type-arg]  # as users of python-cqrs write it
    pass


class LooseHandler(cqrs.RequestHandler[Loose, Answer]):
    async def handle(self, request: Loose) -> Answer:
        return Answer(1)


def test_a_handler_that_answers_with_anything_may_answer_with_what_is_promised() -> None:
    """Any is no promise that could be broken, though it is a class from Python 3.11 on."""

    class AnythingHandler(cqrs.RequestHandler[Ask, Any]):
        async def handle(self, request: Ask) -> Any:
            return Answer(42)

    requests = cqrs.RequestMap()
    requests.add(AnythingHandler)

    assert [] == requests.problems()


def test_for_a_request_without_parameter_the_handlers_word_counts() -> None:
    """Nothing was promised, so nothing is broken."""
    assert bootstrap(commands_mapper=lambda requests: requests.bind(Loose, LooseHandler)) is not None


class Storage(Protocol):
    def save(self) -> None: ...


class NeedsStorage(cqrs.RequestHandler[Ask, Answer]):
    def __init__(self, storage: Storage) -> None: ...

    async def handle(self, request: Ask) -> Answer:
        return Answer(1)


def test_a_dependency_that_nobody_provides_is_reported_with_parameter_and_annotation() -> None:
    """Issue: a missing dependency names handler, parameter and annotation."""
    (problem,) = problems_of((Ask, NeedsStorage))

    assert isinstance(problem, errors.MissingDependency)
    assert isinstance(problem, LookupError)
    assert (NeedsStorage, "storage", Storage) == (problem.dependent, problem.parameter, problem.annotation)
    assert "container.transient(Storage, a_factory)" in str(problem)


# chains --------------------------------------------------------------------------------------------------------------


class Link(cqrs.CORRequestHandler[Ask, Answer]):
    async def handle(self, request: Ask) -> Answer | None:
        return await self.next(request)


class LinkOfTell(cqrs.CORRequestHandler[Tell, None]):
    async def handle(self, request: Tell) -> None:
        return await self.next(request)


def test_an_empty_chain_is_refused() -> None:
    """Nobody would answer."""
    (problem,) = problems_of((Ask, []))

    assert isinstance(problem, errors.EmptyChain)
    assert Ask is problem.request_type


def test_each_link_of_a_chain_is_checked() -> None:
    """A handler that is no link, and a link of another request, are reported both."""
    wrong_kind, wrong_request = problems_of((Ask, [Link, AskHandler, LinkOfTell]))

    assert isinstance(wrong_kind, errors.NotAHandler)
    assert ("CORRequestHandler",) == wrong_kind.expected
    assert isinstance(wrong_request, errors.WrongHandler)
    assert LinkOfTell is wrong_request.handler


def test_a_link_alone_is_not_a_handler() -> None:
    """A chain of one is written as a list of one, so that nobody is surprised by what next() does."""
    (problem,) = problems_of((Ask, Link))

    assert isinstance(problem, errors.NotAHandler)


# events --------------------------------------------------------------------------------------------------------------


class Payload(cqrs.Response):
    text: str


class OtherPayload(cqrs.Response):
    text: str


class PayloadHandler(cqrs.EventHandler[cqrs.NotificationEvent[Payload]]):
    async def handle(self, event: cqrs.NotificationEvent[Payload]) -> None:
        return None


@pytest.mark.parametrize(
    ("event", "handler", "error"),
    [
        (Heard, ToldHandler, errors.WrongHandler),
        (cqrs.NotificationEvent[OtherPayload], PayloadHandler, errors.WrongHandler),
        (Told, AskHandler, errors.NotAHandler),
        (Told, [ToldHandler], errors.NotAHandler),
        (Ask, ToldHandler, errors.NotAMessage),
        (cqrs.Request[int], ToldHandler, errors.NotAMessage),
    ],
)
def test_wrong_bindings_of_events_are_refused(event: Any, handler: Any, error: type[errors.CqrsError]) -> None:
    """As for requests; of a notification, the payload's type counts."""
    (problem,) = event_problems_of((event, handler))

    assert error is type(problem)


class Changed(cqrs.DomainEvent, Generic[T]):
    pass


class OnAnything(cqrs.EventHandler[cqrs.Event]):
    async def handle(self, event: cqrs.Event) -> None:
        return None


def _bind_twice(first: Any, then: Any, options: dict[str, Any], other_options: dict[str, Any]) -> cqrs.EventMap:
    events = cqrs.EventMap()
    events.bind(first, OnAnything, **options)
    events.bind(then, OnAnything, **other_options)
    return events


def test_a_handler_that_is_bound_to_an_event_again_and_not_alike_is_told() -> None:
    """It would run once, as it was bound first: what was bound then would be lost."""
    retry = cqrs.RetryPolicy()
    (problem,) = _bind_twice(Told, Told, {"timeout_s": 5}, {"timeout_s": 5, "retry": retry}).problems()

    assert isinstance(problem, errors.ConflictingBindings)
    assert isinstance(problem, KeyError)
    assert (Told, OnAnything) == (problem.event_type, problem.handler)
    assert ({"retry": None}, {"retry": retry}) == (problem.bound, problem.refused)
    assert (
        f"Told is bound to OnAnything twice: with retry=None, and then with retry={retry!r}. "
        "It runs once for each event. Remove one of the two."
    ) == str(problem)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (Changed[int], Changed[str]),
        (cqrs.NotificationEvent[Union[int, str]], cqrs.NotificationEvent[str]),
    ],
)
def test_events_that_are_the_same_to_the_emitter_are_the_same_here(first: Any, then: Any) -> None:
    """A type parameter counts in notifications only, and there each of a union."""
    (problem,) = _bind_twice(first, then, {}, {"timeout_s": 5}).problems()

    assert isinstance(problem, errors.ConflictingBindings)


@pytest.mark.parametrize(
    ("first", "then", "options", "other_options"),
    [
        (Told, Told, {"retry": cqrs.RetryPolicy()}, {"retry": cqrs.RetryPolicy()}),
        (Told, Heard, {"timeout_s": 5}, {}),
        (Told, cqrs.Event, {"timeout_s": 5}, {}),
        (cqrs.NotificationEvent[int], cqrs.NotificationEvent[str], {"timeout_s": 5}, {}),
    ],
    ids=["alike", "another event", "its base", "another payload"],
)
def test_a_handler_may_be_bound_again_alike_or_to_another_event(
    first: Any, then: Any, options: dict[str, Any], other_options: dict[str, Any]
) -> None:
    """Nothing is lost: of an event and its base, the more specific binding is meant."""
    assert [] == _bind_twice(first, then, options, other_options).problems()


def test_fallbacks_and_their_breakers_count_as_options_too() -> None:
    """Each is named by what was given."""
    breaker = cqrs.LocalCircuitBreaker()
    events = cqrs.EventMap()
    events.bind(Told, cqrs.EventHandlerFallback(ToldHandler, OnAnything, circuit_breaker=breaker))
    events.bind(Told, ToldHandler)
    (problem,) = events.problems()

    assert isinstance(problem, errors.ConflictingBindings)
    assert {"fallback": OnAnything, "failure_exceptions": (), "circuit_breaker": breaker} == problem.bound
    assert "with fallback=OnAnything, failure_exceptions=(), circuit_breaker=<" in str(problem)


# Circuits ------------------------------------------------------------------------------------------------------------


def made() -> Any:
    """Make a handler as a program does that has many alike."""

    class Made(cqrs.RequestHandler[Any, Any]):
        async def handle(self, request: Any) -> Any:
            return None

    return Made


def circuits(*breakers: Any, handlers: Any = None) -> list[errors.CqrsError]:
    """What is wrong if two handlers of one name are guarded by these breakers."""
    requests = cqrs.RequestMap()
    for request_type, handler, breaker in zip((Ask, Tell), handlers or (made(), made()), breakers, strict=True):
        fallback = cqrs.RequestHandlerFallback(handler, made(), circuit_breaker=breaker)
        requests.bind(request_type, fallback)
    return requests.problems()


@pytest.mark.parametrize("breaker", [cqrs.LocalCircuitBreaker(), "aiobreaker"], ids=["an object", "a name"])
def test_two_classes_of_one_name_cannot_have_one_breaker(breaker: Any) -> None:
    """It knows circuits by names: it would refuse calls of one because the other fails."""
    (problem,) = circuits(breaker, breaker)

    assert isinstance(problem, errors.CircuitNotUnique)
    assert isinstance(problem, ValueError)
    assert (f"{__name__}.made.<locals>.Made", (Ask, Tell)) == (problem.circuit, problem.message_types)
    assert (
        f"Ask and Tell are bound to two classes of one name, {__name__}.made.<locals>.Made, and to one circuit "
        "breaker, which would take the two for one. Give one of them another __qualname__, or another breaker."
    ) == str(problem)


def test_one_class_may_have_one_circuit_for_two_messages() -> None:
    """The circuit is the handler's; and two breakers do not know of each other."""
    breaker, handler = cqrs.LocalCircuitBreaker(), made()

    assert [] == circuits(breaker, breaker, handlers=(handler, handler))
    assert [] == circuits(breaker, cqrs.LocalCircuitBreaker())
    assert [] == circuits(None, None)


def test_handlers_of_events_have_circuits_of_their_own_as_well() -> None:
    """The same for two classes of one name that handle events."""

    def made_to_listen() -> Any:
        class Listening(cqrs.EventHandler[Any]):
            async def handle(self, event: Any) -> None:
                return None

        return Listening

    breaker = cqrs.LocalCircuitBreaker()
    events = cqrs.EventMap()
    events.bind(Told, cqrs.EventHandlerFallback(made_to_listen(), OnAnything, circuit_breaker=breaker))
    events.bind(Heard, cqrs.EventHandlerFallback(made_to_listen(), OnAnything, circuit_breaker=breaker))
    (problem,) = events.problems()

    assert isinstance(problem, errors.CircuitNotUnique)


def test_one_handler_may_serve_several_events() -> None:
    """A union as type parameter, bound by hand or by add."""

    class Both(cqrs.EventHandler["Told | Heard"]):
        async def handle(self, event: Told | Heard) -> None:
            return None

    def mapper(events: cqrs.EventMap) -> None:
        events.add(Both)
        events.bind(Told, Both)

    assert bootstrap_events(events_mapper=mapper) is not None


# add -----------------------------------------------------------------------------------------------------------------


async def test_add_binds_a_handler_to_the_request_that_its_type_parameters_name() -> None:
    """The name need not be written twice."""
    mediator = bootstrap(commands_mapper=lambda requests: requests.add(AskHandler))

    assert Answer(42) == await mediator.send(Ask())


class Undeclared(cqrs.RequestHandler[Any, Any]):
    async def handle(self, request: Any) -> Any:
        return None


class Open(cqrs.RequestHandler[T, int], Generic[T]):  # type: ignore[type-var]  # left open on purpose
    async def handle(self, request: T) -> int:
        return 1


@pytest.mark.parametrize("handler", [Open, int])
def test_add_refuses_a_handler_that_names_no_message(handler: Any) -> None:
    """A type variable, or no handler at all."""
    with pytest.raises(errors.WiringError) as caught:
        bootstrap(commands_mapper=lambda requests: requests.add(handler))

    (problem,) = caught.value.problems
    assert isinstance(problem, errors.UndeclaredMessage)
    assert handler is problem.handler
    assert "use bind(YourRequest, YourHandler)" in str(problem)


# generic messages ----------------------------------------------------------------------------------------------------


class Page(cqrs.Request[list[T]], Generic[T]):
    number: int


class PageHandler(cqrs.RequestHandler[Page[Any], list[Any]]):
    async def handle(self, request: Page[Any]) -> list[Any]:
        return [request.number]


async def test_a_generic_request_is_served_by_its_class() -> None:
    """Page[int](1) is an instance of Page."""
    mediator = bootstrap(commands_mapper=lambda requests: requests.add(PageHandler))

    assert [1] == await mediator.send(Page[int](1))
    assert [2] == await mediator.send(Page(2))


# everything at once --------------------------------------------------------------------------------------------------


def test_a_missing_dependency_is_reported_beside_wrong_bindings() -> None:
    """Whoever mends the one need not start again to learn of the other."""
    problems = problems_of((Ask, NeedsStorage), (Tell, AskHandler))

    assert {errors.WrongHandler, errors.MissingDependency} == {type(problem) for problem in problems}


def test_one_handler_that_is_bound_twice_is_told_so() -> None:
    """There is nothing to choose between."""
    (problem,) = problems_of((Ask, AskHandler), (Ask, AskHandler))

    assert "Ask is bound to AskHandler twice. Remove one of the two." == str(problem)


def test_everything_that_is_wrong_is_reported_at_once() -> None:
    """Requests and events, each fault with its own text, numbered; nothing has been started."""

    def requests(mapper: cqrs.RequestMap) -> None:
        mapper.bind(Ask, TellHandler)  # type: ignore[type-var]  # that is the mistake
        mapper.bind(Ask, Blocking)
        mapper.bind(Tell, int)  # type: ignore[arg-type]  # that is the mistake

    with pytest.raises(errors.WiringError) as caught:
        bootstrap(
            commands_mapper=requests,
            domain_events_mapper=lambda mapper: mapper.bind(Heard, ToldHandler),  # type: ignore[arg-type]  # ditto
        )

    assert [
        errors.WrongHandler,
        errors.WrongHandler,
        errors.HandlerNotAsync,
        errors.DuplicateHandler,
        errors.NotAHandler,
    ] == [type(problem) for problem in caught.value.problems]
    assert "5 wiring problems:\n1. Heard is bound to ToldHandler" in str(caught.value)


# frozen --------------------------------------------------------------------------------------------------------------


def test_a_map_cannot_be_changed_after_the_mediator_was_built() -> None:
    """The mediator would not see it; the error names the map, the message and the cure."""
    kept: list[Any] = []
    bootstrap(commands_mapper=kept.append, domain_events_mapper=kept.append)
    requests, events = sorted(kept, key=lambda kept_map: type(kept_map).__name__, reverse=True)

    with pytest.raises(errors.MapFrozen, match="Bind everything first") as caught:
        requests.bind(Ask, AskHandler)
    with pytest.raises(errors.MapFrozen):
        events.add(ToldHandler)

    assert ("RequestMap", Ask) == (caught.value.map_name, caught.value.message_type)
    assert isinstance(caught.value, RuntimeError)


# middlewares ---------------------------------------------------------------------------------------------------------


class RequestsOnly:
    async def __call__(self, request: Any, handle: Any) -> Any:
        return await handle(request)


class CountHandler(cqrs.StreamingRequestHandler[Ask, Answer]):
    async def handle(self, request: Ask) -> AsyncIterator[Answer]:
        yield Answer(1)


def test_a_middleware_that_cannot_wrap_a_stream_is_refused_and_not_ignored() -> None:
    """python-cqrs takes middlewares for streams, and never runs them."""
    with pytest.raises(errors.WiringError) as caught:
        bootstrap_streaming(
            commands_mapper=lambda requests: requests.bind(Ask, CountHandler),
            middlewares=[RequestsOnly()],  # type: ignore[list-item]  # that is the mistake
        )

    (problem,) = caught.value.problems
    assert isinstance(problem, errors.MiddlewareUnusable)
    assert "stream" == problem.kind
    assert "it needs `async def stream(self, request, handle)` with `yield`" in str(problem)


class NotStreaming(RequestsOnly):
    async def stream(self, request: Any, handle: Any) -> Any:
        return handle(request)  # forgotten: yield


def test_a_stream_middleware_that_does_not_yield_is_refused() -> None:
    """Iterating over it would fail with the first message."""
    with pytest.raises(errors.WiringError, match="cannot wrap a stream"):
        bootstrap_streaming(
            commands_mapper=lambda requests: requests.bind(Ask, CountHandler),
            middlewares=[NotStreaming()],  # type: ignore[list-item]  # that is the mistake
        )


def test_a_middleware_class_in_place_of_an_object_is_refused() -> None:
    """Calling the class would make an object instead of handling anything."""
    with pytest.raises(errors.WiringError, match="cannot wrap a request"):
        bootstrap(
            commands_mapper=lambda requests: requests.bind(Ask, AskHandler),
            middlewares=[RequestsOnly],  # type: ignore[list-item]  # that is the mistake
        )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_concurrent_event_handlers": 0, "concurrent_event_handle_enable": True}, "max_concurrent_event_handlers"),
        ({"max_event_depth": 0}, "max_event_depth"),
        ({"max_event_depth": 1.5}, "max_event_depth"),
        ({"max_event_depth": None}, "max_event_depth"),
        ({"message_broker": "kafka://localhost"}, "message_broker"),
        ({"event_errors": "ignore"}, "event_errors"),
    ],
)
def test_an_option_that_means_nothing_is_refused(options: dict[str, Any], named: str) -> None:
    """The error names the option, its value and what it may be."""
    with pytest.raises(errors.WiringError) as caught:
        bootstrap(**options)

    (problem,) = caught.value.problems
    assert isinstance(problem, errors.InvalidOption)
    assert named == problem.option


# annotations that mean nothing ---------------------------------------------------------------------------------------


class OfNowhere(cqrs.RequestHandler["Nowhere", Answer]):  # type: ignore[name-defined, type-var]  # there is no such class
    async def handle(self, request: Any) -> Answer:
        return Answer(1)


class EventOfNowhere(cqrs.EventHandler["Nowhere"]):  # type: ignore[name-defined, type-var]  # there is no such class
    async def handle(self, event: Any) -> None:
        return None


def test_a_type_parameter_that_means_nothing_is_reported_with_the_rest() -> None:
    """By bind and by add, for requests and for events; the error names the class and what it speaks of."""

    def requests(mapper: cqrs.RequestMap) -> None:
        mapper.bind(Ask, OfNowhere)
        mapper.add(OfNowhere)

    def events(mapper: cqrs.EventMap) -> None:
        mapper.bind(Told, EventOfNowhere)
        mapper.add(EventOfNowhere)

    with pytest.raises(errors.WiringError) as caught:
        bootstrap(commands_mapper=requests, domain_events_mapper=events)

    problems = caught.value.problems
    assert [errors.UnresolvedAnnotation] * 2 == [type(problem) for problem in problems]  # each told once
    assert {(OfNowhere, "Nowhere"), (EventOfNowhere, "Nowhere")} == {
        (problem.owner, problem.text) for problem in problems if isinstance(problem, errors.UnresolvedAnnotation)
    }


def test_maps_can_be_looked_through() -> None:
    """How many bindings there are, and which, in their order."""
    requests, events = cqrs.RequestMap(), cqrs.EventMap()
    requests.bind(Ask, AskHandler)
    requests.bind(Tell, TellHandler)
    events.bind(Told, ToldHandler)

    assert (2, 1) == (len(requests), len(events))
    assert [Ask, Tell] == [binding.request_type for binding in requests]
    assert [(Told, ToldHandler)] == [(binding.event_type, binding.handler) for binding in events]


def test_two_chains_for_one_request_are_named_by_their_links() -> None:
    """Lists are shown as lists."""
    (problem,) = problems_of((Ask, [Link]), (Ask, AskHandler))

    assert "Ask is bound to [Link] and to AskHandler." in str(problem)
