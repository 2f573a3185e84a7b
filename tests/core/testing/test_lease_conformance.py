"""The suite for storages finds what is wrong with the leases of an outbox."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import sleep
from cqrs_core.errors import CqrsError
from cqrs_core.memory import MemoryStorage
from cqrs_core.memory.leases import SLOTS, slot_of
from cqrs_core.outbox import ParkedKey
from cqrs_core.testing.conformance import StorageConformance
from cqrs_core.testing.conformance.storage.fetching import FetchingChecks
from cqrs_core.testing.conformance.storage.postponing import PostponingChecks
from cqrs_core.testing.conformance.storage.sharing import SharingChecks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from cqrs_core.envelope import Envelope
    from cqrs_core.outbox import OutboxRecord

# Storages with one fault each ----------------------------------------------------------------------------------------


class Passing:
    """A lease that does what another does: what is wrong with it is in its subclasses."""

    def __init__(self, storage: Faulty, name: str, ttl_s: float) -> None:
        self.storage = storage
        self.right: Any = storage.right.lease(name, ttl_s=ttl_s)

    async def renew(self) -> bool:
        return await self.right.renew()

    async def rebalance(self) -> bool:
        return await self.right.rebalance()

    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        return await self.right.fetch(after=after, limit=limit, without=without)

    async def parked(self) -> Sequence[ParkedKey]:
        return await self.right.parked()

    async def remove(self, positions: Sequence[int]) -> None:
        await self.right.remove(positions)

    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        await self.right.postpone(position, delay_s=delay_s, error=error)

    async def bury(self, position: int, *, reason: str, error: str) -> None:
        await self.right.bury(position, reason=reason, error=error)

    async def release(self) -> None:
        await self.right.release()

    def due(self, after: int = 0) -> list[OutboxRecord]:
        return list(self.storage.right.records.due(after=after))

    def slots(self) -> set[int]:
        return set(self.storage.right.slots.owned_by(self.right))


class Faulty(MemoryStorage):
    lease_type: type[Passing] = Passing

    def __init__(self, clock: SystemClock) -> None:
        super().__init__(clock=clock)
        self.right: Any = self.outbox
        self.outbox: Any = self

    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        return await self.right.pending(limit=limit, after=after)

    def lease(self, name: str, *, ttl_s: float) -> Passing:
        return self.lease_type(self, name, ttl_s)


# Fetching


class LeavesOutThoseWithoutAKey(Passing):
    """As ``key NOT IN (...)`` does in SQL."""

    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        records = await super().fetch(after=after, limit=limit, without=without)
        return [record for record in records if record.envelope.key is not None]


class SortsByKey(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        records = await super().fetch(after=after, limit=limit, without=without)
        return sorted(records, key=lambda record: record.envelope.key or "")


class FetchesWithoutAShare(Passing):
    was_renewed = False

    async def renew(self) -> bool:
        self.was_renewed = True
        return await super().renew()

    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        if not self.was_renewed:
            return self.due(after)[:limit]
        return await super().fetch(after=after, limit=limit, without=without)


class CountsWhenMade(Passing):
    """It has a share before it is renewed, and nobody reads that."""

    def __init__(self, storage: Faulty, name: str, ttl_s: float) -> None:
        super().__init__(storage, name, ttl_s)
        storage.right.slots.renew(self.right, ttl_s)


class TakesWhatItFetches(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        records = await super().fetch(after=after, limit=limit, without=without)
        await self.remove([record.position for record in records])
        return records


class IgnoresTheLimit(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        return await super().fetch(after=after, limit=1000, without=without)


class GivesTheLastOnes(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        return (await super().fetch(after=after, limit=1000, without=without))[-limit:]


class IgnoresThePosition(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        return await super().fetch(after=0, limit=limit, without=without)


class GivesThatPositionToo(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        return await super().fetch(after=after - (limit < 70), limit=limit, without=without)


class IgnoresKeys(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        return await super().fetch(after=after, limit=limit, without=())


class LeavesOutThoseThatLookAlike(Passing):
    """As MariaDB does unless it is told otherwise."""

    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        alike = {*without, *(key.upper() for key in without)}
        return await super().fetch(after=after, limit=limit, without=alike)


class LeavesOutAfterTheLimit(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        records = await super().fetch(after=after, limit=limit, without=())
        return [record for record in records if record.envelope.key not in without]


class TakesFewParameters(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        if len(without) > 999:
            raise RuntimeError("too many SQL variables")
        return await super().fetch(after=after, limit=limit, without=without)

    async def remove(self, positions: Sequence[int]) -> None:
        if len(positions) > 999:
            raise RuntimeError("too many SQL variables")
        await super().remove(positions)


class NeverLooksBack(Passing):
    reached = 0

    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        records = await super().fetch(after=max(after, self.reached), limit=limit, without=without)
        self.reached = records[-1].position if records else self.reached
        return records


class DoesOneThingAtATime(Passing):
    is_busy = False

    async def renew(self) -> bool:
        self.is_busy = True
        await sleep(0)
        self.is_busy = False
        return await super().renew()

    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        if self.is_busy:
            raise RuntimeError("another operation is in progress")
        return await super().fetch(after=after, limit=limit, without=without)


# Removing


class RemovesNothing(Passing):
    async def remove(self, positions: Sequence[int]) -> None:
        pass


class RemovesWhatIsBetween(Passing):
    async def remove(self, positions: Sequence[int]) -> None:
        if positions:
            await super().remove(range(min(positions), max(positions) + 1))


class MindsWhatIsGone(Passing):
    def check(self, positions: Sequence[int]) -> None:
        there = {record.position for record in [*self.due(), *self.storage.right.records.waiting()]}
        if not set(positions) <= there:
            raise LookupError("not there")

    async def remove(self, positions: Sequence[int]) -> None:
        self.check(positions)
        await super().remove(positions)

    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        self.check([position])
        await super().postpone(position, delay_s=delay_s, error=error)


class MindsNothing(Passing):
    """As SQL does that ends in ``IN ()``."""

    async def remove(self, positions: Sequence[int]) -> None:
        _ = positions[0]
        await super().remove(positions)


class RemovesItsOwn(Passing):
    async def remove(self, positions: Sequence[int]) -> None:
        own = {record.position for record in self.due() if slot_of(record) in self.slots()}
        await super().remove([position for position in positions if position in own])


# Sharing


class HasEverything(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        return self.due(after)[:limit]


class TearsKeys(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        slots = self.slots()
        return [record for record in self.due(after) if record.position % SLOTS in slots][:limit]


class StandsBy(Passing):
    """While another has everything."""

    async def renew(self) -> bool:
        active = self.storage.__dict__.get("active", self)
        if active is not self and active.slots():
            return False
        self.storage.active = self
        return await super().renew()


class IsItsName(Passing):
    def __init__(self, storage: Faulty, name: str, ttl_s: float) -> None:
        super().__init__(storage, name, ttl_s)
        self.right = storage.__dict__.setdefault("leases", {}).setdefault(name, self.right)


class FailsWhenOthersAreBusy(Passing):
    async def rebalance(self) -> bool:
        if self.storage.__dict__.get("is_locked"):
            raise RuntimeError("database is locked")
        self.storage.is_locked = True
        await sleep(0)
        self.storage.is_locked = False
        return await super().rebalance()


class TellsNothing(Passing):
    async def renew(self) -> bool:
        await super().renew()
        return False


class TellsOfNoGrowth(Passing):
    async def rebalance(self) -> bool:
        await super().rebalance()
        return False


class TellsEachTime(Passing):
    async def renew(self) -> bool:
        await super().renew()
        return True


class MovesForNothing(Passing):
    async def rebalance(self) -> bool:
        """Give everything up, and take what is free: it is the same, but others may have been quicker."""
        await super().release()
        await super().renew()
        return await super().rebalance()


class ReleasesNothing(Passing):
    async def release(self) -> None:
        pass


class MindsRelease(Passing):
    async def release(self) -> None:
        if not self.slots():
            raise RuntimeError("there is nothing to release")
        await super().release()


class TakesFromTheQuiet(Passing):
    """Of who does not renew as often as itself."""

    async def renew(self) -> bool:
        log = self.storage.__dict__.setdefault("log", [])
        log.append(self)
        if set(log[-3:]) == {self}:
            for other in set(log) - {self}:
                await other.right.release()
        return await super().renew()


class RenewsOnce(Passing):
    was_renewed = False

    async def renew(self) -> bool:
        was_renewed, self.was_renewed = self.was_renewed, True
        return False if was_renewed else await super().renew()


class NeverLapses(Passing):
    def __init__(self, storage: Faulty, name: str, ttl_s: float) -> None:
        super().__init__(storage, name, ttl_s + 1000)


class DoesNotSeeWhatItHasLost(Passing):
    """It looks at what it has only when it rebalances."""

    def __init__(self, storage: Faulty, name: str, ttl_s: float) -> None:
        super().__init__(storage, name, ttl_s)
        self.known: set[int] = set()

    async def rebalance(self) -> bool:
        has_grown = await super().rebalance()
        self.known = self.slots()
        return has_grown

    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        return [record for record in self.due(after) if slot_of(record) in self.known][:limit]


# Postponing


class PostponesNothing(Passing):
    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        await super().postpone(position, delay_s=0, error=error)


class PostponesTheKey(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        waiting = [parked.key for parked in await self.parked()]
        return await super().fetch(after=after, limit=limit, without=[*without, *waiting])


class HidesWhatIsPostponed(Passing):
    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        await super().remove([position])


class PostponesForGood(Passing):
    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        await super().postpone(position, delay_s=delay_s if delay_s == 0 else None, error=error)


class TakesNoDelayForNone(Passing):
    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        await super().postpone(position, delay_s=delay_s or 0, error=error)


class CountsOneAttempt(Passing):
    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        records = await super().fetch(after=after, limit=limit, without=without)
        return [replace(record, attempts=min(record.attempts, 1)) for record in records]


class CountsForAll(Passing):
    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        for record in self.due():
            await super().postpone(record.position, delay_s=0, error=error)


class CannotWriteEverything(Passing):
    limit = 65_535

    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        if len(error) > self.limit or "\0" in error:
            raise RuntimeError("invalid value for the column")
        await super().postpone(position, delay_s=delay_s, error=error)


class CannotWriteNull(CannotWriteEverything):
    limit = 1_000_000


class BringsBack(Passing):
    async def remove(self, positions: Sequence[int]) -> None:
        self.gone = [record for record in self.due() if record.position in positions]
        await super().remove(positions)

    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        self.storage.right.records.keep([record.envelope for record in self.gone if record.position == position])
        await super().postpone(position, delay_s=delay_s, error=error)


class ParksNothing(Passing):
    async def parked(self) -> Sequence[ParkedKey]:
        return []


class ParksInMilliseconds(Passing):
    async def parked(self) -> Sequence[ParkedKey]:
        parked = await super().parked()
        return [one if one.delay_s is None else replace(one, delay_s=one.delay_s * 1000) for one in parked]


class ParksWhatWasRefused(Passing):
    """However long ago."""

    async def parked(self) -> Sequence[ParkedKey]:
        records = [record for record in [*self.due(), *self.storage.right.records.waiting()] if record.attempts]
        return [ParkedKey(key, None) for record in records if (key := record.envelope.key) is not None]


class ParksForTheLast(Passing):
    async def parked(self) -> Sequence[ParkedKey]:
        delays = {
            record.envelope.key: self.storage.right.records.delay_of(record.position)
            for record in self.storage.right.records.waiting()
        }
        return [ParkedKey(key, delay_s) for key, delay_s in delays.items() if key is not None]


class ParksEachMessage(Passing):
    async def parked(self) -> Sequence[ParkedKey]:
        waiting = list(self.storage.right.records.waiting())
        return [ParkedKey(key, None) for record in waiting if (key := record.envelope.key) is not None]


class ParksThoseWithoutAKey(Passing):
    async def parked(self) -> Sequence[ParkedKey]:
        has_any = any(record.envelope.key is None for record in self.storage.right.records.waiting())
        return [*await super().parked(), *([ParkedKey("None", None)] if has_any else [])]


class ForgetsWhatWaits(Passing):
    """When it releases its share."""

    async def release(self) -> None:
        self.storage.right.records.refusals.clear()
        await super().release()


class CountsForItself(Passing):
    """It keeps in mind what should be written down."""

    async def fetch(self, *, after: int, limit: int, without: Collection[str]) -> Sequence[OutboxRecord]:
        own = self.__dict__.setdefault("attempts", {})
        records = await super().fetch(after=after, limit=limit, without=without)
        return [replace(record, attempts=own.get(record.position, 0)) for record in records]

    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        own = self.__dict__.setdefault("attempts", {})
        own[position] = own.get(position, 0) + 1
        await super().postpone(position, delay_s=delay_s, error=error)


class BuriesNothing(Passing):
    async def bury(self, position: int, *, reason: str, error: str) -> None:
        pass


class BuriesForItself(Passing):
    """What is dead to it is in the outbox all the same."""

    async def bury(self, position: int, *, reason: str, error: str) -> None:
        await super().postpone(position, delay_s=None, error=error)


class LosesTheDead(Passing):
    async def bury(self, position: int, *, reason: str, error: str) -> None:
        await super().remove([position])


class LosesTheReason(Passing):
    async def bury(self, position: int, *, reason: str, error: str) -> None:
        await super().bury(position, reason="dead", error=error)


class BuriesTwice(Passing):
    async def bury(self, position: int, *, reason: str, error: str) -> None:
        await super().bury(position, reason=reason, error=error)
        self.storage.right.records.dead.append(self.storage.right.records.dead[-1])


FAULTS: list[tuple[type[Passing], str]] = [
    (LeavesOutThoseWithoutAKey, "test_who_is_alone_is_given_everything"),
    (SortsByKey, "test_who_is_alone_is_given_everything"),
    (FetchesWithoutAShare, "test_a_lease_takes_nothing_before_it_is_renewed"),
    (CountsWhenMade, "test_a_lease_takes_nothing_before_it_is_renewed"),
    (TakesWhatItFetches, "test_fetching_takes_nothing"),
    (IgnoresTheLimit, "test_fetch_gives_no_more_than_the_limit"),
    (GivesTheLastOnes, "test_fetch_gives_no_more_than_the_limit"),
    (IgnoresThePosition, "test_fetch_begins_behind_a_position"),
    (GivesThatPositionToo, "test_fetch_begins_behind_a_position"),
    (IgnoresKeys, "test_fetch_leaves_out_keys"),
    (LeavesOutThoseWithoutAKey, "test_fetch_leaves_out_keys"),
    (LeavesOutThoseThatLookAlike, "test_fetch_leaves_out_keys"),
    (LeavesOutAfterTheLimit, "test_fetch_leaves_out_keys"),
    (TakesFewParameters, "test_fetch_leaves_out_many_keys"),
    (NeverLooksBack, "test_what_is_committed_late_is_fetched_from_the_beginning"),
    (DoesOneThingAtATime, "test_a_share_may_be_renewed_beside_everything_else"),
    (RemovesNothing, "test_what_is_removed_is_gone"),
    (RemovesWhatIsBetween, "test_what_is_removed_is_gone"),
    (MindsWhatIsGone, "test_what_is_not_there_may_be_removed"),
    (MindsNothing, "test_what_is_not_there_may_be_removed"),
    (TakesFewParameters, "test_many_may_be_removed_at_once"),
    (RemovesItsOwn, "test_what_is_others_may_be_removed"),
    (HasEverything, "test_relays_share_the_keys"),
    (TearsKeys, "test_relays_share_the_keys"),
    (LeavesOutThoseWithoutAKey, "test_relays_share_the_keys"),
    (StandsBy, "test_shares_are_fair"),
    (IsItsName, "test_two_of_one_name_are_two"),
    (FailsWhenOthersAreBusy, "test_relays_may_come_at_once"),
    (TellsNothing, "test_renew_tells_that_a_relay_has_come"),
    (StandsBy, "test_renew_tells_that_a_relay_has_come"),
    (TellsNothing, "test_renew_tells_that_a_relay_has_gone"),
    (TellsOfNoGrowth, "test_renew_tells_that_a_relay_has_gone"),
    (TellsEachTime, "test_renew_tells_that_nothing_has_changed"),
    (MovesForNothing, "test_renew_tells_that_nothing_has_changed"),
    (ReleasesNothing, "test_what_is_released_goes_to_others_at_once"),
    (DoesNotSeeWhatItHasLost, "test_what_is_released_goes_to_others_at_once"),
    (MindsRelease, "test_release_is_harmless_without_a_share"),
    (TakesFromTheQuiet, "test_a_share_is_kept_until_it_lapses"),
    (RenewsOnce, "test_each_renewal_keeps_a_share"),
    (NeverLapses, "test_a_share_that_is_not_renewed_goes_to_others"),
    (DoesNotSeeWhatItHasLost, "test_who_was_thought_dead_does_not_keep_what_others_have"),
    (PostponesNothing, "test_what_is_postponed_is_not_due"),
    (PostponesTheKey, "test_what_is_postponed_is_not_due"),
    (HidesWhatIsPostponed, "test_what_is_postponed_is_not_due"),
    (PostponesForGood, "test_what_is_postponed_is_due_after_its_delay"),
    (ParksWhatWasRefused, "test_what_is_postponed_is_due_after_its_delay"),
    (TakesNoDelayForNone, "test_what_is_postponed_without_a_delay_waits_for_a_person"),
    (ParksNothing, "test_what_is_postponed_without_a_delay_waits_for_a_person"),
    (CountsOneAttempt, "test_attempts_are_counted"),
    (CountsForAll, "test_attempts_are_counted"),
    (CannotWriteEverything, "test_an_error_may_say_anything"),
    (CannotWriteNull, "test_an_error_may_say_anything"),
    (MindsWhatIsGone, "test_what_is_gone_may_be_postponed_and_buried"),
    (BringsBack, "test_what_is_gone_may_be_postponed_and_buried"),
    (ParksNothing, "test_keys_of_postponed_messages_are_parked"),
    (ParksInMilliseconds, "test_keys_of_postponed_messages_are_parked"),
    (ParksThoseWithoutAKey, "test_keys_of_postponed_messages_are_parked"),
    (ParksForTheLast, "test_a_key_is_parked_for_its_first_message"),
    (ParksEachMessage, "test_a_key_is_parked_for_its_first_message"),
    (ParksForTheLast, "test_keys_are_parked_with_who_holds_them"),
    (ForgetsWhatWaits, "test_what_waits_goes_to_who_takes_over"),
    (CountsForItself, "test_what_waits_goes_to_who_takes_over"),
    (BuriesNothing, "test_what_is_buried_is_not_in_the_outbox"),
    (BuriesForItself, "test_what_is_buried_is_not_in_the_outbox"),
    (LosesTheDead, "test_what_is_buried_is_kept_among_the_dead"),
    (LosesTheReason, "test_what_is_buried_is_kept_among_the_dead"),
    (BuriesTwice, "test_what_is_buried_is_kept_among_the_dead"),
]


class AdjustedClock(SystemClock):
    """The machine's clock, put forward."""

    ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class Suite(StorageConformance):
    lease: type[Passing] = Passing

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[Any]:
        self.clock = AdjustedClock()
        storage = Faulty(self.clock)
        storage.lease_type = self.lease
        await storage.start()
        yield storage

    async def pass_time(self, storage: Any, seconds: float) -> None:
        self.clock.ahead_s += seconds

    async def dead(self, storage: Any) -> list[tuple[Envelope, str, str]]:
        return [(message.record.envelope, message.reason, message.error) for message in storage.right.records.dead]


def run(check: str, lease_type: type[Passing], *, seconds: float) -> None:
    class Given(Suite):
        lease = lease_type
        deadline_s = seconds

    getattr(Given(), check)("asyncio")


CHECKS = sorted(
    name
    for part in (FetchingChecks, SharingChecks, PostponingChecks)
    for name in vars(part)
    if name.startswith("test_")
)


@pytest.mark.parametrize(("lease", "check"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_fails_the_check_that_is_about_it(lease: type[Passing], check: str) -> None:
    """What does not come because of the fault is waited for, but not long: the deadline is what fails."""
    with pytest.raises((AssertionError, LookupError, RuntimeError, CqrsError)):
        run(check, lease, seconds=0.2)


def test_there_is_a_fault_for_every_check() -> None:
    """A check that nothing fails proves nothing."""
    assert CHECKS == sorted({check for _, check in FAULTS})


@pytest.mark.parametrize("check", CHECKS)
def test_the_same_lease_without_a_fault_passes(check: str) -> None:
    """So it is the fault that the check found."""
    run(check, Passing, seconds=30)


@pytest.mark.parametrize(
    "check",
    [
        "test_relays_share_the_keys",
        "test_what_is_released_goes_to_others_at_once",
        "test_a_share_that_is_not_renewed_goes_to_others",
        "test_renew_tells_that_a_relay_has_gone",
    ],
)
def test_a_storage_whose_relays_stand_by_need_not_share(check: str) -> None:
    """As those do in which one at a time can write: two checks are waived then, and all others hold."""
    run(check, StandsBy, seconds=30)


# What authors leave out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "check",
    [
        "test_each_renewal_keeps_a_share",
        "test_a_share_that_is_not_renewed_goes_to_others",
        "test_who_was_thought_dead_does_not_keep_what_others_have",
        "test_what_is_postponed_is_due_after_its_delay",
    ],
)
def test_time_passes_in_earnest_where_nobody_lets_it_pass(check: str) -> None:
    """For a moment: without ``pass_time`` these checks take a second, and find the same."""
    given = type("Given", (Suite,), {"pass_time": StorageConformance.pass_time})()

    getattr(given, check)("asyncio")


def test_the_dead_are_not_looked_at_without_a_hook() -> None:
    """And the check says which."""
    given = type("Given", (Suite,), {"dead": StorageConformance.dead})()

    with pytest.raises(pytest.skip.Exception, match=r"^Given does not implement dead\(\)$"):
        given.test_what_is_buried_is_kept_among_the_dead("asyncio")
