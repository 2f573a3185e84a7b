"""One attempt at handling a request, and the middlewares around it, put together once for each request type."""

from __future__ import annotations

import inspect
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

from cqrs_core.errors import CqrsError, EventHandlersFailed, MiddlewareUnusable
from cqrs_core.handlers import EventSource, rest_of_chain

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from cqrs_core.messages import Event, Request
    from cqrs_core.resilience.deadline import Deadline
    from cqrs_core.wiring import HandlerSource, OpenScope, Resolve

    #: Hands a handler's events on: with the resolver of the scope that is open, if one is, and with its response.
    Emit = Callable[[Sequence[Event], Resolve | None, object], Awaitable[None]]
    #: Handles one request, or one event.
    Handle = Callable[[Any], Awaitable[Any]]
    #: Answers one request by a stream.
    Stream = Callable[[Any], AsyncGenerator[Any, None]]


class RequestMiddleware(Protocol):
    """Wraps the handling of requests: ``async def __call__(self, request, handle)``."""

    def __call__(self, request: Any, handle: Handle, /) -> Awaitable[Any]:  # noqa: ANN401 - of any request type
        """
        Do something around ``await handle(request)``, and return the response.

        It runs once for each ``send``. Not calling *handle* answers in the handler's place; another request may be
        passed on.
        """
        ...


class EventMiddleware(Protocol):
    """Wraps the handling of events: ``async def __call__(self, event, handle)``."""

    def __call__(self, event: Any, handle: Handle, /) -> Awaitable[Any]:  # noqa: ANN401 - of any event type
        """Do something around ``await handle(event)``. It runs once for each handler of the event."""
        ...


class StreamMiddleware(Protocol):
    """Wraps the answering of requests by streams: ``async def stream(self, request, handle)`` with ``yield``."""

    def stream(self, request: Any, handle: Callable[[Any], AsyncIterator[Any]], /) -> AsyncIterator[Any]:  # noqa: ANN401 - ditto
        """Do something around ``async for answer in handle(request): yield answer``. It runs once for each stream."""
        ...


def middleware_problems(middlewares: Iterable[object], kind: str) -> list[CqrsError]:
    """Tell which *middlewares* cannot wrap a *kind* ("request", "event" or "stream"): errors, none of them raised."""
    method, expected = "__call__", f"`async def __call__(self, {kind}, handle)`"
    if kind == "stream":
        method, expected = "stream", "`async def stream(self, request, handle)` with `yield`"
    return [MiddlewareUnusable(m, kind, expected) for m in middlewares if not _is_usable(m, method)]


def _is_usable(middleware: object, method: str) -> bool:
    function = getattr(middleware, method, None)
    is_stream_without_yield = method == "stream" and inspect.iscoroutinefunction(function)
    return callable(function) and not isinstance(middleware, type) and not is_stream_without_yield


def wrap(handle: Handle, middlewares: Sequence[RequestMiddleware | EventMiddleware]) -> Handle:
    """Put *middlewares*, outermost first, around *handle*."""
    for middleware in reversed(middlewares):
        handle = _step(middleware, handle)
    return handle


def _step(middleware: RequestMiddleware | EventMiddleware, handle: Handle) -> Handle:
    # The bound method, looked up once; and a plain function, so that no coroutine is made but the middleware's own.
    call = middleware.__call__

    def step(message: Any) -> Awaitable[Any]:  # noqa: ANN401 - of the type that is wrapped
        return call(message, handle)

    return step


def wrap_stream(stream: Stream, middlewares: Sequence[StreamMiddleware]) -> Stream:
    """Put *middlewares*, outermost first, around *stream*; when the outermost ends, those inside are closed too."""
    if not middlewares:
        return stream

    async def wrapped(request: Request[Any]) -> AsyncGenerator[Any, None]:
        async with AsyncExitStack() as opened:

            def open_layer(depth: int, request: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - of the type that is wrapped
                if depth == len(middlewares):
                    layer: AsyncIterator[Any] = stream(request)
                else:
                    layer = middlewares[depth].stream(request, lambda inner: open_layer(depth + 1, inner))
                close = getattr(layer, "aclose", None)
                if close is not None:
                    # A middleware that is left early leaves what it iterates over; nobody else would close it in time.
                    opened.push_async_callback(close)
                return layer

            async for answer in open_layer(0, request):
                yield answer

    return wrapped


def attempt(handler_class: type, source: HandlerSource, emit: Emit, deadline: Deadline | None = None) -> Handle:
    """
    Put together one attempt at a request: make its handler, let it handle, hand its events on.

    The cheapest way that the container allows is chosen here, once, instead of for each message.
    """
    if deadline is not None:
        return _attempt_within(handler_class, source, emit, deadline)
    make, open_scope = source.maker(handler_class), source.open_scope
    if make is not None:
        return _attempt_at_once(make, emit)
    if open_scope is not None:
        return _attempt_in_scope(handler_class, source, open_scope, emit)
    return _attempt_by_resolving(handler_class, source.resolver(), emit)


# The three differ in how they come by the handler only. What follows is written out in each: a function for it would
# cost every message a fifth of its time.


def _attempt_at_once(make: Callable[[], Any], emit: Emit) -> Handle:
    async def attempt_at_once(request: Request[Any]) -> Any:  # noqa: ANN401 - the response
        handler = make()
        try:
            response = await handler.handle(request)
        except BaseException:
            handler.take_events()  # the attempt failed, so they did not happen
            raise
        if handler.pending_events:
            await emit(handler.take_events(), None, response)
        return response

    return attempt_at_once


def _attempt_by_resolving(handler_class: type, resolve: Resolve, emit: Emit) -> Handle:
    async def attempt_by_resolving(request: Request[Any]) -> Any:  # noqa: ANN401 - the response
        handler = await resolve(handler_class)
        try:
            response = await handler.handle(request)
        except BaseException:
            handler.take_events()
            raise
        if handler.pending_events:
            await emit(handler.take_events(), resolve, response)
        return response

    return attempt_by_resolving


def _attempt_in_scope(handler_class: type, source: HandlerSource, open_scope: OpenScope, emit: Emit) -> Handle:
    is_built_here = source.builds(handler_class)

    async def attempt_in_scope(request: Request[Any]) -> Any:  # noqa: ANN401 - the response
        scope = open_scope()
        handler: Any = None
        failure: EventHandlersFailed | None = None
        try:
            if is_built_here:
                handler = await source.resolver(scope)(handler_class)
            else:
                handler = await scope.resolve(handler_class)
            response = await handler.handle(request)
            if handler.pending_events:
                try:
                    await emit(handler.take_events(), source.resolver(scope), response)
                except EventHandlersFailed as error:
                    failure = error  # the command has taken effect all the same: the scope ends well
        except BaseException as error:
            try:
                if handler is not None:
                    handler.take_events()
            finally:
                await scope.aclose(error)
            raise
        await scope.aclose()
        if failure is not None:
            raise failure
        return response

    return attempt_in_scope


def _attempt_within(handler_class: type, source: HandlerSource, emit: Emit, deadline: Deadline) -> Handle:
    async def attempt_within(request: Request[Any]) -> Any:  # noqa: ANN401 - the response
        failure: EventHandlersFailed | None = None
        async with source.resolving() as resolve:
            handler = await resolve(handler_class)
            try:
                response = await deadline.call(handler.handle, request, handler_class)
            except BaseException:
                handler.take_events()
                raise
            if handler.pending_events:
                try:
                    await emit(handler.take_events(), resolve, response)
                except EventHandlersFailed as error:
                    failure = error  # as in attempt_in_scope
        if failure is not None:
            raise failure
        return response

    return attempt_within


def chain_attempt(links: Sequence[type], source: HandlerSource, emit: Emit, deadline: Deadline | None = None) -> Handle:
    """Put together one attempt at a request by a chain: the links are tried in turn, events of all that ran go on."""

    async def attempt_chain(request: Request[Any]) -> Any:  # noqa: ANN401 - the response
        failure: EventHandlersFailed | None = None
        async with source.resolving() as resolve:
            ran: list[EventSource] = []
            try:
                handle = _Links(links, resolve, ran).handle
                if deadline is None:
                    response = await handle(request)
                else:
                    response = await deadline.call(handle, request, links[0])
            except BaseException:
                for handler in ran:
                    handler.take_events()
                raise
            events = [event for handler in ran for event in handler.take_events()]
            if events:
                try:
                    await emit(events, resolve, response)
                except EventHandlersFailed as error:
                    failure = error  # as in attempt_in_scope
        if failure is not None:
            raise failure
        return response

    return attempt_chain


class _Links:
    """Those links of a running chain that have not been tried; see :class:`cqrs_core.handlers.RestOfChain`."""

    __slots__ = ("_links", "_ran", "_resolve")

    def __init__(self, links: Sequence[type], resolve: Resolve, ran: list[EventSource]) -> None:
        self._links = links
        self._resolve = resolve
        self._ran = ran

    async def handle(self, request: Any) -> Any:  # noqa: ANN401 - of the chain's own types
        """Let the first link handle *request*; it may ask for the others."""
        first, *others = self._links
        handler = await self._resolve(first)
        if not any(handler is known for known in self._ran):
            self._ran.append(handler)
        token = rest_of_chain.set(_Links(others, self._resolve, self._ran) if others else None)
        try:
            return await handler.handle(request)
        except BaseException:
            handler.take_events()  # even if an earlier link goes on without it
            raise
        finally:
            rest_of_chain.reset(token)


def stream_attempt(handler_class: type, source: HandlerSource, emit: Emit, deadline: Deadline | None = None) -> Stream:
    """Put together one attempt at a stream: one scope, and before each answer the events that it brought."""
    make = source.maker(handler_class)

    async def attempt_stream(request: Request[Any]) -> AsyncGenerator[Any, None]:
        failure: EventHandlersFailed | None = None
        async with AsyncExitStack() as stack:
            resolve: Resolve | None = None
            if make is not None:
                handler = make()
            else:
                resolve = await stack.enter_async_context(source.resolving())
                handler = await resolve(handler_class)
            stack.callback(handler.take_events)  # of an item that was not handed out: they did not happen
            emitted: Sequence[Event] = ()  # those that are being handled now
            answers = handler.handle(request)
            stack.push_async_callback(answers.aclose)  # the consumer may leave early
            if deadline is not None:
                answers = deadline.each(answers, handler_class)
                stack.push_async_callback(answers.aclose)
            try:
                async for answer in answers:
                    if handler.pending_events:
                        emitted = handler.take_events()
                        await emit(emitted, resolve, answer)
                        emitted = ()
                    yield answer
                if handler.pending_events:
                    emitted = handler.take_events()
                    await emit(emitted, resolve, None)
            except EventHandlersFailed as error:
                if not emitted:
                    raise  # the handler's own: of a command that it sent
                failure = error  # as in attempt_in_scope
        if failure is not None:
            raise failure

    return attempt_stream
