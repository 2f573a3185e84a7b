"""One attempt at handling a request: its handler, its scope or unit of work, its events; put together once a type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cqrs_core.errors import EventHandlersFailed
from cqrs_core.handlers import EventSource, rest_of_chain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cqrs_core.messages import Event, Request
    from cqrs_core.pipeline import Handle
    from cqrs_core.resilience.deadline import Deadline
    from cqrs_core.units import Units
    from cqrs_core.wiring import HandlerSource, OpenScope, Resolve

    #: Hands a handler's events on: with the resolver of the scope that is open, if one is, and with its response.
    Emit = Callable[[Sequence[Event], Resolve | None, object], Awaitable[None]]
    #: Handles one request in a scope that is open; gives the response, and the events that are to go on.
    HandleIn = Callable[[Any, Resolve], Awaitable[tuple[Any, Sequence[Event]]]]
    #: The same with the handling of those events; gives the response.
    AttemptIn = Callable[[Any, Resolve], Awaitable[Any]]


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
        return await attempt_in(request, unit.resolve)

    return join


def dooming(handle: Handle, units: Units) -> Handle:
    """Let what is sent inside a unit, if it raises, its middlewares included, doom that: it can only be rolled back."""

    async def handle_within(request: Request[Any]) -> Any:  # noqa: ANN401 - the response
        unit = units.current(type(request))
        if unit is None:
            return await handle(request)
        with unit.joined():
            return await handle(request)

    return handle_within


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
