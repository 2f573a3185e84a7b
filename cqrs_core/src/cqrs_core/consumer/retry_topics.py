"""Where messages wait that have failed: a topic for each delay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from cqrs_core.consumer.dead_letters import reasons
from cqrs_core.consumer.returned import DUE, PREFIX, ROUND, rounds_of
from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    from cqrs_core.broker import Delivery
    from cqrs_core.envelope import Envelope

_LEAST_S, _MOST_S = 0.001, 30 * 86_400
#: The units that the name of a topic may end in, in milliseconds.
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


class RetryTopic(NamedTuple):
    """
    Where messages wait for their next round.

    Attributes:
        name: What the topic is called.
        delay_s: For how many seconds they do.
    """

    name: str
    delay_s: float


def retry_topics(prefix: str, delays_s: Sequence[float]) -> tuple[RetryTopic, ...]:
    """
    Name the topic of each round: ``<prefix>.30s``; rounds with the same delay have the same one.

    Raises:
        InvalidOption: *delays_s* is no sequence of delays.
    """
    given: object = delays_s  # options come from programs that no type checker has seen
    if not isinstance(given, Sequence) or isinstance(given, str) or not all(map(_is_delay, given)):
        expected = "seconds, each from 0.001 to 2592000 (30 days), such as (30, 300, 3600, 3600)"
        raise InvalidOption("retry_topic_delays_s", given, expected)
    return tuple(RetryTopic(f"{prefix}.{_duration(delay_s)}", delay_s) for delay_s in delays_s)


def retry_letter(
    delivery: Delivery, error: BaseException, *, to: RetryTopic, group: str, attempts: int, time: datetime
) -> Envelope:
    """
    Address a message that has failed to a retry topic.

    Body, key and headers are left as they are; headers that begin with ``cqrs_retry_`` are added: where it was, whose
    it is, how often it was tried, what was wrong, and when it is due.
    """
    facts = {
        **reasons(PREFIX, delivery, error, group=group, attempts=attempts, time=time),
        ROUND: str(rounds_of(delivery) + 1),
        DUE: (time + timedelta(seconds=to.delay_s)).isoformat(),
    }
    return replace(delivery.envelope, topic=to.name, headers={**delivery.envelope.headers, **facts})


def _is_delay(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and _LEAST_S <= value <= _MOST_S


def _duration(seconds: float) -> str:
    """Write a duration in the largest unit in which it is a whole number."""
    length = round(seconds * 1000)
    unit, size = next((unit, size) for unit, size in _UNITS if length % size == 0)
    return f"{length // size}{unit}"
