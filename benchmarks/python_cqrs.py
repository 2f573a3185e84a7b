"""The same work done with python-cqrs, in the environment where that is installed; a :class:`peer.Peer` runs it."""

# Types are checked where neither python-cqrs nor di is installed.
# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from dataclasses import dataclass
from importlib.metadata import version
from itertools import repeat
from typing import TYPE_CHECKING, Any

import cqrs
import cqrs.bootstrap.requests
import di
from blocks import Block, Work, timed
from cqrs.adapters.circuit_breaker import AioBreakerAdapter
from cqrs.container.scope import ScopeStrategy
from cqrs.middlewares.base import MiddlewareChain
from peer import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

STREAM_LENGTH = 1000


@dataclass
class Ping(cqrs.DCRequest):
    pass


@dataclass
class Announce(cqrs.DCRequest):
    pass


@dataclass
class Pong(cqrs.DCResponse):
    pass


class Announced(cqrs.DomainEvent):
    pass


PONG = Pong()


class PingHandler(cqrs.RequestHandler[Ping, Pong]):
    async def handle(self, request: Ping) -> Pong:  # noqa: ARG002 - the least that a handler can do
        return PONG


class OtherPingHandler(PingHandler):
    """Takes over when the first fails."""


class FailingPingHandler(PingHandler):
    async def handle(self, request: Ping) -> Pong:  # noqa: ARG002 - as above
        raise ConnectionError


class CountHandler(cqrs.StreamingRequestHandler[Ping, Pong]):
    def clear_events(self) -> None:
        pass

    async def handle(self, request: Ping) -> AsyncIterator[Pong]:  # noqa: ARG002 - as above
        for _ in range(STREAM_LENGTH):
            yield PONG


class AnnounceHandler(cqrs.RequestHandler[Announce, Pong]):
    def __init__(self) -> None:
        self._events: list[Any] = []

    @property
    def events(self) -> list[Any]:
        return self._events

    async def handle(self, request: Announce) -> Pong:  # noqa: ARG002 - as above
        self._events.append(Announced())
        return PONG


class Listener(cqrs.EventHandler[Announced]):
    async def handle(self, event: Announced) -> None:
        pass


class PassingOn:
    async def __call__(self, request: Any, handle: Callable[[Any], Awaitable[Any]]) -> Any:
        return await handle(request)


class TrivialContainer:
    """The least that a container can be: it makes its objects in a coroutine, and may open a scope."""

    external_container = None

    def attach_external_container(self, container: object) -> None:
        pass

    async def resolve(self, wanted: type) -> object:
        return wanted()

    @contextlib.asynccontextmanager
    async def open_scope(self, context: object = None) -> AsyncIterator[TrivialContainer]:  # noqa: ARG002 - of the contract
        yield TrivialContainer()


def works() -> dict[str, Work]:
    """Put the pieces of work together: mediators wired by hand, with nothing that is not needed."""
    container = TrivialContainer()
    requests, streams, events, all_listeners = cqrs.RequestMap(), cqrs.RequestMap(), cqrs.EventMap(), cqrs.EventMap()
    requests.bind(Ping, PingHandler)
    requests.bind(Announce, AnnounceHandler)
    streams.bind(Ping, CountHandler)
    events.bind(Announced, Listener)
    for number in range(10):
        all_listeners.bind(Announced, type(f"Listener{number}", (Listener,), {}))

    def mediator(**options: Any) -> Any:
        emitter = cqrs.EventEmitter(events, container, scope_strategy=options.get("scope_strategy", ScopeStrategy.NONE))
        return cqrs.RequestMediator(
            requests, container, emitter, event_map=events, concurrent_event_handle_enable=False, **options
        )

    def guarded(primary: type, fail_max: int) -> Any:
        breaker = AioBreakerAdapter(fail_max=fail_max, timeout_duration=1_000_000)
        guarded_requests = cqrs.RequestMap()
        guarded_requests.bind(Ping, cqrs.RequestHandlerFallback(primary, OtherPingHandler, circuit_breaker=breaker))
        emitter = cqrs.EventEmitter(events, container, scope_strategy=ScopeStrategy.NONE)
        return cqrs.RequestMediator(
            guarded_requests, container, emitter, event_map=events, concurrent_event_handle_enable=False
        )

    chain = MiddlewareChain()
    for _ in range(3):
        chain.add(PassingOn())
    by_bootstrap = cqrs.bootstrap.requests.bootstrap(
        di.Container(), commands_mapper=lambda commands: commands.bind(Ping, PingHandler)
    )
    emitter = cqrs.EventEmitter(events, container)
    streaming = cqrs.StreamingRequestMediator(
        streams, container, emitter, event_map=events, concurrent_event_handle_enable=False
    )
    return {
        "send": repeated(mediator().send, Ping()),
        "send_scope": repeated(mediator(scope_strategy=ScopeStrategy.SEND).send, Ping()),
        "middlewares": repeated(mediator(middleware_chain=chain).send, Ping()),
        "fallback": repeated(guarded(PingHandler, 5).send, Ping()),
        "open": repeated(guarded(FailingPingHandler, 1).send, Ping()),
        "event": repeated(mediator().send, Announce()),
        "publish": repeated(cqrs.EventMediator(all_listeners, container).send, Announced()),
        "stream": whole(lambda: streaming.stream(Ping())),
        "bootstrap": repeated(by_bootstrap.send, Ping()),
    }


def repeated(call: Callable[[Any], Awaitable[object]], message: object) -> Work:
    async def work(count: int) -> None:
        for _ in repeat(None, count):
            await call(message)

    return work


def whole(stream: Callable[[], AsyncIterator[object]]) -> Work:
    async def work(count: int) -> None:
        for _ in repeat(None, count):
            async for _item in stream():
                pass

    return work


def main() -> None:
    """Serve orders until stdin ends."""
    # With its logging off; as shipped, it makes a log record for most of its steps, whether or not anybody reads it.
    # Its bootstrap is measured as shipped.
    blocks: dict[str, Block] = {}
    loop = asyncio.new_event_loop()
    for key, work in works().items():
        silence = logging.NOTSET if key == "bootstrap" else logging.CRITICAL
        blocks[key] = timed(work, loop, lambda silence=silence: logging.disable(silence))
    serve(blocks, {"version": version("python-cqrs"), "python": sys.version.split()[0]})
    loop.close()


if __name__ == "__main__":
    main()
