"""Goes on with sagas that their drivers have left: takes them, and checks that they can be run here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cqrs_core.clock import SystemClock
from cqrs_core.emitter import EventEmitter
from cqrs_core.errors import InvalidOption, SagaNotClaimable, SagaNotFound, SagaUnrunnable
from cqrs_core.maps import EventMap
from cqrs_core.resilience.guards import Guards
from cqrs_core.saga.definition import definition_of
from cqrs_core.saga.engine import SagaEngine, raise_stored
from cqrs_core.saga.fitting import fit_of
from cqrs_core.saga.leases import Lease
from cqrs_core.saga.log import SagaStatus, still_done
from cqrs_core.saga.plan import Happened, follow
from cqrs_core.saga.publishing import Publishing
from cqrs_core.saga.run import Run, error_text
from cqrs_core.saga.runnable import RunnableSagas
from cqrs_core.saga.storage import SagaClaim, SagaWrite
from cqrs_core.units import Units
from cqrs_core.wiring import HandlerSource, wire

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Sequence

    from cqrs_core.container import Container
    from cqrs_core.saga.definition import Saga
    from cqrs_core.saga.log import SagaLogEntry
    from cqrs_core.saga.runnable import RunnableSaga
    from cqrs_core.saga.storage import SagaRecord, SagaStorage

logger = logging.getLogger(__name__)

#: The version of what was started and claimed, and nothing else: each write, and each decision, would count as well.
_FIRST_CLAIMED = 2
#: A saga that kills its workers must not do so for ever.
_OFTEN = "it was claimed {} times without a step getting done{}: as a rule, the step {!r} ends its process."
_ALONE = ", and workers have nothing else at work beside one that was claimed {} times"


class Recovery:
    """Takes sagas that are due."""

    def __init__(self, engine: SagaEngine, *, is_patient: bool = True) -> None:
        """
        Take what it needs.

        Args:
            engine: Drives them; its options say how often one may be claimed without getting on.
            is_patient: Whether what cannot be run here is left to others at first, before it is suspended.
        """
        self._engine = engine
        self._max_claims = engine.options.max_claims
        self._is_patient = is_patient

    async def take(self, saga: RunnableSaga, saga_id: uuid.UUID) -> Run | None:
        """
        Take one saga, whoever wants it.

        Returns:
            ``None``: it is completed, and there is nothing to do.

        Raises:
            SagaNotFound: There is none.
            SagaNotClaimable: Somebody drives it, or it is not due.
            SagaFailed: It has failed before, and is undone.
            SagaAbandoned: A person has given it up as it is.
            SagaSuspended: It waits for a person.
            SagaUnrunnable: As for :meth:`claim`.
        """
        run = await self.claim(saga, saga_id)
        if run is not None:
            return run
        stored = await self._engine.storage.load(saga_id)
        if stored is None:
            raise SagaNotFound(saga_id)
        if stored.status.is_live:
            problem = f"{stored.owner or 'nobody'} has it until {stored.wake_at}."
            if stored.name != saga.definition.name:
                problem = f"it is a {stored.name}, and no {saga.definition.name}."
            raise SagaNotClaimable(saga_id, problem)
        raise_stored(stored)
        return None

    async def claim(self, saga: RunnableSaga, saga_id: uuid.UUID) -> Run | None:
        """
        Take one saga, if it is due; ``None``: it is not.

        Raises:
            SagaUnrunnable: It cannot be run here, and was let go, or suspended.
        """
        engine = self._engine
        asked_at = engine.clock.monotonic()
        names = [saga.definition.name]
        taken = await engine.storage.claim(
            SagaClaim(engine.new_owner(), engine.heartbeat.lease_s, names=names, saga_id=saga_id)
        )
        return await self.resume(saga, taken[0], asked_at) if taken else None

    async def resume(self, saga: RunnableSaga, record: SagaRecord, asked_at: float) -> Run:
        """
        Make a saga that was claimed ready to be driven.

        Args:
            asked_at: When it was asked for, as the clock's ``monotonic`` has it.

        Raises:
            SagaUnrunnable: It cannot be run here; it was let go for others, and if that was often enough, suspended.
        """
        run = self._run_of(saga, record, asked_at)
        await self._check(run, record)
        self._engine.heartbeat.hold(run.lease)
        return run

    async def hold_back(self, saga: RunnableSaga, record: SagaRecord, asked_at: float) -> Run:
        """
        Keep a saga that was claimed, until it is its turn: what ends this process before is not counted against it.

        Raises:
            SagaFenced: It is another's by now.
            SagaStorageUnavailable: That could not be made durable for as long as it was ours.
        """
        run = self._run_of(saga, record, asked_at)
        await self._engine.journal.recount(run, run.left(), step_id=record.step_id, claims=record.claims - 1)
        self._engine.heartbeat.hold(run.lease)
        return run

    async def resume_held(self, run: Run, record: SagaRecord) -> Run:
        """
        Make a saga that was held back ready to be driven, which is counted now.

        Raises:
            SagaUnrunnable: As for :meth:`resume`.
            SagaFenced: As for :meth:`hold_back`; so is ``SagaStorageUnavailable``.
        """
        standing = follow(run.standing, Happened.CLAIMED, run.saga.kinds)
        await self._engine.journal.recount(run, standing, step_id=record.step_id, claims=record.claims)
        await self._check(run, record)
        return run

    def _run_of(self, saga: RunnableSaga, record: SagaRecord, asked_at: float) -> Run:
        lease = Lease(record.id, record.fence, asked_at, self._engine.heartbeat.lease_s)
        run = Run(record.id, saga, lease, record.version, record.standing, None, record.context)
        run.claims = record.claims
        run.error = record.error
        return run

    async def _check(self, run: Run, record: SagaRecord) -> None:
        """Let *run* be driven, or leave it to others."""
        try:
            if record.claims > self._max_claims:
                alone = _ALONE.format(self._max_claims) if self._max_claims > 1 else ""
                raise SagaUnrunnable(record.id, _OFTEN.format(record.claims, alone, record.step_id))
            await self._fit(run, record)
        except SagaUnrunnable as error:
            standing = run.left()
            await self._engine.give_up(run, standing, record.step_id, error.reason, is_patient=self._is_patient)
            error.is_suspended = run.standing.status is SagaStatus.SUSPENDED
            raise

    async def _fit(self, run: Run, record: SagaRecord) -> None:
        """Fill *run* from what is stored, or say why this program cannot go on with it."""
        form, definition = run.saga.form, run.saga.definition
        try:
            run.context = form.decode(record.context)
            run.unknown = form.unknown(run.context, record.context)
        except Exception as error:
            raise SagaUnrunnable(record.id, f"its context does not fit its class: {error_text(error)}") from error
        is_new = record.version == _FIRST_CLAIMED
        history = () if is_new else await self._engine.storage.get_step_history(record.id)
        run.done = still_done(history)
        if record.status is SagaStatus.COMPENSATING:
            problem = _undo_problem(run, record)
        elif record.fingerprint != definition.fingerprint:
            problem = _change_problem(run, record, history)
        else:
            problem = None
        if problem is not None:
            raise SagaUnrunnable(record.id, problem)

    async def suspend_orphan(self, record: SagaRecord) -> None:
        """Let a saga wait for a person that was claimed, and whose name nobody has been running for long."""
        standing = follow(follow(record.standing, Happened.LEFT, ()), Happened.GAVE_UP, ())
        reason = f"no program that is running has a saga of its name, {record.name!r}."
        logger.error("The saga %s waits for a person: %s", record.id, reason)
        write = SagaWrite(
            record.id, record.fence, record.version, standing, record.step_id, record.claims, error=reason
        )
        await self._engine.storage.write(write)


def _undo_problem(run: Run, record: SagaRecord) -> str | None:
    if record.cursor != len(run.done):
        return f"{record.cursor} steps are to be undone, and its history has {len(run.done)}."
    missing = [done.step_id for done in run.done if run.saga.undoing(done) is None]
    return f"nothing here undoes {', '.join(missing)}: keep what does in retired_steps." if missing else None


def _change_problem(run: Run, record: SagaRecord, history: Sequence[SagaLogEntry]) -> str | None:
    """Take a saga over that another version of its class has begun, or tell why that cannot be."""
    definition = run.saga.definition
    # The claim has counted one attempt: if there was another before, the step at work may have been begun.
    fit = fit_of(definition, record, history, may_be_begun=record.attempt > 1)
    if fit.problem is not None:
        return f"its definition has changed: {fit.problem}."
    run.standing = run.standing._replace(cursor=fit.cursor)
    run.fingerprint = definition.fingerprint
    return None


async def recover_saga(
    saga: Saga[Any] | type[Saga[Any]],
    saga_id: uuid.UUID,
    context_builder: Callable[[dict[str, Any]], Any] | type[Any] | None = None,
    container: Container | None = None,
    storage: SagaStorage | None = None,
    *,
    event_emitter: EventEmitter | None = None,
) -> None:
    """
    Go on with a saga that its driver has left, to its end: forward, or backward if it had turned round.

    For programs that recover by hand, as those of python-cqrs; an App does it by itself inside ``running()``.

    Args:
        saga: The saga, or its class.
        saga_id: Under which it is stored.
        context_builder: The class of its context, or what makes one of a dict; that of the saga unless given.
        container: Makes the handlers.
        storage: Where it is stored.
        event_emitter: Takes the events of its steps to their handlers, and notifications to its publisher; unless
            given, there are none.

    Raises:
        SagaNotFound: There is no such saga.
        SagaNotClaimable: Somebody drives it, or nobody may.
        SagaUnrunnable: It does not fit *saga*, and is suspended now; or a step has a notification to be published, and
            there is no publisher: then it is left to whoever has one.
        SagaFailed: Everything is undone.
        SagaAbandoned: A person has given it up as it is.
        SagaSuspended: A person is waited for.
        Exception: What the step raised for which everything was undone.
    """
    if storage is None:
        raise InvalidOption("storage", storage, "where the saga is stored")
    source = HandlerSource(container)
    emitter = event_emitter or EventEmitter(EventMap(), source)
    wire(emitter)
    clock = SystemClock()
    build = None if isinstance(context_builder, type) else context_builder
    runnable = RunnableSagas(source, emitter, Units(source), Guards(clock=clock)).make(definition_of(saga), build)
    engine = SagaEngine(storage, Publishing(emitter.publisher), clock=clock)
    recovery = Recovery(engine, is_patient=False)
    async for _ in engine.stream(lambda: recovery.take(runnable, saga_id)):
        pass
