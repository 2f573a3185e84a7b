"""The journal: everything that happens to a saga is made durable here, by one guarded write each."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cqrs_core.errors import CommitInDoubt, SagaFenced, SagaStorageUnavailable, StorageUnavailable
from cqrs_core.resilience import RetryPolicy
from cqrs_core.saga.log import SagaStatus
from cqrs_core.saga.run import with_done
from cqrs_core.saga.storage import SagaWrite

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from typing import Any

    from cqrs_core.clock import Clock
    from cqrs_core.envelope import Envelope
    from cqrs_core.saga.leases import Heartbeat
    from cqrs_core.saga.log import Done, LogRecord
    from cqrs_core.saga.plan import Standing
    from cqrs_core.saga.run import Run
    from cqrs_core.saga.storage import SagaStorage
    from cqrs_core.unit_of_work import UnitOfWork

T = TypeVar("T")

#: After these nobody knows whether it was done, and it may be asked again.
_UNSURE = (StorageUnavailable, CommitInDoubt)
_OUTAGE = RetryPolicy(delay_s=0.05, max_delay_s=2.0)


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

    def note(
        self,
        run: Run,
        standing: Standing,
        record: LogRecord | None = None,
        context: bytes | None = None,
        envelopes: Sequence[Envelope] = (),
        *,
        done: list[Done] | None = None,
        error: str | None = None,
    ) -> Coroutine[Any, Any, None]:
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
        step_id = run.saga.definition.step_at_work(standing)
        log = () if record is None else (record,)
        done = run.done if done is None else done
        return self._note(run, done, standing, step_id, log, context, envelopes, error=error)

    def note_step(
        self,
        run: Run,
        record: LogRecord,
        context: bytes,
        envelopes: Sequence[Envelope],
        done: Done,
        *,
        within: UnitOfWork | None = None,
    ) -> Coroutine[Any, Any, None]:
        """
        Make it durable that the step at work is done.

        Args:
            record: As for :meth:`note`; so are *context* and *envelopes*.
            done: What would have to be undone.
            within: The unit of work with which it is committed; then :meth:`committed` is called.

        Raises:
            SagaFenced: As for :meth:`note`; so is ``SagaStorageUnavailable``.
        """
        standing, step_id = run.saga.after[run.standing.cursor]
        all_done = with_done(run.done, done)
        # A list of sagas is to show no error of one that has got over it.
        error = "" if run.error and standing.status is SagaStatus.COMPLETED else None
        return self._note(run, all_done, standing, step_id, (record,), context, envelopes, error=error, within=within)

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
        # What is committed later, or never, lengthens nothing.
        wake_in_s = lease_s if within is None and now > lease.renewed_at + lease_s / 2 else None
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
        run.asked = write, done, now
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
            elif now >= lease.listen_at:
                lease.hear(now, lease_s)

    def is_unsure_of(self, run: Run) -> bool:
        """
        Tell whether *run* may be another's by now: nothing may be begun then before it is asked.

        The lease may have run out, as of a process that stood still; or nothing was heard for a while, in which people
        may have decided otherwise.
        """
        return self._clock.monotonic() >= run.lease.fresh_until

    async def is_still_ours(self, run: Run) -> bool:
        """
        Ask whether *run* is; and if its lease may have run out, keep it.

        Raises:
            SagaStorageUnavailable: That cannot be told now.
        """
        lease, lease_s = run.lease, self._heartbeat.lease_s
        while not lease.is_lost:  # it may have been told already
            asked_at = self._clock.monotonic()
            if asked_at < lease.safe_until:  # then to look is enough, and nothing is written
                stored = await self._answer(run, lambda: self._storage.load(run.id))
                is_ours = stored is not None and stored.fence == lease.fence
                lease.hear(asked_at, lease_s)
            else:
                is_ours = not await self._answer(
                    run, lambda: self._storage.renew([(run.id, lease.fence)], lease_s=lease_s)
                )
                lease.extend(asked_at, lease_s)
            if not is_ours:
                lease.lose()
            elif self._clock.monotonic() < lease.safe_until:
                return True  # later, the answer says nothing any more
        return False

    def committed(self, run: Run) -> None:
        """Let *run* be as it was written within a unit of work that is committed: so it was ours, as of the write."""
        assert run.asked is not None, "something was asked"  # noqa: S101 - for type checkers
        asked_at = run.asked[2]
        self.settle(run)
        if asked_at >= run.lease.listen_at:
            run.lease.hear(asked_at, self._heartbeat.lease_s)

    @staticmethod
    def settle(run: Run) -> None:
        """Let *run* be as the storage was asked to write it, which it has done."""
        assert run.asked is not None, "something was asked"  # noqa: S101 - for type checkers
        (write, run.done, _), run.asked = run.asked, None
        run.version += 1
        run.standing = write.standing
        run.claims = write.claims
        run.fingerprint = None
        run.is_begun = False
        if write.context is not None:
            run.kept = write.context
        if write.error is not None:
            run.error = write.error or None

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

    async def recount(self, run: Run, standing: Standing, *, step_id: str, claims: int) -> None:
        """
        Keep *run*, which stands there, with so many of its claims counted.

        Raises:
            SagaFenced: As for :meth:`note`; so is ``SagaStorageUnavailable``.
        """
        lease_s, now = self._heartbeat.lease_s, self._clock.monotonic()
        write = SagaWrite(run.id, run.lease.fence, run.version, standing, step_id, claims, wake_in_s=lease_s)
        run.asked = write, run.done, now
        await self._answer(run, lambda: self._storage.write(write))
        self.settle(run)
        run.lease.extend(now, lease_s)

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
            step_id=run.saga.definition.step_at_work(standing) if step_id is None else step_id,
            claims=claims,
            error=error,
            wake_in_s=delay_s,
            is_released=True,
        )
        run.asked = write, run.done, self._clock.monotonic()
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
