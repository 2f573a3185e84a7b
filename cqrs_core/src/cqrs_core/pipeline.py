"""The middlewares around the handling of a request, an event or a stream, put together once for each type."""

from __future__ import annotations

import inspect
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

from cqrs_core.errors import CqrsError, MiddlewareUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from cqrs_core.messages import Request

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
