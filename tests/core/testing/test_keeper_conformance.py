"""The suite for storages finds what is wrong with what looks after an outbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import sleep
from cqrs_core.errors import CqrsError
from cqrs_core.memory import MemoryStorage
from cqrs_core.memory.keeper import MemoryOutboxKeeper
from cqrs_core.outbox import OutboxRecord, ParkedKey
from cqrs_core.outbox_keeper import OutboxEntry, OutboxStatus, Selection
from cqrs_core.testing.conformance import StorageConformance
from cqrs_core.testing.conformance.storage.keeping import KeepingChecks
from cqrs_core.testing.conformance.storage.looking import LookingChecks

ALL = Selection()
NEVER = datetime(9999, 1, 1, tzinfo=timezone.utc)

# Keepers with one fault each ------------------------------------------------------------------------------------------


class Right(MemoryOutboxKeeper):
    """Nothing is wrong with it; what is, is in its subclasses."""

    def __init__(self, storage: MemoryStorage, clock: SystemClock) -> None:
        super().__init__(storage.outbox.records, storage.outbox.slots, clock)
        self.records: Any = storage.outbox.records
        self.clock = clock

    def rewrite(self, records: Sequence[OutboxRecord]) -> None:
        """Have these in the outbox, and no others."""
        self.records._records[:] = records  # noqa: SLF001 - what no right keeper would do


# Status


class HasNothingForNobody(Right):
    """Of a table that relays fill, it counts the rows."""

    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        status = await super().status(count_to=count_to)
        return status if status.relays else replace(status, free_slots=0)


class TellsTheAgeOfTheNewest(Right):
    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        status = await super().status(count_to=count_to)
        newest = self.records.behind(0)[-1:]
        return (
            replace(status, oldest_age_s=(self.clock.now() - newest[0].created_at).total_seconds())
            if newest
            else status
        )


class TellsMilliseconds(Right):
    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        status = await super().status(count_to=count_to)
        return replace(status, oldest_age_s=status.oldest_age_s and status.oldest_age_s * 1e6)


class TakesLocalTimeForUtc(Right):
    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        status = await super().status(count_to=count_to)
        return replace(status, oldest_age_s=status.oldest_age_s and status.oldest_age_s - 7200)


class CountsWithoutEnd(Right):
    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        return replace(await super().status(), counted_to=count_to)


class DoesNotCountWhatWasRefused(Right):
    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        status = await super().status(count_to=count_to)
        return replace(status, waiting=min(len(list(self.records.due(after=0))), count_to))


class CountsParkedKeysAlone(Right):
    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        status = await super().status(count_to=count_to)
        return replace(status, halted=sum(one.delay_s is None for one in status.parked))


class ListsEachMessage(Right):
    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        status = await super().status(count_to=count_to)
        parked = [ParkedKey(r.envelope.key, self.records.delay_of(r.position)) for r in self.records.waiting()]
        parked = [one for one in parked if one.key is not None]
        return replace(status, parked=sorted(parked, key=lambda one: one.delay_s is not None)[:count_to])


class TellsTheFirstOfAKey(Right):
    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        status = await super().status(count_to=count_to)
        parked = self.records.waiting_keys(self.records.waiting())
        return replace(status, parked=sorted(parked, key=lambda one: one.delay_s is not None)[:count_to])


class ListsByPosition(Right):
    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        status = await super().status()
        return replace(await super().status(count_to=count_to), parked=list(reversed(status.parked))[:count_to])


class CountsThoseWhoHaveGone(Right):
    seen: dict[str, Any]

    def __init__(self, storage: MemoryStorage, clock: SystemClock) -> None:
        super().__init__(storage, clock)
        self.seen = {}

    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        status = await super().status(count_to=count_to)
        self.seen.update({one.name: one for one in status.relays})
        return replace(status, relays=list(self.seen.values()))


class TellsNoNames(Right):
    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        status = await super().status(count_to=count_to)
        return replace(status, relays=[replace(one, name="relay") for one in status.relays])


# Looking


class Looks(Right):
    def change(self, entries: Sequence[OutboxEntry], *, among_dead: bool) -> Sequence[OutboxEntry]:
        return entries

    async def look(
        self, which: Selection, *, among_dead: bool = False, after: int = 0, limit: int = 100
    ) -> Sequence[OutboxEntry]:
        entries = await super().look(which, among_dead=among_dead, after=after, limit=limit)
        return self.change(entries, among_dead=among_dead)


class LosesHeaders(Looks):
    def change(self, entries: Sequence[OutboxEntry], *, among_dead: bool) -> Sequence[OutboxEntry]:
        return [
            replace(one, record=replace(one.record, envelope=replace(one.record.envelope, headers={})))
            for one in entries
        ]


class LosesAttempts(Looks):
    def change(self, entries: Sequence[OutboxEntry], *, among_dead: bool) -> Sequence[OutboxEntry]:
        return [replace(one, record=replace(one.record, attempts=0)) for one in entries]


class HidesWhatIsParked(Looks):
    def change(self, entries: Sequence[OutboxEntry], *, among_dead: bool) -> Sequence[OutboxEntry]:
        return [one for one in entries if among_dead or one.delay_s == 0]


class TakesHaltedForLater(Looks):
    def change(self, entries: Sequence[OutboxEntry], *, among_dead: bool) -> Sequence[OutboxEntry]:
        return [replace(one, delay_s=one.delay_s or 1e9) for one in entries]


class LosesErrors(Looks):
    def change(self, entries: Sequence[OutboxEntry], *, among_dead: bool) -> Sequence[OutboxEntry]:
        return [replace(one, error=None) for one in entries]


class LetsGoWhatItLooksAt(Right):
    async def look(
        self, which: Selection, *, among_dead: bool = False, after: int = 0, limit: int = 100
    ) -> Sequence[OutboxEntry]:
        entries = await super().look(which, among_dead=among_dead, after=after, limit=limit)
        await self.let_go(which)
        return entries


class ListsInTheOrderOfDeath(Looks):
    def change(self, entries: Sequence[OutboxEntry], *, among_dead: bool) -> Sequence[OutboxEntry]:
        return sorted(entries, key=lambda one: one.failed_at or NEVER)


class DoesNotTellWhen(Looks):
    def change(self, entries: Sequence[OutboxEntry], *, among_dead: bool) -> Sequence[OutboxEntry]:
        return [replace(one, failed_at=None) for one in entries]


class TellsWhenItWasWritten(Looks):
    """On the clock of another time zone."""

    def change(self, entries: Sequence[OutboxEntry], *, among_dead: bool) -> Sequence[OutboxEntry]:
        early = datetime(2000, 1, 1, tzinfo=timezone.utc)
        return [replace(one, failed_at=early if among_dead else None) for one in entries]


class IgnoresTheLimit(Right):
    async def look(
        self, which: Selection, *, among_dead: bool = False, after: int = 0, limit: int = 100
    ) -> Sequence[OutboxEntry]:
        return await super().look(which, among_dead=among_dead, after=after)


class LimitsBeforeItSelects(Right):
    async def look(
        self, which: Selection, *, among_dead: bool = False, after: int = 0, limit: int = 100
    ) -> Sequence[OutboxEntry]:
        page = await super().look(ALL, among_dead=among_dead, limit=limit)
        meant = await super().look(which, among_dead=among_dead, after=after, limit=1000)
        return [one for one in meant if one in page][:limit]


class TakesCapitalsForSmallLetters(Right):
    """As databases do whose collation is not binary."""

    async def look(
        self, which: Selection, *, among_dead: bool = False, after: int = 0, limit: int = 100
    ) -> Sequence[OutboxEntry]:
        entries = await super().look(replace(which, key=None), among_dead=among_dead, after=after, limit=limit)
        if which.key is None:
            return entries
        return [one for one in entries if (one.record.envelope.key or "").lower() == which.key.lower()]


class TakesAnyOfThem(Right):
    async def look(
        self, which: Selection, *, among_dead: bool = False, after: int = 0, limit: int = 100
    ) -> Sequence[OutboxEntry]:
        if which.key is not None and which.topic is not None:
            which = replace(which, topic=None)
        return await super().look(which, among_dead=among_dead, after=after, limit=limit)


# Sending again


class RequeuesNothing(Right):
    async def requeue(self, which: Selection) -> int:
        return len(list(self._dead(which)))


class RequeuesInTheOrderOfDeath(Right):
    async def requeue(self, which: Selection) -> int:
        dead = list(self._dead(which))
        for message in dead:
            self.records.revive({message.record.position})
        return len(dead)


class KeepsThePosition(Right):
    """It puts the row back where it was."""

    async def requeue(self, which: Selection) -> int:
        dead = list(self._dead(which))
        self.records.purge({message.record.position for message in dead})
        records = [*self.records.behind(0), *(replace(message.record, attempts=0) for message in dead)]
        self.rewrite(sorted(records, key=lambda record: record.position))
        return len(dead)


class KeepsAttempts(Right):
    async def requeue(self, which: Selection) -> int:
        count = await super().requeue(which)
        self.rewrite([replace(record, attempts=record.attempts + 1) for record in self.records.behind(0)])
        return count


class KeepsTheDead(Right):
    async def requeue(self, which: Selection) -> int:
        dead = list(self._dead(which))
        self.records.keep([message.record.envelope for message in dead])
        return len(dead)


class KeepsTheAge(Right):
    async def requeue(self, which: Selection) -> int:
        ages = {message.record.envelope.id: message.record.created_at for message in self._dead(which)}
        count = await super().requeue(which)
        records = self.records.behind(0)
        self.rewrite([replace(r, created_at=ages.get(r.envelope.id, r.created_at)) for r in records])
        return count


class RequeuesOnce(Right):
    """The second time, the row of the first is in its way."""

    done: frozenset[str | None] = frozenset()

    async def requeue(self, which: Selection) -> int:
        dead = list(self._dead(which))
        if any(message.record.envelope.id in self.done for message in dead):
            raise LookupError("duplicate key")
        self.done |= {message.record.envelope.id for message in dead}
        return await super().requeue(which)


class RequeuesAll(Right):
    async def requeue(self, which: Selection) -> int:
        return await super().requeue(ALL)


class RequeuesTwice(Right):
    """It looks first, and moves then what it has seen."""

    async def requeue(self, which: Selection) -> int:
        dead = list(self._dead(which))
        await sleep(0)
        self.records.keep([message.record.envelope for message in dead])
        self.records.purge({message.record.position for message in dead})
        return len(dead)


class LetsNothingGo(Right):
    async def let_go(self, which: Selection) -> int:
        return 0


class LetsHaltedOnesGoAlone(Right):
    async def let_go(self, which: Selection) -> int:
        halted = {r.position for r in self.records.waiting() if self.records.delay_of(r.position) is None}
        self.records.let_go(halted)
        return len(halted)


class LetsGoWithAttempts(Right):
    async def let_go(self, which: Selection) -> int:
        before = {record.position: record.attempts for record in self.records.behind(0)}
        count = await super().let_go(which)
        records = self.records.behind(0)
        self.rewrite([replace(record, attempts=before[record.position]) for record in records])
        return count


class CountsWhatIsDue(Right):
    async def let_go(self, which: Selection) -> int:
        await super().let_go(which)
        return len(self.records.refusals)


class LetsAllGo(Right):
    async def let_go(self, which: Selection) -> int:
        return await super().let_go(ALL)


# Forgetting


class PurgesEverything(Right):
    async def purge(self, older_than: timedelta, which: Selection) -> int:
        return await super().purge(timedelta(0), which)


class PurgesNothing(Right):
    async def purge(self, older_than: timedelta, which: Selection) -> int:
        return 0


class PurgesWhatWasWrittenLongAgo(Right):
    """By the time of the message, and not by that of its end."""

    async def purge(self, older_than: timedelta, which: Selection) -> int:
        before = self.clock.now() - min(older_than, timedelta(seconds=0.1))
        old = {m.record.position for m in self._dead(which) if m.record.created_at < before}
        self.records.purge(old)
        return len(old)


class PurgesAll(Right):
    async def purge(self, older_than: timedelta, which: Selection) -> int:
        return await super().purge(older_than, ALL)


FAULTS: list[tuple[type[Right], str]] = [
    (HasNothingForNobody, "test_an_outbox_that_was_never_used_needs_nobody"),
    (TellsTheAgeOfTheNewest, "test_status_tells_the_age_of_the_oldest"),
    (TellsMilliseconds, "test_status_tells_the_age_of_the_oldest"),
    (TakesLocalTimeForUtc, "test_status_tells_the_age_of_the_oldest"),
    (CountsWithoutEnd, "test_status_counts_what_waits_and_what_is_dead"),
    (DoesNotCountWhatWasRefused, "test_status_counts_what_waits_and_what_is_dead"),
    (CountsParkedKeysAlone, "test_status_tells_which_keys_are_parked"),
    (ListsEachMessage, "test_status_tells_which_keys_are_parked"),
    (ListsByPosition, "test_status_tells_which_keys_are_parked"),
    (TellsTheFirstOfAKey, "test_status_tells_a_key_that_waits_for_a_person_behind_a_retry"),
    (CountsThoseWhoHaveGone, "test_status_tells_who_shares_the_outbox"),
    (TellsNoNames, "test_status_tells_who_shares_the_outbox"),
    (LosesHeaders, "test_what_waits_can_be_looked_at"),
    (LosesAttempts, "test_what_waits_can_be_looked_at"),
    (HidesWhatIsParked, "test_what_waits_can_be_looked_at"),
    (TakesHaltedForLater, "test_what_waits_can_be_looked_at"),
    (LosesErrors, "test_what_waits_can_be_looked_at"),
    (LetsGoWhatItLooksAt, "test_what_waits_can_be_looked_at"),
    (LosesHeaders, "test_the_dead_can_be_looked_at"),
    (LosesErrors, "test_the_dead_can_be_looked_at"),
    (ListsInTheOrderOfDeath, "test_the_dead_can_be_looked_at"),
    (DoesNotTellWhen, "test_the_dead_can_be_looked_at"),
    (TellsWhenItWasWritten, "test_the_dead_can_be_looked_at"),
    (IgnoresTheLimit, "test_one_looks_at_what_was_selected"),
    (LimitsBeforeItSelects, "test_one_looks_at_what_was_selected"),
    (TakesCapitalsForSmallLetters, "test_one_looks_at_what_was_selected"),
    (TakesAnyOfThem, "test_one_looks_at_what_was_selected"),
    (RequeuesNothing, "test_what_is_requeued_waits_again"),
    (RequeuesInTheOrderOfDeath, "test_what_is_requeued_waits_again"),
    (KeepsThePosition, "test_what_is_requeued_waits_again"),
    (KeepsAttempts, "test_what_is_requeued_waits_again"),
    (KeepsTheDead, "test_what_is_requeued_waits_again"),
    (KeepsTheAge, "test_what_is_requeued_begins_anew"),
    (RequeuesOnce, "test_what_is_requeued_begins_anew"),
    (RequeuesAll, "test_only_what_was_selected_is_requeued"),
    (RequeuesTwice, "test_two_who_requeue_at_once_do_it_once"),
    (LetsNothingGo, "test_what_is_let_go_is_due"),
    (LetsHaltedOnesGoAlone, "test_what_is_let_go_is_due"),
    (LetsGoWithAttempts, "test_what_is_let_go_is_due"),
    (CountsWhatIsDue, "test_what_is_let_go_is_due"),
    (LetsAllGo, "test_only_what_was_selected_is_let_go"),
    (PurgesEverything, "test_purge_forgets_what_was_given_up_long_ago"),
    (PurgesNothing, "test_purge_forgets_what_was_given_up_long_ago"),
    (PurgesWhatWasWrittenLongAgo, "test_purge_forgets_what_was_given_up_long_ago"),
    (PurgesAll, "test_only_what_was_selected_is_purged"),
]


class AdjustedClock(SystemClock):
    """The machine's clock, put forward."""

    ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class Suite(StorageConformance):
    keeper_type: type[Right] | None = Right

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[Any]:
        self.clock = AdjustedClock()
        storage = MemoryStorage(clock=self.clock)
        if self.keeper_type is None:
            del storage.outbox_keeper
        else:
            storage.outbox_keeper = self.keeper_type(storage, self.clock)
        await storage.start()
        yield storage

    async def pass_time(self, storage: Any, seconds: float) -> None:
        self.clock.ahead_s += seconds


def run(check: str, keeper: type[Right] | None, *, seconds: float = 30) -> None:
    given = type("Given", (Suite,), {"keeper_type": keeper, "deadline_s": seconds})()
    getattr(given, check)("asyncio")


CHECKS = sorted(name for name in {**vars(LookingChecks), **vars(KeepingChecks)} if name.startswith("test_"))


@pytest.mark.parametrize(("keeper", "check"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_fails_the_check_that_is_about_it(keeper: type[Right], check: str) -> None:
    """What does not come because of the fault is waited for, but not long: the deadline is what fails."""
    with pytest.raises((AssertionError, LookupError, CqrsError)):
        run(check, keeper, seconds=0.2)


def test_there_is_a_fault_for_every_check() -> None:
    """A check that nothing fails proves nothing."""
    assert CHECKS == sorted({check for _, check in FAULTS})


@pytest.mark.parametrize("check", CHECKS)
def test_a_keeper_without_a_fault_passes(check: str) -> None:
    """So it is the fault that the check found."""
    run(check, Right)


@pytest.mark.parametrize("check", CHECKS)
def test_a_storage_without_a_keeper_is_left_out(check: str) -> None:
    """With the reason, and what users lack by it."""
    with pytest.raises(
        pytest.skip.Exception, match=r"^MemoryStorage has no outbox_keeper: `cqrs outbox` does not work"
    ):
        run(check, None)
