"""The functions that build one mediator each: their start-up, and what they keep of python-cqrs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core import bootstrap


class Ping(cqrs.Request[str]):
    pass


class Ticks(cqrs.Request[int]):
    pass


class Happened(cqrs.DomainEvent):
    pass


class PingHandler(cqrs.RequestHandler[Ping, str]):
    async def handle(self, request: Ping) -> str:
        LOG.append("ping")
        return "pong"


class TicksHandler(cqrs.StreamingRequestHandler[Ticks, int]):
    async def handle(self, request: Ticks) -> AsyncIterator[int]:
        LOG.append("tick")
        yield 1


class HappenedHandler(cqrs.EventHandler[Happened]):
    async def handle(self, event: Happened) -> None:
        LOG.append("happened")


LOG: list[str] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    LOG.clear()


def ping(requests: cqrs.RequestMap) -> None:
    LOG.append("bind")
    requests.bind(Ping, PingHandler)


def ticks(requests: cqrs.RequestMap) -> None:
    requests.bind(Ticks, TicksHandler)


def happened(events: cqrs.EventMap) -> None:
    events.bind(Happened, HappenedHandler)


async def late() -> None:
    LOG.append("late begins")
    await anyio.lowlevel.checkpoint()
    LOG.append("late ends")


async def later() -> None:
    LOG.append("later")


def early() -> None:
    LOG.append("early")


def test_start_up_functions_run_when_the_mediator_is_built_before_anything_is_bound() -> None:
    """As in python-cqrs, where they prepare what the mappers use."""
    bootstrap.bootstrap(commands_mapper=ping, on_startup=[early, early])

    assert ["early", "early", "bind"] == LOG


async def test_start_up_coroutine_functions_run_once_in_order_before_the_first_message() -> None:
    """Not when the mediator is built, and not before the second message."""
    mediator = bootstrap.bootstrap(commands_mapper=ping, on_startup=[late, early, later])

    assert ["early", "bind"] == LOG
    await mediator.send(Ping())
    await mediator.send(Ping())

    assert ["early", "bind", "late begins", "late ends", "later", "ping", "ping"] == LOG


async def test_messages_that_come_at_the_same_time_wait_for_the_start_up() -> None:
    """Neither is handled before the last step has ended."""
    mediator = bootstrap.bootstrap(commands_mapper=ping, on_startup=[late])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mediator.send, Ping())
        tasks.start_soon(mediator.send, Ping())

    assert ["bind", "late begins", "late ends", "ping", "ping"] == LOG


async def test_a_stream_waits_for_the_start_up() -> None:
    """The same for streams, before their first item."""
    mediator = bootstrap.bootstrap_streaming(commands_mapper=ticks, on_startup=[late])

    for _ in range(2):
        assert [1] == [tick async for tick in mediator.stream(Ticks())]

    assert ["late begins", "late ends", "tick", "tick"] == LOG


async def test_an_event_waits_for_the_start_up() -> None:
    """The same for events."""
    mediator = bootstrap.bootstrap_events(events_mapper=happened, on_startup=[late])

    await mediator.send(Happened())
    await mediator.send(Happened())

    assert ["late begins", "late ends", "happened", "happened"] == LOG


async def test_a_start_up_that_fails_fails_the_message_and_is_tried_again_with_the_next() -> None:
    """No message slips past a start-up that did not succeed."""

    async def flaky() -> None:
        LOG.append("flaky")
        if LOG.count("flaky") == 1:
            raise ConnectionError

    mediator = bootstrap.bootstrap(commands_mapper=ping, on_startup=[flaky])

    with pytest.raises(ConnectionError):
        await mediator.send(Ping())
    assert "pong" == await mediator.send(Ping())

    assert ["bind", "flaky", "flaky", "ping"] == LOG


def test_the_start_up_is_not_repeated_in_a_second_event_loop() -> None:
    """A mediator that is cached for good is started once."""
    mediator = bootstrap.bootstrap(commands_mapper=ping, on_startup=[late])

    async def main() -> str:
        return await mediator.send(Ping())

    assert ["pong", "pong"] == [asyncio.run(main()), asyncio.run(main())]
    assert 1 == LOG.count("late ends")


REQUEST_PARAMETERS = (
    "di_container message_broker middlewares commands_mapper queries_mapper domain_events_mapper on_startup "
    "max_concurrent_event_handlers concurrent_event_handle_enable"
)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (
            bootstrap.bootstrap,
            REQUEST_PARAMETERS,
        ),
        (
            bootstrap.bootstrap_streaming,
            REQUEST_PARAMETERS,
        ),
        (bootstrap.bootstrap_events, "di_container middlewares events_mapper on_startup"),
    ],
)
def test_the_parameters_of_python_cqrs_are_kept(function: Any, names: str) -> None:
    """DESIGN 3: old programs move by their imports."""
    assert set(names.split()) <= set(inspect.signature(function).parameters)


def test_the_limits_are_those_of_python_cqrs() -> None:
    """Ten at a time for streams; one after the other for requests."""
    requests = inspect.signature(bootstrap.bootstrap).parameters
    streams = inspect.signature(bootstrap.bootstrap_streaming).parameters

    assert (1, 10) == tuple(parameters["max_concurrent_event_handlers"].default for parameters in (requests, streams))
    assert (False, True) == tuple(
        parameters["concurrent_event_handle_enable"].default for parameters in (requests, streams)
    )


async def test_commands_and_queries_share_one_map() -> None:
    """Both mappers are asked."""
    mediator = bootstrap.bootstrap(commands_mapper=ping, queries_mapper=lambda requests: requests.bind(Ask, AskHandler))

    assert "pong" == await mediator.send(Ping())
    assert 42 == await mediator.send(Ask())


class Ask(cqrs.Request[int]):
    pass


class AskHandler(cqrs.RequestHandler[Ask, int]):
    async def handle(self, request: Ask) -> int:
        return 42


async def test_a_start_up_may_send_messages() -> None:
    """Warming a cache by a query passes the gate that it is behind."""

    async def warm() -> None:
        LOG.append(f"warmed with {await mediators[0].send(Ping())}")

    mediators = [bootstrap.bootstrap(commands_mapper=ping, on_startup=[warm])]

    with anyio.fail_after(5):
        await mediators[0].send(Ping())

    assert ["bind", "ping", "warmed with pong", "ping"] == LOG


def test_a_start_up_function_that_returns_a_coroutine_is_refused() -> None:
    """Nobody would await it; the error says what may stand there."""
    with pytest.raises(cqrs.errors.InvalidOption, match="on_startup"):
        bootstrap.bootstrap(on_startup=[lambda: later()])  # noqa: PLW0108 - that is the mistake


def test_none_is_as_good_as_nothing() -> None:
    """As in python-cqrs, whose parameters have None for a default."""
    assert bootstrap.bootstrap(middlewares=None, event_middlewares=None, on_startup=None) is not None
    assert bootstrap.bootstrap_streaming(middlewares=None, on_startup=None) is not None
    assert bootstrap.bootstrap_events(middlewares=None, on_startup=None) is not None


async def test_a_start_up_that_sends_does_not_let_others_pass_before_it_is_done() -> None:
    """The gate stays shut for everybody else until the last step has ended."""
    sent, release = anyio.Event(), anyio.Event()

    async def warm() -> None:
        await mediators[0].send(Ping())
        sent.set()
        await release.wait()
        LOG.append("warmed")

    mediators = [bootstrap.bootstrap(commands_mapper=ping, on_startup=[warm])]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mediators[0].send, Ping())
        await sent.wait()
        tasks.start_soon(mediators[0].send, Ping())
        await anyio.wait_all_tasks_blocked()
        release.set()

    assert ["bind", "ping", "warmed", "ping", "ping"] == LOG


async def test_a_start_up_that_publishes_does_not_let_others_pass_before_it_is_done() -> None:
    """The same for events from outside."""
    sent, release = anyio.Event(), anyio.Event()

    async def warm() -> None:
        await mediators[0].send(Happened())
        sent.set()
        await release.wait()
        LOG.append("warmed")

    mediators = [bootstrap.bootstrap_events(events_mapper=happened, on_startup=[warm])]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mediators[0].send, Happened())
        await sent.wait()
        tasks.start_soon(mediators[0].send, Happened())
        await anyio.wait_all_tasks_blocked()
        release.set()

    assert ["happened", "warmed", "happened", "happened"] == LOG


class Tell(cqrs.Request[None]):
    pass


class TellHandler(cqrs.RequestHandler[Tell, None]):
    async def handle(self, request: Tell) -> None:  # it tells everybody
        self.events.append(cqrs.NotificationEvent(event_name="Told", topic="news", payload={"n": 1}))


def test_a_mediator_starts_its_broker_at_first_use_on_one_loop_after_the_other() -> None:
    """A mediator that is kept for good: its broker is started when it is needed, and again on another loop."""
    broker = cqrs.MemoryBroker()
    mediator = bootstrap.bootstrap(
        message_broker=broker, commands_mapper=lambda requests: requests.bind(Tell, TellHandler)
    )

    async def nothing(_: object) -> None:
        pass

    async def run() -> list[str]:
        await mediator.send(Tell())  # nobody listens yet, but now it is started
        subscription = await broker.subscribe(["news"], group="g", on_revoked=nothing)
        await mediator.send(Tell())
        return [delivery.envelope.headers["ce_type"] for delivery in await subscription.receive(10)]

    assert ["Told"] == asyncio.run(run())
    assert ["Told"] == asyncio.run(run())


def test_messages_that_come_at_once_on_a_new_loop_start_the_broker_once() -> None:
    """Whoever comes first does it, and the others wait."""

    class Strict(cqrs.MemoryBroker):
        starts = 0

        async def start(self) -> None:
            await anyio.lowlevel.checkpoint()
            self.starts += 1
            await super().start()

        async def stop(self) -> None:
            await anyio.lowlevel.checkpoint()
            await super().stop()

    broker = Strict()
    mediator = bootstrap.bootstrap(
        message_broker=broker, commands_mapper=lambda requests: requests.bind(Tell, TellHandler)
    )

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(mediator.send, Tell())

    for number in range(1, 4):
        asyncio.run(run())
        assert number == broker.starts
