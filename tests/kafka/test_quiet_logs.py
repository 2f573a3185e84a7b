"""What aiokafka logs is limited, and shows no password."""

from __future__ import annotations

import logging

import pytest

from cqrs_kafka.quiet_logs import RateLimit


class Handler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


class SaslAuthenticateRequest:
    def __repr__(self) -> str:
        return "secret"


@pytest.fixture
def now() -> list[float]:
    """The time, which tests set."""
    return [100.0]


@pytest.fixture
def log(now: list[float]) -> logging.Logger:
    """A logger that nobody else knows."""
    logger = logging.Logger("aiokafka.conn", logging.DEBUG)  # noqa: LOG001 - as the docstring says
    logger.addFilter(RateLimit(lambda: now[0]))
    logger.addHandler(Handler())
    return logger


def said(log: logging.Logger) -> list[str]:
    (handler,) = log.handlers
    assert isinstance(handler, Handler)
    return handler.said


def complain(log: logging.Logger, *times: int) -> None:
    for number in times:
        log.error("no connection %d", number)


def test_of_one_kind_a_few_are_logged(log: logging.Logger) -> None:
    complain(log, *range(100))
    log.error("another kind")

    assert ["no connection 0", "no connection 1", "no connection 2", "another kind"] == said(log)


def test_later_it_is_told_how_many_there_were(log: logging.Logger, now: list[float]) -> None:
    """100 less the 3 that were logged."""
    complain(log, *range(100))
    now[0] += 30
    complain(log, 100, 101)

    assert ["no connection 100 (and 97 more like this since it was last said)", "no connection 101"] == said(log)[3:]


def test_what_shows_a_password_is_left_out(log: logging.Logger) -> None:
    """At DEBUG, aiokafka logs its requests; the others may be read."""
    log.debug("Request to %s:%d %d: %s", "one", 9092, 1, SaslAuthenticateRequest())
    log.debug("Request to %s:%d %d: %s", "one", 9092, 2, "Metadata")

    assert ["Request to one:9092 2: Metadata"] == said(log)
