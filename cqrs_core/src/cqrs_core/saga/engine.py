"""What drives sagas: begins them, takes them on, and lets them go in good order, whoever asks for it."""

from __future__ import annotations

import logging
import uuid
from itertools import count
from typing import TYPE_CHECKING, Any

from cqrs_core.concurrency import run_shielded
from cqrs_core.errors import CqrsError, SagaAbandoned, SagaFailed, SagaFenced, SagaSuspended, SagaUnrunnable
from cqrs_core.resilience import RetryPolicy
from cqrs_core.saga.compensation import Compensator
from cqrs_core.saga.contexts import input_hash
from cqrs_core.saga.execution import Executor
from cqrs_core.saga.journal import Journal
from cqrs_core.saga.leases import Heartbeat, Lease
from cqrs_core.saga.log import Branch, SagaStatus
from cqrs_core.saga.options import SagaOptions
from cqrs_core.saga.plan import Happened, Standing, can_turn, follow
from cqrs_core.saga.run import Run, error_text
from cqrs_core.saga.storage import NewSaga, check_same_start

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from cqrs_core.clock import Clock
    from cqrs_core.saga.publishing import Publishing
    from cqrs_core.saga.runnable import RunnableSaga
    from cqrs_core.saga.steps import SagaContext, SagaStepResult
    from cqrs_core.saga.storage import SagaRecord, SagaStorage
    from cqrs_core.unit_of_work import UnitOfWork

logger = logging.getLogger(__name__)

_NO_ERROR = "see its history."
_NOT_LET_GO = "A saga could not be let go; it becomes due when its lease runs out."
#: What cannot be run here is left to others for a while, who may have the version that can.
_POSTPONED = RetryPolicy(delay_s=5.0, backoff=3.0, max_delay_s=300.0)
_RUNNING = Standing(SagaStatus.RUNNING, 0, Branch.PRIMARY, 1)


class SagaEngine:
    """
    Drives the sagas of a program.

    Attributes:
        storage: Where they are.
        clock: Measures leases and delays.
        options: How they are driven.
        heartbeat: Renews the leases, all at once.
        has_worker: Whether a worker of this process goes on with what is let go.
    """

    def __init__(
        self,
        storage: SagaStorage,
        publishing: Publishing,
        *,
        clock: Clock,
        name: str = "",
        options: SagaOptions | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        """
        Put the parts together.

        Args:
            storage: Where the sagas are.
            publishing: Takes the events of steps on.
            clock: Measures leases and delays.
            name: Tells people who drives a saga.
            options: How they are driven.
            heartbeat: Renews the leases; one of its own unless given.
        """
        self.storage = storage
        self.clock = clock
        self.options = options or SagaOptions()
        self.heartbeat = heartbeat or Heartbeat(storage, lease_s=self.options.lease_s, clock=clock)
        self.has_worker = False
        self.journal = Journal(storage, self.heartbeat, clock)
        self._executor = Executor(self.journal, Compensator(self.journal, publishing, clock), publishing, clock)
        self._name = f"{name or 'cqrs_core'}/{uuid.uuid4().hex[:12]}"
        self._numbers = count(1)

    def new_owner(self) -> str:
        """Give a name that nobody has had: who drives a saga is known by it."""
        return f"{self._name}/{next(self._numbers)}"

    async def begin(self, saga: RunnableSaga, context: SagaContext, saga_id: uuid.UUID) -> Run | SagaRecord:
        """
        Make a saga durable, for driving it; nothing of it is done.

        Returns:
            It; or what there is under the id, if that was started before, with the same.

        Raises:
            SagaAlreadyExists: There is something else under the id.
            CodecError: The context cannot be written.
            StorageUnavailable: It may have been made durable. Begun again under the same id, it is found if so.
        """
        written = saga.form.encode(context, {})
        asked_at = self.clock.monotonic()
        new = self._new(saga, written, saga_id, SagaStatus.RUNNING)
        existing = await self.storage.start(new)
        if existing is not None:
            check_same_start(existing, new)
            return existing
        run = Run(saga_id, saga, Lease(saga_id, 1, asked_at, self.heartbeat.lease_s), 1, _RUNNING, context, written)
        self.heartbeat.hold(run.lease)
        return run

    async def enqueue(
        self, saga: RunnableSaga, context: SagaContext, saga_id: uuid.UUID, within: UnitOfWork | None
    ) -> None:
        """
        Make a saga durable, for a worker to drive it.

        Args:
            within: A unit of work: it is durable when that is committed, or not at all.

        Raises:
            SagaAlreadyExists: As for :meth:`begin`; so are the others.
        """
        new = self._new(saga, saga.form.encode(context, {}), saga_id, SagaStatus.PENDING)
        existing = await self.storage.start(new, within=within)
        if existing is not None:
            check_same_start(existing, new)

    def _new(self, saga: RunnableSaga, written: bytes, saga_id: uuid.UUID, status: SagaStatus) -> NewSaga:
        definition = saga.definition
        return NewSaga(
            saga_id,
            definition.name,
            definition.fingerprint,
            status,
            saga.steps[0].id,
            written,
            input_hash(written),
            self.new_owner(),
            self.heartbeat.lease_s,
        )

    async def stream(
        self, begin: Callable[[], Awaitable[Run | None]]
    ) -> AsyncGenerator[SagaStepResult[Any, Any], None]:
        """
        Take what *begin* gives to its end, and hand out the results of its steps. Left early, it is let go.

        Raises:
            Exception: What the step raised for which everything was undone.
            SagaFailed: Everything was undone, for what another driver has seen.
            SagaAbandoned: A person has given it up as it is.
            SagaSuspended: A person is waited for.
            SagaFenced: Another driver has taken it over.
            SagaUnrunnable: It cannot be run here: a notification of a step would be lost, as there is no publisher. It
                was let go for others, and if that was often enough, suspended.
            SagaStorageUnavailable: What was done could not be made durable.
        """
        run = await begin()
        if run is None:
            return
        try:
            while (result := await self._executor.advance(run)) is not None:
                yield result
        except BaseException as error:
            await self._let_go(run, error)
            raise
        finally:
            self.heartbeat.let_go(run.lease)
        raise_outcome(run)

    async def leave(self, run: Run, *, is_held_back: bool = False) -> None:
        """
        Leave *run*, of which nothing was begun here, to whoever claims it next; the claim is not counted.

        Args:
            is_held_back: Whether it is written so already, as :meth:`Recovery.hold_back` does.
        """
        self.heartbeat.let_go(run.lease)
        standing, claims = (run.standing, run.claims) if is_held_back else (run.left(), max(run.claims - 1, 0))
        await run_shielded(lambda: self._let_others_have(run, standing, claims))

    async def give_up(
        self, run: Run, standing: Standing, step_id: str, reason: str, *, is_patient: bool = True
    ) -> None:
        """
        Leave *run*, which cannot be run here, to others for a while; if that was often enough, let it wait for people.

        Args:
            standing: Where it stands when it is left.
            step_id: Of the step at work.
            reason: Why it cannot be run here.
            is_patient: Whether others may try it at all.

        Raises:
            SagaFenced: As for :meth:`stream`; so is ``SagaStorageUnavailable``.
        """
        delay_s = _POSTPONED.delay_after(max(run.claims, 1))
        if run.claims >= self.options.max_claims or not is_patient:
            logger.error("The saga %s waits for a person: %s", run.id, reason)
            standing = follow(standing, Happened.GAVE_UP, run.saga.kinds)
        else:
            logger.warning("The saga %s is left to others for %.0f s: %s", run.id, delay_s, reason)
        await self.journal.release(run, standing, step_id=step_id, delay_s=delay_s, claims=run.claims, error=reason)

    async def _let_go(self, run: Run, error: BaseException) -> None:
        """Leave *run* because of *error*: somebody else goes on with it; or, where nobody would, undo it."""
        standing = run.standing
        if not standing.status.is_live or isinstance(error, SagaFenced):
            return
        if isinstance(error, SagaUnrunnable) and error.saga_id == run.id:
            await run_shielded(lambda: self._put_off(run, error.reason))
            return
        if isinstance(error, Exception):
            # A fault here or in the storage, and none of a step: nobody knows what was written. The lease runs out.
            logger.error("A saga is left to whoever recovers it: %s", error_text(error), extra={"saga_id": str(run.id)})
            return
        # Who stops to iterate may want to go on later. Who was cancelled cannot; and if nobody else does, it is undone.
        somebody_goes_on = isinstance(error, GeneratorExit) or self.storage.is_durable or self.has_worker
        if somebody_goes_on or not self._can_be_undone(run):
            await run_shielded(lambda: self._release(run))
        else:
            await run_shielded(lambda: self._undo(run))

    @staticmethod
    def _can_be_undone(run: Run) -> bool:
        standing = run.left()
        return standing.status is SagaStatus.COMPENSATING or can_turn(standing, run.saga.kinds)

    async def _release(self, run: Run) -> None:
        try:
            await self.journal.was_written(run)  # it may have been cancelled while it waited for the answer
        except CqrsError:
            logger.warning(_NOT_LET_GO, exc_info=True)
            return
        if run.standing.status.is_live:
            claims = run.claims if run.is_begun else max(run.claims - 1, 0)  # then this one does not count
            await self._let_others_have(run, run.left(), claims)

    async def _let_others_have(self, run: Run, standing: Standing, claims: int) -> None:
        try:
            await self.journal.release(run, standing, claims=claims)
        except CqrsError:
            logger.warning(_NOT_LET_GO, exc_info=True)

    async def _put_off(self, run: Run, reason: str) -> None:
        standing = run.left()
        try:
            await self.give_up(run, standing, run.saga.definition.step_at_work(standing), reason)
        except CqrsError:
            logger.warning(_NOT_LET_GO, exc_info=True)

    async def _undo(self, run: Run) -> None:
        try:
            await self.journal.was_written(run)  # as above
            await self._executor.turn(run)
            while await self._executor.advance(run) is not None:
                pass
        except CqrsError:
            logger.exception("A saga that was cancelled could not be undone to its end.")


def raise_outcome(run: Run) -> None:
    """Raise what became of a saga, unless it is completed."""
    status, failure = run.standing.status, run.failure
    error = run.error or _NO_ERROR
    if status is SagaStatus.SUSPENDED:
        raise SagaSuspended(run.id, error) from failure
    if status is not SagaStatus.FAILED:
        return
    if failure is None:
        raise SagaFailed(run.id, error)
    run.failure = None
    try:
        raise failure
    finally:
        del failure  # its traceback holds this frame: neither would be freed before the next collection


def raise_stored(record: SagaRecord) -> None:
    """Raise what became of a saga that somebody else has driven, unless it is completed."""
    error = record.error or _NO_ERROR
    if record.status is SagaStatus.FAILED:
        raise SagaFailed(record.id, error)
    if record.status is SagaStatus.ABANDONED:
        raise SagaAbandoned(record.id, error)
    if record.status is SagaStatus.SUSPENDED:
        raise SagaSuspended(record.id, error)
