"""One attempt at handling a request, and the middlewares around it, put together once for each request type."""

from __future__ import annotations

import inspect
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

from cqrs_core.errors import CqrsError, EventHandlersFailed, MiddlewareUnusable, StreamInsideUnit
from cqrs_core.handlers import EventSource, rest_of_chain

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from cqrs_core.messages import Event, Request
    from cqrs_core.open_unit import OpenUnit
    from cqrs_core.resilience.deadline import Deadline
    from cqrs_core.units import Units
    from cqrs_core.wiring import HandlerSource, OpenScope, Resolve

    #: Hands a handler's events on: with the resolver of the scope that is open, if one is, and with its response.
    Emit = Callable[[Sequence[Event], Resolve | None, object], Awaitable[None]]
    #: Handles one request, or one event.
    Handle = Callable[[Any], Awaitable[Any]]
    #: Handles one request in a scope that is open; gives the response, and the events that are to go on.
    HandleIn = Callable[[Any, Resolve], Awaitable[tuple[Any, Sequence[Event]]]]
    #: The same with the handling of those events; gives the response.
    AttemptIn = Callable[[Any, Resolve], Awaitable[Any]]
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
        return in_scope(handling(handler_class, deadline), source, emit)
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
            try:
                raise failure
            finally:
                del failure  # its traceback holds this frame: neither would be freed before the next collection
        return response

    return attempt_in_scope


def handling(handler_class: type, deadline: Deadline | None = None) -> HandleIn:
    """Put together what is done within a scope: make the handler, let it handle, take its events."""

    async def handle_in(request: Request[Any], resolve: Resolve) -> tuple[Any, Sequence[Event]]:
        handler = await resolve(handler_class)
        try:
            if deadline is None:
                response = await handler.handle(request)
            else:
                response = await deadline.call(handler.handle, request, lambda: handler_class)
        except BaseException:
            handler.take_events()
            raise
        return response, handler.take_events() if handler.pending_events else ()

    return handle_in


def chain_handling(links: Sequence[type], deadline: Deadline | None = None) -> HandleIn:
    """As :func:`handling`, by a chain: the links are tried in turn, and the events of all that ran are taken."""

    async def handle_chain_in(request: Request[Any], resolve: Resolve) -> tuple[Any, Sequence[Event]]:
        ran: list[EventSource] = []
        try:
            handle = _Links(links, resolve, ran).handle
            if deadline is None:
                response = await handle(request)
            else:
                response = await deadline.call(handle, request, lambda: type(ran[-1]) if ran else links[0])
        except BaseException:
            for handler in ran:
                handler.take_events()
            raise
        return response, [event for handler in ran for event in handler.take_events()]

    return handle_chain_in


def in_scope(handle_in: HandleIn, source: HandlerSource, emit: Emit) -> Handle:
    """Give each call a scope of its own, if the container has such; for where time does not matter."""

    async def attempt_in_any_scope(request: Request[Any]) -> Any:  # noqa: ANN401 - the response
        failure: EventHandlersFailed | None = None
        async with source.resolving() as resolve:
            response, events = await handle_in(request, resolve)
            if events:
                try:
                    await emit(events, resolve, response)
                except EventHandlersFailed as error:
                    failure = error  # as in attempt_in_scope
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # as in attempt_in_scope
        return response

    return attempt_in_any_scope


def with_events(handle_in: HandleIn, emit: Emit, deadline: Deadline | None, handler: type) -> AttemptIn:
    """
    Put the handling of the events behind that of the request: all that comes before a commit.

    Args:
        deadline: For both.
        handler: What is named when it is not kept.
    """

    async def attempt_in(request: Any, resolve: Resolve) -> Any:  # noqa: ANN401 - of any type
        response, events = await handle_in(request, resolve)
        if events:
            await emit(events, resolve, response)
        return response

    if deadline is None:
        return attempt_in

    async def attempt_within(request: Any, resolve: Resolve) -> Any:  # noqa: ANN401 - of any type
        return await deadline.call(lambda request: attempt_in(request, resolve), request, lambda: handler)

    return attempt_within


def in_unit(attempt_in: AttemptIn, units: Units) -> Handle:
    """Give each call a unit of work of its own, which is committed if it succeeds."""

    async def attempt_in_unit(request: Request[Any]) -> Any:  # noqa: ANN401 - the response
        return await units.run(lambda unit: attempt_in(request, unit.resolve))

    return attempt_in_unit


def joining(attempt_in: AttemptIn, units: Units, otherwise: Handle) -> Handle:
    """Let each call be a part of the unit that is open here; if none is, do *otherwise*."""

    async def join(request: Request[Any]) -> Any:  # noqa: ANN401 - the response
        unit = units.current(type(request))
        if unit is None:
            return await otherwise(request)
        with unit.joined():
            return await attempt_in(request, unit.resolve)

    return join


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
            try:
                raise failure
            finally:
                del failure  # as in attempt_in_scope

    return attempt_stream


def stream_in_unit(handler_class: type, units: Units, emit: Emit, deadline: Deadline | None = None) -> Stream:
    """Put together one attempt at a stream that commits, before each answer is handed out, what it brought."""

    async def attempt_stream_in_unit(request: Request[Any]) -> AsyncGenerator[Any, None]:
        if units.current(type(request)) is not None:
            raise StreamInsideUnit(type(request))
        unit = await units.begin()
        try:
            async with AsyncExitStack() as stack:
                with unit.entered():
                    handler = await unit.resolve(handler_class)
                    answers = handler.handle(request)
                stack.callback(handler.take_events)  # of an item that was not handed out: they did not happen
                stack.push_async_callback(_close_in, unit, answers)  # the consumer may leave early

                async def advance(_: object) -> Any:  # noqa: ANN401 - an answer
                    answer = await anext(answers, _END)
                    if handler.pending_events:
                        await emit(handler.take_events(), unit.resolve, None if answer is _END else answer)
                    return answer

                while True:
                    # Entered for each step: between two of them the consumer runs, and not as a part of this unit.
                    with unit.entered():
                        if deadline is None:
                            answer = await advance(None)
                        else:
                            answer = await deadline.call(advance, None, lambda: handler_class)
                    await unit.commit()
                    if answer is _END:
                        break
                    yield answer
        except BaseException as error:
            await unit.abandon(error)
            raise
        await unit.end()

    return attempt_stream_in_unit


async def _close_in(unit: OpenUnit, answers: AsyncGenerator[Any, None]) -> None:
    with unit.entered():
        await answers.aclose()


_END: Any = object()
