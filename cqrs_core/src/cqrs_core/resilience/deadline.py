"""How long one attempt of a handler may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import move_on_after, run_within, watched
from cqrs_core.errors import HandlerTimedOut

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from cqrs_core.clock import Clock


class Deadline:
    """So many seconds for each call."""

    def __init__(self, timeout_s: float, clock: Clock) -> None:
        self._timeout_s = timeout_s
        self._clock = clock

    async def call(self, function: Callable[[Any], Awaitable[Any]], argument: Any, late: Callable[[], type]) -> Any:  # noqa: ANN401 - of any handler
        """
        Call *function* in this task, and cancel it when its time is over.

        Args:
            late: Tells, when it was cancelled, whose fault that is: a handler's.

        Raises:
            HandlerTimedOut: It was cancelled.
        """
        result: Any = _NONE
        if isinstance(self._clock, SystemClock):
            with move_on_after(self._timeout_s):  # a tenth of what a task beside it would cost
                result = await watched(function(argument))
        else:

            async def call() -> None:
                nonlocal result
                result = await function(argument)

            await run_within(self._timeout_s, call, self._clock.sleep)
        if result is _NONE:
            raise HandlerTimedOut(late(), self._timeout_s)
        return result

    async def each(self, items: AsyncIterator[Any], handler: type) -> AsyncGenerator[Any, None]:
        """Pass on *items*, each of which has the time for itself; what the consumer does with them takes none of it."""

        async def following(_: object) -> Any:  # noqa: ANN401 - an item
            return await anext(items, _END)

        while (item := await self.call(following, None, lambda: handler)) is not _END:
            yield item


_NONE: Any = object()
_END: Any = object()
