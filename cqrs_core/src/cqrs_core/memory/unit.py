"""One unit of work of the memory storage."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from cqrs_core.errors import NotProvided

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence

    from cqrs_core.envelope import Envelope
    from cqrs_core.memory.claims import Receipt
    from cqrs_core.memory.inbox import MemoryInbox
    from cqrs_core.memory.outbox import MemoryOutbox

T = TypeVar("T")


class MemoryUnitOfWork:
    """
    Gathers what is to be kept together: a :class:`cqrs_core.unit_of_work.UnitOfWork`.

    What a program keeps in objects of its own is not part of it, and is not undone.
    """

    def __init__(self, outbox: MemoryOutbox, inbox: MemoryInbox) -> None:
        self._outbox = outbox
        self._inbox = inbox
        self._envelopes: list[Envelope] = []
        self._receipts: list[Receipt] = []
        #: What sagas have written within the unit: what checks once more that it may be, what does it, what is made.
        self._changes: list[tuple[Callable[[], object], Callable[[], object], object]] = []

    @property
    def is_begun(self) -> bool:
        """Whether there is anything to commit: an envelope, a message that it has accepted, a saga."""
        return bool(self._envelopes or self._receipts or self._changes)

    def on_commit(self, do: Callable[[], object], check: Callable[[], object], makes: object = None) -> None:
        """
        Have something done with the commit, or not at all.

        Args:
            do: It must not fail.
            check: Raises if it must not be done by then; nothing of the unit is kept in that case.
            makes: What is there then, and until then is among what :meth:`waiting` gives.
        """
        self._changes.append((check, do, makes))

    def waiting(self) -> Iterator[object]:
        """Iterate over what is there when the unit is committed."""
        return (makes for _, _, makes in self._changes)

    def get(self, wanted: type[T]) -> T:
        """
        Refuse: the storage provides nothing.

        Raises:
            NotProvided: Always.
        """
        raise NotProvided(wanted)

    def enqueue(self, envelopes: Sequence[Envelope]) -> None:
        """
        As :meth:`cqrs_core.unit_of_work.UnitOfWork.enqueue`.

        Raises:
            UnpublishableEnvelope: The body of one is too long. None was taken.
        """
        for envelope in envelopes:
            self._outbox.check(envelope)
        self._envelopes += envelopes

    async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
        """
        As :meth:`cqrs_core.unit_of_work.UnitOfWork.accept`.

        Raises:
            Deadlock: Another unit has one of them, and waits for this one. Roll back, and try again.
        """
        new = await self._inbox.claim(self, group, message_ids)
        self._receipts += new
        return [message_id for _, message_id in new]

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """As :meth:`cqrs_core.unit_of_work.UnitOfWork.savepoint`."""
        before = len(self._envelopes), len(self._receipts), len(self._changes)
        try:
            yield
        except BaseException:
            self._undo(*before)
            raise

    async def flush(self) -> None:
        """Do nothing: what waits to be written can be written only when it is committed."""

    async def commit(self) -> None:
        """As :meth:`cqrs_core.unit_of_work.UnitOfWork.commit`; it does not wait, and fails only for a saga."""
        for check, _, _ in self._changes:
            check()
        self._outbox.keep(self._envelopes)
        self._inbox.keep(self._receipts)
        for _, do, _ in self._changes:
            do()
        self._envelopes, self._receipts, self._changes = [], [], []

    async def rollback(self) -> None:
        """As :meth:`cqrs_core.unit_of_work.UnitOfWork.rollback`."""
        self._undo(0, 0, 0)

    async def close(self) -> None:
        """As :meth:`cqrs_core.unit_of_work.UnitOfWork.close`."""
        self._undo(0, 0, 0)

    def _undo(self, envelopes: int, receipts: int, changes: int) -> None:
        """Forget what was added to the first so many envelopes, receipts and changes."""
        del self._envelopes[envelopes:]
        del self._changes[changes:]
        undone = self._receipts[receipts:]
        del self._receipts[receipts:]
        self._inbox.release(undone)
