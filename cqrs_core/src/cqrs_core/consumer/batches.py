"""Batches of events on their way to a handler that takes many at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from cqrs_core.context import current_messages
from cqrs_core.errors import BatchFailed
from cqrs_core.handlers import EventBatchHandler
from cqrs_core.maps import event_handler_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cqrs_core.context import CurrentMessage
    from cqrs_core.emitter import EventEmitter
    from cqrs_core.errors import CqrsError
    from cqrs_core.messages import Event
    from cqrs_core.open_unit import OpenUnit
    from cqrs_core.units import Units
    from cqrs_core.wiring import HandlerSource, Resolve


class BatchDispatch:
    """Takes batches to one handler class: a new object, in a scope and a unit of work of its own, for each batch."""

    def __init__(
        self, handler: type[EventBatchHandler[Any]], source: HandlerSource, emitter: EventEmitter, units: Units
    ) -> None:
        self._handler = handler
        self._source = source
        self._emitter = emitter
        self._units = units

    def problems(self, targets: Iterable[Any]) -> list[CqrsError]:
        """Tell what keeps the handler from taking batches of *targets*: errors, none of them raised."""
        found = [
            problem
            for target in targets
            for problem in event_handler_problems(target, self._handler, EventBatchHandler)
        ]
        return found or self._source.admit(self._handler)

    async def __call__(self, events: Sequence[Event]) -> None:
        """As :class:`cqrs_core.consumer.consumption.HandleBatch` has it."""
        if self._units.are_used:
            await self._handle_in_units(events)
            return
        failed: BatchFailed | None = None
        async with self._source.resolving() as resolve:
            try:
                await self._handle(events, resolve)
            except BatchFailed as error:
                failed = error  # those before it are done: what they brought stays
        if failed is not None:
            raise failed

    async def _handle(self, events: Sequence[Event], resolve: Resolve) -> None:
        handler = await resolve(self._handler)
        failed: BatchFailed | None = None
        try:
            await handler.handle(events)
        except BatchFailed as error:
            if self._units.are_used:
                handler.take_events()  # the unit is rolled back, and what they tell with it
                raise
            failed = error
        except BaseException:
            handler.take_events()
            raise
        await self._emitter.emit_of_arrivals(handler.take_events(), resolve)
        if failed is not None:
            raise failed

    async def _handle_in_units(self, events: Sequence[Event]) -> None:
        """Handle them in one transaction; if one fails, those before it once more, in another: the first is undone."""
        messages = current_messages()  # of the consumer, which has called just now: one for each event
        count, failed = len(events), None
        while count:
            try:
                await self._units.run(partial(self._handle_in_unit, events=events[:count], messages=messages[:count]))
            except BatchFailed as error:
                index = error.index
                if not isinstance(index, int) or not 0 <= index < count:
                    raise  # the consumer says what is wrong with it
                count, failed = index, error
            else:
                break
        if failed is not None:
            raise failed

    async def _handle_in_unit(
        self, unit: OpenUnit, events: Sequence[Event], messages: Sequence[CurrentMessage]
    ) -> None:
        new = await unit.work.accept(messages[0].group, list(dict.fromkeys(message.id for message in messages)))
        left = set(new)
        chosen: list[int] = []  # of a message that is there twice, the first
        for index, message in enumerate(messages):
            if message.id in left:
                left.discard(message.id)
                chosen.append(index)
        if not chosen:
            return
        try:
            await self._handle([events[index] for index in chosen], unit.resolve)
        except BatchFailed as error:
            if isinstance(error.index, int) and 0 <= error.index < len(chosen):
                raise BatchFailed(chosen[error.index]) from error.__cause__ or error
            raise
