"""Where the saga of a play is kept: in memory, unless a storage is given that is to keep the promises as well."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from cqrs_core.envelope import ID
from cqrs_core.memory import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
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


class _Memory:
    """A storage in memory, for one play, whose time is that of the play."""

    def __init__(self, clock: Clock) -> None:
        self._memory = MemoryStorage(clock=clock)
        self.sagas: SagaStorage = self._memory.sagas
        self.saga_id = uuid.UUID(int=_FIRST)

    async def sent(self) -> list[str]:
        return [record.envelope.headers[ID] for record in await self._memory.outbox.pending(limit=10_000)]

    async def pass_time(self, seconds: float) -> None:
        """Do nothing: there is one clock."""


class _Given:
    """A storage that was given, for one play of many."""

    def __init__(self, given: ExploredStorage, sagas: SagaStorage, number: int) -> None:
        self._given = given
        self.sagas = sagas
        self.saga_id = uuid.UUID(int=_FIRST + number)

    async def sent(self) -> list[str]:
        return [envelope.headers[ID] for envelope in await self._given.sent(self.sagas)]

    async def pass_time(self, seconds: float) -> None:
        await self._given.pass_time(self.sagas, seconds)


class Backstages:
    """Gives each play what it needs."""

    def __init__(self, given: ExploredStorage | None = None, sagas: SagaStorage | None = None) -> None:
        self._given = given
        self._sagas = sagas
        self._plays = 0

    def new(self, clock: Clock) -> Backstage:
        """Give one play what it needs; *clock* is that of the play."""
        if self._given is None or self._sagas is None:
            return _Memory(clock)
        number, self._plays = self._plays, self._plays + 1
        return _Given(self._given, self._sagas, number)


@asynccontextmanager
async def open_backstages(given: ExploredStorage | None) -> AsyncIterator[Backstages]:
    """Open the storage that is given, if one is, for all plays."""
    if given is None:
        yield Backstages()
        return
    async with given.open_storage() as sagas:
        yield Backstages(given, sagas)
