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
        attempt: Which attempt at handling it this is, from 1.
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


#: Set by the consumer around each attempt, in its tasks to ``()`` between them; a bare ``send`` does not touch it.
being_handled: ContextVar[tuple[CurrentMessage, ...] | None] = ContextVar("being_handled", default=None)


def current_message() -> CurrentMessage | None:
    """Tell which message from a broker is being handled here; ``None`` if none is, or several are."""
    messages = being_handled.get()
    return messages[0] if messages is not None and len(messages) == 1 else None


def current_messages() -> tuple[CurrentMessage, ...]:
    """Tell which messages from a broker are being handled here: of a batch, one for each event, in their order."""
    return being_handled.get() or ()


def is_consuming() -> bool:
    """Tell whether this runs in a consumer: whoever waits here for a message to be handled may wait for itself."""
    return being_handled.get() is not None
