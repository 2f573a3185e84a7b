"""Where the saga of a play is kept: in memory, unless a storage is given that is to keep the promises as well."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Protocol

from cqrs_core.envelope import ID
from cqrs_core.memory import MemoryStorage
from cqrs_core.memory.inbox import MemoryInbox
from cqrs_core.testing.exploring.effects import MortalUnit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from cqrs_core.clock import Clock
    from cqrs_core.envelope import Envelope
    from cqrs_core.saga.storage import SagaStorage

#: Of the first saga that is played in a storage; the next one has the next.
_FIRST = 9


class ExploredStorage(Protocol):
    """
    A storage of sagas for :func:`cqrs_core.testing.explore` to play in.

    An object of a class that derives from ``SagaStorageConformance`` is one, if it lets time pass at once.
    """

    def open_storage(self) -> AbstractAsyncContextManager[SagaStorage]:
        """Give a storage that is ready and empty, and end it afterwards; called once, for all plays."""
        ...

    async def sent(self, storage: SagaStorage) -> Sequence[Envelope]:
        """Read what waits in the outbox; what was read before may be left out."""
        ...

    async def pass_time(self, storage: SagaStorage, seconds: float) -> None:
        """Let *seconds* pass, as the storage measures them, without waiting for it."""
        ...


class Backstage(Protocol):
    """
    What one play needs of a storage.

    Attributes:
        sagas: The storage.
        saga_id: Under which the saga of this play is kept there.
    """

    sagas: SagaStorage
    saga_id: uuid.UUID

    async def sent(self) -> list[str]:
        """Give the ids of the messages that wait in the outbox."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for the storage, too."""
        ...

    def unit_of_work(self) -> MortalUnit:
        """Make a unit of work of the storage, if it is in memory."""
        ...


class _Memory:
    """A storage in memory, for one play, whose time is that of the play."""

    def __init__(self, clock: Clock) -> None:
        self._memory = MemoryStorage(clock=clock)
        self._inbox = MemoryInbox(clock)
        self.sagas: SagaStorage = self._memory.sagas
        self.saga_id = uuid.UUID(int=_FIRST)

    async def sent(self) -> list[str]:
        return [record.envelope.headers[ID] for record in await self._memory.outbox.pending(limit=10_000)]

    async def pass_time(self, seconds: float) -> None:
        """Do nothing: there is one clock."""

    def unit_of_work(self) -> MortalUnit:
        return MortalUnit(self._memory.outbox, self._inbox)


class _Given:
    """A storage that was given, for one play of many."""

    def __init__(self, given: ExploredStorage, sagas: SagaStorage, number: int) -> None:
        self._given = given
        self.sagas = sagas
        self.saga_id = uuid.UUID(int=number)

    async def sent(self) -> list[str]:
        return [envelope.headers[ID] for envelope in await self._given.sent(self.sagas)]

    async def pass_time(self, seconds: float) -> None:
        await self._given.pass_time(self.sagas, seconds)

    def unit_of_work(self) -> MortalUnit:
        raise NotImplementedError("explore() has refused steps that need one")


@asynccontextmanager
async def open_backstages(given: ExploredStorage | None) -> AsyncIterator[Callable[[Clock], Backstage]]:
    """Open the storage that is given, if one is, for all plays; what comes of it gives each, by its clock, its own."""
    if given is None:
        yield _Memory
        return
    async with given.open_storage() as sagas:
        numbers = count(_FIRST)
        yield lambda _: _Given(given, sagas, next(numbers))
