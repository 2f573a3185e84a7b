"""What people decide about sagas: to let one go on, undo it, take a step for done, or give it up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from cqrs_core.errors import InvalidOption, SagaChanged, SagaNotFound
from cqrs_core.given_backends import check_backend
from cqrs_core.saga.contexts import ContextForm
from cqrs_core.saga.definition import definition_of
from cqrs_core.saga.fitting import fit_of
from cqrs_core.saga.log import Branch, Done, LogRecord, SagaAction, SagaStatus, SagaStepStatus, still_done
from cqrs_core.saga.plan import Happened, IllegalTransition, follow
from cqrs_core.saga.storage import SagaChange, missing_keeper_methods

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

    from cqrs_core.saga.definition import Definition, Saga
    from cqrs_core.saga.log import SagaLogEntry
    from cqrs_core.saga.plan import Standing
    from cqrs_core.saga.steps import SagaContext
    from cqrs_core.saga.storage import SagaKeeper, SagaRecord

_BY_HAND = "decided by a person"
_NO_EFFECT = "has taken no effect: decided by a person"


class SagaAdministration:
    """
    Decides about sagas. Each decision is in the history of its saga, with who has made it and why.

    Whoever drives the saga at that moment is fenced out: nothing that it still does is written. A decision that does
    not fit where the saga stands changes nothing.

    Attributes:
        storage: Where the sagas are.
    """

    def __init__(self, storage: SagaKeeper, sagas: Iterable[type[Saga[Any]]]) -> None:
        """
        Take what it needs.

        Args:
            storage: Where the sagas are.
            sagas: Their classes.

        Raises:
            InvalidOption: *storage* does not let anybody look after its sagas.
        """
        missing = missing_keeper_methods(storage)
        check_backend("storage", storage, missing, "storage in which people can look after sagas")
        self.storage = storage
        self._definitions = {definition.name: definition for definition in map(definition_of, sagas)}

    async def retry(
        self, saga_id: uuid.UUID, *, actor: str, reason: str, context: SagaContext | Mapping[str, Any] | None = None
    ) -> SagaRecord:
        """
        Let a suspended saga go on in the direction that it had.

        Args:
            saga_id: Which saga.
            actor: Who decides.
            reason: Why.
            context: Another context; or, a mapping, what some of its fields are to be, as JSON has them.

        Raises:
            SagaNotFound: There is no such saga; so do the others.
            SagaChanged: It is not suspended, or has changed in this moment.
            InvalidOption: *actor* or *reason* is empty, nothing here has a saga of its name, or *context* is of
                another class, or has a field that the class has not.
            CodecError: *context* cannot be written, or does not fit.
        """
        return await self._decide(saga_id, _Decision(Happened.RETRIED), actor, reason, context)

    async def skip(
        self, saga_id: uuid.UUID, *, actor: str, reason: str, context: SagaContext | Mapping[str, Any] | None = None
    ) -> SagaRecord:
        """
        Take what a suspended saga could not do for done, by hand as it were: the step at work, or the undo of one.

        Raises:
            SagaChanged: It is not suspended, its definition has changed so that it does not fit any more, or it has
                changed in this moment.
            InvalidOption: As for :meth:`retry`; so is ``CodecError``.
        """
        return await self._decide(saga_id, _Decision(Happened.SKIPPED), actor, reason, context)

    async def compensate(self, saga_id: uuid.UUID, *, actor: str, reason: str) -> SagaRecord:
        """
        Let a suspended saga be undone that went forward; the step at work is undone as well, if it may have been begun.

        Raises:
            SagaChanged: It is not suspended, is being undone already, is past its point of no return, or its definition
                has changed so that it does not fit any more; or it has changed in this moment.
            InvalidOption: As for :meth:`retry`.
        """
        return await self._decide(saga_id, _Decision(Happened.TURNED), actor, reason)

    async def resolve(
        self,
        saga_id: uuid.UUID,
        *,
        took_effect: bool,
        actor: str,
        reason: str,
        context: SagaContext | Mapping[str, Any] | None = None,
    ) -> SagaRecord:
        """
        Tell a suspended saga whether the step that is in doubt has taken effect, as nobody but a person can find out.

        Args:
            saga_id: Which saga.
            took_effect: It has: it is taken for done, and the saga goes on. Or it has not: it is not undone, and what
                was done before it is.
            actor: Who has found out.
            reason: How.
            context: What the step would have left, as for :meth:`retry`; only if it took effect.

        Raises:
            SagaChanged: It is not suspended with a step in doubt; or as for :meth:`compensate`.
            InvalidOption: As for :meth:`retry`; so is ``CodecError``.
        """
        if context is not None and not took_effect:
            raise InvalidOption("context", context, "left out: what has taken no effect has changed nothing")
        decision = _Decision(Happened.SKIPPED if took_effect else Happened.TURNED, resolves=True)
        return await self._decide(saga_id, decision, actor, reason, context)

    async def cancel(self, saga_id: uuid.UUID, *, actor: str, reason: str) -> SagaRecord:
        """
        Let a saga be undone that is going forward; the step at work is undone as well, if it may have been begun.

        Raises:
            SagaChanged: It is not going forward, or is past its point of no return; or it has changed in this moment,
                as it does with every step: look again, and decide again.
            InvalidOption: As for :meth:`retry`.
        """
        return await self._decide(saga_id, _Decision(Happened.TURNED, of_live=True), actor, reason)

    async def abandon(self, saga_id: uuid.UUID, *, actor: str, reason: str) -> SagaRecord:
        """
        Give a suspended saga up as it is, half done or half undone.

        Raises:
            SagaChanged: It is not suspended, or has changed in this moment.
            InvalidOption: As for :meth:`retry`.
        """
        return await self._decide(saga_id, _Decision(Happened.ABANDONED), actor, reason)

    async def _decide(
        self,
        saga_id: uuid.UUID,
        decision: _Decision,
        actor: str,
        reason: str,
        context: SagaContext | Mapping[str, Any] | None = None,
    ) -> SagaRecord:
        for name, text in (("actor", actor), ("reason", reason)):
            if not text:
                raise InvalidOption(name, text, "a text that is not empty: it is kept in the history of the saga")
        record = await self.storage.load(saga_id)
        if record is None:
            raise SagaNotFound(saga_id)
        definition = self._definitions.get(record.name)
        if definition is None:
            raise InvalidOption("saga_id", saga_id, f"one of a saga that is known here, which {record.name!r} is not")
        if record.status is not SagaStatus.SUSPENDED and not decision.of_live:
            raise SagaChanged(saga_id, f"it is {record.status}, and this is decided of sagas that are suspended")
        if decision.of_live and record.status not in (SagaStatus.PENDING, SagaStatus.RUNNING):
            raise SagaChanged(saga_id, f"it is {record.status}, and this is decided of sagas that go forward")
        case = _case(decision, record, definition, await self.storage.get_step_history(saga_id))
        standing, log = _decided(decision, case)
        if decision.happened is not Happened.RETRIED and standing.status.is_live:
            standing = follow(standing, Happened.LEFT, definition.kinds)  # who decides begins nothing
        log = [_note(case.this, SagaAction.ADMIN, SagaStepStatus.COMPLETED, f"{actor}: {reason}"), *log]
        written = None if context is None else _written(definition, record, context)
        # Of a saga that goes on as it did, the step stays as it was called when it was begun.
        step_id = record.step_id if decision.happened is Happened.RETRIED else definition.step_at_work(standing)
        return await self.storage.change(SagaChange(saga_id, record.version, standing, step_id, log, written))


class _Decision(NamedTuple):
    """What a person has decided: of a saga that is suspended, unless said; and whether that ends a doubt."""

    happened: Happened
    of_live: bool = False
    resolves: bool = False


#: What cannot be decided without knowing the steps of the saga.
_NEEDING_STEPS = (Happened.TURNED, Happened.SKIPPED)


class _Case(NamedTuple):
    """What is decided about: a saga, where it stands among its steps as they are now, and what it has done."""

    record: SagaRecord
    definition: Definition
    standing: Standing
    done: Sequence[Done]

    @property
    def this(self) -> Done:
        """The side of a step that is at work."""
        is_fallback = self.record.branch is Branch.FALLBACK
        return Done(self.record.step_id, Branch.FALLBACK if is_fallback else Branch.PRIMARY)


def _case(decision: _Decision, record: SagaRecord, definition: Definition, history: Sequence[SagaLogEntry]) -> _Case:
    standing = record.standing
    is_forward = (standing.suspended_from or standing.status) is not SagaStatus.COMPENSATING
    if is_forward and decision.happened in _NEEDING_STEPS and record.fingerprint != definition.fingerprint:
        goes_on = decision.happened is Happened.SKIPPED
        fit = fit_of(definition, record, history, may_be_begun=record.attempt > 0, goes_on=goes_on)
        if fit.problem is not None:
            raise SagaChanged(record.id, f"its definition has changed: {fit.problem}")
        if goes_on and (following := definition.steps[fit.cursor].id) != definition.current_id(record.step_id):
            # Nobody has begun it, but it is what would be taken for done.
            problem = f"the step {record.step_id!r} is at work, and {definition.name} goes on with {following!r}"
            raise SagaChanged(record.id, f"its definition has changed: {problem}")
        standing = standing._replace(cursor=fit.cursor)
    return _Case(record, definition, standing, still_done(history))


def _decided(decision: _Decision, case: _Case) -> tuple[Standing, list[LogRecord]]:
    """Tell where the saga stands then, and what is taken for done, or undone, or may have been done."""
    happened, record, standing, this, done = decision.happened, case.record, case.standing, case.this, case.done
    undoable = sum(other != this for other in done)
    if decision.resolves:
        if not record.attempt or record.branch is Branch.LEAVING or not record.step_id:
            raise SagaChanged(record.id, "no step of it is in doubt")
        if happened is Happened.TURNED:
            standing = standing._replace(attempt=0)
    try:
        turned = follow(standing, happened, case.definition.kinds, undoable=undoable)
    except IllegalTransition as error:
        problem = "it is being undone already" if not record.step_id else "it is past its point of no return"
        raise SagaChanged(record.id, problem) from error
    act, undo = SagaAction.ACT, SagaAction.COMPENSATE
    if happened is Happened.TURNED and turned.cursor > undoable:
        return turned, [_note(this, act, SagaStepStatus.IN_DOUBT, _BY_HAND, record.attempt)]
    if happened is Happened.TURNED and decision.resolves and this in done:
        return turned, [_note(this, undo, SagaStepStatus.COMPLETED, _NO_EFFECT)]
    if happened is Happened.SKIPPED and record.suspended_from is SagaStatus.COMPENSATING:
        return turned, [_note(done[-1], undo, SagaStepStatus.COMPLETED, _BY_HAND)]
    if happened is Happened.SKIPPED:
        action = undo if record.branch is Branch.LEAVING else act
        return turned, [_note(this, action, SagaStepStatus.COMPLETED, _BY_HAND)]
    return turned, []


def _note(side: Done, action: SagaAction, status: SagaStepStatus, text: str, attempt: int = 1) -> LogRecord:
    return LogRecord(side.step_id, "", side.branch, action, status, attempt, text)


def _written(definition: Definition, record: SagaRecord, context: SagaContext | Mapping[str, Any]) -> bytes:
    form = ContextForm(definition.context_type)
    if isinstance(context, Mapping):
        return form.patched(record.context, context)
    if type(context) is not definition.context_type:
        raise InvalidOption("context", type(context), f"of {definition.context_type.__qualname__}, or a mapping")
    return form.encode(context, form.unknown(context, record.context))
