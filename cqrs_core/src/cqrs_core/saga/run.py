"""One saga, as its driver has it; and the journal, in which everything that happens to it is made durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from cqrs_core.concurrency import open_cancel_scope
from cqrs_core.errors import CommitInDoubt, SagaFenced, SagaStorageUnavailable, StorageUnavailable
from cqrs_core.resilience import RetryPolicy
from cqrs_core.saga.current import running_step
from cqrs_core.saga.storage import SagaWrite

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Sequence

    from cqrs_core.clock import Clock
    from cqrs_core.envelope import Envelope
    from cqrs_core.messages import Event
    from cqrs_core.saga.attempt import Attempt
    from cqrs_core.saga.current import CurrentStep
    from cqrs_core.saga.leases import Heartbeat, Lease
    from cqrs_core.saga.log import Done, LogRecord
    from cqrs_core.saga.plan import Standing
    from cqrs_core.saga.runnable import RunnableSaga
    from cqrs_core.saga.storage import SagaStorage
    from cqrs_core.unit_of_work import UnitOfWork

T = TypeVar("T")

#: After these nobody knows whether it was done, and it may be asked again.
_UNSURE = (StorageUnavailable, CommitInDoubt)
_OUTAGE = RetryPolicy(delay_s=0.05, max_delay_s=2.0)
#: What is kept of an error: it is for people.
_LONGEST_ERROR = 2000


class Run:
    """
    One saga, while somebody drives it.

    Attributes:
        id: Under which it is stored.
        saga: What is done in it.
        lease: By which it is ours.
        version: How often it was written.
        standing: Where it stands, as it is stored.
        context: What its steps know; of a step that failed, nothing is left in it.
        kept: The same, as it is stored.
        unknown: What is stored and not known to the class of the context.
        done: What would have to be undone, the first that was done first.
        failure: What the last step that failed has raised.
        asked: What the storage was asked to write, and is not known to have written: its answer did not come, or it is
            for a unit of work to commit. With it, what ``done`` is then.
        is_begun: Whether something was begun that is not written yet: an attempt at a step.
        is_in_doubt: Whether an attempt at the step at work may have taken effect.
        claims: How often it was claimed since a step was last done.
        fingerprint: What is to be stored as the fingerprint with the next write; ``None``: it stays.
    """

    __slots__ = (
        "asked",
        "claims",
        "context",
        "done",
        "failure",
        "fingerprint",
        "id",
        "is_begun",
        "is_in_doubt",
        "kept",
        "lease",
        "saga",
        "standing",
        "unknown",
        "version",
    )

    def __init__(  # noqa: PLR0917 - made for every saga: named arguments would cost as much again
        self,
        saga_id: uuid.UUID,
        saga: RunnableSaga,
        lease: Lease,
        version: int,
        standing: Standing,
        context: Any,  # noqa: ANN401 - of the saga's own class
        kept: bytes,
    ) -> None:
        self.id = saga_id
        self.saga = saga
        self.lease = lease
        self.version = version
        self.standing = standing
        self.context = context
        self.kept = kept
        self.unknown: dict[str, Any] = {}
        self.done: list[Done] = []
        self.failure: Exception | None = None
        self.asked: tuple[SagaWrite, list[Done]] | None = None
        self.is_begun = False
        self.is_in_doubt = False
        self.claims = 0
        self.fingerprint: str | None = None

    def encoded(self) -> bytes:
        """
        Write the context as it is now.

        Raises:
            CodecError: A step has put something into it that JSON cannot carry.
        """
        return self.saga.form.encode(self.context, self.unknown)

    def restore_context(self) -> None:
        """Undo what a step that failed has changed in the context."""
        self.saga.form.restore(self.context, self.kept)

    def fresh_context(self) -> Any:  # noqa: ANN401 - of the saga's own class
        """Make a context as it is stored, for those whose changes are not kept."""
        return self.saga.form.decode(self.kept)


class Journal:
    """Makes durable what happens to sagas."""

    def __init__(self, storage: SagaStorage, heartbeat: Heartbeat, clock: Clock) -> None:
        """
        Take what it needs.

        Args:
            storage: Where the sagas are.
            heartbeat: Knows how long a lease is.
            clock: Measures how long one has been held.
        """
        self._storage = storage
        self._heartbeat = heartbeat
        self._clock = clock

    async def note(
        self,
        run: Run,
        standing: Standing,
        record: LogRecord | None = None,
        context: bytes | None = None,
        envelopes: Sequence[Envelope] = (),
        *,
        done: list[Done] | None = None,
        error: str | None = None,
    ) -> None:
        """
        Make it durable that *run* stands there, and lengthen its lease if half of that is over.

        Args:
            record: What was done.
            context: As the step has left it; ``None``: it stays.
            envelopes: Messages to be sent if this is committed.
            done: What would have to be undone then; ``None``: what it was.
            error: What went wrong, as text.

        Raises:
            SagaFenced: Another has the saga by now. Nothing was written.
            SagaStorageUnavailable: The storage could not be written to for as long as the saga was surely ours.
        """
        step_id = run.saga.step_at_work(standing)
        log = () if record is None else (record,)
        done = run.done if done is None else done
        await self._note(run, done, standing, step_id, log, context, envelopes, error=error)

    async def note_step(
        self,
        run: Run,
        record: LogRecord,
        context: bytes,
        envelopes: Sequence[Envelope],
        done: Done,
        *,
        within: UnitOfWork | None = None,
    ) -> None:
        """
        Make it durable that the step at work is done.

        Args:
            record: As for :meth:`note`; so are *context* and *envelopes*.
            done: What would have to be undone.
            within: The unit of work with which it is committed; then :meth:`settle` is called.

        Raises:
            SagaFenced: As for :meth:`note`; so is ``SagaStorageUnavailable``.
        """
        standing, step_id = run.saga.after[run.standing.cursor]
        all_done = with_done(run.done, done)
        await self._note(run, all_done, standing, step_id, (record,), context, envelopes, within=within)

    async def _note(  # noqa: PLR0917 - as above
        self,
        run: Run,
        done: list[Done],
        standing: Standing,
        step_id: str,
        log: Sequence[LogRecord],
        context: bytes | None,
        envelopes: Sequence[Envelope],
        *,
        error: str | None = None,
        within: UnitOfWork | None = None,
    ) -> None:
        lease, lease_s, now = run.lease, self._heartbeat.lease_s, self._clock.monotonic()
        wake_in_s = lease_s if now > lease.renewed_at + lease_s / 2 else None
        write = SagaWrite(
            run.id,
            lease.fence,
            run.version,
            standing,
            step_id,
            0,
            log,
            context,
            run.fingerprint,
            error,
            wake_in_s,
            False,
            envelopes,
        )
        run.asked = write, done
        if within is not None:
            await self._storage.write(write, within=within)
        else:
            try:
                await self._storage.write(write)
            except _UNSURE:
                await self._answer(run, lambda: self._storage.write(write))
            self.settle(run)
        if wake_in_s is not None:
            lease.extend(now, lease_s)

    def is_unsure_of(self, run: Run) -> bool:
        """Tell whether the lease may have run out, as of a process that stood still: then nothing may be begun."""
        return self._clock.monotonic() >= run.lease.safe_until

    async def is_still_ours(self, run: Run) -> bool:
        """
        Ask whether *run* is, and keep it if so.

        Raises:
            SagaStorageUnavailable: That cannot be told now.
        """
        lease, lease_s, asked_at = run.lease, self._heartbeat.lease_s, self._clock.monotonic()
        lost = await self._answer(run, lambda: self._storage.renew([(run.id, lease.fence)], lease_s=lease_s))
        if lost:
            lease.lose()
        else:
            lease.extend(asked_at, lease_s)
        return not lost

    @staticmethod
    def settle(run: Run) -> None:
        """Let *run* be as the storage was asked to write it, which it has done."""
        assert run.asked is not None, "something was asked"  # noqa: S101 - for type checkers
        (write, run.done), run.asked = run.asked, None
        run.version += 1
        run.standing = write.standing
        run.claims = write.claims
        run.fingerprint = None
        run.is_begun = False
        if write.context is not None:
            run.kept = write.context

    async def was_written(self, run: Run) -> bool:
        """
        Find out whether the storage has written what it was asked to, when nobody knows.

        Raises:
            SagaFenced: Another has the saga by now; so is ``SagaStorageUnavailable`` as for :meth:`note`.
        """
        if run.asked is None:
            return False
        stored = await self._answer(run, lambda: self._storage.load(run.id))
        if stored is None or stored.fence != run.lease.fence:
            raise SagaFenced(run.id)
        if stored.version == run.version:
            run.asked = None
            return False
        self.settle(run)
        return True

    async def release(
        self,
        run: Run,
        standing: Standing,
        *,
        step_id: str | None = None,
        delay_s: float = 0.0,
        claims: int = 0,
        error: str | None = None,
    ) -> None:
        """
        Let anybody have *run*, which stands there, in so many seconds.

        Args:
            step_id: Of the step at work, if that is not for the definition to say.
            claims: What is counted of its claims: 0, if nothing is wrong with it.
            error: What is wrong.

        Raises:
            SagaFenced: As for :meth:`note`; so is ``SagaStorageUnavailable``.
        """
        write = SagaWrite(
            saga_id=run.id,
            fence=run.lease.fence,
            version=run.version,
            standing=standing,
            step_id=run.saga.step_at_work(standing) if step_id is None else step_id,
            claims=claims,
            error=error,
            wake_in_s=delay_s,
            is_released=True,
        )
        run.asked = write, run.done
        await self._answer(run, lambda: self._storage.write(write))
        self.settle(run)

    async def _answer(self, run: Run, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the storage until it answers, as long as the saga is surely ours. What it is asked may be repeated."""
        attempt = 1
        while True:
            try:
                return await ask()
            except _UNSURE as error:
                failure = error
            delay_s = _OUTAGE.delay_after(attempt)
            if self._clock.monotonic() + delay_s >= run.lease.safe_until:
                raise SagaStorageUnavailable(run.id, str(failure)) from failure
            await self._clock.sleep(delay_s)
            attempt += 1


async def attempt_guarded(
    run: Run,
    current: CurrentStep,
    attempt: Attempt,
    context: Any,  # noqa: ANN401 - of the saga's own class
) -> tuple[Any, Sequence[Event]] | None:
    """
    Make one attempt, which ends early if another driver takes the saga over.

    Returns:
        What it gives; ``None``: the saga is another's by now.
    """
    lease = run.lease
    outcome: tuple[Any, Sequence[Event]] | None = None
    token = running_step.set(current)
    try:
        with open_cancel_scope() as lease.scope:
            outcome = await attempt(context, current)
    except SagaFenced as error:
        if error.saga_id != run.id:
            raise
        return None
    finally:
        lease.scope = None
        running_step.reset(token)
    return None if lease.is_lost else outcome


def with_done(done: list[Done], this: Done) -> list[Done]:
    """Add what would have to be undone, unless it is there already."""
    return done if this in done else [*done, this]


def is_end_of(run: Run, error: Exception) -> bool:
    """Tell whether *error* says that *run* is not ours any more, or cannot be written."""
    return isinstance(error, (SagaFenced, SagaStorageUnavailable)) and error.saga_id == run.id


def error_text(error: BaseException) -> str:
    """Write an error for people."""
    return f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
