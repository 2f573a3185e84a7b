"""The pieces of work that are measured, done with cqrs_core: each beside the bare call of the same handler."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar

from comparing import Row

import cqrs_core as cqrs
from cqrs_core.bootstrap import bootstrap, bootstrap_events, bootstrap_streaming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from blocks import Work

T = TypeVar("T")

STREAM_LENGTH = 1000


class Ping(cqrs.Request[int]):
    pass


class Count(cqrs.Request[int]):
    pass


class Announce(cqrs.Request[int]):
    pass


class Announced(cqrs.DomainEvent):
    pass


class PingHandler(cqrs.RequestHandler[Ping, int]):
    async def handle(self, request: Ping) -> int:  # noqa: ARG002 - the least that a handler can do
        return 1


class OtherPingHandler(PingHandler):
    """Takes over when the first fails."""


class FailingPingHandler(PingHandler):
    async def handle(self, request: Ping) -> int:  # noqa: ARG002 - as above
        raise ConnectionError


class CountHandler(cqrs.StreamingRequestHandler[Count, int]):
    async def handle(self, request: Count) -> AsyncIterator[int]:  # noqa: ARG002 - as above
        for number in range(STREAM_LENGTH):
            yield number


class AnnounceHandler(cqrs.RequestHandler[Announce, int]):
    async def handle(self, request: Announce) -> int:  # noqa: ARG002 - as above
        self.events.append(Announced())
        return 1


class Listener(cqrs.EventHandler[Announced]):
    async def handle(self, event: Announced) -> None:
        pass


LISTENERS: list[type[Listener]] = [type(f"Listener{number}", (Listener,), {}) for number in range(10)]


class PassingOn:
    """A middleware that does nothing."""

    async def __call__(self, request: Any, handle: Callable[[Any], Awaitable[Any]]) -> Any:
        return await handle(request)


class TrivialContainer:
    """The least that a container can be: it makes its objects in a coroutine, and knows no scopes."""

    async def resolve(self, wanted: type[T]) -> T:
        return wanted()


class TrivialScope(TrivialContainer):
    async def aclose(self, error: BaseException | None = None) -> None:
        pass


class ScopedContainer(TrivialContainer):
    def scope(self, values: Mapping[type, Any] | None = None) -> TrivialScope:  # noqa: ARG002 - of the contract
        return TrivialScope()


def rows() -> list[Row]:
    """Put the pieces of work together."""
    trivial, scoped = TrivialContainer(), ScopedContainer()

    def ping(container: cqrs.Container | None, *middlewares: PassingOn) -> Work:
        mediator = bootstrap(
            container, commands_mapper=lambda commands: commands.bind(Ping, PingHandler), middlewares=middlewares
        )
        return repeated(mediator.send, Ping())

    def guarded(target: Any, **policies: Any) -> Work:
        mediator = bootstrap(trivial, commands_mapper=lambda commands: commands.bind(Ping, target, **policies))
        return repeated(mediator.send, Ping())

    def with_breaker(primary: type[PingHandler], breaker: cqrs.CircuitBreaker) -> Work:
        return guarded(cqrs.RequestHandlerFallback(primary, OtherPingHandler, circuit_breaker=breaker))

    open_breaker = cqrs.LocalCircuitBreaker(fail_max=1, open_for_s=1e6)
    announcing = bootstrap(
        trivial,
        commands_mapper=lambda commands: commands.bind(Announce, AnnounceHandler),
        domain_events_mapper=lambda events: events.bind(Announced, Listener),
    )
    streaming = bootstrap_streaming(trivial, queries_mapper=lambda queries: queries.bind(Count, CountHandler))
    stream, bare_stream = whole(lambda: streaming.stream(Count())), whole(lambda: CountHandler().handle(Count()))
    bare_ping, bare_listen = repeated(PingHandler().handle, Ping()), repeated(Listener().handle, Announced())
    bare_announce = forgetting(AnnounceHandler())

    def bare_items(count: int) -> Awaitable[object]:
        return bare_ping(count * STREAM_LENGTH)

    # The key "bootstrap" is that of python-cqrs's bootstrap defaults: its container and its logging.
    return [
        Row("send", "send, async container", 5.0, bare_ping, ping(trivial)),
        Row("send_scope", "send, with a scope", 7.0, bare_ping, ping(scoped)),
        Row("bootstrap", "send, bootstrap's own container", None, bare_ping, ping(None)),
        Row("middlewares", "send, 3 middlewares", 9.0, bare_ping, ping(trivial, *(PassingOn() for _ in range(3)))),
        Row(
            "retry", "send, a retry that is not needed", None, bare_ping, guarded(PingHandler, retry=cqrs.RetryPolicy())
        ),
        Row("timeout", "send, a timeout that is not met", None, bare_ping, guarded(PingHandler, timeout_s=60)),
        Row("fallback", "send, fallback and breaker", None, bare_ping, with_breaker(PingHandler, breaker())),
        Row(
            "open", "send, circuit open: the fallback", None, bare_ping, with_breaker(FailingPingHandler, open_breaker)
        ),
        Row("event", "send, 1 event with 1 handler", 14.0, bare_announce, repeated(announcing.send, Announce())),
        Row("publish", "publish to 10 handlers", 32.0, bare_listen, publish(trivial)),
        Row("publish_bootstrap", "publish to 10, bootstrap's container", None, bare_listen, publish(None)),
        Row("stream", "stream, per item", 4.5, bare_items, stream, STREAM_LENGTH),
        Row("stream_bare", "stream, per item, to the bare stream", None, bare_stream, stream, STREAM_LENGTH),
    ]


def breaker() -> cqrs.CircuitBreaker:
    """Give aiobreaker's adapter, as the peer has it, if that is installed."""
    try:
        from cqrs_breaker import AioBreakerAdapter  # noqa: PLC0415 - the core can be measured without it
    except ImportError:
        return cqrs.LocalCircuitBreaker()
    return AioBreakerAdapter()


def publish(container: cqrs.Container | None) -> Work:
    """Publish one event again and again."""
    return repeated(bootstrap_events(container, events_mapper=bind_listeners).send, Announced())


def bind_listeners(events: cqrs.EventMap) -> None:
    for listener in LISTENERS:
        events.bind(Announced, listener)


def repeated(call: Callable[[Any], Awaitable[object]], message: object) -> Work:
    """Await *call* with one message again and again."""

    async def work(count: int) -> None:
        for _ in repeat(None, count):
            await call(message)

    return work


def forgetting(handler: AnnounceHandler) -> Work:
    """Await the handler that gathers events, and forget them at the end."""
    handle = repeated(handler.handle, Announce())

    async def work(count: int) -> None:
        await handle(count)
        handler.events.clear()

    return work


def whole(stream: Callable[[], AsyncIterator[object]]) -> Work:
    """Take a whole stream again and again."""

    async def work(count: int) -> None:
        for _ in repeat(None, count):
            async for _item in stream():
                pass

    return work
