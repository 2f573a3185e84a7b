"""The middleware that logs."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core.bootstrap import bootstrap, bootstrap_streaming


class LogIn(cqrs.Request[str]):
    password: str


class LogInHandler(cqrs.RequestHandler[LogIn, str]):
    async def handle(self, request: LogIn) -> str:
        if request.password == "wrong":
            raise PermissionError(request.password)
        return f"token for {request.password}"


class Watch(cqrs.Request[str]):
    password: str


class WatchHandler(cqrs.StreamingRequestHandler[Watch, str]):
    async def handle(self, request: Watch) -> AsyncIterator[str]:
        yield f"frame for {request.password}"
        if request.password == "wrong":
            raise PermissionError(request.password)


def log_in(requests: cqrs.RequestMap) -> None:
    requests.bind(LogIn, LogInHandler)


def watch(requests: cqrs.RequestMap) -> None:
    requests.bind(Watch, WatchHandler)


LOGGER = "cqrs_core.middlewares"


async def test_it_tells_which_message_was_handled_and_how_long_it_took(caplog: pytest.LogCaptureFixture) -> None:
    """Two lines at DEBUG, with the facts as attributes of the record."""
    caplog.set_level(logging.DEBUG, LOGGER)
    mediator = bootstrap(commands_mapper=log_in, middlewares=[cqrs.LoggingMiddleware()])

    await mediator.send(LogIn("s3cret"))

    begun, ended = caplog.records
    assert ["Handling LogIn", "DEBUG"] == [begun.getMessage(), begun.levelname]
    assert ended.getMessage().startswith("Handled LogIn in ")
    assert "LogIn" == ended.__dict__["message_type"]
    assert 0 <= ended.__dict__["took_ms"]


@pytest.mark.parametrize("password", ["s3cret", "wrong"])
async def test_it_never_logs_what_is_in_a_message(caplog: pytest.LogCaptureFixture, password: str) -> None:
    """Neither the request nor the response nor the text of an error, in no attribute of any record."""
    caplog.set_level(logging.DEBUG, LOGGER)
    mediator = bootstrap(commands_mapper=log_in, middlewares=[cqrs.LoggingMiddleware()])
    streams = bootstrap_streaming(commands_mapper=watch, middlewares=[cqrs.LoggingMiddleware()])

    outcomes: list[object] = []
    try:
        outcomes.append(await mediator.send(LogIn(password)))
    except PermissionError as error:
        outcomes.append(error)
    try:
        outcomes.extend([frame async for frame in streams.stream(Watch(password))])
    except PermissionError as error:
        outcomes.append(error)

    assert 2 == len(outcomes)
    assert 4 == len(caplog.records)
    assert password not in "".join(str(record.__dict__) for record in caplog.records)


async def test_it_tells_what_was_raised_and_lets_it_pass(caplog: pytest.LogCaptureFixture) -> None:
    """The type of the error is in the log; the error itself reaches the sender."""
    caplog.set_level(logging.DEBUG, LOGGER)
    mediator = bootstrap(commands_mapper=log_in, middlewares=[cqrs.LoggingMiddleware()])

    with pytest.raises(PermissionError):
        await mediator.send(LogIn("wrong"))

    assert caplog.records[-1].getMessage().startswith("LogIn raised PermissionError after ")


async def test_while_its_level_is_off_it_makes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It hands back the handler's own coroutine, and its own stream: no record, no coroutine in between."""
    caplog.set_level(logging.INFO, LOGGER)
    middleware = cqrs.LoggingMiddleware()
    handler, streaming = LogInHandler(), WatchHandler()

    coroutine = middleware(LogIn("s3cret"), handler.handle)
    stream: Any = middleware.stream(Watch("s3cret"), streaming.handle)

    assert inspect.iscoroutine(coroutine)
    assert LogInHandler.handle.__code__ is coroutine.cr_code
    assert WatchHandler.handle.__code__ is stream.ag_code
    assert "token for s3cret" == await coroutine
    assert ["frame for s3cret"] == [frame async for frame in stream]
    assert [] == caplog.records


async def test_it_logs_where_it_is_told_to(caplog: pytest.LogCaptureFixture) -> None:
    """Another logger may be given; no level is ever set."""
    caplog.set_level(logging.DEBUG, "mine")
    mediator = bootstrap(commands_mapper=log_in, middlewares=[cqrs.LoggingMiddleware(log=logging.getLogger("mine"))])

    await mediator.send(LogIn("s3cret"))

    assert {"mine"} == {record.name for record in caplog.records}
    assert logging.NOTSET == logging.getLogger(LOGGER).level
