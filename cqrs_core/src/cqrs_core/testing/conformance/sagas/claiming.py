"""Sagas that are due are taken by one driver at a time, which keeps them for as long as it says that it lives."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from cqrs_core.concurrency import open_task_group, sleep
from cqrs_core.saga.log import Branch, SagaStatus
from cqrs_core.saga.plan import Standing
from cqrs_core.saga.storage import SagaClaim
from cqrs_core.testing.conformance.sagas.suite import LONG_S, NAME, SHORT_S, SagaSuite, check, step_write

if TYPE_CHECKING:
    from cqrs_core.saga.storage import SagaStorage

_WORKERS = 4
_SAGAS = 50


class ClaimingChecks(SagaSuite):
    """``claim`` and ``renew``."""

    @check
    async def test_a_saga_that_somebody_has_is_not_claimed(self, storage: SagaStorage) -> None:
        """Not before its lease has run out."""
        new = await self.started(storage)

        assert [] == list(await storage.claim(SagaClaim("claimer", LONG_S)))
        assert [] == list(await storage.claim(SagaClaim("claimer", LONG_S, saga_id=new.id)))

    @check
    async def test_a_saga_whose_lease_has_run_out_is_claimed(self, storage: SagaStorage) -> None:
        """Fence, version, attempt and claims are counted up: the step at work may have been begun before."""
        new = await self.started(storage, lease_s=SHORT_S)
        await self.pass_time(storage, SHORT_S)
        record = await self.claimed(storage, new.id)

        assert (2, 2, 1, "claimer", "first") == (
            record.fence,
            record.version,
            record.claims,
            record.owner,
            record.step_id,
        )
        assert Standing(SagaStatus.RUNNING, 0, Branch.PRIMARY, 2) == record.standing
        assert record == await self.loaded(storage, new.id)

    @check
    async def test_the_new_driver_writes_with_its_fence(self, storage: SagaStorage) -> None:
        """And claims begin at 0 when a step is done."""
        new = await self.started(storage, lease_s=SHORT_S)
        await self.pass_time(storage, SHORT_S)
        record = await self.claimed(storage, new.id)
        await storage.write(step_write(new.id, fence=record.fence, version=record.version))

        assert (2, 3, 0) == (
            (after := await self.loaded(storage, new.id)).fence,
            after.version,
            after.claims,
        )

    @check
    async def test_of_many_who_claim_at_once_each_saga_goes_to_one(self, storage: SagaStorage) -> None:
        """Four workers, fifty sagas: every one is claimed once, and none is waited for."""
        started = [(await self.started(storage, status=SagaStatus.PENDING)).id for _ in range(_SAGAS)]
        claimed: list[uuid.UUID] = []

        async def work() -> None:
            while taken := await storage.claim(SagaClaim(f"{uuid.uuid4()}", LONG_S, limit=3)):
                claimed.extend(record.id for record in taken)
                assert len(claimed) <= _SAGAS, "Sagas were claimed by several."
                await sleep(0)

        async with open_task_group() as tasks:
            for _ in range(_WORKERS):
                tasks.start(work)

        # One that passes over what another is about to take may go home early: what is left is there for the next.
        await work()
        assert sorted(started) == sorted(claimed)

    @check
    async def test_no_more_are_claimed_than_asked_for(self, storage: SagaStorage) -> None:
        """Those that have been due for longest come first."""
        first = await self.started(storage, status=SagaStatus.PENDING)
        await self.pass_time(storage, 1.0)
        second = await self.started(storage, status=SagaStatus.PENDING)
        taken = [await storage.claim(SagaClaim("claimer", LONG_S, limit=1)) for _ in range(3)]

        assert [[first.id], [second.id], []] == [[record.id for record in records] for records in taken]

    @check
    async def test_only_sagas_of_the_names_are_claimed(self, storage: SagaStorage) -> None:
        """A worker takes what it can run; without names, anything."""
        other = await self.started(storage, name="Other", status=SagaStatus.PENDING)
        own = await self.started(storage, status=SagaStatus.PENDING)
        by_name = await storage.claim(SagaClaim("claimer", LONG_S, limit=10, names=[NAME]))
        by_no_name = await storage.claim(SagaClaim("claimer", LONG_S, limit=10, names=[]))
        the_rest = await storage.claim(SagaClaim("claimer", LONG_S, limit=10))

        assert [own.id] == [record.id for record in by_name]
        assert [] == list(by_no_name)
        assert [other.id] == [record.id for record in the_rest]

    @check
    async def test_only_what_has_been_due_for_long_is_claimed_if_so_asked(self, storage: SagaStorage) -> None:
        """A saga that has just become due is left to others."""
        new = await self.started(storage, status=SagaStatus.PENDING)
        early = await storage.claim(SagaClaim("claimer", LONG_S, overdue_s=LONG_S))
        await self.pass_time(storage, SHORT_S)

        async def claim() -> bool:
            taken = await storage.claim(SagaClaim("claimer", LONG_S, overdue_s=SHORT_S))
            return [new.id] == [record.id for record in taken]

        assert [] == list(early)
        await self.until(claim, failure="A saga that has been due for long was not claimed.")

    @check
    async def test_what_has_ended_or_waits_for_a_person_is_never_claimed(self, storage: SagaStorage) -> None:
        """Nobody has it any more, and it is never due."""
        ends = [
            Standing(SagaStatus.COMPLETED, 1),
            Standing(SagaStatus.FAILED, 0),
            Standing(SagaStatus.SUSPENDED, 1, Branch.PRIMARY, 1, SagaStatus.RUNNING),
        ]
        for standing in ends:
            new = await self.started(storage, lease_s=SHORT_S)
            await storage.write(step_write(new.id, standing=standing, wake_in_s=0.0))
            record = await self.loaded(storage, new.id)
            assert (None, None) == (record.owner, record.wake_at)
        await self.pass_time(storage, LONG_S)

        assert [] == list(await storage.claim(SagaClaim("claimer", LONG_S, limit=10)))

    @check
    async def test_a_saga_that_is_turned_round_stays_so_for_its_next_driver(self, storage: SagaStorage) -> None:
        """Once COMPENSATING is written, whoever claims it finds it."""
        new = await self.started(storage)
        turned = Standing(SagaStatus.COMPENSATING, 1, Branch.PRIMARY, 1)
        await storage.write(step_write(new.id, standing=turned, wake_in_s=0.0, is_released=True))
        record = await self.claimed(storage, new.id)

        assert turned._replace(attempt=2) == record.standing

    @check
    async def test_a_saga_that_is_released_is_due_at_once(self, storage: SagaStorage) -> None:
        """Nobody has it until it is claimed, and what was counted of its claims is what was written."""
        new = await self.started(storage)
        await storage.write(step_write(new.id, wake_in_s=0.0, is_released=True, claims=2))
        stored = await self.loaded(storage, new.id)
        record = await self.claimed(storage, new.id)

        assert (None, 2) == (stored.owner, stored.claims)
        assert (2, 3) == (record.fence, record.claims)

    @check
    async def test_a_saga_can_be_put_off(self, storage: SagaStorage) -> None:
        """It is due when the seconds have passed."""
        new = await self.started(storage)
        await storage.write(step_write(new.id, wake_in_s=LONG_S, is_released=True))
        early = await storage.claim(SagaClaim("claimer", LONG_S))
        await storage.write(step_write(new.id, version=2, wake_in_s=SHORT_S, is_released=True))
        await self.pass_time(storage, SHORT_S)

        assert [] == list(early)
        assert new.id == (await self.claimed(storage, new.id)).id

    @check
    async def test_a_write_may_lengthen_the_lease(self, storage: SagaStorage) -> None:
        """Then the saga is not due when the old one has run out."""
        new = await self.started(storage, lease_s=SHORT_S)
        control = await self.started(storage, lease_s=SHORT_S)
        await storage.write(step_write(new.id, wake_in_s=LONG_S))
        await self.pass_time(storage, SHORT_S)
        await self.claimed(storage, control.id)

        assert [] == list(await storage.claim(SagaClaim("claimer", LONG_S, limit=10)))

    @check
    async def test_all_leases_are_renewed_at_once(self, storage: SagaStorage) -> None:
        """What is renewed is not due when the old lease has run out; what is not, is. Versions stay as they are."""
        kept = [await self.started(storage, lease_s=SHORT_S) for _ in range(3)]
        dropped = await self.started(storage, lease_s=SHORT_S)
        lost = await storage.renew([(new.id, 1) for new in kept], lease_s=LONG_S)
        await self.pass_time(storage, SHORT_S)
        await self.claimed(storage, dropped.id)

        assert set() == set(lost)
        assert [] == list(await storage.claim(SagaClaim("claimer", LONG_S, limit=10)))
        assert [1, 1, 1] == [(await self.loaded(storage, new.id)).version for new in kept]

    @check
    async def test_renew_tells_what_is_lost(self, storage: SagaStorage) -> None:
        """Taken over by another, ended, released, or never there; the others are kept."""
        kept = await self.started(storage, lease_s=LONG_S)
        taken = await self.started(storage, lease_s=SHORT_S)
        ended, released = await self.started(storage), await self.started(storage)
        await storage.write(step_write(ended.id, standing=Standing(SagaStatus.COMPLETED, 1)))
        await storage.write(step_write(released.id, wake_in_s=LONG_S, is_released=True))
        await self.pass_time(storage, SHORT_S)
        await self.claimed(storage, taken.id)
        nowhere = uuid.uuid4()
        held = [(saga_id, 1) for saga_id in (kept.id, taken.id, ended.id, released.id, nowhere)]

        assert {taken.id, ended.id, released.id, nowhere} == set(await storage.renew(held, lease_s=LONG_S))
        assert set() == set(await storage.renew([], lease_s=LONG_S))

    @check
    async def test_a_lease_that_has_run_out_and_nobody_has_taken_is_renewed(self, storage: SagaStorage) -> None:
        """The saga is still with the one who had it: nobody else has done anything to it."""
        new = await self.started(storage, lease_s=SHORT_S)
        await self.pass_time(storage, SHORT_S)

        assert set() == set(await storage.renew([(new.id, 1)], lease_s=LONG_S))
        assert [] == list(await storage.claim(SagaClaim("claimer", LONG_S)))
