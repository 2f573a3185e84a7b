"""Undoes what a saga has done: in reverse, one side of a step after the other, and stops at what cannot be undone."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from cqrs_core.errors import SagaFenced, SagaUnrunnable
from cqrs_core.resilience.calls import retried
from cqrs_core.saga.current import CurrentStep
from cqrs_core.saga.log import Branch, Done, LogRecord, SagaAction, SagaStepStatus
from cqrs_core.saga.plan import Happened, follow
from cqrs_core.saga.run import attempt_guarded, error_text, is_end_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.clock import Clock
    from cqrs_core.messages import Event
    from cqrs_core.saga.journal import Journal
    from cqrs_core.saga.publishing import Publishing
    from cqrs_core.saga.run import Run
    from cqrs_core.saga.runnable import RunnableSide

logger = logging.getLogger(__name__)


class Compensator:
    """Undoes sides of steps."""

    def __init__(self, journal: Journal, publishing: Publishing, clock: Clock) -> None:
        """
        Take what it needs.

        Args:
            journal: Makes durable that a side is undone.
            publishing: Takes events on.
            clock: Lets the delays between attempts pass.
        """
        self._journal = journal
        self._publishing = publishing
        self._clock = clock

    async def undo_last(self, run: Run) -> None:
        """
        Undo what *run* has done last, of what is not undone; or suspend it.

        Raises:
            SagaFenced: Another has the saga by now.
            SagaStorageUnavailable: It could not be made durable.
        """
        await self._undo(run, run.done[-1])

    async def leave_primary(self, run: Run) -> None:
        """Undo the primary of the step at work, which may have taken effect, so that its fallback can begin."""
        await self._undo(run, Done(run.saga.definition.step_at_work(run.standing), Branch.PRIMARY))

    async def _undo(self, run: Run, done: Done) -> None:
        side = run.saga.undoing(done)
        if side is None:
            raise SagaUnrunnable(run.id, f"nothing here undoes the {done.branch.name.lower()} of {done.step_id!r}.")
        try:
            published = await self._attempts(run, side)
            envelopes = self._publishing.envelopes(run.id, published)
        except Exception as error:
            if is_end_of(run, error):
                raise
            logger.exception("A step could not be undone; its saga waits for a person.", extra={"saga_id": str(run.id)})
            text = f"{side.name} could not be undone: {error_text(error)}"
            standing = follow(run.standing, Happened.NOT_UNDONE, run.saga.kinds)
            await self._journal.note(run, standing, self._record(run, side, SagaStepStatus.FAILED, text), error=text)
            return
        standing = follow(run.standing, Happened.UNDONE, run.saga.kinds)
        record = self._record(run, side, SagaStepStatus.COMPLETED)
        left = [other for other in run.done if other != done]
        await self._journal.note(run, standing, record, None, envelopes, done=left)
        await self._publishing.publish(published)

    async def _attempts(self, run: Run, side: RunnableSide) -> Sequence[Event]:
        attempt: Any = partial(self._attempt, run, side)
        if side.compensation_retry is not None:
            attempt = retried(attempt, side.compensation_retry, self._clock)
        outcome: tuple[object, Sequence[Event]] | None = await attempt(run.context)
        if outcome is None:
            raise SagaFenced(run.id)
        return outcome[1]

    async def _attempt(self, run: Run, side: RunnableSide, _: object) -> tuple[object, Sequence[Event]] | None:
        if self._journal.is_unsure_of(run) and not await self._journal.is_still_ours(run):
            return None
        run.is_begun = True
        attempt, fence = run.standing.attempt, run.lease.fence
        current = CurrentStep(run.id, side.step_id, side.branch, SagaAction.COMPENSATE, attempt, fence)
        return await attempt_guarded(run, current, side.undo, run.fresh_context())

    @staticmethod
    def _record(run: Run, side: RunnableSide, status: SagaStepStatus, error: str | None = None) -> LogRecord:
        attempt = run.standing.attempt
        return LogRecord(side.step_id, side.name, side.branch, SagaAction.COMPENSATE, status, attempt, error)
