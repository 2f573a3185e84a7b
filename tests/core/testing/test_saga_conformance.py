"""The suite for storages of sagas finds what is wrong with one."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import sleep
from cqrs_core.envelope import Envelope
from cqrs_core.errors import CqrsError, SagaAlreadyExists
from cqrs_core.memory import MemoryStorage
from cqrs_core.memory.sagas import MemorySagaStorage, _Row
from cqrs_core.saga.log import SagaLogEntry, SagaStatus
from cqrs_core.saga.storage import NewSaga, SagaChange, SagaClaim, SagaQuery, SagaRecord, SagaWrite
from cqrs_core.testing.conformance import SagaStorageConformance
from cqrs_core.testing.conformance.sagas.suite import new_saga, step_write
from cqrs_core.unit_of_work import UnitOfWork

# Storages with one fault each -----------------------------------------------------------------------------------------


class Right(MemorySagaStorage):
    """Nothing is wrong with it; what is, is in its subclasses."""

    def row(self, saga_id: uuid.UUID) -> Any:
        return self._rows.get(saga_id)

    def rows(self) -> list[Any]:
        return list(self._rows.values())


class StartsAnew(Right):
    async def start(self, new: NewSaga, *, within: UnitOfWork | None = None) -> SagaRecord | None:
        self._rows.pop(new.id, None)
        return await super().start(new, within=within)


class TellsTheOwnerOfAStart(Right):
    """It takes its own repetition for somebody else's saga."""

    async def start(self, new: NewSaga, *, within: UnitOfWork | None = None) -> SagaRecord | None:
        row = self.row(new.id)
        return await super().start(new, within=within) if row is None else row.record()


class LooksAndThenStarts(Right):
    async def start(self, new: NewSaga, *, within: UnitOfWork | None = None) -> SagaRecord | None:
        is_new = self.row(new.id) is None
        await sleep(0)
        if is_new:
            self._rows.pop(new.id, None)
        return await super().start(new, within=within)


class ForgetsTheInput(Right):
    async def start(self, new: NewSaga, *, within: UnitOfWork | None = None) -> SagaRecord | None:
        existing = await super().start(new, within=within)
        if (row := self.row(new.id)) is not None:
            row.input_hash = ""
        return existing


class WritesWhatIsNotThere(Right):
    async def write(self, write: SagaWrite, *, within: UnitOfWork | None = None) -> None:
        if self.row(write.saga_id) is not None:
            await super().write(write, within=within)


class RemembersWhatNeverWas(Right):
    async def get_step_history(self, saga_id: uuid.UUID) -> Sequence[SagaLogEntry]:
        if self.row(saga_id) is None:
            saga_id = (await self.made_up()).id
        return await super().get_step_history(saga_id)

    async def made_up(self) -> SagaRecord:
        """Have a saga with a history."""
        new = new_saga()
        await self.start(new)
        await self.write(step_write(new.id))
        row: Any = self.row(new.id)
        record: SagaRecord = row.record()
        return record


class FindsWhatNeverWas(RemembersWhatNeverWas):
    async def load(self, saga_id: uuid.UUID) -> SagaRecord | None:
        return await self.made_up() if self.row(saga_id) is None else await super().load(saga_id)


class StartsOutsideTheUnit(Right):
    async def start(self, new: NewSaga, *, within: UnitOfWork | None = None) -> SagaRecord | None:
        return await super().start(new)


class SeesNothingOfTheUnit(Right):
    """What the unit itself has started is not there for it."""

    async def start(self, new: NewSaga, *, within: UnitOfWork | None = None) -> SagaRecord | None:
        if within is not None and self.row(new.id) is None:
            row = _Row(new, self._clock.now())
            within.on_commit(lambda: self._keep(row), lambda: self._check_start(new))  # type: ignore[attr-defined]
            return None
        return await super().start(new, within=within)


class DropsTheSecondStart(Right):
    def _check_start(self, new: NewSaga) -> None: ...


class RefusesTheSameStart(Right):
    def _check_start(self, new: NewSaga) -> None:
        if self.row(new.id) is not None:
            raise SagaAlreadyExists(new.id, "and that is enough")


class MakesWritesOfUnitsAgain(Right):
    async def write(self, write: SagaWrite, *, within: UnitOfWork | None = None) -> None:
        row = self.row(write.saga_id)
        if within is not None and row is not None and row.version == write.version + 1:
            write = write._replace(version=row.version)
        await super().write(write, within=within)


class BeginsWhatIsPending(Right):
    async def start(self, new: NewSaga, *, within: UnitOfWork | None = None) -> SagaRecord | None:
        existing = await super().start(new, within=within)
        row = self.row(new.id)
        if row is not None and row.version == 1:
            row.standing = row.standing._replace(attempt=1)
        return existing


class LooksAtNoFence(Right):
    async def write(self, write: SagaWrite, *, within: UnitOfWork | None = None) -> None:
        row = self.row(write.saga_id)
        fence, version = (write.fence, write.version) if row is None else (row.fence, row.version)
        await super().write(write._replace(fence=fence, version=version), within=within)


class LooksAtNoVersion(Right):
    async def write(self, write: SagaWrite, *, within: UnitOfWork | None = None) -> None:
        row = self.row(write.saga_id)
        await super().write(write if row is None else write._replace(version=row.version), within=within)


class RefusesARepetition(Right):
    def _guarded(self, write: SagaWrite) -> Any:
        row = super()._guarded(write)
        if row is None:
            super()._guarded(write._replace(version=-5))
        return row


class TakesAnyWriteForARepetition(Right):
    def _guarded(self, write: SagaWrite) -> Any:
        row = self.row(write.saga_id)
        if row is not None and (row.fence, row.version) == (write.fence, write.version + 1):
            return None
        return super()._guarded(write)


class WritesTheHistoryFirst(Right):
    """What is refused is in the history all the same."""

    async def write(self, write: SagaWrite, *, within: UnitOfWork | None = None) -> None:
        row = self.row(write.saga_id)
        if row is not None:
            row.history += [(self._clock.now(), record) for record in write.log]
        await super().write(write._replace(log=()), within=within)


class SendsFirst(Right):
    async def write(self, write: SagaWrite, *, within: UnitOfWork | None = None) -> None:
        if self._outbox is not None:
            self._outbox.keep(write.envelopes)
        await super().write(write._replace(envelopes=()), within=within)


class WritesOutsideTheUnit(Right):
    async def write(self, write: SagaWrite, *, within: UnitOfWork | None = None) -> None:
        await super().write(write)


class ForgetsTheMessages(Right):
    async def write(self, write: SagaWrite, *, within: UnitOfWork | None = None) -> None:
        await super().write(write._replace(envelopes=()), within=within)


class Applies(Right):
    def _apply(self, row: Any, write: SagaWrite) -> None:
        before = {name: getattr(row, name) for name in ("context", "error", "owner", "wake_at", "fingerprint")}
        super()._apply(row, write)
        self.spoil(row, write, before)

    def spoil(self, row: Any, write: SagaWrite, before: dict[str, Any]) -> None: ...


class EmptiesWhatIsLeftOut(Applies):
    def spoil(self, row: Any, write: SagaWrite, before: dict[str, Any]) -> None:
        row.error = write.error


class KeepsTheOldContext(Applies):
    def spoil(self, row: Any, write: SagaWrite, before: dict[str, Any]) -> None:
        row.context = before["context"]


class KeepsTheOldFingerprint(Applies):
    def spoil(self, row: Any, write: SagaWrite, before: dict[str, Any]) -> None:
        row.fingerprint = before["fingerprint"]


class RenewsWithEachWrite(Applies):
    def spoil(self, row: Any, write: SagaWrite, before: dict[str, Any]) -> None:
        if row.wake_at is not None and write.wake_in_s is None:
            row.wake_at += timedelta(seconds=1)


class LengthensNoLease(Applies):
    def spoil(self, row: Any, write: SagaWrite, before: dict[str, Any]) -> None:
        if not write.is_released and row.wake_at is not None:
            row.wake_at = before["wake_at"]


class LetsTheOwnerStay(Applies):
    def spoil(self, row: Any, write: SagaWrite, before: dict[str, Any]) -> None:
        row.owner = before["owner"]


class LeavesWhatHasEndedDue(Applies):
    def spoil(self, row: Any, write: SagaWrite, before: dict[str, Any]) -> None:
        row.wake_at = row.wake_at or self._clock.now()


class ForgetsTheDirection(Applies):
    def spoil(self, row: Any, write: SagaWrite, before: dict[str, Any]) -> None:
        row.standing = row.standing._replace(suspended_from=None)


class CountsTheFenceUp(Applies):
    def spoil(self, row: Any, write: SagaWrite, before: dict[str, Any]) -> None:
        row.fence += 1


class KeepsTheClaims(Applies):
    def spoil(self, row: Any, write: SagaWrite, before: dict[str, Any]) -> None:
        row.claims = 1


class TellsTheHistoryBackwards(Right):
    async def get_step_history(self, saga_id: uuid.UUID) -> Sequence[SagaLogEntry]:
        return tuple(reversed(await super().get_step_history(saga_id)))


class TiesTheHistory(Right):
    async def get_step_history(self, saga_id: uuid.UUID) -> Sequence[SagaLogEntry]:
        return [entry._replace(seq=1) for entry in await super().get_step_history(saga_id)]


class Claims(Right):
    async def claim(self, claim: SagaClaim) -> Sequence[SagaRecord]:
        return await super().claim(self.spoiled(claim))

    def spoiled(self, claim: SagaClaim) -> SagaClaim:
        return claim


class ClaimsMoreThanAskedFor(Claims):
    def spoiled(self, claim: SagaClaim) -> SagaClaim:
        return claim._replace(limit=100)


class ClaimsAnyName(Claims):
    def spoiled(self, claim: SagaClaim) -> SagaClaim:
        return claim._replace(names=None)


class TakesNoNamesForAny(Claims):
    def spoiled(self, claim: SagaClaim) -> SagaClaim:
        return claim._replace(names=claim.names or None)


class ClaimsWhatHasJustBecomeDue(Claims):
    def spoiled(self, claim: SagaClaim) -> SagaClaim:
        return claim._replace(overdue_s=0.0)


class ClaimsWhateverIsLive(Claims):
    def _due(self, overdue_s: float) -> list[Any]:
        return [row for row in self._going.values() if row.standing.status.is_live]


class ClaimsTheYoungestFirst(Claims):
    def _due(self, overdue_s: float) -> list[Any]:
        return list(reversed(super()._due(overdue_s)))


class ClaimsOnceForEachWorker(Claims):
    """It looks, and takes when others have looked too."""

    async def claim(self, claim: SagaClaim) -> Sequence[SagaRecord]:
        before = {row.id: row.wake_at for row in self._due(0.0)[: claim.limit]}
        await sleep(0)
        for row in self.rows():
            if row.id in before and claim.saga_id is None:
                row.wake_at = before[row.id]
        return await super().claim(claim)


class Counts(Claims):
    async def claim(self, claim: SagaClaim) -> Sequence[SagaRecord]:
        taken = await super().claim(claim)
        for record in taken:
            self.spoil(self.row(record.id))
        return [self.row(record.id).record() for record in taken]

    def spoil(self, row: Any) -> None: ...


class CountsNoFence(Counts):
    def spoil(self, row: Any) -> None:
        row.fence -= 1


class CountsNoClaim(Counts):
    def spoil(self, row: Any) -> None:
        row.claims = 0


class CountsNoAttempt(Counts):
    def spoil(self, row: Any) -> None:
        row.standing = row.standing._replace(attempt=1)


class GoesForwardAgain(Counts):
    """The worst of all: whoever claims a saga that was turned round takes it forward."""

    def spoil(self, row: Any) -> None:
        row.standing = row.standing._replace(status=SagaStatus.RUNNING)


class Renews(Right):
    async def renew(self, held: Collection[tuple[uuid.UUID, int]], *, lease_s: float) -> Collection[uuid.UUID]:
        return self.spoiled(held, await super().renew(held, lease_s=lease_s))

    def spoiled(self, held: Collection[tuple[uuid.UUID, int]], lost: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
        return lost


class TellsNothingOfWhatIsLost(Renews):
    def spoiled(self, held: Collection[tuple[uuid.UUID, int]], lost: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
        return ()


class CountsVersionsUpWhenRenewing(Renews):
    def spoiled(self, held: Collection[tuple[uuid.UUID, int]], lost: Collection[uuid.UUID]) -> Collection[uuid.UUID]:
        for saga_id, _ in held:
            if saga_id not in lost:
                self.row(saga_id).version += 1
        return lost


class RenewsTheFirstAlone(Renews):
    async def renew(self, held: Collection[tuple[uuid.UUID, int]], *, lease_s: float) -> Collection[uuid.UUID]:
        return await super().renew(list(held)[:1], lease_s=lease_s)


class FindsEverything(Right):
    async def find(self, query: SagaQuery) -> Sequence[SagaRecord]:
        return await super().find(SagaQuery())


class ChangesWhateverThereIs(Right):
    async def change(self, change: SagaChange) -> SagaRecord:
        row = self.row(change.saga_id)
        return await super().change(change if row is None else change._replace(version=row.version))


class LeavesTheDriverItsFence(Right):
    async def change(self, change: SagaChange) -> SagaRecord:
        record = await super().change(change)
        self.row(record.id).fence -= 1
        self.row(record.id).version -= 1
        return record


class PurgesWhatWaits(Right):
    async def purge(self, older_than: timedelta, *, limit: int = 1000) -> int:
        gone = await super().purge(older_than, limit=limit)
        if not older_than:
            self._going.clear()
            self._rows.clear()
        return gone


class PurgesTheYoung(Right):
    async def purge(self, older_than: timedelta, *, limit: int = 1000) -> int:
        gone = len(self._ended)
        for row in self._ended:
            del self._rows[row.id]
        self._ended.clear()
        return gone


#: Each with a check that is about it.
FAULTS = [
    (StartsAnew, "test_a_second_start_changes_nothing"),
    (TellsTheOwnerOfAStart, "test_a_start_whose_answer_was_lost_can_be_repeated"),
    (LooksAndThenStarts, "test_of_many_who_start_one_id_one_wins"),
    (ForgetsTheInput, "test_a_started_saga_is_stored_as_it_was_given"),
    (WritesWhatIsNotThere, "test_a_write_to_a_saga_that_is_not_there_is_refused"),
    (RemembersWhatNeverWas, "test_a_saga_that_is_not_there_is_nothing"),
    (FindsWhatNeverWas, "test_a_saga_that_is_not_there_is_nothing"),
    (StartsOutsideTheUnit, "test_in_a_unit_a_saga_is_started_when_that_is_committed"),
    (SeesNothingOfTheUnit, "test_in_a_unit_what_it_has_started_is_there"),
    (DropsTheSecondStart, "test_of_two_units_that_start_one_id_the_second_is_told"),
    (RefusesTheSameStart, "test_two_units_may_start_the_same"),
    (MakesWritesOfUnitsAgain, "test_in_two_units_one_write_is_made_once"),
    (BeginsWhatIsPending, "test_a_pending_saga_is_due_at_once"),
    (LooksAtNoFence, "test_a_write_with_another_fence_is_refused"),
    (LooksAtNoFence, "test_in_a_unit_a_write_is_guarded"),
    (LooksAtNoVersion, "test_a_write_with_an_old_version_is_refused"),
    (RefusesARepetition, "test_a_write_whose_answer_was_lost_can_be_repeated"),
    (TakesAnyWriteForARepetition, "test_another_write_of_the_same_version_is_no_repetition"),
    (WritesTheHistoryFirst, "test_a_write_with_another_fence_is_refused"),
    (SendsFirst, "test_a_write_with_another_fence_is_refused"),
    (WritesOutsideTheUnit, "test_in_a_unit_a_write_is_made_when_that_is_committed"),
    (ForgetsTheMessages, "test_messages_are_sent_with_the_write"),
    (EmptiesWhatIsLeftOut, "test_what_a_write_leaves_out_stays"),
    (KeepsTheOldContext, "test_a_write_is_stored_as_a_whole"),
    (KeepsTheOldFingerprint, "test_a_write_is_stored_as_a_whole"),
    (RenewsWithEachWrite, "test_what_a_write_leaves_out_stays"),
    (LengthensNoLease, "test_a_write_may_lengthen_the_lease"),
    (LetsTheOwnerStay, "test_a_saga_that_is_released_is_due_at_once"),
    (LetsTheOwnerStay, "test_renew_tells_what_is_lost"),
    (LeavesWhatHasEndedDue, "test_what_has_ended_or_waits_for_a_person_is_never_claimed"),
    (ForgetsTheDirection, "test_every_status_and_side_is_stored"),
    (CountsTheFenceUp, "test_a_write_is_stored_as_a_whole"),
    (CountsTheFenceUp, "test_the_new_driver_writes_with_its_fence"),
    (KeepsTheClaims, "test_the_new_driver_writes_with_its_fence"),
    (TellsTheHistoryBackwards, "test_a_history_is_in_the_order_of_writing"),
    (TiesTheHistory, "test_a_history_is_in_the_order_of_writing"),
    (ClaimsMoreThanAskedFor, "test_no_more_are_claimed_than_asked_for"),
    (ClaimsAnyName, "test_only_sagas_of_the_names_are_claimed"),
    (TakesNoNamesForAny, "test_only_sagas_of_the_names_are_claimed"),
    (ClaimsWhatHasJustBecomeDue, "test_only_what_has_been_due_for_long_is_claimed_if_so_asked"),
    (ClaimsWhateverIsLive, "test_a_saga_that_somebody_has_is_not_claimed"),
    (ClaimsWhateverIsLive, "test_a_lease_that_has_run_out_and_nobody_has_taken_is_renewed"),
    (ClaimsWhateverIsLive, "test_a_saga_can_be_put_off"),
    (ClaimsTheYoungestFirst, "test_no_more_are_claimed_than_asked_for"),
    (ClaimsOnceForEachWorker, "test_of_many_who_claim_at_once_each_saga_goes_to_one"),
    (CountsNoFence, "test_a_saga_whose_lease_has_run_out_is_claimed"),
    (CountsNoClaim, "test_a_saga_whose_lease_has_run_out_is_claimed"),
    (CountsNoAttempt, "test_a_saga_that_is_turned_round_stays_so_for_its_next_driver"),
    (GoesForwardAgain, "test_a_saga_that_is_turned_round_stays_so_for_its_next_driver"),
    (TellsNothingOfWhatIsLost, "test_renew_tells_what_is_lost"),
    (CountsVersionsUpWhenRenewing, "test_all_leases_are_renewed_at_once"),
    (RenewsTheFirstAlone, "test_all_leases_are_renewed_at_once"),
    (FindsEverything, "test_sagas_are_found_by_name_status_and_how_long_they_are_due"),
    (ChangesWhateverThereIs, "test_what_has_changed_since_it_was_looked_at_is_left_as_it_is"),
    (LeavesTheDriverItsFence, "test_a_saga_that_was_changed_by_hand_is_due_and_its_driver_is_fenced_out"),
    (PurgesWhatWaits, "test_what_ended_long_ago_is_purged"),
    (PurgesTheYoung, "test_what_ended_long_ago_is_purged"),
]


class AdjustedClock(SystemClock):
    ahead = timedelta(0)

    def now(self) -> Any:
        return super().now() + self.ahead


class Suite(SagaStorageConformance):
    """The suite as an author would have it, for a storage of any of these classes."""

    __test__ = False
    has_units = True

    def __init__(self, storage_class: type[Right]) -> None:
        self.storage_class = storage_class

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[Any]:
        self.clock = AdjustedClock()
        self.storage = MemoryStorage(clock=self.clock)
        await self.storage.start()
        self.storage.sagas = self.storage_class(clock=self.clock, outbox=self.storage.outbox)
        yield self.storage.sagas

    @asynccontextmanager
    async def open_unit(self, storage: Any) -> AsyncIterator[UnitOfWork]:
        unit = self.storage.unit_of_work()
        yield unit
        await unit.close()

    async def sent(self, storage: Any) -> Sequence[Envelope]:
        return [record.envelope for record in await self.storage.outbox.pending()]

    async def pass_time(self, storage: Any, seconds: float) -> None:
        self.clock.ahead += timedelta(seconds=seconds)


CHECKS = [name for name in dir(SagaStorageConformance) if name.startswith("test_")]


def outcome(storage_class: type[Right], check: str) -> BaseException | None:
    """Tell what a check says of a storage of that class; one that does not run says nothing, and is an error."""
    try:
        getattr(Suite(storage_class), check)("asyncio")
    except (AssertionError, CqrsError, pytest.fail.Exception) as found:
        return found
    except pytest.skip.Exception as skipped:
        pytest.fail(f"{check} was skipped: {skipped}")
    return None


@pytest.mark.parametrize("check", CHECKS)
def test_a_right_storage_passes(check: str) -> None:
    assert outcome(Right, check) is None


@pytest.mark.parametrize(("fault", "check"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_fails_the_check_that_is_about_it(fault: type[Right], check: str) -> None:
    """It is found out, and not a program that breaks down: that would fail the test."""
    assert outcome(fault, check) is not None


def test_there_is_a_fault_for_every_check() -> None:
    """A check that nothing fails proves nothing."""
    assert set(CHECKS) == {check for _, check in FAULTS}


def test_a_check_that_is_skipped_is_no_check_that_passes() -> None:
    """As all of a keeper would be when one of its methods had another name."""

    class Hidden(Right):
        purge = None  # type: ignore[assignment]  # what is not there

    with pytest.raises(pytest.fail.Exception, match="was skipped: Hidden is no SagaKeeper"):
        outcome(Hidden, "test_what_ended_long_ago_is_purged")
