"""What is sent to a dead-letter topic: the message as it came, and why it was given up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cqrs_core.consumer.returned import first_partition_of
from cqrs_core.errors import CqrsError, EventHandlersFailed

if TYPE_CHECKING:
    from datetime import datetime

    from cqrs_core.broker import Delivery
    from cqrs_core.envelope import Envelope

#: What the names of these headers begin with.
PREFIX = "cqrs_dead_"
TOPIC = f"{PREFIX}topic"
PARTITION = f"{PREFIX}partition"
POSITION = f"{PREFIX}position"
GROUP = f"{PREFIX}group"
ATTEMPTS = f"{PREFIX}attempts"
ERROR_TYPE = f"{PREFIX}error_type"
ERROR_TEXT = f"{PREFIX}error_text"
TIME = f"{PREFIX}time"
#: Where keys are parked: the place of a letter among those of its key.
NUMBER = f"{PREFIX}number"
#: In a message without a body, which is no event: that the letter at this position was sent back; that the letter of
#: this number is done.
REPLAYED = f"{PREFIX}replayed"
SETTLED = f"{PREFIX}settled"

_LONGEST_TEXT = 1000


class ParkedBehind(CqrsError, RuntimeError):
    """
    A message was not handled, because one of its key that came before it is a dead letter.

    Attributes:
        key: The key.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__("An earlier message of its key is a dead letter. Send that back, and this one after it.")


def is_note(envelope: Envelope) -> bool:
    """Tell whether a message is no letter, but says what became of one."""
    return REPLAYED in envelope.headers or SETTLED in envelope.headers


def dead_letter(
    delivery: Delivery,
    error: BaseException,
    *,
    topic: str,
    group: str,
    attempts: int,
    time: datetime,
    number: int | None = None,
) -> Envelope:
    """
    Address a message that was given up to *topic*.

    Body, key and headers are left as they are; headers that begin with ``cqrs_dead_`` are added: where it was, who gave
    it up when and after how many attempts, and what was wrong. A message that dies again, after it was sent back, tells
    of its last death.
    """
    reason = reasons(PREFIX, delivery, error, group=group, attempts=attempts, time=time)
    if number is not None:
        reason[NUMBER] = str(number)
    return replace(delivery.envelope, topic=topic, headers={**delivery.envelope.headers, **reason})


def reasons(
    prefix: str, delivery: Delivery, error: BaseException, *, group: str, attempts: int, time: datetime
) -> dict[str, str]:
    """Tell, in headers whose names begin with *prefix*, where a message was, and why it is there no more."""
    cause = error.errors[0] if isinstance(error, EventHandlersFailed) and len(error.errors) == 1 else error
    facts = {
        "topic": delivery.envelope.topic,
        "partition": first_partition_of(delivery),
        "position": delivery.position,
        "group": group,
        "attempts": str(attempts),
        "error_type": f"{type(cause).__module__}.{type(cause).__qualname__}",
        "error_text": _text_of(cause),
        "time": time.isoformat(),
    }
    return {f"{prefix}{name}": value for name, value in facts.items()}


def _text_of(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - a class of the program's, whose __str__ may do anything
        text = f"(its text cannot be shown: {type(broken).__qualname__})"
    return text[:_LONGEST_TEXT].encode(errors="replace").decode()
