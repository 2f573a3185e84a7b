"""One life of a worker process, which ends, or stands still, at the point that it was told."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cqrs_core.concurrency import Gate, sleep
from cqrs_core.errors import StorageUnavailable

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Sequence

    from cqrs_core.concurrency import CancelScope
    from cqrs_core.saga.log import SagaLogEntry
    from cqrs_core.saga.storage import NewSaga, SagaClaim, SagaRecord, SagaStorage, SagaWrite
    from cqrs_core.unit_of_work import UnitOfWork


class Died(BaseException):
    """The process is dead: whatever it still tries has no effect, and nothing catches this."""


class Incarnation:
    """
    One life of a process.

    Attributes:
        trace: The points that it came to.
        is_dead: Whether it has died.
        was_reached: Whether it came to the point that it was told.
        paused: Opened when it stands still, or has ended.
        resumed: Lets it go on.
        scope: Around its driver: what is cancelled.
    """

    def __init__(
        self, name: str, *, at: int | None = None, does: str = "crash", trace: list[str] | None = None
    ) -> None:
        self.name = name
        self.trace: list[str] = [] if trace is None else trace
        self.is_dead = False
        self.was_reached = False
        self.paused = Gate()
        self.resumed = Gate()
        self.scope: CancelScope | None = None
        self._at = at
        self._does = does
        self._count = 0

    async def point(self, label: str) -> None:
        """Come to a point, where it may end."""
        if self.is_dead:
            raise Died
        self.trace.append(f"{self.name}: {label}")
        if self._does == "lost_answer" or not self._comes_to_its_point():
            return
        self.trace[-1] += f"  <- {self._does}"
        if self._does == "crash":
            self.is_dead = True
            raise Died
        if self._does in ("zombie", "undo"):
            self.paused.open()
            await self.resumed.wait()
        elif self._does == "cancel" and self.scope is not None:
            self.scope.cancel()
            await sleep(0)

    def loses_an_answer(self) -> bool:
        """Tell whether the answer of the write that was just made is lost."""
        if self._does != "lost_answer" or not self._comes_to_its_point():
            return False
        self.trace.append(f"{self.name}: the answer is lost")
        return True

    def _comes_to_its_point(self) -> bool:
        """Count one more, and tell whether it is the one at which something happens."""
        number, self._count = self._count, self._count + 1
        self.was_reached = self.was_reached or number == self._at
        return number == self._at


#: Whose life this is.
living: ContextVar[Incarnation] = ContextVar("living")


class MortalStorage:
    """A storage of sagas as a process that may die sees it: nothing that a dead one asks for is done."""

    def __init__(
        self,
        storage: SagaStorage,
        *,
        is_durable: bool,
        on_write: Callable[[SagaWrite, SagaRecord | None], None],
    ) -> None:
        """
        Stand before *storage*.

        Args:
            is_durable: What it says of itself.
            on_write: Told of every write that was made, and of the saga before it.
        """
        self.storage = storage
        self.is_durable = is_durable
        self.has_outbox = storage.has_outbox
        self._on_write = on_write

    async def start(self, new: NewSaga, *, within: UnitOfWork | None = None) -> SagaRecord | None:
        """As :meth:`cqrs_core.saga.storage.SagaStorage.start`."""
        return await self._asked("start", lambda: self.storage.start(new, within=within))  # type: ignore[no-any-return]  # as there

    async def write(self, write: SagaWrite, *, within: UnitOfWork | None = None) -> None:
        """As :meth:`cqrs_core.saga.storage.SagaStorage.write`."""

        async def make() -> None:
            before = await self.storage.load(write.saga_id)
            await self.storage.write(write, within=within)
            self._on_write(write, before)
            if living.get().loses_an_answer():
                raise StorageUnavailable("The storage", "its answer was lost.")

        await self._asked(f"write {write.standing.status} {write.standing.cursor}", make)

    async def claim(self, claim: SagaClaim) -> Sequence[SagaRecord]:
        """As :meth:`cqrs_core.saga.storage.SagaStorage.claim`."""
        return await self._asked("claim", lambda: self.storage.claim(claim))  # type: ignore[no-any-return]  # as there

    async def renew(self, held: Collection[tuple[uuid.UUID, int]], *, lease_s: float) -> Collection[uuid.UUID]:
        """As :meth:`cqrs_core.saga.storage.SagaStorage.renew`."""
        return await self._asked("renew", lambda: self.storage.renew(held, lease_s=lease_s))  # type: ignore[no-any-return]  # as there

    async def load(self, saga_id: uuid.UUID) -> SagaRecord | None:
        """As :meth:`cqrs_core.saga.storage.SagaStorage.load`."""
        return await self._asked("load", lambda: self.storage.load(saga_id))  # type: ignore[no-any-return]  # as there

    async def get_step_history(self, saga_id: uuid.UUID) -> Sequence[SagaLogEntry]:
        """As :meth:`cqrs_core.saga.storage.SagaStorage.get_step_history`."""
        return await self._asked("history", lambda: self.storage.get_step_history(saga_id))  # type: ignore[no-any-return]  # as there

    @staticmethod
    async def _asked(what: str, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - as it is there
        """Do it; the process may die before it is done, and after, when it has not heard of it."""
        life = living.get()
        await life.point(f"{what} is asked for")
        answer = await ask()
        await life.point(f"{what} is answered")
        return answer
