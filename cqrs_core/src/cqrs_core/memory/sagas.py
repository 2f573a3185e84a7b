"""The sagas of the memory storage."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING

from cqrs_core.clock import SystemClock
from cqrs_core.errors import InvalidOption, SagaChanged, SagaFenced, SagaNotFound
from cqrs_core.saga.log import Branch, SagaLogEntry, SagaStatus
from cqrs_core.saga.plan import Happened, Standing, follow
from cqrs_core.saga.storage import SagaRecord, check_same_start

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from cqrs_core.clock import Clock
    from cqrs_core.memory.outbox import MemoryOutbox
    from cqrs_core.saga.log import LogRecord
    from cqrs_core.saga.storage import NewSaga, SagaChange, SagaClaim, SagaQuery, SagaWrite
    from cqrs_core.unit_of_work import UnitOfWork


class MemorySagaStorage:
    """
    Keeps sagas in one process: a :class:`cqrs_core.saga.storage.SagaStorage`, as strict as a durable one.

    For tests, and to begin with. Of sagas that have ended, it keeps the last *max_finished*; those that are under way,
    or wait for a person, it never forgets. It is for one event loop at a time, and not for several threads.
    """

    is_durable = False

    def __init__(
        self, *, max_finished: int = 10_000, clock: Clock | None = None, outbox: MemoryOutbox | None = None
    ) -> None:
        """
        Begin with none.

        Args:
            max_finished: How many that have ended are kept; 0: none.
            clock: Tells for how long sagas are somebody's.
            outbox: Where the messages of steps are kept until they are sent; ``None``: they are not taken.

        Raises:
            InvalidOption: *max_finished* is less than 0.
        """
        if max_finished < 0:
            raise InvalidOption("max_finished", max_finished, "at least 0")
        self._max_finished = max_finished
        self._clock = clock or SystemClock()
        self._outbox = outbox
        self._rows: dict[uuid.UUID, _Row] = {}
        #: Those that have not ended, and in the order of their ends those that have.
        self._going: dict[uuid.UUID, _Row] = {}
        self._ended: deque[_Row] = deque()

    @property
    def has_outbox(self) -> bool:
        """Whether messages of steps are taken."""
        return self._outbox is not None

    async def start(self, new: NewSaga, *, within: UnitOfWork | None = None) -> SagaRecord | None:
        """As :meth:`cqrs_core.saga.storage.SagaStorage.start`."""
        row = self._rows.get(new.id)
        if row is None and within is not None:
            row = _started_in(within, new.id)
        if row is not None:
            is_ours = (row.owner, row.version, row.fence) == (new.owner, 1, 1)
            return None if is_ours else row.record()
        row = _Row(new, self._clock.now())
        if within is None:
            self._rows[new.id] = self._going[new.id] = row
        else:
            within.on_commit(lambda: self._keep(row), lambda: self._check_start(new), row)  # type: ignore[attr-defined]  # one of ours
        return None

    async def write(self, write: SagaWrite, *, within: UnitOfWork | None = None) -> None:
        """As :meth:`cqrs_core.saga.storage.SagaStorage.write`."""
        row = self._guarded(write)
        if row is None:
            return
        if self._outbox is not None:
            for envelope in write.envelopes:
                self._outbox.check(envelope)
        if within is None:
            self._apply(row, write)
        else:
            within.on_commit(lambda: self._apply_once(write), lambda: self._guarded(write))  # type: ignore[attr-defined]  # one of ours

    async def claim(self, claim: SagaClaim) -> Sequence[SagaRecord]:
        """As :meth:`cqrs_core.saga.storage.SagaStorage.claim`."""
        due = [
            row
            for row in self._due(claim.overdue_s)
            if (claim.names is None or row.name in claim.names) and claim.saga_id in (None, row.id)
        ]
        taken = due[: claim.limit]
        until = self._clock.now() + timedelta(seconds=claim.lease_s)
        for row in taken:
            row.stand(follow(row.standing, Happened.CLAIMED, ()), row.step_id, self._clock.now())
            row.fence += 1
            row.claims += 1
            row.owner, row.wake_at = claim.owner, until
        return [row.record() for row in taken]

    async def renew(self, held: Collection[tuple[uuid.UUID, int]], *, lease_s: float) -> Collection[uuid.UUID]:
        """As :meth:`cqrs_core.saga.storage.SagaStorage.renew`."""
        until = self._clock.now() + timedelta(seconds=lease_s)
        lost: set[uuid.UUID] = set()
        for saga_id, fence in held:
            row = self._going.get(saga_id)
            if row is None or row.fence != fence or row.owner is None:
                lost.add(saga_id)
            else:
                row.wake_at = until
        return lost

    async def load(self, saga_id: uuid.UUID) -> SagaRecord | None:
        """As :meth:`cqrs_core.saga.storage.SagaStorage.load`."""
        row = self._rows.get(saga_id)
        return None if row is None else row.record()

    async def get_step_history(self, saga_id: uuid.UUID) -> Sequence[SagaLogEntry]:
        """As :meth:`cqrs_core.saga.storage.SagaStorage.get_step_history`."""
        row = self._rows.get(saga_id)
        if row is None:
            return ()
        return [SagaLogEntry(row.id, seq, at, *record) for seq, (at, record) in enumerate(row.history, 1)]

    async def find(self, query: SagaQuery) -> Sequence[SagaRecord]:
        """As :meth:`cqrs_core.saga.storage.SagaKeeper.find`."""
        rows: Iterable[_Row] = self._rows.values() if query.overdue_s is None else self._due(query.overdue_s)
        found = [
            row
            for row in rows
            if query.name in (None, row.name) and (not query.statuses or row.standing.status in query.statuses)
        ]
        found.sort(key=lambda row: row.updated_at)
        return [row.record() for row in found[: query.limit]]

    async def change(self, change: SagaChange) -> SagaRecord:
        """As :meth:`cqrs_core.saga.storage.SagaKeeper.change`."""
        row = self._rows.get(change.saga_id)
        if row is None:
            raise SagaNotFound(change.saga_id)
        if row.version != change.version:
            raise SagaChanged(change.saga_id)
        now = self._clock.now()
        row.stand(change.standing, change.step_id, now, change.log)
        row.fence += 1
        row.claims, row.owner = 0, None
        row.context = row.context if change.context is None else change.context
        row.wake_at = now if row.standing.status.is_live else None
        self._retire(row)
        return row.record()

    async def purge(self, older_than: timedelta, *, limit: int = 1000) -> int:
        """As :meth:`cqrs_core.saga.storage.SagaKeeper.purge`."""
        end, gone = self._clock.now() - older_than, 0
        while gone < limit and self._ended and self._ended[0].updated_at < end:
            del self._rows[self._ended.popleft().id]
            gone += 1
        return gone

    def forget(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self._going.clear()
        self._ended.clear()

    def _check_start(self, new: NewSaga) -> None:
        row = self._rows.get(new.id)
        if row is not None:
            check_same_start(row.record(), new)

    def _keep(self, row: _Row) -> None:
        if row.id not in self._rows:
            self._rows[row.id] = self._going[row.id] = row

    def _due(self, overdue_s: float) -> list[_Row]:
        latest = self._clock.now() - timedelta(seconds=overdue_s)
        due = [(row.wake_at, row) for row in self._going.values() if row.wake_at is not None and row.wake_at <= latest]
        return [row for _, row in sorted(due, key=lambda pair: pair[0])]

    def _guarded(self, write: SagaWrite) -> _Row | None:
        """Find what is to be written; ``None`` if it was written already, and its answer was lost."""
        row = self._rows.get(write.saga_id)
        if row is None or row.fence != write.fence:
            raise SagaFenced(write.saga_id)
        if row.version == write.version:
            return row
        if row.version == write.version + 1 and row.standing == write.standing:
            return None
        raise SagaFenced(write.saga_id)

    def _apply_once(self, write: SagaWrite) -> None:
        row = self._guarded(write)
        if row is not None:
            self._apply(row, write)

    def _apply(self, row: _Row, write: SagaWrite) -> None:
        now = self._clock.now()
        row.stand(write.standing, write.step_id, now, write.log)
        row.claims = write.claims
        if write.context is not None:
            row.context = write.context
        if write.fingerprint is not None:
            row.fingerprint = write.fingerprint
        if write.error is not None:
            row.error = write.error
        if write.wake_in_s is not None:
            row.wake_at = now + timedelta(seconds=write.wake_in_s)
        if write.is_released:
            row.owner = None
        if self._outbox is not None and write.envelopes:
            self._outbox.keep(write.envelopes)
        if not write.standing.status.is_live:
            row.owner, row.wake_at = None, None
            self._retire(row)

    def _retire(self, row: _Row) -> None:
        if row.standing.status.is_ended:
            self._going.pop(row.id, None)
            self._ended.append(row)
            while len(self._ended) > self._max_finished:
                del self._rows[self._ended.popleft().id]


def _started_in(unit: UnitOfWork, saga_id: uuid.UUID) -> _Row | None:
    """Find what *unit* is to start."""
    waiting = unit.waiting()  # type: ignore[attr-defined]  # one of ours
    return next((row for row in waiting if isinstance(row, _Row) and row.id == saga_id), None)


_RUNNING = Standing(SagaStatus.RUNNING, 0, Branch.PRIMARY, 1)
_PENDING = Standing(SagaStatus.PENDING)


class _Row:
    """One saga."""

    __slots__ = (
        "claims",
        "context",
        "created_at",
        "error",
        "fence",
        "fingerprint",
        "history",
        "id",
        "input_hash",
        "name",
        "owner",
        "standing",
        "step_id",
        "updated_at",
        "version",
        "wake_at",
    )

    def __init__(self, new: NewSaga, now: datetime) -> None:
        is_running = new.status is SagaStatus.RUNNING
        self.id = new.id
        self.name = new.name
        self.fingerprint = new.fingerprint
        self.standing = _RUNNING if is_running else _PENDING
        self.step_id = new.step_id
        self.context = new.context
        self.input_hash = new.input_hash
        self.version = 1
        self.fence = 1
        self.owner: str | None = new.owner
        self.wake_at: datetime | None = now + timedelta(seconds=new.lease_s) if is_running else now
        self.claims = 0
        self.error: str | None = None
        self.created_at = self.updated_at = now
        self.history: list[tuple[datetime, LogRecord]] = []

    def stand(self, standing: Standing, step_id: str, now: datetime, log: Sequence[LogRecord] = ()) -> None:
        """Count the version up, stand there, and lengthen the history."""
        self.standing = standing
        self.step_id = step_id
        self.version += 1
        self.updated_at = now
        for record in log:
            self.history.append((now, record))

    def record(self) -> SagaRecord:
        """Tell everything."""
        standing = self.standing
        return SagaRecord(
            id=self.id,
            name=self.name,
            fingerprint=self.fingerprint,
            status=standing.status,
            cursor=standing.cursor,
            branch=standing.branch,
            attempt=standing.attempt,
            suspended_from=standing.suspended_from,
            step_id=self.step_id,
            context=self.context,
            input_hash=self.input_hash,
            version=self.version,
            fence=self.fence,
            owner=self.owner,
            wake_at=self.wake_at,
            claims=self.claims,
            error=self.error,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )
