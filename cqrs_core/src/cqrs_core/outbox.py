"""The contract of the outbox: events that were committed with what they tell of, and wait to be sent."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cqrs_core.envelope import Envelope
    from cqrs_core.messages import Event


@dataclass(frozen=True, slots=True)
class OutboxRecord:
    """
    One message that waits to be sent.

    Attributes:
        position: Where it stands: later ones of the same writer have greater numbers. Never used twice.
        envelope: What is sent, as it was enqueued.
        created_at: When it was written, in UTC, aware.
    """

    position: int
    envelope: Envelope
    created_at: datetime


class Outbox(Protocol):
    """The messages that units of work have committed, and that nobody has sent."""

    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        """
        Look at what waits, without taking it.

        Args:
            limit: How many at most.
            after: Only those behind this position.

        Returns:
            Committed messages, by their positions. One of a lower position may still be committed later.
        """
        ...


class OutboxedEventRepository(abc.ABC):
    """
    Writes events into the outbox by hand, within the transaction that the caller's changes are made in.

    Handlers of an App with a storage need it seldom: what they append to their ``events`` goes the same way by itself.
    """

    @abc.abstractmethod
    def add(self, event: Event) -> None:
        """
        Let *event* be sent when the transaction has been committed.

        Raises:
            UnpublishableEvent: It is neither a notification nor of a class that the App publishes, or has facts that
                cannot be written.
            CodecError: It holds something that JSON cannot carry; ``path`` leads to it.
            UnpublishableEnvelope: It does not fit into the outbox.
        """

    @abc.abstractmethod
    async def commit(self) -> None:
        """Write what was added and commit the transaction; within a unit of work only write it: the unit commits."""

    @abc.abstractmethod
    async def rollback(self) -> None:
        """Forget what was added, and undo the transaction; a unit of work as a whole can then only be rolled back."""
