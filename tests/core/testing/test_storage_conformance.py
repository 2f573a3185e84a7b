"""The suite for storages finds what is wrong with one."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import sleep
from cqrs_core.envelope import Envelope
from cqrs_core.errors import CqrsError
from cqrs_core.memory import Deadlock, MemoryStorage
from cqrs_core.testing.conformance import StorageConformance
from cqrs_core.testing.conformance.storage.fetching import FetchingChecks
from cqrs_core.testing.conformance.storage.keeping import KeepingChecks
from cqrs_core.testing.conformance.storage.looking import LookingChecks
from cqrs_core.testing.conformance.storage.postponing import PostponingChecks
from cqrs_core.testing.conformance.storage.sharing import SharingChecks

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Collection, Sequence

    from cqrs_core.outbox import OutboxRecord
    from cqrs_core.unit_of_work import UnitOfWork

# Storages with one fault each ----------------------------------------------------------------------------------------


class Session:
    """What a storage may provide."""


class Passing:
    """A unit that does what another does: what is wrong with it is in its subclasses."""

    def __init__(self, storage: Faulty) -> None:
        self.storage = storage
        self.right: UnitOfWork = MemoryStorage.unit_of_work(storage)
        self.session = Session()

    @property
    def is_begun(self) -> bool:
        return self.right.is_begun

    def get(self, wanted: type[Any]) -> Any:
        return self.session

    def enqueue(self, envelopes: Sequence[Envelope]) -> None:
        self.right.enqueue(envelopes)

    async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
        return await self.right.accept(group, message_ids)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        async with self.right.savepoint():
            yield

    async def flush(self) -> None:
        await self.right.flush()

    async def commit(self) -> None:
        await self.right.commit()

    async def rollback(self) -> None:
        await self.right.rollback()

    async def close(self) -> None:
        await self.right.close()


class Faulty(MemoryStorage):
    provides = (Session,)
    unit: type[Passing] = Passing

    def unit_of_work(self, taken: object = None) -> Any:
        return self.unit(self)


class FaultyOutbox(Faulty):
    """It looks into its outbox by a method of its own."""

    def __init__(self, clock: SystemClock) -> None:
        super().__init__(clock=clock)
        self.right = self.outbox
        self.outbox: Any = self

    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        return await self.right.pending(limit=limit, after=after)

    def lease(self, name: str, *, ttl_s: float) -> Any:
        return self

    async def remove(self, positions: Collection[int]) -> None:
        self.right.records.remove(positions)


# Committing


class ForgetsOnCommit(Faulty):
    class unit(Passing):
        async def commit(self) -> None:
            await self.right.rollback()


class WritesAtOnce(Faulty):
    """As one does that commits by itself."""

    class unit(Passing):
        def enqueue(self, envelopes: Sequence[Envelope]) -> None:
            self.storage.outbox.keep(envelopes)


class CommitsOnFlush(Faulty):
    class unit(Passing):
        async def flush(self) -> None:
            await self.right.commit()


class CommitsOnRollback(Faulty):
    class unit(Passing):
        async def rollback(self) -> None:
            await self.right.commit()


class CommitsOnClose(Faulty):
    class unit(Passing):
        async def close(self) -> None:
            await self.right.commit()


class BeginsWhenMade(Faulty):
    class unit(Passing):
        @property
        def is_begun(self) -> bool:
            return True


class BeginsWhenAsked(Faulty):
    class unit(Passing):
        was_asked = False

        @property
        def is_begun(self) -> bool:
            return self.was_asked or self.right.is_begun

        def get(self, wanted: type[Any]) -> Any:
            self.was_asked = True
            return self.session


class GivesAnotherEachTime(Faulty):
    class unit(Passing):
        def get(self, wanted: type[Any]) -> Any:
            return Session()


class GivesAnotherAfterCommit(Faulty):
    class unit(Passing):
        async def commit(self) -> None:
            self.session = Session()
            await self.right.commit()


class SharesItsSession(Faulty):
    class unit(Passing):
        session = Session()

        def get(self, wanted: type[Any]) -> Any:
            return type(self).session


class OverlooksEnvelopes(Faulty):
    class unit(Passing):
        @property
        def is_begun(self) -> bool:
            return bool(self.__dict__.get("has_accepted"))

        async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
            self.has_accepted = True
            return await self.right.accept(group, message_ids)


class StaysBegun(Faulty):
    class unit(Passing):
        was_begun = False

        @property
        def is_begun(self) -> bool:
            self.was_begun |= self.right.is_begun
            return self.was_begun


class MindsEmptyCommits(Faulty):
    class unit(Passing):
        async def commit(self) -> None:
            if not self.is_begun:
                raise RuntimeError("nothing to commit")
            await self.right.commit()


class WorksOnce(Faulty):
    class unit(Passing):
        is_over = False

        def enqueue(self, envelopes: Sequence[Envelope]) -> None:
            if self.is_over:
                raise RuntimeError("this unit is over")
            self.right.enqueue(envelopes)

        async def commit(self) -> None:
            self.is_over = True
            await self.right.commit()


class UndoesWhatWasCommitted(Faulty):
    class unit(Passing):
        async def rollback(self) -> None:
            self.storage.outbox.forget()
            await self.right.rollback()


class WritesAgainAfterFlush(Faulty):
    class unit(Passing):
        def __init__(self, storage: Faulty) -> None:
            super().__init__(storage)
            self.enqueued: list[Envelope] = []

        def enqueue(self, envelopes: Sequence[Envelope]) -> None:
            self.enqueued += envelopes

        async def flush(self) -> None:
            self.right.enqueue(self.enqueued)

        async def commit(self) -> None:
            await self.flush()
            await self.right.commit()


class BelongsToATask(Faulty):
    class unit(Passing):
        def __init__(self, storage: Faulty) -> None:
            super().__init__(storage)
            self.task = asyncio.current_task()

        def check(self) -> None:
            if asyncio.current_task() is not self.task:
                raise RuntimeError("of another task")

        async def commit(self) -> None:
            self.check()
            await self.right.commit()

        async def close(self) -> None:
            self.check()
            await self.right.close()


# Savepoints


class ForgetsSavepoints(Faulty):
    class unit(Passing):
        @asynccontextmanager
        async def savepoint(self) -> AsyncIterator[None]:
            with suppress(EOFError):
                async with self.right.savepoint():
                    yield
                    raise EOFError


class CommitsSavepoints(Faulty):
    class unit(Passing):
        @asynccontextmanager
        async def savepoint(self) -> AsyncIterator[None]:
            async with self.right.savepoint():
                yield
            await self.right.commit()


class KeepsWhatFailed(Faulty):
    class unit(Passing):
        @asynccontextmanager
        async def savepoint(self) -> AsyncIterator[None]:
            yield


class UndoesEverything(Faulty):
    class unit(Passing):
        @asynccontextmanager
        async def savepoint(self) -> AsyncIterator[None]:
            try:
                yield
            except Exception:
                await self.right.rollback()
                raise


class SwallowsErrors(Faulty):
    class unit(Passing):
        @asynccontextmanager
        async def savepoint(self) -> AsyncIterator[None]:
            with suppress(Exception):
                async with self.right.savepoint():
                    yield


class WrapsErrors(Faulty):
    class unit(Passing):
        @asynccontextmanager
        async def savepoint(self) -> AsyncIterator[None]:
            try:
                async with self.right.savepoint():
                    yield
            except Exception as error:
                raise type(error) from error


class NeedsATransaction(Faulty):
    class unit(Passing):
        @asynccontextmanager
        async def savepoint(self) -> AsyncIterator[None]:
            if not self.is_begun:
                raise RuntimeError("no transaction is open")
            async with self.right.savepoint():
                yield


class HasOneSavepoint(Faulty):
    """Those in it are taken for parts of it."""

    class unit(Passing):
        depth = 0

        @asynccontextmanager
        async def savepoint(self) -> AsyncIterator[None]:
            self.depth += 1
            try:
                if self.depth > 1:
                    yield
                else:
                    async with self.right.savepoint():
                        yield
            finally:
                self.depth -= 1


class KeepsThoseAround(Faulty):
    """Of several savepoints that an error leaves, the innermost is undone."""

    class unit(Passing):
        undone: Exception | None = None

        @asynccontextmanager
        async def savepoint(self) -> AsyncIterator[None]:
            raised: Exception | None = None
            async with self.right.savepoint():
                try:
                    yield
                except Exception as error:
                    if error is not self.undone:
                        self.undone = error
                        raise
                    raised = error
            if raised is not None:
                raise raised


class KeepsWhatEndedWell(Faulty):
    """A savepoint that ends well is safe from what becomes of those around it, though not of the unit."""

    class unit(Passing):
        def __init__(self, storage: Faulty) -> None:
            super().__init__(storage)
            self.levels: list[list[Envelope]] = [[]]

        def enqueue(self, envelopes: Sequence[Envelope]) -> None:
            self.levels[-1] += envelopes

        @asynccontextmanager
        async def savepoint(self) -> AsyncIterator[None]:
            self.levels.append([])
            try:
                yield
            except Exception:
                self.levels.pop()
                raise
            self.levels[0] += self.levels.pop()

        async def commit(self) -> None:
            self.right.enqueue(self.levels[0])
            self.levels = [[]]
            await self.right.commit()


class FlushesIntoSavepoints(Faulty):
    """What was enqueued before is written within the savepoint, and undone with it."""

    class unit(Passing):
        was_flushed = False

        @asynccontextmanager
        async def savepoint(self) -> AsyncIterator[None]:
            self.was_flushed = False
            try:
                async with self.right.savepoint():
                    yield
            except Exception:
                if self.was_flushed:
                    await self.right.rollback()
                raise

        async def flush(self) -> None:
            self.was_flushed = True


# The outbox


class ChangesEnvelopes(Faulty):
    class unit(Passing):
        def enqueue(self, envelopes: Sequence[Envelope]) -> None:
            self.right.enqueue([self.changed(envelope) for envelope in envelopes])

        def changed(self, envelope: Envelope) -> Envelope:
            return replace(envelope, headers={})


class TakesEmptyKeysForNone(ChangesEnvelopes):
    class unit(ChangesEnvelopes.unit):
        def changed(self, envelope: Envelope) -> Envelope:
            return replace(envelope, key=envelope.key or None)


class TakesBodiesForText(ChangesEnvelopes):
    class unit(ChangesEnvelopes.unit):
        def changed(self, envelope: Envelope) -> Envelope:
            return replace(envelope, body=envelope.body.decode("utf-8", "replace").encode())


class ReversesBatches(Faulty):
    class unit(Passing):
        def enqueue(self, envelopes: Sequence[Envelope]) -> None:
            self.right.enqueue(envelopes[::-1])


class SharesItsBuffer(Faulty):
    class unit(Passing):
        def enqueue(self, envelopes: Sequence[Envelope]) -> None:
            self.storage.__dict__.setdefault("shared", self.right).enqueue(envelopes)

        async def commit(self) -> None:
            await self.storage.__dict__.setdefault("shared", self.right).commit()


class CannotEnqueueNothing(Faulty):
    class unit(Passing):
        def enqueue(self, envelopes: Sequence[Envelope]) -> None:
            _ = envelopes[0]
            self.right.enqueue(envelopes)


class BeginsForNothing(Faulty):
    class unit(Passing):
        was_used = False

        @property
        def is_begun(self) -> bool:
            return self.was_used

        def enqueue(self, envelopes: Sequence[Envelope]) -> None:
            self.was_used = True
            self.right.enqueue(envelopes)


class TakesWhatComesFirst(Faulty):
    class unit(Passing):
        def enqueue(self, envelopes: Sequence[Envelope]) -> None:
            for envelope in envelopes:
                self.right.enqueue([envelope])


class RefusesTooLate(Faulty):
    class unit(Passing):
        def __init__(self, storage: Faulty) -> None:
            super().__init__(storage)
            self.enqueued: list[Envelope] = []

        def enqueue(self, envelopes: Sequence[Envelope]) -> None:
            self.enqueued += envelopes

        async def commit(self) -> None:
            self.right.enqueue(self.enqueued)
            await self.right.commit()


class TakesWhatIsLookedAt(FaultyOutbox):
    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        records = await super().pending(limit=limit, after=after)
        self.right.records.remove({record.position for record in records})
        return records


class IgnoresTheLimit(FaultyOutbox):
    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        return await super().pending(limit=limit * 2, after=after)


class GivesTheLastOnes(FaultyOutbox):
    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        return (await super().pending(after=after))[-limit:]


class GivesThatPositionToo(FaultyOutbox):
    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        if limit == 100 and not after:
            return await super().pending()
        return await super().pending(limit=limit, after=after - 1)


class IgnoresThePosition(FaultyOutbox):
    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        return await super().pending(limit=limit)


class CountsInEachUnit(FaultyOutbox):
    """Each unit of these checks writes two messages."""

    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        records = [] if after else await super().pending()
        return [replace(record, position=index % 2 + 1) for index, record in enumerate(records)]


class CountsFromNothing(FaultyOutbox):
    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        records = [] if after else await super().pending()
        return [replace(record, position=index) for index, record in enumerate(records)]


class UsesPositionsAgain(FaultyOutbox):
    """As SQLite does without AUTOINCREMENT."""

    def __init__(self, clock: SystemClock) -> None:
        super().__init__(clock)
        self.gone = 0

    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        records = await super().pending(limit=limit, after=after + self.gone)
        return [replace(record, position=record.position - self.gone) for record in records]

    async def remove(self, positions: Collection[int]) -> None:
        await super().remove(positions)
        self.gone += len(positions)


class TellsLocalTime(FaultyOutbox):
    def time(self, moment: datetime) -> datetime:
        return moment.replace(tzinfo=None)

    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        records = await super().pending(limit=limit, after=after)
        return [replace(record, created_at=self.time(record.created_at)) for record in records]


class TakesLocalTimeForUtc(TellsLocalTime):
    def time(self, moment: datetime) -> datetime:
        return moment + timedelta(hours=1)


# The inbox


class Accepting(Passing):
    """It changes what is answered."""

    async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
        return self.answer(message_ids, await self.right.accept(group, message_ids))

    def answer(self, asked: Sequence[uuid.UUID], new: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
        return new


class AnswersWhatIsOld(Faulty):
    class unit(Accepting):
        def answer(self, asked: Sequence[uuid.UUID], new: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
            return [message_id for message_id in asked if message_id not in new]


class TakesEverythingForNew(Faulty):
    class unit(Accepting):
        def answer(self, asked: Sequence[uuid.UUID], new: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
            return asked


class AnswersForTheWholeBatch(Faulty):
    class unit(Accepting):
        def answer(self, asked: Sequence[uuid.UUID], new: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
            return new if len(new) == len(set(asked)) else []


class AnswersRepetitions(Faulty):
    class unit(Accepting):
        def answer(self, asked: Sequence[uuid.UUID], new: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
            return [message_id for message_id in asked if message_id in new]


class MindsRepetitions(Faulty):
    class unit(Passing):
        async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
            if len(set(message_ids)) < len(message_ids):
                raise RuntimeError("duplicate key")
            return await self.right.accept(group, message_ids)


class AcceptsOnItsOwn(Faulty):
    """In a transaction beside that of the unit."""

    class unit(Passing):
        async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
            other = MemoryStorage.unit_of_work(self.storage)
            new = await other.accept(group, message_ids)
            await other.commit()
            return new


class HasOneGroup(Faulty):
    class unit(Passing):
        async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
            return await self.right.accept("the only one", message_ids)


class TakesCapitalsForSmallLetters(Faulty):
    """As MariaDB does unless it is told otherwise."""

    class unit(Passing):
        async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
            return await self.right.accept(group.lower(), message_ids)


class TakesItsOwnForNew(Faulty):
    class unit(Passing):
        def __init__(self, storage: Faulty) -> None:
            super().__init__(storage)
            self.own: set[uuid.UUID] = set()

        async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
            self.own |= set(await self.right.accept(group, message_ids))
            return self.own & set(message_ids)


class FaultyInbox(Faulty):
    def __init__(self, clock: SystemClock) -> None:
        super().__init__(clock=clock)
        self.right = self.inbox
        self.inbox: Any = self

    async def purge(self, older_than: timedelta, *, batch_size: int = 5000) -> int:
        return await self.right.purge(older_than, batch_size=batch_size)


class PurgesEverything(FaultyInbox):
    async def purge(self, older_than: timedelta, *, batch_size: int = 5000) -> int:
        return await super().purge(timedelta(0))


class PurgesEverythingIfSomethingIsOld(FaultyInbox):
    async def purge(self, older_than: timedelta, *, batch_size: int = 5000) -> int:
        forgotten = await super().purge(older_than)
        if forgotten:
            self.right.forget()
        return forgotten


class PurgesNothing(FaultyInbox):
    async def purge(self, older_than: timedelta, *, batch_size: int = 5000) -> int:
        return 5


class DoesNotCount(FaultyInbox):
    async def purge(self, older_than: timedelta, *, batch_size: int = 5000) -> int:
        await super().purge(older_than)
        return 1


class PurgesOneBatch(FaultyInbox):
    async def purge(self, older_than: timedelta, *, batch_size: int = 5000) -> int:
        purging = self.right.purge(older_than, batch_size=batch_size)
        with suppress(StopIteration):  # it has found less than one
            purging.send(None)  # until it lets others run, after a batch
        purging.close()
        return batch_size


# Several units at once


class DoesNotWait(Faulty):
    """It looks at what was committed, and writes at the end."""

    class unit(Passing):
        def __init__(self, storage: Faulty) -> None:
            super().__init__(storage)
            self.accepted: list[tuple[str, list[uuid.UUID]]] = []

        async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
            looking = MemoryStorage.unit_of_work(self.storage)
            new = list(await looking.accept(group, message_ids))
            await looking.rollback()
            self.accepted.append((group, new))
            await sleep(0)
            return new

        async def commit(self) -> None:
            for group, message_ids in self.accepted:
                await self.right.accept(group, message_ids)
            await self.right.commit()


class DoesNotWaitForTheEnd(Faulty):
    """It takes for accepted what another unit is about to accept."""

    class unit(Passing):
        async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
            waiting = self.right.accept(group, message_ids)
            try:
                waiting.send(None)  # type: ignore[attr-defined] # a coroutine
            except StopIteration as answered:
                return answered.value  # type: ignore[no-any-return] # of what accept() gives
            waiting.close()  # type: ignore[attr-defined] # as above
            return []


class HoldsOnWhenClosed(Faulty):
    class unit(Passing):
        async def close(self) -> None:
            pass


class IsBrokenByCancellations(Faulty):
    class unit(Passing):
        is_broken = False

        async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
            self.is_broken = True
            new = await self.right.accept(group, message_ids)
            self.is_broken = False
            return new

        async def rollback(self) -> None:
            if self.is_broken:
                raise RuntimeError("another operation is in progress")
            await self.right.rollback()


class HoldsOnWhenCancelled(Faulty):
    class unit(Passing):
        async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
            held = MemoryStorage.unit_of_work(self.storage)
            await held.accept(group, message_ids[:1])
            if len(message_ids) > 1:
                await self.right.accept(group, message_ids[1:])
            await held.rollback()
            return await self.right.accept(group, message_ids)


class WaitsForGood(Faulty):
    """It takes one message after the other, and does not see who waits for whom."""

    class unit(Passing):
        async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
            new: list[uuid.UUID] = []
            for message_id in message_ids:
                try:
                    new += await self.right.accept(group, [message_id])
                except Deadlock:
                    await sleep(3600)
                await sleep(0)
            return new


class FailsEachTime(Faulty):
    """As one does that looks at what it read before, however often it is tried again."""

    class unit(Passing):
        async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
            if self.storage.__dict__.setdefault("first", self) is not self:
                raise RuntimeError("could not serialize access")
            return await self.right.accept(group, message_ids)


# Starting


class LacksItsInbox(Faulty):
    def __init__(self, clock: SystemClock) -> None:
        super().__init__(clock=clock)
        del self.inbox


class CannotStopTwice(Faulty):
    async def stop(self) -> None:
        del self.started
        await super().stop()

    async def start(self) -> None:
        self.started = True
        await super().start()


class StartsOnce(Faulty):
    was_started = False

    async def start(self) -> None:
        if not self.was_started:
            await super().start()
        self.was_started = True


class BelongsToALoop(Faulty):
    loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        self.loop = self.loop or asyncio.get_running_loop()
        if self.loop is not asyncio.get_running_loop():
            raise RuntimeError("attached to a different loop")
        await super().start()


class Durable(Faulty):
    """It keeps everything."""

    async def stop(self) -> None:
        pass


class ForgetsItsOutbox(Durable):
    async def stop(self) -> None:
        self.outbox.forget()


class ForgetsItsInbox(Durable):
    async def stop(self) -> None:
        self.inbox.forget()


FAULTS: list[tuple[type[Faulty], str]] = [
    (ForgetsOnCommit, "test_commit_keeps_changes_and_envelopes"),
    (WritesAtOnce, "test_nobody_sees_what_is_not_committed"),
    (CommitsOnFlush, "test_nobody_sees_what_is_not_committed"),
    (CommitsOnRollback, "test_rollback_undoes_changes_and_envelopes"),
    (CommitsOnClose, "test_close_undoes_what_was_not_committed"),
    (BeginsWhenMade, "test_nothing_is_begun_before_it_is_needed"),
    (BeginsWhenAsked, "test_nothing_is_begun_before_it_is_needed"),
    (GivesAnotherEachTime, "test_a_unit_gives_its_own_object_of_what_is_provided"),
    (GivesAnotherAfterCommit, "test_a_unit_gives_its_own_object_of_what_is_provided"),
    (SharesItsSession, "test_a_unit_gives_its_own_object_of_what_is_provided"),
    (OverlooksEnvelopes, "test_is_begun_tells_whether_there_is_anything_to_commit"),
    (StaysBegun, "test_is_begun_tells_whether_there_is_anything_to_commit"),
    (MindsEmptyCommits, "test_with_nothing_begun_there_is_nothing_to_do"),
    (WorksOnce, "test_a_unit_works_on_after_a_commit"),
    (UndoesWhatWasCommitted, "test_a_rollback_after_a_commit_undoes_what_came_after_it"),
    (CommitsOnFlush, "test_what_was_flushed_can_be_rolled_back"),
    (WritesAgainAfterFlush, "test_what_was_flushed_is_committed_once"),
    (BelongsToATask, "test_another_task_may_commit"),
    (BelongsToATask, "test_another_task_may_roll_back_and_close"),
    (ForgetsSavepoints, "test_a_savepoint_that_ends_well_is_part_of_the_unit"),
    (CommitsSavepoints, "test_a_savepoint_that_ends_well_is_part_of_the_unit"),
    (KeepsWhatFailed, "test_a_savepoint_that_raises_is_undone"),
    (UndoesEverything, "test_a_savepoint_that_raises_is_undone"),
    (SwallowsErrors, "test_the_error_of_a_savepoint_goes_on"),
    (WrapsErrors, "test_the_error_of_a_savepoint_goes_on"),
    (NeedsATransaction, "test_a_unit_may_begin_with_a_savepoint"),
    (HasOneSavepoint, "test_of_nested_savepoints_the_innermost_may_be_undone_alone"),
    (KeepsWhatEndedWell, "test_a_savepoint_is_undone_with_those_in_it"),
    (KeepsThoseAround, "test_an_error_undoes_every_savepoint_that_it_leaves"),
    (CommitsSavepoints, "test_a_rollback_undoes_savepoints_that_ended_well"),
    (FlushesIntoSavepoints, "test_what_was_flushed_in_a_savepoint_is_undone_with_it"),
    (ChangesEnvelopes, "test_envelopes_are_kept_as_they_are"),
    (TakesEmptyKeysForNone, "test_envelopes_are_kept_as_they_are"),
    (TakesBodiesForText, "test_envelopes_are_kept_as_they_are"),
    (ReversesBatches, "test_envelopes_wait_in_the_order_in_which_they_were_given"),
    (SharesItsBuffer, "test_units_do_not_mix_what_they_enqueue"),
    (CannotEnqueueNothing, "test_enqueuing_nothing_does_nothing"),
    (BeginsForNothing, "test_enqueuing_nothing_does_nothing"),
    (TakesWhatComesFirst, "test_of_a_batch_that_does_not_fit_none_is_taken"),
    (RefusesTooLate, "test_of_a_batch_that_does_not_fit_none_is_taken"),
    (TakesWhatIsLookedAt, "test_looking_takes_nothing"),
    (IgnoresTheLimit, "test_pending_gives_no_more_than_the_limit"),
    (GivesTheLastOnes, "test_pending_gives_no_more_than_the_limit"),
    (GivesThatPositionToo, "test_pending_begins_behind_a_position"),
    (IgnoresThePosition, "test_pending_begins_behind_a_position"),
    (CountsInEachUnit, "test_later_messages_have_greater_positions"),
    (CountsFromNothing, "test_later_messages_have_greater_positions"),
    (UsesPositionsAgain, "test_positions_are_never_used_twice"),
    (TellsLocalTime, "test_created_at_is_when_it_was_written"),
    (TakesLocalTimeForUtc, "test_created_at_is_when_it_was_written"),
    (AnswersWhatIsOld, "test_what_was_not_accepted_before_is_new"),
    (TakesEverythingForNew, "test_what_was_committed_is_not_new"),
    (AnswersForTheWholeBatch, "test_what_was_committed_is_not_new"),
    (AcceptsOnItsOwn, "test_what_was_rolled_back_is_new_again"),
    (KeepsWhatFailed, "test_what_a_savepoint_accepted_is_undone_with_it"),
    (UndoesEverything, "test_what_a_savepoint_accepted_is_undone_with_it"),
    (HasOneGroup, "test_groups_have_nothing_to_do_with_each_other"),
    (TakesCapitalsForSmallLetters, "test_groups_have_nothing_to_do_with_each_other"),
    (TakesItsOwnForNew, "test_within_a_unit_a_message_is_new_once"),
    (AnswersRepetitions, "test_a_message_that_stands_twice_in_a_batch_is_new_once"),
    (MindsRepetitions, "test_a_message_that_stands_twice_in_a_batch_is_new_once"),
    (PurgesEverything, "test_purge_keeps_what_is_not_old_enough"),
    (PurgesNothing, "test_what_was_purged_is_new_again"),
    (DoesNotCount, "test_what_was_purged_is_new_again"),
    (PurgesOneBatch, "test_purge_goes_on_after_a_batch"),
    (PurgesEverythingIfSomethingIsOld, "test_purge_forgets_only_what_is_older"),
    (DoesNotWait, "test_accept_waits_for_a_unit_that_commits"),
    (DoesNotWaitForTheEnd, "test_accept_waits_for_a_unit_that_is_rolled_back"),
    (HoldsOnWhenClosed, "test_accept_waits_for_a_unit_that_is_closed"),
    (IsBrokenByCancellations, "test_a_cancelled_accept_leaves_a_unit_that_can_be_rolled_back"),
    (HoldsOnWhenCancelled, "test_a_cancelled_accept_leaves_a_unit_that_can_be_rolled_back"),
    (DoesNotWait, "test_of_many_copies_at_once_one_is_new"),
    (FailsEachTime, "test_of_many_copies_at_once_one_is_new"),
    (WaitsForGood, "test_batches_in_opposite_orders_do_not_block_each_other_for_good"),
    (WaitsForGood, "test_units_that_wait_for_each_other_do_not_for_good"),
    (LacksItsInbox, "test_it_has_what_a_storage_has"),
    (CannotStopTwice, "test_stop_may_be_called_twice"),
    (StartsOnce, "test_a_stopped_storage_can_be_started_again"),
    (BelongsToALoop, "test_a_stopped_storage_can_be_started_on_another_event_loop"),
    (ForgetsItsOutbox, "test_a_durable_storage_keeps_what_was_committed"),
    (ForgetsItsInbox, "test_a_durable_storage_keeps_what_was_committed"),
]


class AdjustedClock(SystemClock):
    """The machine's clock, put forward."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


class Suite(StorageConformance):
    storage_type: type[Faulty] = Faulty

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[Any]:
        self.clock = AdjustedClock()
        storage = self.storage_type(clock=self.clock)
        await storage.start()
        yield storage

    def unstorable(self) -> Envelope:
        return Envelope("topic", bytes(1_048_577))

    async def age(self, storage: Any, by: timedelta) -> None:
        self.clock.ahead += by


def run(check: str, storage: type[Faulty], *, seconds: float) -> None:
    class Given(Suite):
        storage_type = storage
        is_durable = issubclass(storage, Durable)
        deadline_s = seconds

    getattr(Given(), check)("asyncio")


EXPECTED = (AssertionError, AttributeError, LookupError, RuntimeError, CqrsError, pytest.fail.Exception)


@pytest.mark.parametrize(("storage", "check"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_fails_the_check_that_is_about_it(storage: type[Faulty], check: str) -> None:
    """What does not come because of the fault is waited for, but not long: the deadline is what fails."""
    with pytest.raises(EXPECTED):
        run(check, storage, seconds=0.2)


def test_there_is_a_fault_for_every_check() -> None:
    """A check that nothing fails proves nothing; those of leases, and of a keeper, are in files of their own."""
    others = {
        *dir(FetchingChecks),
        *dir(SharingChecks),
        *dir(PostponingChecks),
        *dir(LookingChecks),
        *dir(KeepingChecks),
    }
    checks = {name for name in dir(StorageConformance) if name.startswith("test_")}

    assert checks - others == {check for _, check in FAULTS}


@pytest.mark.parametrize("check", sorted({check for _, check in FAULTS}))
def test_the_same_storage_without_a_fault_passes(check: str) -> None:
    """So it is the fault that the check found."""
    run(check, Durable if "durable" in check else Faulty, seconds=30)


# What authors leave out ----------------------------------------------------------------------------------------------


def test_a_forgotten_open_storage_fails_loudly() -> None:
    """An abstract class would be left out by pytest, without a word."""
    with pytest.raises(NotImplementedError, match=r"^StorageConformance must implement open_storage\(\)$"):
        StorageConformance().test_stop_may_be_called_twice("asyncio")


def test_a_check_that_needs_a_hook_is_skipped_without_it() -> None:
    """And says which."""
    given = type("Given", (Suite,), {"age": StorageConformance.age})()

    with pytest.raises(pytest.skip.Exception, match=r"^Given does not implement age\(\)$"):
        given.test_purge_forgets_only_what_is_older("asyncio")


def test_a_storage_that_is_not_durable_is_not_asked_to_keep_anything() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^the storage is not durable$"):
        run("test_a_durable_storage_keeps_what_was_committed", Faulty, seconds=30)
