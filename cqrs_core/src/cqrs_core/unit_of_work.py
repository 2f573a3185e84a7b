"""The contract of one transaction of a storage, and of what is written with it: events to be sent, messages taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from cqrs_core.envelope import Envelope

T = TypeVar("T")


class UnitOfWork(Protocol):
    """
    What one attempt at handling a message changes: all of it is kept, or nothing.

    A storage makes one for each attempt. It begins its transaction when something first needs one, and anew after each
    :meth:`commit`. One task at a time uses it; :meth:`commit`, :meth:`rollback` and :meth:`close` may be called from
    another task than the rest, one after the other.
    """

    @property
    def is_begun(self) -> bool:
        """Whether there is anything to commit: a transaction is open, or something waits to be written with one."""
        ...

    def get(self, wanted: type[T]) -> T:
        """
        Give the unit's own object of a type that ``Storage.provides`` lists: the same each time.

        Asking for it begins no transaction; using it does.
        """
        ...

    def enqueue(self, envelopes: Sequence[Envelope]) -> None:
        """
        Let *envelopes* be sent when the unit has been committed.

        They are checked now, and written to the outbox just before the commit, in the order in which they were given.
        Those of a savepoint that is rolled back are forgotten.

        Raises:
            UnpublishableEnvelope: One of them does not fit into the outbox. None was taken.
        """
        ...

    async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
        """
        Note, within the transaction, that *group* has these messages.

        Where another unit is about to accept one of them, this waits until it has ended: rolled back, the message is
        new; committed, it is not.

        Returns:
            Those that are new to the group. The others were accepted, and committed, before.
        """
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """
        Open a block that is undone if it raises: what was changed in it, and enqueued.

        Blocks may be nested. The error goes on.
        """
        ...

    async def flush(self) -> None:
        """Write what waits to be written, the outbox too, within the transaction that stays open."""
        ...

    async def commit(self) -> None:
        """
        Keep everything, and end the transaction. With nothing begun, there is nothing to do.

        Raises:
            CommitInDoubt: The connection broke while the transaction was being committed: it may have taken effect.
            Exception: Nothing took effect.
        """
        ...

    async def rollback(self) -> None:
        """Undo everything since the last commit, and end the transaction. It may be called at any time."""
        ...

    async def close(self) -> None:
        """Give back what was taken, such as a connection; what was not committed is undone. Called once, at the end."""
        ...
