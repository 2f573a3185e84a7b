"""The loop that goes on with sagas that are due: new ones, and those that their drivers have left."""

from __future__ import annotations

import logging
import math
from collections import deque
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from cqrs_core.bell import Bell
from cqrs_core.concurrency import open_task_group
from cqrs_core.errors import SagaFenced, SagaUnrunnable, StorageUnavailable
from cqrs_core.resilience import OUTAGE, RetryPolicy
from cqrs_core.saga.figures import WorkerFigures
from cqrs_core.saga.log import SagaStatus
from cqrs_core.saga.recovery import Recovery
from cqrs_core.saga.storage import SagaClaim, missing_keeper_methods

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from cqrs_core.concurrency import Gate, TaskGroup
    from cqrs_core.observer import Observer
    from cqrs_core.saga.engine import SagaEngine
    from cqrs_core.saga.run import Run
    from cqrs_core.saga.runnable import RunnableSaga
    from cqrs_core.saga.storage import SagaRecord

logger = logging.getLogger(__name__)

#: How often to look for sagas that nobody here can run: they have waited for long already.
_ORPHANS_EVERY_S = 60.0
_LEFT = "A saga that was claimed is left until its lease runs out: %s"


class SagaRecoveryWorker:
    """Drives sagas that are due, of the names that it knows; of any number of workers, one drives each saga."""

    def __init__(
        self,
        engine: SagaEngine,
        sagas: Mapping[str, RunnableSaga],
        *,
        stop_deadline_s: float = 30.0,
        bell: Bell | None = None,
        observer: Observer | None = None,
    ) -> None:
        """
        Get ready; nothing is claimed yet.

        Args:
            engine: Drives them; its options say how.
            sagas: Those that can be run, by their names.
            stop_deadline_s: Seconds that steps under way have to end in when the worker stops.
            bell: Rung by those who have made a saga due in this process.
            observer: Told the figures of :data:`cqrs_core.saga.figures.METRICS`.
        """
        self._figures = WorkerFigures(observer, engine.clock)
        self._engine = engine
        self._sagas = sagas
        self._options = engine.options
        self._stop_deadline_s = stop_deadline_s
        self._bell = bell or Bell()
        self._recovery = Recovery(engine)
        self._driven = 0
        #: May end the process: nothing else is to be at work when they are driven. They are held back: what ends
        #: it before their turn has come is not counted against them, and other workers go on.
        self._suspects: deque[tuple[Run, SagaRecord]] = deque()
        self._orphans_at = -math.inf
        longest = 1.2 * self._options.poll_s
        # A fifth more or less: workers that were started together do not come together for ever.
        self._pause = RetryPolicy(delay_s=longest, max_delay_s=longest, jitter=1 / 3)

    @property
    def counts(self) -> Counter[str]:
        """How many were ``claimed``, ``completed``, ``failed``, ``suspended`` and ``left``."""
        return self._figures.counts

    async def run(self, stopping: Gate) -> None:
        """
        Drive sagas until *stopping* is opened; then let each end the step that it is at, and leave it to others.

        What has not ended in time is cancelled, and left to others as well; they take that step for one in doubt.

        Raises:
            Exception: The storage broke in a way that it does not declare.
        """
        self._engine.has_worker = True
        try:
            async with open_task_group() as tasks:
                tasks.start(partial(self._stop, stopping, tasks.cancel))
                storage: Any = self._engine.storage
                if self._figures.are_observed and not missing_keeper_methods(storage):
                    tasks.start(partial(self._figures.keep_telling, storage))
                await self._work(stopping, tasks)
                while self._driven:
                    await self._bell.wait(self._options.poll_s, self._engine.clock)
                tasks.cancel()
        finally:
            self._engine.has_worker = False
            await self._leave_suspects()

    async def run_once(self) -> int:
        """
        Drive everything that is due, to its end: for tests, and for programs that are started now and then.

        Returns:
            How many sagas were driven.

        Raises:
            StorageUnavailable: They cannot be claimed.
        """
        driven = 0
        while records := await self._claim(1):
            driven += len(records)
            for record, asked_at in records:
                await self._take_on(record, asked_at, None)
        return driven

    async def _work(self, stopping: Gate, tasks: TaskGroup) -> None:
        failures = 0
        while not stopping.is_open:
            free = left = self._options.max_concurrent - self._driven
            try:
                if self._suspects:
                    await self._drive_suspect(stopping)
                    continue
                # What is claimed is begun before anything else may fail: nobody else can take it.
                if left:
                    left -= await self._start(await self._claim_overdue(), stopping, tasks)
                if left and not self._suspects:
                    left -= await self._start(await self._claim(left), stopping, tasks)
            except StorageUnavailable as error:
                failures += 1
                delay_s = OUTAGE.delay_after(failures)
                logger.warning("Sagas cannot be claimed: %s Trying again in %.1f s.", error, delay_s)
                await self._bell.wait(delay_s, self._engine.clock)
                continue
            failures = 0
            if (left or not free) and not self._suspects:
                await self._bell.wait(self._pause.delay_after(1), self._engine.clock)

    async def _start(self, claimed: Sequence[tuple[SagaRecord, float]], stopping: Gate, tasks: TaskGroup) -> int:
        """Begin to drive what was claimed, but for what is to be driven alone; tells how many those are."""
        # First, and then begin: each of the others may end the process, and these would be counted.
        for record, asked_at in claimed:
            if self._is_suspect(record):
                await self._hold_back(record, asked_at)
        for record, asked_at in claimed:
            if not self._is_suspect(record):
                self._driven += 1
                tasks.start(partial(self._drive_and_count, record, asked_at, stopping))
        return len(claimed)

    def _is_suspect(self, record: SagaRecord) -> bool:
        """Tell whether it was claimed so often without getting on that it may be what ends the processes."""
        # A first claim says nothing against it; and what is beyond the limit is suspended at once.
        return max(self._options.max_claims, 2) == record.claims

    async def _hold_back(self, record: SagaRecord, asked_at: float) -> None:
        """Keep a suspect until its turn."""
        try:
            run = await self._recovery.hold_back(self._sagas[record.name], record, asked_at)
        except (SagaFenced, StorageUnavailable) as error:
            logger.warning(_LEFT, error)
        else:
            self._suspects.append((run, record))

    async def _drive_suspect(self, stopping: Gate) -> None:
        """Drive the next suspect, until a step of it is done, if nothing else is at work; or wait for that."""
        if self._driven:
            await self._bell.wait(self._options.poll_s, self._engine.clock)
            return
        run, record = self._suspects.popleft()
        try:
            if await self._resumed(record, self._recovery.resume_held(run, record)):
                await self._drive(run, record, stopping, is_alone=True)
        finally:
            self._engine.heartbeat.let_go(run.lease)

    async def _leave_suspects(self) -> None:
        held, self._suspects = self._suspects, deque()
        for run, _ in held:
            self._engine.heartbeat.let_go(run.lease)  # of all, whatever becomes of the first
        for run, record in held:
            await self._engine.leave(run, is_held_back=True)
            self._figures.count("left", record.name)

    async def _claim(self, limit: int) -> list[tuple[SagaRecord, float]]:
        engine = self._engine
        asked_at = engine.clock.monotonic()
        claimed = await engine.storage.claim(
            SagaClaim(engine.new_owner(), engine.heartbeat.lease_s, limit, list(self._sagas))
        )
        for record in claimed:
            self._figures.count("claimed", record.name)
        return [(record, asked_at) for record in claimed]

    async def _claim_overdue(self) -> list[tuple[SagaRecord, float]]:
        """Now and then, claim what has been due for very long: to be driven, or if its name is unknown, suspended."""
        engine, now = self._engine, self._engine.clock.monotonic()
        if now < self._orphans_at:
            return []
        self._orphans_at = now + _ORPHANS_EVERY_S
        overdue = await engine.storage.claim(
            SagaClaim(engine.new_owner(), engine.heartbeat.lease_s, overdue_s=self._options.orphans_after_s)
        )
        known: list[tuple[SagaRecord, float]] = []
        for record in overdue:
            self._orphans_at = now  # there may be more
            if record.name in self._sagas:
                self._figures.count("claimed", record.name)
                known.append((record, now))
            else:
                await self._suspend_orphan(record)
        return known

    async def _suspend_orphan(self, record: SagaRecord) -> None:
        try:
            await self._recovery.suspend_orphan(record)
        except SagaFenced as error:
            logger.warning("A saga of an unknown name was not suspended: %s", error)
        else:
            self._figures.count("suspended", record.name)

    async def _drive_and_count(self, record: SagaRecord, asked_at: float, stopping: Gate) -> None:
        try:
            await self._take_on(record, asked_at, stopping)
        finally:
            self._driven -= 1
            self._bell.ring()  # there is room for another

    async def _take_on(self, record: SagaRecord, asked_at: float, stopping: Gate | None) -> None:
        run = await self._resumed(record, self._recovery.resume(self._sagas[record.name], record, asked_at))
        if run is not None:
            await self._drive(run, record, stopping)

    async def _resumed(self, record: SagaRecord, resuming: Awaitable[Run]) -> Run | None:
        """Wait until a saga that was claimed is ready to be driven, if it can be."""
        try:
            return await resuming
        except SagaUnrunnable as error:
            self._figures.count("suspended" if error.is_suspended else "left", record.name)  # said already
        except (SagaFenced, StorageUnavailable) as error:
            logger.warning(_LEFT, error)
        return None

    async def _drive(self, run: Run, record: SagaRecord, stopping: Gate | None, *, is_alone: bool = False) -> None:
        if stopping is not None and stopping.is_open:
            await self._engine.leave(run)
            self._figures.count("left", record.name)
            return
        try:
            async with aclosing(self._engine.stream(_giving(run))) as results:
                async for _ in results:
                    if is_alone or (stopping is not None and stopping.is_open):
                        break  # the rest it does among others
        except Exception as error:  # noqa: BLE001 - what became of the saga tells how bad it is
            self._tell(run, error)
        self._figures.count(_COUNTED.get(run.standing.status, "left"), record.name)

    @staticmethod
    def _tell(run: Run, error: Exception) -> None:
        about = {"saga_id": str(run.id)}
        if isinstance(error, SagaUnrunnable) and error.saga_id == run.id:
            return  # said already
        if run.standing.status is SagaStatus.FAILED:
            logger.debug("A saga has failed, and is undone: %s", type(error).__qualname__, extra=about)
        elif run.standing.status is SagaStatus.SUSPENDED:
            logger.warning("A saga waits for a person.", exc_info=error, extra=about)
        else:
            logger.warning("A saga is left to whoever claims it next.", exc_info=error, extra=about)

    async def _stop(self, stopping: Gate, cancel: Callable[[], None]) -> None:
        await stopping.wait()
        self._bell.ring()
        await self._engine.clock.sleep(self._stop_deadline_s)
        logger.warning("Steps of sagas did not end in time; they are in doubt, and whoever takes them over knows it.")
        cancel()


_COUNTED = {
    SagaStatus.COMPLETED: "completed",
    SagaStatus.FAILED: "failed",
    SagaStatus.SUSPENDED: "suspended",
}


def _giving(run: Run) -> Callable[[], Awaitable[Run]]:
    async def give() -> Run:
        return run

    return give
