"""Middlewares that come with the core."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any

from cqrs_core.errors import name_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cqrs_core.pipeline import Handle

logger = logging.getLogger(__name__)


class LoggingMiddleware:
    """
    Logs, at DEBUG, which messages were handled, how long it took, and what was raised; never what is in them.

    Wraps requests, streams and events. While its level is off it makes no record and no coroutine of its own.
    """

    def __init__(self, *, log: logging.Logger | None = None) -> None:
        """Log to *log*; to the logger of this module unless given."""
        self._log = log or logger

    def __call__(self, message: Any, handle: Handle) -> Awaitable[Any]:  # noqa: ANN401 - of any type
        """Handle a request or an event."""
        if not self._log.isEnabledFor(logging.DEBUG):
            return handle(message)
        return self._logged(message, handle)

    def stream(self, request: Any, handle: Callable[[Any], AsyncIterator[Any]]) -> AsyncIterator[Any]:  # noqa: ANN401 - ditto
        """Answer a request by a stream."""
        if not self._log.isEnabledFor(logging.DEBUG):
            return handle(request)
        return self._logged_stream(request, handle)

    async def _logged(self, message: Any, handle: Handle) -> Any:  # noqa: ANN401 - as above
        began_s = self._begin(message)
        try:
            response = await handle(message)
        except BaseException as error:
            self._end(message, began_s, error)
            raise
        self._end(message, began_s, None)
        return response

    async def _logged_stream(self, request: Any, handle: Callable[[Any], AsyncIterator[Any]]) -> AsyncIterator[Any]:  # noqa: ANN401 - ditto
        began_s = self._begin(request)
        try:
            async for answer in handle(request):
                yield answer
        except BaseException as error:
            self._end(request, began_s, error)
            raise
        self._end(request, began_s, None)

    def _begin(self, message: object) -> float:
        name = name_of(type(message))
        self._log.debug("Handling %s", name, extra={"message_type": name})
        return perf_counter()

    def _end(self, message: object, began_s: float, error: BaseException | None) -> None:
        name = name_of(type(message))
        took_ms = (perf_counter() - began_s) * 1000
        extra = {"message_type": name, "took_ms": took_ms}
        if error is None:
            self._log.debug("Handled %s in %.3f ms", name, took_ms, extra=extra)
        else:
            # The type only: an error's text may hold what the message held.
            self._log.debug("%s raised %s after %.3f ms", name, name_of(type(error)), took_ms, extra=extra)
