"""Batches of events on their way to a handler that takes many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cqrs_core.errors import BatchFailed
from cqrs_core.handlers import EventBatchHandler
from cqrs_core.maps import event_handler_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cqrs_core.emitter import EventEmitter
    from cqrs_core.errors import CqrsError
    from cqrs_core.messages import Event
    from cqrs_core.wiring import HandlerSource


class BatchDispatch:
    """Takes batches to one handler class: a new object, in a scope of its own, for each batch."""

    def __init__(self, handler: type[EventBatchHandler[Any]], source: HandlerSource, emitter: EventEmitter) -> None:
        self._handler = handler
        self._source = source
        self._emitter = emitter

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
        failed: BatchFailed | None = None
        async with self._source.resolving() as resolve:
            handler = await resolve(self._handler)
            try:
                await handler.handle(events)
            except BatchFailed as error:
                failed = error  # those before it are done: what they brought stays
            except BaseException:
                handler.take_events()
                raise
            await self._emitter.emit(handler.take_events(), resolve)
        if failed is not None:
            raise failed
