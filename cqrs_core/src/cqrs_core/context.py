"""The message that is being handled, for whoever wants to know while handling it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class CurrentMessage:
    """
    A message that came from a broker, as far as its handlers may want to know it.

    Attributes:
        id: The same each time the message is delivered: what to know a repeated delivery by.
        name: What its event is called on the wire.
        topic: Where it came from.
        group: Who consumes it.
        key: Its ordering key.
        headers: Everything that its sender wrote beside the body.
        correlation_id: Shared by all messages of one conversation.
        causation_id: The message that led to this one; ``None`` if its sender did not say.
        attempt: Which attempt at handling it this is, from 1: those here, after what the broker counts as deliveries.
    """

    id: uuid.UUID
    name: str
    topic: str
    group: str
    key: str | None
    headers: Mapping[str, str]
    correlation_id: str
    causation_id: str | None
    attempt: int


class Handling:
    """
    What a consumer is at: the messages of one attempt; none between two of them.

    Attributes:
        messages: One, or those of a batch.
        published: How many events have been published in this attempt.
    """

    __slots__ = ("messages", "published")

    def __init__(self, messages: tuple[CurrentMessage, ...] = ()) -> None:
        self.messages = messages
        self.published = 0


#: Set by the consumer around each attempt; a bare ``send`` does not touch it.
being_handled: ContextVar[Handling | None] = ContextVar("being_handled", default=None)


def current_message() -> CurrentMessage | None:
    """Tell which message from a broker is being handled here; ``None`` if none is, or several are."""
    messages = current_messages()
    return messages[0] if len(messages) == 1 else None


def current_messages() -> tuple[CurrentMessage, ...]:
    """Tell which messages from a broker are being handled here: of a batch, one for each event, in their order."""
    handling = being_handled.get()
    return () if handling is None else handling.messages


def is_consuming() -> bool:
    """
    Tell whether this runs in a consumer: whoever waits here for a message to be handled may wait for itself.

    A task that a handler has started and left behind is still told so.
    """
    return being_handled.get() is not None


def next_message_id(content: str) -> uuid.UUID:
    """
    Give the id of a message that is published here.

    While one message is being handled, the id is made of that message's, so that a message that is handled again
    publishes what it published before under the same ids, and those who consume it know the repetition. Only if it is
    the same: *content* tells.
    """
    import uuid  # noqa: PLC0415 - only who publishes needs it

    handling = being_handled.get()
    if handling is None or len(handling.messages) != 1:
        return uuid.uuid4()
    (cause,) = handling.messages
    handling.published += 1
    return uuid.uuid5(cause.id, f"{cause.group}\n{handling.published}\n{content}")
