"""Does the steps of a saga, one after the other, and turns round when one fails."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cqrs_core.errors import CircuitOpen, CommitInDoubt, SagaFenced, StepInDoubt, WrongStepResult
from cqrs_core.resilience.calls import calls_for_fallback, retried, through_breaker
from cqrs_core.resilience.failures import has_taken_effect, single_errors
from cqrs_core.saga.current import CurrentStep
from cqrs_core.saga.log import Branch, Done, LogRecord, SagaAction, SagaStatus, SagaStepStatus
from cqrs_core.saga.plan import Happened, follow
from cqrs_core.saga.run import attempt_guarded, error_text, is_end_of, with_done
from cqrs_core.saga.steps import SagaStepResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.clock import Clock
    from cqrs_core.envelope import Envelope
    from cqrs_core.messages import Event
    from cqrs_core.saga.compensation import Compensator
    from cqrs_core.saga.journal import Journal
    from cqrs_core.saga.publishing import Publishing
    from cqrs_core.saga.run import Run
    from cqrs_core.saga.runnable import RunnableSide, RunnableStep
    from cqrs_core.unit_of_work import UnitOfWork

    #: What is written when a step is done: what was, the context, messages, and what would have to be undone.
    _Change = tuple[LogRecord, bytes, Sequence[Envelope], Done]


_CANCELLED = "Its driver was cancelled, and nobody goes on with it."


class Executor:
    """Takes sagas forward, and backward once they have turned round."""

    def __init__(self, journal: Journal, compensator: Compensator, publishing: Publishing, clock: Clock) -> None:
        """
        Take what it needs.

        Args:
            journal: Makes durable what happens.
            compensator: Undoes steps.
            publishing: Takes their events on.
            clock: Lets the delays between attempts pass.
        """
        self._journal = journal
        self._compensator = compensator
        self._publishing = publishing
        self._clock = clock

    async def advance(self, run: Run) -> SagaStepResult[Any, Any] | None:
        """
        Take *run* on until a step is done, and durable.

        Returns:
            Its result; ``None``: the saga has ended, or is suspended.

        Raises:
            SagaFenced: Another has the saga by now; nothing more was written.
            SagaStorageUnavailable: What was done could not be made durable.
            SagaUnrunnable: Something cannot be undone here.
        """
        while True:
            standing = run.standing
            if standing.status is SagaStatus.COMPENSATING:
                await self._compensator.undo_last(run)
            elif standing.status is not SagaStatus.RUNNING:
                return None
            elif standing.branch is Branch.LEAVING:
                await self._compensator.leave_primary(run)
            else:
                result = await self._act(run)
                if result is not None:
                    return result

    async def turn(self, run: Run) -> None:
        """
        Make durable that *run* is undone, though no step has failed: its driver leaves it, and nobody goes on.

        Raises:
            SagaFenced: As for :meth:`advance`; so is ``SagaStorageUnavailable``.
        """
        if run.standing.status is not SagaStatus.RUNNING:
            return
        _, side = _at_work(run)
        this = side.done
        undoable = sum(done != this for done in run.done)
        turned = follow(run.left(), Happened.TURNED, run.saga.kinds, undoable=undoable)
        record, done = None, run.done
        if turned.cursor > undoable:
            record, done = _record(run, side, SagaStepStatus.IN_DOUBT, _CANCELLED), with_done(run.done, this)
        await self._journal.note(run, turned, record, done=done, error=_CANCELLED)

    async def _act(self, run: Run) -> SagaStepResult[Any, Any] | None:
        standing = run.standing
        step, side = _at_work(run)
        current = CurrentStep(run.id, step.id, side.branch, SagaAction.ACT, standing.attempt, run.lease.fence)
        # An earlier driver may have begun it: whether it took effect then, nobody knows.
        run.is_in_doubt = standing.attempt > 1
        change: _Change | None = None
        try:
            if side.is_plain:
                outcome = await self._attempt(run, side, current, run.context)
            else:
                outcome = await self._attempts(run, step, side, current)
            if outcome is None:
                raise SagaFenced(run.id)
            result, published = outcome
            if run.asked is None:
                change = self._change(run, side, result, published)
        except Exception as error:
            if is_end_of(run, error):
                raise
            if not (isinstance(error, CommitInDoubt) and await self._journal.was_written(run)):
                run.is_in_doubt = run.is_in_doubt or current.has_returned
                await self._turn(run, step, side, error)
                return None
            result, published = current.outcome
        else:
            if change is None:
                self._journal.committed(run)
            else:
                await self._journal.note_step(run, *change)
        if published:
            await self._publishing.publish(published)
        handed_out: SagaStepResult[Any, Any] = result
        return handed_out if handed_out.saga_id is run.id else replace(handed_out, saga_id=run.id)

    async def _attempts(
        self, run: Run, step: RunnableStep, side: RunnableSide, current: CurrentStep
    ) -> tuple[Any, Sequence[Event]] | None:
        if side.is_transactional:
            current.join(partial(self._write_within, run, side))
        # As for requests: the breaker around the retries, and the fallback around both, where it is recorded.
        handle: Any = partial(self._attempt, run, side, current)
        if side.retry is not None:
            handle = retried(handle, side.retry, self._clock)
        if step.breaker is not None and side.branch is Branch.PRIMARY:
            handle = through_breaker(handle, step.breaker, step.circuit)
        outcome: tuple[Any, Sequence[Event]] | None = await handle(run.context)
        return outcome

    async def _attempt(
        self,
        run: Run,
        side: RunnableSide,
        current: CurrentStep,
        context: Any,  # noqa: ANN401 - of the saga's own class
    ) -> tuple[Any, Sequence[Event]] | None:
        if self._journal.is_unsure_of(run) and not await self._journal.is_still_ours(run):
            return None
        run.is_begun = True
        run.asked = None
        current.has_returned = False
        try:
            return await attempt_guarded(run, current, side.act, context)
        except Exception as error:
            run.is_in_doubt = run.is_in_doubt or current.has_returned or may_have_taken_effect(error, side)
            run.restore_context()
            raise

    def _change(self, run: Run, side: RunnableSide, result: object, published: Sequence[Event]) -> _Change:
        """Tell what is to be written when a step is done."""
        if not isinstance(result, SagaStepResult):
            raise WrongStepResult(side.handler, result)
        record = _record(run, side, SagaStepStatus.COMPLETED)
        return record, run.encoded(), self._publishing.envelopes(run.id, published) if published else (), side.done

    async def _write_within(
        self, run: Run, side: RunnableSide, unit: UnitOfWork, result: object, published: Sequence[Event]
    ) -> None:
        await self._journal.note_step(run, *self._change(run, side, result, published), within=unit)

    async def _turn(self, run: Run, step: RunnableStep, side: RunnableSide, error: Exception) -> None:
        """Make durable that a step has failed, and where that leads: to its fallback, back, or to a person."""
        is_own_circuit = isinstance(error, CircuitOpen) and error.circuit == step.circuit
        happened = Happened.DOUBTED if run.is_in_doubt else Happened.REFUSED
        passes_on = (
            step.rules is not None
            and side.branch is Branch.PRIMARY
            and (is_own_circuit or calls_for_fallback(step.rules, error, run.context, step.circuit))
        )
        this = side.done
        undoable = sum(done != this for done in run.done)
        standing = follow(run.standing, happened, run.saga.kinds, undoable=undoable, passes_on=passes_on)
        status = SagaStepStatus.IN_DOUBT if run.is_in_doubt else SagaStepStatus.FAILED
        text = error_text(error)
        run.failure = error
        done = with_done(run.done, this) if run.is_in_doubt else run.done
        await self._journal.note(run, standing, _record(run, side, status, text), done=done, error=text)


def _at_work(run: Run) -> tuple[RunnableStep, RunnableSide]:
    step = run.saga.steps[run.standing.cursor]
    if run.standing.branch is not Branch.FALLBACK:
        return step, step.primary
    assert step.fallback is not None, "it was begun, and the definition fits"  # noqa: S101 - for type checkers
    return step, step.fallback


def may_have_taken_effect(error: Exception, side: RunnableSide) -> bool:
    """Tell whether an attempt that raised *error* may have done what it was to do."""
    kinds = (StepInDoubt, CommitInDoubt, *side.in_doubt_on)
    if TimeoutError in kinds:
        kinds = (*kinds, *_other_timeouts())
    return has_taken_effect(error) or any(isinstance(single, kinds) for single in single_errors(error))


def _other_timeouts() -> tuple[type[Exception], ...]:
    """Give asyncio's, which is a class of its own on Python 3.10."""
    asyncio: Any = sys.modules.get("asyncio")
    return () if asyncio is None else (asyncio.TimeoutError,)


def _record(run: Run, side: RunnableSide, status: SagaStepStatus, error: str | None = None) -> LogRecord:
    return LogRecord(side.step_id, side.name, side.branch, SagaAction.ACT, status, run.standing.attempt, error)
