"""One attempt at answering a request by a stream: its handler, its scope or unit of work, the events of each item."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from cqrs_core.errors import EventHandlersFailed, StreamInsideUnit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from cqrs_core.attempts import Emit
    from cqrs_core.messages import Event, Request
    from cqrs_core.open_unit import OpenUnit
    from cqrs_core.pipeline import Stream
    from cqrs_core.resilience.deadline import Deadline
    from cqrs_core.units import Units
    from cqrs_core.wiring import HandlerSource, Resolve


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
