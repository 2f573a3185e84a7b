"""The step that is running, for whoever wants to know while it runs."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cqrs_core.errors import NotInStep
from cqrs_core.saga.log import Branch, SagaAction

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Sequence

    from cqrs_core.messages import Event
    from cqrs_core.unit_of_work import UnitOfWork


class CurrentStep:
    """
    One attempt at a step, or at undoing it.

    Attributes:
        saga_id: Of which saga.
        step_id: Which step.
        branch: Which side of it.
        action: ``ACT`` or ``COMPENSATE``.
        attempt: How many drivers may have begun it, this one included: above 1, an earlier one may have taken effect.
        fence: Grows with every driver that takes the saga: for services that refuse the calls of earlier ones.
    """

    __slots__ = ("_join", "action", "attempt", "branch", "fence", "has_returned", "outcome", "saga_id", "step_id")

    def __init__(  # noqa: PLR0917 - made for every step: named arguments would cost as much again
        self, saga_id: uuid.UUID, step_id: str, branch: Branch, action: SagaAction, attempt: int, fence: int
    ) -> None:
        self.saga_id = saga_id
        self.step_id = step_id
        self.branch = branch
        self.action = action
        self.attempt = attempt
        self.fence = fence
        #: Whether ``act`` has returned, so that what fails afterwards finds its effect done.
        self.has_returned = False
        #: What was written within the unit of work.
        self.outcome: tuple[Any, Sequence[Event]] = (None, ())
        self._join: Callable[[UnitOfWork, object, Sequence[Event]], Awaitable[None]] | None = None

    @property
    def idempotency_key(self) -> uuid.UUID:
        """The same in every attempt, and of no other step or action: for services that know repetitions by a key."""
        return self._key(self.action)

    @property
    def act_key(self) -> uuid.UUID:
        """The key that ``act`` has had, for ``compensate`` to tell what is to be undone."""
        return self._key(SagaAction.ACT)

    def _key(self, action: SagaAction) -> uuid.UUID:
        import uuid  # noqa: PLC0415 - only who asks needs it

        side = "fallback" if self.branch is Branch.FALLBACK else "primary"
        return uuid.uuid5(self.saga_id, f"{self.step_id}\n{side}\n{action}")

    def join(self, checkpoint: Callable[[UnitOfWork, object, Sequence[Event]], Awaitable[None]]) -> None:
        """Have *checkpoint* called in the unit of work of this attempt, just before that is committed."""
        self._join = checkpoint

    async def write_in(self, unit: UnitOfWork, result: object, published: Sequence[Event]) -> None:
        """Write what was to be joined, if anything was."""
        if self._join is not None:
            self.outcome = result, published
            await self._join(unit, result, published)


#: Set around every attempt.
running_step: ContextVar[CurrentStep | None] = ContextVar("running_step", default=None)


def current_step() -> CurrentStep:
    """
    Tell which step of a saga runs here.

    Raises:
        NotInStep: None does.
    """
    step = running_step.get()
    if step is None:
        raise NotInStep
    return step
