"""When an attempt takes effect for good: as it returns, or as its unit of work is committed."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from cqrs_core.errors import CommitInDoubt
from cqrs_core.memory import MemoryStorage
from cqrs_core.memory.unit import MemoryUnitOfWork
from cqrs_core.testing.exploring.incarnation import living

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cqrs_core.messages import Event
    from cqrs_core.saga.current import CurrentStep


class Effect:
    """What one attempt does to the world, which is noted once."""

    def __init__(
        self,
        current: CurrentStep,
        take: Callable[[], object],
        tell: Callable[[Sequence[Event]], object],
        *,
        is_answer_lost: bool = False,
    ) -> None:
        """
        Wait for it.

        Args:
            current: The step.
            take: Notes that it has taken effect.
            tell: Notes what it wants sent.
            is_answer_lost: Whether nobody learns of it when its unit of work is committed.
        """
        self.is_answer_lost = is_answer_lost
        self._current = current
        self._take: Callable[[], object] | None = take
        self._tell: Callable[[Sequence[Event]], object] | None = tell

    def committed(self) -> None:
        """Note that the unit of work is; and if the record that the step is done was within it, what is sent."""
        self._taken()
        result, published = self._current.outcome
        if result is not None:
            self._told(published)

    def returned(self, published: Sequence[Event]) -> None:
        """Note that the attempt has, with what it wants sent."""
        self._taken()
        self._told(published)

    def _taken(self) -> None:
        if self._take is not None:
            self._take()
            self._take = None

    def _told(self, published: Sequence[Event]) -> None:
        if self._tell is not None:
            self._tell(published)
            self._tell = None


#: That of the attempt that is made here.
taking_effect: ContextVar[Effect] = ContextVar("taking_effect")


class MortalUnit(MemoryUnitOfWork):
    """A unit of work as a process that may die sees it: before the commit, or after it, when it has not heard of it."""

    async def commit(self) -> None:
        """As :meth:`cqrs_core.unit_of_work.UnitOfWork.commit`."""
        life, effect = living.get(), taking_effect.get()
        await life.point("commit is asked for")
        await super().commit()
        effect.committed()
        if effect.is_answer_lost or life.loses_an_answer():
            raise CommitInDoubt("The storage")
        await life.point("commit is answered")


class StageStorage(MemoryStorage):
    """The storage of a saga that is put together once and played often: each unit is one of the play at hand."""

    def __init__(self, make_unit: Callable[[], MortalUnit]) -> None:
        super().__init__()
        self._make_unit = make_unit

    def unit_of_work(self, taken: object = None) -> MortalUnit:  # noqa: ARG002 - it takes nothing
        """As :meth:`cqrs_core.storage.Storage.unit_of_work`."""
        return self._make_unit()
