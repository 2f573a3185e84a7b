"""A group accepts a message once, and the inbox remembers it until it is told to forget."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from cqrs_core.concurrency import sleep
from cqrs_core.testing.conformance.running import within
from cqrs_core.testing.conformance.storage.suite import GROUP, StorageSuite, check, new_ids, undone_savepoint

if TYPE_CHECKING:
    from cqrs_core.storage import Storage


class AcceptingChecks(StorageSuite):
    """The inbox, one unit after the other."""

    @check
    async def test_what_was_not_accepted_before_is_new(self, storage: Storage) -> None:
        """Each message of a batch, in whatever order, and none of none."""
        ids = new_ids(20)

        assert set(ids) == await self.accept(storage, ids)
        assert set() == await self.accept(storage, [])

    @check
    async def test_what_was_committed_is_not_new(self, storage: Storage) -> None:
        """Of a batch, only the others are, wherever they stand in it."""
        old, new = new_ids(5), new_ids(5)
        await self.accept(storage, old)
        mixed = [message_id for pair in zip(old, new, strict=True) for message_id in pair]

        assert set(new) == await self.accept(storage, mixed)
        assert set() == await self.accept(storage, mixed)

    @check
    async def test_what_was_rolled_back_is_new_again(self, storage: Storage) -> None:
        """And what was closed without a commit; so a message whose handling failed is handled when it comes again."""
        ids = new_ids(3)
        async with self.unit(storage) as unit:
            await unit.accept(GROUP, ids)
            await unit.rollback()
        async with self.unit(storage) as unit:
            after_rollback = set(await unit.accept(GROUP, ids))
        after_close = await self.accept(storage, ids)

        assert [set(ids), set(ids)] == [after_rollback, after_close]

    @check
    async def test_what_a_savepoint_accepted_is_undone_with_it(self, storage: Storage) -> None:
        """It is new to the same unit, and to others if that does not accept it; what was accepted before stays so."""
        before, again, never = new_ids(3)
        async with self.unit(storage) as unit:
            await unit.accept(GROUP, [before])
            async with undone_savepoint(unit):
                await unit.accept(GROUP, [again, never])
            new_to_unit = set(await unit.accept(GROUP, [before, again]))
            await unit.commit()

        assert {again} == new_to_unit
        assert {never} == await self.accept(storage, [before, again, never])

    @check
    async def test_groups_have_nothing_to_do_with_each_other(self, storage: Storage) -> None:
        """What one has accepted is new to another, even if only capitals tell their names apart."""
        ids = new_ids(2)
        new = [await self.accept(storage, ids, group=group) for group in ("orders", "billing", "Orders", "orders")]

        assert [set(ids), set(ids), set(ids), set()] == new

    @check
    async def test_within_a_unit_a_message_is_new_once(self, storage: Storage) -> None:
        """A second time it was accepted, though not committed yet: handled again, it would take effect twice."""
        ids = new_ids(2)
        async with self.unit(storage) as unit:
            first = set(await unit.accept(GROUP, ids))
            second = set(await unit.accept(GROUP, ids))
            await unit.commit()

        assert (set(ids), set()) == (first, second)

    @check
    async def test_a_message_that_stands_twice_in_a_batch_is_new_once(self, storage: Storage) -> None:
        """It is no error, and is answered once."""
        old, new, other = new_ids(3)
        await self.accept(storage, [old])
        async with self.unit(storage) as unit:
            answer = await unit.accept(GROUP, [new, old, other, new, old, new])
            await unit.commit()

        assert sorted([new, other]) == sorted(answer)

    # Forgetting ------------------------------------------------------------------------------------------------------

    @check
    async def test_purge_keeps_what_is_not_old_enough(self, storage: Storage) -> None:
        """It answers that it has forgotten nothing."""
        ids = new_ids(3)
        await self.accept(storage, ids)
        forgotten = await storage.inbox.purge(timedelta(hours=1))

        assert 0 == forgotten
        assert set() == await self.accept(storage, ids)

    @check
    async def test_what_was_purged_is_new_again(self, storage: Storage) -> None:
        """It answers how many that are, of all groups together."""
        ids = new_ids(3)
        await self.accept(storage, ids, group="one")
        await self.accept(storage, ids[:2], group="other")
        forgotten = await self._purge_all(storage, batch_size=5000)

        assert 5 == forgotten
        assert set(ids) == await self.accept(storage, ids, group="one")
        assert set(ids) == await self.accept(storage, ids, group="other")

    @check
    async def test_purge_goes_on_after_a_batch(self, storage: Storage) -> None:
        """A batch is what one transaction forgets, not all that one call does; the answer counts them all."""
        ids = new_ids(7)
        await self.accept(storage, ids)
        forgotten = await self._purge_all(storage, batch_size=3)

        assert 7 == forgotten
        assert set(ids) == await self.accept(storage, ids)

    @check
    async def test_purge_forgets_only_what_is_older(self, storage: Storage) -> None:
        """By when it was accepted, to the hour at least."""
        old, young = new_ids(3), new_ids(2)
        await self.accept(storage, old)
        await self.age(storage, timedelta(hours=2))
        await self.accept(storage, young)
        forgotten = await storage.inbox.purge(timedelta(hours=1), batch_size=2)

        assert 3 == forgotten
        assert set(old) == await self.accept(storage, [*old, *young])

    async def _purge_all(self, storage: Storage, *, batch_size: int) -> int:
        """Forget all that was accepted before now, when the clock has moved on: some are coarse."""
        accepted_until = datetime.now(timezone.utc)

        async def pass_on() -> None:
            while datetime.now(timezone.utc) == accepted_until:
                await sleep(0)

        await within(self.deadline_s, pass_on, failure=lambda: "The clock stands still.")
        return await storage.inbox.purge(timedelta(0), batch_size=batch_size)
