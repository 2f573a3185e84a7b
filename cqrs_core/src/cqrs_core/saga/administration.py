"""What people decide about sagas: to let one go on, undo it, take a step for done, or give it up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cqrs_core.errors import InvalidOption, SagaChanged, SagaNotFound
from cqrs_core.saga.contexts import ContextForm
from cqrs_core.saga.definition import definition_of
from cqrs_core.saga.log import Branch, Done, LogRecord, SagaAction, SagaStatus, SagaStepStatus, acted, still_done
from cqrs_core.saga.plan import Happened, IllegalTransition, follow
from cqrs_core.saga.storage import SagaChange

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

    from cqrs_core.saga.definition import Definition, Saga
    from cqrs_core.saga.log import SagaLogEntry
    from cqrs_core.saga.plan import Standing
    from cqrs_core.saga.steps import SagaContext
    from cqrs_core.saga.storage import SagaRecord


class SagaAdministration:
    """
    Decides about sagas. Each decision is in the history of its saga, with who has made it and why.

    Whoever drives the saga at that moment is fenced out: nothing that it still does is written.
    """

    def __init__(self, storage: Any, sagas: Iterable[type[Saga[Any]]]) -> None:  # noqa: ANN401 - a SagaStorage that is a SagaKeeper
        """
        Take what it needs.

        Args:
            storage: Where the sagas are: a ``SagaStorage`` that is a ``SagaKeeper`` too.
            sagas: Their classes.
        """
        self._storage = storage
        self._definitions = {definition.name: definition for definition in map(definition_of, sagas)}

    async def retry(
        self, saga_id: uuid.UUID, *, actor: str, reason: str, context: SagaContext | None = None
    ) -> SagaRecord:
        """
        Let a suspended saga go on in the direction that it had, perhaps with another *context*.

        Raises:
            SagaNotFound: There is no such saga.
            SagaChanged: It is not suspended, or has changed in this moment.
        """
        return await self._decide(saga_id, Happened.RETRIED, actor, reason, context)

    async def undo(self, saga_id: uuid.UUID, *, actor: str, reason: str) -> SagaRecord:
        """
        Let a saga be undone that goes forward, or is suspended from doing so; the step at work is undone as well.

        Raises:
            SagaNotFound: There is no such saga.
            SagaChanged: It has ended, is undone already, or is past its point of no return; or another version of its
                class has begun it, and this one cannot tell.
        """
        return await self._decide(saga_id, Happened.TURNED, actor, reason)

    async def skip(
        self, saga_id: uuid.UUID, *, actor: str, reason: str, context: SagaContext | None = None
    ) -> SagaRecord:
        """
        Take what a suspended saga could not do for done, by hand as it were: the step at work, or the undo of one.

        Raises:
            SagaNotFound: There is no such saga.
            SagaChanged: It is not suspended, or has changed in this moment; or as for :meth:`undo`.
        """
        return await self._decide(saga_id, Happened.SKIPPED, actor, reason, context)

    async def abandon(self, saga_id: uuid.UUID, *, actor: str, reason: str) -> SagaRecord:
        """
        Give a suspended saga up as it is, half done or half undone.

        Raises:
            SagaNotFound: There is no such saga.
            SagaChanged: It is not suspended, or has changed in this moment.
        """
        return await self._decide(saga_id, Happened.ABANDONED, actor, reason)

    async def _decide(
        self, saga_id: uuid.UUID, decision: Happened, actor: str, reason: str, context: SagaContext | None = None
    ) -> SagaRecord:
        for name, text in (("actor", actor), ("reason", reason)):
            if not text:
                raise InvalidOption(name, text, "a text that is not empty: it is kept in the history of the saga")
        record: SagaRecord | None = await self._storage.load(saga_id)
        if record is None:
            raise SagaNotFound(saga_id)
        definition = self._definitions.get(record.name)
        if definition is None:
            raise InvalidOption("saga_id", saga_id, f"one of a saga that is known here, which {record.name!r} is not")
        history: Sequence[SagaLogEntry] = await self._storage.get_step_history(saga_id)
        done = still_done(history)
        stood, problem = _stood(record, definition, history, decision)
        this = Done(record.step_id, Branch.FALLBACK if record.branch is Branch.FALLBACK else Branch.PRIMARY)
        undoable = sum(other != this for other in done)
        if problem is not None:
            raise SagaChanged(saga_id, problem)
        try:
            standing = follow(stood, decision, definition.kinds, undoable=undoable)
        except IllegalTransition as error:
            problem = f"it is {record.status}, and that cannot be decided then"
            raise SagaChanged(saga_id, problem) from error
        written = None if context is None else _written(definition, context, record)
        log = [
            LogRecord(
                this.step_id, "", this.branch, SagaAction.ADMIN, SagaStepStatus.COMPLETED, 1, f"{actor}: {reason}"
            ),
            *_taken_for(decision, record, this, done, is_more=standing.cursor > undoable),
        ]
        step_id = record.step_id if decision is Happened.RETRIED else definition.step_at_work(standing)
        changed: SagaRecord = await self._storage.change(
            SagaChange(saga_id, record.version, standing, step_id, log, written)
        )
        return changed


def _stood(
    record: SagaRecord, definition: Definition, history: Sequence[SagaLogEntry], decision: Happened
) -> tuple[Standing, str | None]:
    """Tell where a saga stands by the steps of *definition*, if that was changed; or why that cannot be told."""
    standing = record.standing
    is_undone = (standing.suspended_from or standing.status) is SagaStatus.COMPENSATING
    if decision not in _BY_STEPS or is_undone or record.fingerprint == definition.fingerprint:
        return standing, None
    done = acted(history)
    problem = definition.misfit(done, record.step_id if standing.attempt else None)
    cursor = definition.cursor_after(done)
    if problem is None and decision is Happened.SKIPPED and cursor == len(definition.steps):
        problem = f"it has done all that {definition.name} has to do"
    return standing._replace(cursor=cursor), None if problem is None else f"its definition has changed: {problem}"


#: Decisions that depend on the steps that are done, and on those that are not. With the others the saga stays where it
#: is, and whoever goes on with it sees whether it can.
_BY_STEPS = (Happened.TURNED, Happened.SKIPPED)


def _written(definition: Definition, context: SagaContext, record: SagaRecord) -> bytes:
    form = ContextForm(definition.context_type)
    return form.encode(context, form.unknown(context, record.context))


def _taken_for(
    decision: Happened, record: SagaRecord, this: Done, done: Sequence[Done], *, is_more: bool
) -> Iterable[LogRecord]:
    """Write into the history what is taken for done, or may have been, by a decision."""
    act, undo = SagaAction.ACT, SagaAction.COMPENSATE
    by_hand = "decided by a person"
    if decision is Happened.TURNED and is_more:
        yield LogRecord(this.step_id, "", this.branch, act, SagaStepStatus.IN_DOUBT, record.attempt, by_hand)
    if decision is Happened.SKIPPED and record.suspended_from is SagaStatus.COMPENSATING:
        yield LogRecord(done[-1].step_id, "", done[-1].branch, undo, SagaStepStatus.COMPLETED, 1, by_hand)
    elif decision is Happened.SKIPPED:
        action = undo if record.branch is Branch.LEAVING else act
        yield LogRecord(this.step_id, "", this.branch, action, SagaStepStatus.COMPLETED, 1, by_hand)
