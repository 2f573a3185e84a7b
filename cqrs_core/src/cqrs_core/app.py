"""One object that holds what a program is made of: maps, container, mediators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cqrs_core.emitter import EventEmitter
from cqrs_core.errors import AppNotStarted, AppStarted
from cqrs_core.injection import SimpleContainer
from cqrs_core.maps import EventMap, RequestMap
from cqrs_core.mediators import EventMediator, RequestMediator, StreamingRequestMediator
from cqrs_core.wiring import HandlerSource, wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterable

    from cqrs_core.broker import Publisher
    from cqrs_core.container import Container
    from cqrs_core.messages import Event, Request
    from cqrs_core.pipeline import EventMiddleware, RequestMiddleware

R = TypeVar("R")


class App:
    """
    A program that handles messages.

    Bind handlers to :attr:`requests` and :attr:`events`, then use it inside ``async with app:``. Handlers may ask for
    the App, or for one of its mediators, in their constructors.

    Attributes:
        name: What it is called.
        requests: What serves which request, streams too.
        events: Which handlers an event has.
    """

    def __init__(
        self,
        name: str,
        *,
        container: Container | None = None,
        publisher: Publisher | None = None,
        middlewares: Iterable[RequestMiddleware] = (),
        event_middlewares: Iterable[EventMiddleware] = (),
        max_concurrent_event_handlers: int = 1,
        max_event_depth: int = 32,
        event_errors: Literal["raise", "log"] = "raise",
        polymorphic: bool = False,
    ) -> None:
        """
        Make an App; nothing is started, and nothing checked, before it is entered.

        Args:
            name: For people, and for what has to be told apart by it.
            container: Makes handlers and what they need. Given, it is the caller's to close; else the App makes a
                ``SimpleContainer``, and closes it when it stops.
            publisher: Takes the notifications that handlers emit. Without one, emitting one is an error.
            middlewares: Wrap all requests, outermost first; for streams, by their method ``stream``.
            event_middlewares: Wrap all events, outermost first, once for each handler.
            max_concurrent_event_handlers: How many handlers of events one message may have running at a time; with 1
                they run one after the other.
            max_event_depth: How many levels of events that events lead to are allowed.
            event_errors: Whether errors of event handlers are raised, together, when all have run, or only logged.
            polymorphic: Whether an event reaches the handlers that are bound to its base classes as well.
        """
        self.name = name
        self.requests = RequestMap()
        self.events = EventMap()
        self._own_container = SimpleContainer() if container is None else None
        source = HandlerSource(self._own_container or container)
        source.offer_as_all(self, App)
        self._emitter = EventEmitter(
            self.events,
            source,
            publisher=publisher,
            middlewares=event_middlewares,
            max_concurrent_handlers=max_concurrent_event_handlers,
            max_event_depth=max_event_depth,
            on_error=event_errors,
            is_polymorphic=polymorphic,
        )
        middlewares = tuple(middlewares)
        self._requests = RequestMediator(self.requests, source, self._emitter, middlewares=middlewares)
        self._streams = StreamingRequestMediator(self.requests, source, self._emitter, middlewares=middlewares)
        self._events = EventMediator(source, self._emitter)
        self._is_started = False

    async def __aenter__(self) -> App:
        """
        Check the wiring, and start. An App that was stopped may be started again.

        Raises:
            WiringError: With everything that is wrong with the bindings, all at once.
            AppStarted: It is started already.
        """
        if self._is_started:
            raise AppStarted(self.name)
        wire(self._emitter, self._requests, self._streams)
        self._is_started = True
        return self

    async def __aexit__(self, *_: object) -> None:
        """
        Stop: nothing can be sent any more, and what the App's own container made is ended.

        Messages that other tasks have under way are not waited for: end those tasks before leaving the block.
        """
        self._is_started = False
        if self._own_container is not None:
            await self._own_container.aclose()

    def send(self, request: Request[R]) -> Coroutine[Any, Any, R]:
        """Send *request* to its handler, as :meth:`RequestMediator.send` does; outside the block, ``AppNotStarted``."""
        self._check_started()
        return self._requests.send(request)

    def stream(self, request: Request[R]) -> AsyncGenerator[R, None]:
        """Iterate over the answers to *request*; as :meth:`StreamingRequestMediator.stream`, and as :meth:`send`."""
        self._check_started()
        return self._streams.stream(request)

    def publish(self, event: Event) -> Coroutine[Any, Any, None]:
        """
        Publish *event* as if a handler had emitted it: to its handlers here, or, a notification, to other processes.

        Raises:
            EventHandlersFailed: Some handlers failed. All others ran.
            AppNotStarted: Outside the block.
        """
        self._check_started()
        return self._emitter.emit((event,))

    def _check_started(self) -> None:
        if not self._is_started:
            raise AppNotStarted(self.name)
