"""Keep aiokafka from filling the logs: with no broker, each consumer of it tells so some ten times a second."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Of one kind, so many records in so many seconds are let through.
_MOST = 3
_PERIOD_S = 30.0
#: Kinds that are remembered; more than aiokafka has.
_MOST_KINDS = 500


class RateLimit(logging.Filter):
    """
    Lets the first records of a kind through, and then tells how many it left out.

    A kind is a place in the code. It also leaves out what would show passwords: at DEBUG, aiokafka logs its requests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, int], tuple[float, int]] = {}  # when the period began, and how many came in it

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether *record* is logged."""
        if record.levelno < logging.WARNING:
            return not _is_secret(record)
        kind = record.pathname, record.lineno
        now = self._clock()
        began, count = self._seen.get(kind, (now, 0))
        if now - began >= _PERIOD_S:
            if count > _MOST:
                record.msg = f"{record.getMessage()} (and {count - _MOST} more like this since it was last said)"
                record.args = ()
            began, count = now, 0
        if len(self._seen) < _MOST_KINDS:
            self._seen[kind] = began, count + 1
        return count < _MOST


def _is_secret(record: logging.LogRecord) -> bool:
    arguments = record.args if isinstance(record.args, tuple) else ()
    return any(type(argument).__name__.startswith("Sasl") for argument in arguments)


_LIMIT = RateLimit()


def quieten() -> None:
    """Limit what aiokafka logs, from now on; called again, it finds modules that were imported meanwhile."""
    for name in list(logging.root.manager.loggerDict):
        if name == "aiokafka" or name.startswith("aiokafka."):
            logging.getLogger(name).addFilter(_LIMIT)  # once, however often it is added
