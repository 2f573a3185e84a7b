"""
Functions that build one mediator each, with the names and parameters that users of python-cqrs know.

A mediator that is built here can be kept for good: it works in any number of event loops, one after the other. For a
program with several mediators, and for what it shares between them, see :class:`cqrs_core.App`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Literal, TypeVar

from cqrs_core.broker import Publisher, missing_methods
from cqrs_core.concurrency import Once
from cqrs_core.emitter import EventEmitter
from cqrs_core.errors import InvalidOption
from cqrs_core.maps import EventMap, RequestMap, is_coroutine_callable
from cqrs_core.mediators import EventMediator, RequestMediator, StreamingRequestMediator
from cqrs_core.resilience.guards import Guards
from cqrs_core.wiring import HandlerSource, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cqrs_core.breaker import CircuitBreaker
    from cqrs_core.broker import Broker
    from cqrs_core.clock import Clock
    from cqrs_core.container import Container
    from cqrs_core.pipeline import EventMiddleware, RequestMiddleware, StreamMiddleware
    from cqrs_core.saga.mediator import SagaMediator
    from cqrs_core.saga.options import SagaOptions
    from cqrs_core.saga.saga_map import SagaMap
    from cqrs_core.saga.storage import SagaStorage

    FillRequests = Callable[[RequestMap], object]
    FillEvents = Callable[[EventMap], object]
    OnStartup = Iterable[Callable[[], object]]

Map = TypeVar("Map", RequestMap, EventMap)


def bootstrap(
    di_container: Container | None = None,
    *,
    message_broker: Broker | Publisher | None = None,
    middlewares: Iterable[RequestMiddleware] | None = None,
    event_middlewares: Iterable[EventMiddleware] | None = None,
    commands_mapper: FillRequests | None = None,
    queries_mapper: FillRequests | None = None,
    domain_events_mapper: FillEvents | None = None,
    on_startup: OnStartup | None = None,
    max_concurrent_event_handlers: int = 1,
    concurrent_event_handle_enable: bool = False,
    max_event_depth: int = 32,
    event_errors: Literal["raise", "log"] = "raise",
    polymorphic: bool = False,
) -> RequestMediator:
    """
    Build a mediator for commands and queries.

    Args:
        di_container: Makes handlers and what they need; a new ``SimpleContainer`` unless given.
        message_broker: Takes the notifications that handlers emit. A broker is started with the first of them; stop it
            when the program ends: ``await broker.stop()``. Without one, emitting one is an error.
        middlewares: Wrap all requests, outermost first.
        event_middlewares: Wrap all events, outermost first, once for each handler.
        commands_mapper: Is called with the map of requests, to bind commands.
        queries_mapper: Is called with the same map, to bind queries.
        domain_events_mapper: Is called with the map of events.
        on_startup: Run once, in order: functions now, before anything is bound; coroutine functions before the first
            message.
        max_concurrent_event_handlers: How many handlers of events one ``send`` may have running at a time.
        concurrent_event_handle_enable: Whether they may run at the same time at all.
        max_event_depth: How many levels of events that events lead to are allowed.
        event_errors: Whether errors of event handlers are raised, together, when all have run, or only logged.
        polymorphic: Whether an event reaches the handlers that are bound to its base classes as well.

    Raises:
        WiringError: With everything that is wrong with the bindings, all at once.
    """
    startup = _startup(on_startup)
    source = HandlerSource(di_container)
    guards = Guards(open_breaker=open_breaker)
    emitter = EventEmitter(
        _filled(EventMap(), domain_events_mapper),
        source,
        publisher=_publisher(message_broker),
        middlewares=event_middlewares or (),
        max_concurrent_handlers=max_concurrent_event_handlers if concurrent_event_handle_enable else 1,
        max_event_depth=max_event_depth,
        on_error=event_errors,
        is_polymorphic=polymorphic,
        guards=guards,
    )
    requests = _filled(RequestMap(), commands_mapper, queries_mapper)
    mediator = RequestMediator(requests, source, emitter, middlewares=middlewares or (), startup=startup, guards=guards)
    wire(emitter, mediator)
    return mediator


def bootstrap_streaming(
    di_container: Container | None = None,
    *,
    message_broker: Broker | Publisher | None = None,
    middlewares: Iterable[StreamMiddleware] | None = None,
    event_middlewares: Iterable[EventMiddleware] | None = None,
    commands_mapper: FillRequests | None = None,
    queries_mapper: FillRequests | None = None,
    domain_events_mapper: FillEvents | None = None,
    on_startup: OnStartup | None = None,
    max_concurrent_event_handlers: int = 10,
    concurrent_event_handle_enable: bool = True,
    max_event_depth: int = 32,
    event_errors: Literal["raise", "log"] = "raise",
    polymorphic: bool = False,
) -> StreamingRequestMediator:
    """
    Build a mediator for requests that are answered by streams.

    Parameters and errors are those of :func:`bootstrap`, but event handlers run side by side, ten at a time, unless
    said otherwise, and *middlewares* are asked for their method ``stream``.
    """
    startup = _startup(on_startup)
    source = HandlerSource(di_container)
    guards = Guards(open_breaker=open_breaker)
    emitter = EventEmitter(
        _filled(EventMap(), domain_events_mapper),
        source,
        publisher=_publisher(message_broker),
        middlewares=event_middlewares or (),
        max_concurrent_handlers=max_concurrent_event_handlers if concurrent_event_handle_enable else 1,
        max_event_depth=max_event_depth,
        on_error=event_errors,
        is_polymorphic=polymorphic,
        guards=guards,
    )
    requests = _filled(RequestMap(), commands_mapper, queries_mapper)
    mediator = StreamingRequestMediator(
        requests, source, emitter, middlewares=middlewares or (), startup=startup, guards=guards
    )
    wire(emitter, mediator)
    return mediator


def bootstrap_events(
    di_container: Container | None = None,
    *,
    message_broker: Broker | Publisher | None = None,
    middlewares: Iterable[EventMiddleware] | None = None,
    events_mapper: FillEvents | None = None,
    on_startup: OnStartup | None = None,
    max_concurrent_event_handlers: int = 1,
    concurrent_event_handle_enable: bool = False,
    max_event_depth: int = 32,
    polymorphic: bool = False,
) -> EventMediator:
    """
    Build a mediator for events that come from outside, such as from a consumer of a broker.

    Args:
        di_container: As for :func:`bootstrap`, as are those that are not named here.
        message_broker: Takes the notifications that the handlers emit.
        middlewares: Wrap all events, outermost first, once for each handler.
        events_mapper: Is called with the map of events.

    Raises:
        WiringError: With everything that is wrong with the bindings, all at once.
    """
    startup = _startup(on_startup)
    source = HandlerSource(di_container)
    guards = Guards(open_breaker=open_breaker)
    emitter = EventEmitter(
        _filled(EventMap(), events_mapper),
        source,
        publisher=_publisher(message_broker),
        middlewares=middlewares or (),
        max_concurrent_handlers=max_concurrent_event_handlers if concurrent_event_handle_enable else 1,
        max_event_depth=max_event_depth,
        is_polymorphic=polymorphic,
        guards=guards,
    )
    mediator = EventMediator(source, emitter, startup=startup)
    wire(emitter, mediator)
    return mediator


def bootstrap_sagas(
    di_container: Container | None = None,
    *,
    message_broker: Broker | Publisher | None = None,
    event_middlewares: Iterable[EventMiddleware] | None = None,
    sagas_mapper: Callable[[SagaMap], object] | None = None,
    domain_events_mapper: FillEvents | None = None,
    saga_storage: SagaStorage | None = None,
    on_startup: OnStartup | None = None,
    max_concurrent_event_handlers: int = 1,
    concurrent_event_handle_enable: bool = False,
    max_event_depth: int = 32,
    polymorphic: bool = False,
    options: SagaOptions | None = None,
    clock: Clock | None = None,
) -> SagaMediator:
    """
    Build a mediator for sagas.

    Args:
        di_container: As for :func:`bootstrap`, as are those that are not named here.
        message_broker: Takes the notifications of steps, when a step is durable: at most once.
        sagas_mapper: Is called with the map of sagas.
        saga_storage: Where sagas are kept; in the memory of this process unless given.
        options: How they are driven.
        clock: Measures leases, delays and deadlines.

    Raises:
        WiringError: With everything that is wrong with the bindings, all at once.
    """
    # A program without sagas pays nothing for them.
    from cqrs_core.memory import MemorySagaStorage  # noqa: PLC0415
    from cqrs_core.saga.mediator import SagaMediator  # noqa: PLC0415
    from cqrs_core.saga.saga_map import SagaMap  # noqa: PLC0415

    startup = _startup(on_startup)
    source = HandlerSource(di_container)
    guards = Guards(clock=clock, open_breaker=open_breaker)
    emitter = EventEmitter(
        _filled(EventMap(), domain_events_mapper),
        source,
        publisher=_publisher(message_broker),
        middlewares=event_middlewares or (),
        max_concurrent_handlers=max_concurrent_event_handlers if concurrent_event_handle_enable else 1,
        max_event_depth=max_event_depth,
        is_polymorphic=polymorphic,
        guards=guards,
    )
    saga_map = SagaMap()
    if sagas_mapper is not None:
        sagas_mapper(saga_map)
    mediator = SagaMediator(
        saga_map,
        source,
        emitter,
        MemorySagaStorage(clock=guards.clock) if saga_storage is None else saga_storage,
        startup=startup,
        guards=guards,
        options=options,
        clock=guards.clock,
    )
    wire(emitter, mediator)
    return mediator


def _filled(target: Map, *fillers: Callable[[Map], object] | None) -> Map:
    for fill in fillers:
        if fill is not None:
            fill(target)
    return target


def _publisher(message_broker: Broker | Publisher | None) -> Publisher | None:
    if message_broker is None or isinstance(message_broker, Publisher) or missing_methods(message_broker):
        return message_broker  # type: ignore[return-value]  # or something else, which the emitter refuses
    from cqrs_core.traffic import BrokerPublisher  # noqa: PLC0415 - only who has a broker pays for it

    return BrokerPublisher(message_broker)


def open_breaker(spec: str) -> CircuitBreaker:
    """Find a circuit breaker by its name, or URL, among the plug-ins."""
    from cqrs_core.plugins import open_backend  # noqa: PLC0415 - only who names one pays for it

    return open_backend("circuit_breaker", spec)


def _startup(steps: OnStartup | None) -> Once:
    """Run the plain functions, and keep the coroutine functions for the first message."""
    later = []
    for step in steps or ():
        if is_coroutine_callable(step):
            later.append(step)
            continue
        result = step()
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise InvalidOption("on_startup", step, "coroutine functions, and functions that leave nothing to await")
    return Once(later)  # type: ignore[arg-type]  # the coroutine functions among them
