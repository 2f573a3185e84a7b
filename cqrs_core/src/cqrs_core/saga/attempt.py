"""One attempt at a step, or at undoing one: its handler, its scope or unit of work, its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cqrs_core.emitter import EventEmitter
    from cqrs_core.messages import Event
    from cqrs_core.open_unit import OpenUnit
    from cqrs_core.resilience.deadline import Deadline
    from cqrs_core.saga.current import CurrentStep
    from cqrs_core.units import Units
    from cqrs_core.wiring import HandlerSource, OpenScope, Resolve

    #: Calls a handler with a context; gives what it returned, and the events that are to leave the process.
    Attempt = Callable[[Any, CurrentStep], Awaitable[tuple[Any, Sequence[Event]]]]


def step_attempt(
    handler_class: type,
    method: str,
    *,
    source: HandlerSource,
    emitter: EventEmitter,
    units: Units,
    deadline: Deadline | None,
) -> Attempt:
    """
    Put together one attempt at calling *method*: in a unit of work if there is a storage, else in a scope.

    As for requests, the cheapest way that the container allows is chosen here, once.
    """
    make = source.maker(handler_class)
    if make is not None and deadline is None and not units.are_used:
        return _attempt_at_once(make, method, emitter)
    call = _calling(handler_class, method, emitter, deadline)
    if units.are_used:
        return _attempt_in_unit(call, units)
    if source.open_scope is not None:
        return _attempt_in_scope(call, source, source.open_scope)
    if deadline is not None:
        return _attempt_by_resolving(call, source.resolver())
    return _attempt_at_once_by_resolving(handler_class, method, source.resolver(), emitter)


def _attempt_at_once(make: Callable[[], Any], method: str, emitter: EventEmitter) -> Attempt:
    async def attempt_at_once(context: Any, current: CurrentStep) -> tuple[Any, Sequence[Event]]:  # noqa: ANN401 - of any saga
        handler = make()
        try:
            result = await getattr(handler, method)(context)
        except BaseException:
            handler.take_events()  # the attempt failed, so they did not happen
            raise
        current.has_returned = True
        if not handler.pending_events:
            return result, ()
        return result, await emitter.handle_and_keep(handler.take_events())

    return attempt_at_once


def _attempt_at_once_by_resolving(handler_class: type, method: str, resolve: Resolve, emitter: EventEmitter) -> Attempt:
    async def attempt_by_resolving(context: Any, current: CurrentStep) -> tuple[Any, Sequence[Event]]:  # noqa: ANN401 - as above
        return await _call_and_emit(await resolve(handler_class), method, context, current, emitter, resolve)

    return attempt_by_resolving


async def _call_and_emit(  # noqa: PLR0917 - as above
    handler: Any,  # noqa: ANN401 - a step, or another object with its methods
    method: str,
    context: Any,  # noqa: ANN401 - as above
    current: CurrentStep,
    emitter: EventEmitter,
    resolve: Resolve,
) -> tuple[Any, Sequence[Event]]:
    try:
        result = await getattr(handler, method)(context)
    except BaseException:
        handler.take_events()
        raise
    current.has_returned = True
    if not handler.pending_events:
        return result, ()
    return result, await emitter.handle_and_keep(handler.take_events(), resolve)


def _attempt_by_resolving(
    call: Callable[[Any, CurrentStep, Resolve], Awaitable[tuple[Any, Sequence[Event]]]], resolve: Resolve
) -> Attempt:
    def attempt_by_resolving(context: Any, current: CurrentStep) -> Awaitable[tuple[Any, Sequence[Event]]]:  # noqa: ANN401 - as above
        return call(context, current, resolve)

    return attempt_by_resolving


def _calling(
    handler_class: type, method: str, emitter: EventEmitter, deadline: Deadline | None
) -> Callable[[Any, CurrentStep, Resolve], Awaitable[tuple[Any, Sequence[Event]]]]:
    async def call(context: Any, current: CurrentStep, resolve: Resolve) -> tuple[Any, Sequence[Event]]:  # noqa: ANN401 - as above
        handler = await resolve(handler_class)
        if deadline is None:
            return await _call_and_emit(handler, method, context, current, emitter, resolve)

        def call_and_emit(context: Any) -> Awaitable[tuple[Any, Sequence[Event]]]:  # noqa: ANN401 - as above
            return _call_and_emit(handler, method, context, current, emitter, resolve)

        outcome: tuple[Any, Sequence[Event]] = await deadline.call(call_and_emit, context, lambda: handler_class)
        return outcome

    return call


def _attempt_in_scope(
    call: Callable[[Any, CurrentStep, Resolve], Awaitable[tuple[Any, Sequence[Event]]]],
    source: HandlerSource,
    open_scope: OpenScope,
) -> Attempt:
    async def attempt_in_scope(context: Any, current: CurrentStep) -> tuple[Any, Sequence[Event]]:  # noqa: ANN401 - as above
        scope = open_scope()
        try:
            outcome = await call(context, current, source.resolver(scope))
        except BaseException as error:
            await scope.aclose(error)
            raise
        await scope.aclose()
        return outcome

    return attempt_in_scope


def _attempt_in_unit(
    call: Callable[[Any, CurrentStep, Resolve], Awaitable[tuple[Any, Sequence[Event]]]], units: Units
) -> Attempt:
    async def attempt_in_unit(context: Any, current: CurrentStep) -> tuple[Any, Sequence[Event]]:  # noqa: ANN401 - as above
        async def work(unit: OpenUnit) -> tuple[Any, Sequence[Event]]:
            result, published = await call(context, current, unit.resolve)
            await current.write_in(unit.work, result, published)
            return result, published

        return await units.run(work)

    return attempt_in_unit
