"""The contract of the outbox: events that were committed with what they tell of, and wait to be sent."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
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
        attempts: How often the broker has refused it.
    """

    position: int
    envelope: Envelope
    created_at: datetime
    attempts: int = 0


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

    def lease(self, name: str, *, ttl_s: float) -> OutboxLease:
        """
        Make what one relay holds its share by; nothing is taken before :meth:`OutboxLease.renew`.

        Args:
            name: Tells people whose it is. Two relays of one name are two all the same.
            ttl_s: For how many seconds a share is kept without being renewed.
        """
        ...


@dataclass(frozen=True, slots=True)
class ParkedKey:
    """
    A key of messages that wait, because the first of them was refused.

    Attributes:
        key: The key.
        delay_s: Seconds until that message is to be tried again; ``None``: not before a person says so.
    """

    key: str
    delay_s: float | None


class OutboxLease(Protocol):
    """
    What one relay has of the outbox: a share of all keys, which no other relay has at the same time.

    Messages without a key belong to some share too. A share is kept for ``ttl_s`` seconds after each :meth:`renew`.
    Nothing depends on it but order among relays and work that is done once: a message whose share has changed hands may
    be sent by both, and consumers know it by its id. All methods but :meth:`renew` and :meth:`fetch` are called by one
    task, one after the other; these two may be called beside them.

    Raises:
        StorageUnavailable: By every method: the storage cannot be reached. The call may be repeated.
    """

    async def renew(self) -> bool:
        """
        Keep the share for another ``ttl_s`` seconds; what has lapsed, and is another's by now, is lost here.

        Returns:
            Whether :meth:`rebalance` would change something: relays have come or gone, or keys are nobody's. In a
            settled state, it would not.
        """
        ...

    async def rebalance(self) -> bool:
        """
        Give up what is more than a fair share, or take what is nobody's; nothing may be on its way to the broker.

        Returns:
            Whether the share has grown, which happens here alone: then there may be messages at any position.
        """
        ...

    async def fetch(
        self, *, after: int, limit: int, without: Collection[str], passed: Collection[int] = ()
    ) -> Sequence[OutboxRecord]:
        """
        Read the next messages of the share that are due, by their positions; without a share there are none.

        All of it is seen at one moment: if a message is given that was committed after another, that one is given too,
        if it stands behind *after* or is *passed*.

        Args:
            after: Only those behind this position, and those at *passed* ones.
            limit: How many at most, those at *passed* positions not counted.
            passed: Positions before *after* where nothing was to be seen when they were passed: of messages that were
                committed late, perhaps. There may be a thousand.
            without: Keys whose messages are left out, compared exactly; there may be thousands. Messages that follow
                one that was postponed are due: leaving them out is for the caller.
        """
        ...

    async def parked(self) -> Sequence[ParkedKey]:
        """List, once each, the keys of the share of which a message was refused, and waits."""
        ...

    async def remove(self, positions: Sequence[int]) -> None:
        """Forget messages: the broker has them. It does not matter whose they are, nor whether they are still there."""
        ...

    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        """
        Count an attempt at a message that was refused, and let it wait; one that is gone is passed over.

        Args:
            position: Which one.
            delay_s: Seconds before it is due again; ``None``: until a person says so.
            error: What the broker said, for that person: any text, which may be kept in part.
        """
        ...

    async def bury(self, position: int, *, reason: str, error: str) -> None:
        """
        Take a message out for good, and keep it among the dead; one that is gone is passed over.

        Args:
            position: Which one.
            reason: Why, in a word.
            error: As for :meth:`postpone`.
        """
        ...

    async def release(self) -> None:
        """Give up the whole share, so that others need not wait for its end; without one there is nothing to do."""
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
