"""Messages that come again, from a retry topic or because somebody sent them back: as they were at first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from cqrs_core.broker import Delivery

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cqrs_core.envelope import Envelope

#: What the names of the headers begin with that tell of such a message.
PREFIX = "cqrs_retry_"
TOPIC = f"{PREFIX}topic"
PARTITION = f"{PREFIX}partition"
POSITION = f"{PREFIX}position"
GROUP = f"{PREFIX}group"
ATTEMPTS = f"{PREFIX}attempts"
ROUND = f"{PREFIX}round"
DUE = f"{PREFIX}due"
NUMBER = f"{PREFIX}number"
DISCARDED = f"{PREFIX}discarded"

#: More digits than any number has that is written here.
_LONGEST_NUMBER = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned(Delivery):
    """
    A message that comes again: as it was when it came first, but for the partition, which is the one of now.

    Attributes:
        received: As the broker has it, which is what is acknowledged.
        is_ours: Whether it is for this group, and not for another.
        first_partition: Where it came from at first.
        rounds: How many retry topics it has been in.
        earlier_attempts: How many attempts there were before.
        due_at: When it may be handled, as the clock's ``monotonic`` has it.
        number: Its place among the letters of its key, where keys are parked; ``None`` if it has none.
        is_discarded: Whether it is not to be handled, but done.
    """

    received: Delivery
    is_ours: bool
    first_partition: str
    rounds: int
    earlier_attempts: int
    due_at: float
    number: int | None
    is_discarded: bool


def sent_back(
    envelope: Envelope,
    *,
    partition: str,
    position: str,
    group: str | None,
    number: int | None = None,
    is_discarded: bool = False,
) -> Envelope:
    """
    Make the message that lets *envelope* come again to its topic.

    Args:
        envelope: As it came first.
        partition: Where it came from; empty if that is not known.
        position: Where it stood: without an id, it is known by that. Empty if that is not known.
        group: For whom it is; others pass over it. Empty, or ``None``: for all.
        number: Its place among the letters of its key, if it has one.
        is_discarded: Whether it is not to be handled when its turn comes, but done.
    """
    facts = {TOPIC: envelope.topic, PARTITION: partition, POSITION: position, GROUP: group or ""}
    facts = {name: value for name, value in facts.items() if value}
    if number is not None:
        facts[NUMBER] = str(number)
    if is_discarded:
        facts[DISCARDED] = "true"
    return replace(envelope, headers={**envelope.headers, **facts})


def first_partition_of(delivery: Delivery) -> str:
    """Tell where a message came from at first."""
    return delivery.first_partition if isinstance(delivery, Returned) else delivery.partition


def rounds_of(delivery: Delivery) -> int:
    """Tell how many retry topics a message has been in."""
    return delivery.rounds if isinstance(delivery, Returned) else 0


def attempts_before(delivery: Delivery) -> int:
    """Tell how many attempts there were before a message came again."""
    return delivery.earlier_attempts if isinstance(delivery, Returned) else 0


def number_of(delivery: Delivery) -> int | None:
    """Tell the place of a message among the letters of its key; ``None`` if it was none, or those of another group."""
    return delivery.number if isinstance(delivery, Returned) and delivery.is_ours else None


class Returns:
    """Knows the messages of one group that come again, and gives them as they were when they came first."""

    def __init__(self, group: str, origins: Mapping[str, tuple[str, float]]) -> None:
        """
        Take what there is to know.

        Args:
            group: Which.
            origins: By retry topic: for whose messages it is, and their delay in seconds.
        """
        self._group = group
        self._origins = origins

    @property
    def topics(self) -> Collection[str]:
        """The retry topics, each once."""
        return self._origins.keys()

    def restored(self, received: Delivery, *, now: datetime, monotonic: float) -> Delivery:
        """
        Give a message as it was when it came first; one that has not come before is what it is.

        What was put into a retry topic by other hands is taken for a message of its origin that is due.
        """
        envelope = received.envelope
        headers, topic = envelope.headers, envelope.topic
        if TOPIC not in headers and topic not in self._origins:
            return received
        origin, delay_s = self._origins.get(topic, (topic, 0.0))
        # Where names of topics meet. One that was copied elsewhere is what it is there.
        is_of_origin = topic == origin or headers.get(TOPIC, origin) == origin
        earlier = number_in(headers.get(ATTEMPTS))
        first = {name: value for name, value in headers.items() if not name.startswith(PREFIX)}
        return Returned(
            envelope=replace(envelope, topic=origin, headers=first),
            partition=received.partition,
            position=headers.get(POSITION, f"{topic} {received.position}"),
            attempt=earlier + received.attempt,
            received=received,
            is_ours=is_of_origin and headers.get(GROUP, self._group) == self._group,
            first_partition=headers.get(PARTITION, received.partition),
            rounds=number_in(headers.get(ROUND)),
            earlier_attempts=earlier,
            due_at=monotonic + _wait_s(headers.get(DUE), now, at_most_s=delay_s),
            number=number_in(headers.get(NUMBER)) or None,
            is_discarded=DISCARDED in headers,
        )


def _wait_s(due: str | None, now: datetime, *, at_most_s: float) -> float:
    """Tell for how long a message is not due: never longer than the delay, however wrong a clock may be."""
    if due is None or not at_most_s:
        return 0.0
    try:
        left_s = (datetime.fromisoformat(due) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):  # no time, or one without its offset
        return 0.0
    return min(max(left_s, 0.0), at_most_s)


def number_in(text: str | None) -> int:
    """Read a number from a header; what makes no sense is nought."""
    if text is None or not (text.isascii() and text.isdecimal()) or len(text) > _LONGEST_NUMBER:
        return 0
    return int(text)
