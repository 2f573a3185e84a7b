"""The contract of what looks after an outbox: what a person sees of it, and can do about what went wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from cqrs_core.outbox import OutboxRecord, ParkedKey


@dataclass(frozen=True, slots=True)
class RelayShare:
    """
    What a relay that lives has of the outbox.

    Attributes:
        name: What it is called, so that a person knows which it is.
        slots: How many parts of the keys it has.
    """

    name: str
    slots: int


@dataclass(frozen=True, slots=True)
class LogReader:
    """
    Somebody who reads the log of the database, and may send what is written into the outbox.

    Attributes:
        name: What it is called there.
        is_connected: Whether it reads now.
        behind_bytes: How much of the log it has not done with yet; ``None``: what it has not done with is gone.
    """

    name: str
    is_connected: bool
    behind_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStatus:
    """
    How an outbox does: what to look at first is the age of the oldest message.

    Attributes:
        oldest_age_s: For how many seconds the first message that waits has done so; ``None``: none waits.
        waiting: How many wait, those among them that were refused.
        halted: How many of these wait for a person.
        dead: How many were given up.
        counted_to: At this number, counting has ended: a count that reaches it means so many, or more.
        parked: The keys of which a message was refused, and waits. Those of which one waits for a person come first,
            and have no ``delay_s``; of others, it is that of the first one. At most ``counted_to``.
        relays: The relays that live.
        free_slots: How many parts of the keys no relay has. While there is one, it takes them within moments.
        slots: How many parts there are.
        figures: What else the storage tells of itself, by name, for those who know it: of PostgreSQL ``dead_rows``,
            which wait to be swept out of the outbox, and ``horizon_age``, how many transactions ago the oldest began
            that keeps it from being swept.
        sent_by: Who sends it, if no relay does. Then nothing waits in it, and *readers* tell how that does.
        readers: Who reads the log of the database, if somebody who does so sends the outbox.
    """

    oldest_age_s: float | None
    waiting: int
    halted: int
    dead: int
    counted_to: int
    parked: Sequence[ParkedKey]
    relays: Sequence[RelayShare]
    free_slots: int
    slots: int
    figures: Mapping[str, float] = field(default_factory=dict)
    sent_by: str | None = None
    readers: Sequence[LogReader] = ()

    @property
    def is_lost(self) -> bool:
        """Whether somebody is to read the log of the database, and there is nobody who has had all of it."""
        return self.sent_by is not None and all(reader.behind_bytes is None for reader in self.readers)

    @property
    def needs_a_person(self) -> bool:
        """Whether there is something that nobody will ever do by himself."""
        return self.halted > 0 or self.dead > 0 or self.is_lost


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """
    One message, as a person looks at it.

    Attributes:
        record: The message. If it cannot be decoded, with its body as it is kept, and with what is left of its headers.
        delay_s: Seconds until it is due, 0 if it is; ``None``: not before a person says so.
        error: What was said when it was refused last; ``None`` if it never was.
        failed_at: When it was given up; ``None``: it waits.
        reason: Why it was given up, in a word.
    """

    record: OutboxRecord
    delay_s: float | None
    error: str | None
    failed_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    Which messages are meant: those that have all that is given here, compared exactly; all, if nothing is.

    Attributes:
        id: The id of the message.
        key: Its key.
        topic: Where it goes.
    """

    id: uuid.UUID | None = None
    key: str | None = None
    topic: str | None = None


class OutboxKeeper(Protocol):
    """
    What looks after an outbox for a person: ``storage.outbox_keeper``, for ``cqrs outbox``, where a storage has one.

    Relays and units of work go on meanwhile; the storage need not have been started. What changes many messages does so
    in batches, each of which is done or not, so that it can be stopped at any time, and called again.

    Raises:
        StorageUnavailable: By every method: the storage cannot be reached.
        StorageUnusable: By every method: something is missing in it.
    """

    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        """
        Tell how the outbox does.

        Args:
            count_to: Where to stop counting, and listing keys: of millions, nobody needs the number.
        """
        ...

    async def look(
        self, which: Selection, *, among_dead: bool = False, after: int = 0, limit: int = 100
    ) -> Sequence[OutboxEntry]:
        """
        Look at messages, by their positions, without changing anything.

        Args:
            which: Which of them.
            among_dead: Whether to look at those that were given up, or at those that wait.
            after: Only those behind this position.
            limit: How many at most.
        """
        ...

    async def requeue(self, which: Selection) -> int:
        """
        Let messages wait again that were given up: behind all others, in their order, as if they were written now.

        They keep their ids, and begin without attempts. What is given up again meanwhile is not among them.

        Returns:
            How many there were.
        """
        ...

    async def let_go(self, which: Selection) -> int:
        """
        Let those messages be due at once, at their places and without attempts, that were refused and are not due.

        Returns:
            How many there were.
        """
        ...

    async def purge(self, older_than: timedelta, which: Selection) -> int:
        """
        Forget messages that were given up longer ago than *older_than*, for good.

        Returns:
            How many there were.
        """
        ...
