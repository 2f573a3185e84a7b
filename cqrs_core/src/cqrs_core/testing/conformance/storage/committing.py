"""What is changed in a unit of work is kept as a whole, or undone as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.testing.conformance.storage.suite import GROUP, StorageSuite, check, envelopes, new_ids

if TYPE_CHECKING:
    from cqrs_core.storage import Storage


class CommittingChecks(StorageSuite):
    """Beginning, committing, rolling back, closing."""

    @check
    async def test_commit_keeps_changes_and_envelopes(self, storage: Storage) -> None:
        """After it, others see what was changed, and what was enqueued waits to be sent."""
        async with self.unit(storage) as unit:
            await self.write(unit, "kept")
            unit.enqueue(envelopes(b"kept"))
            await unit.commit()

            assert {"kept"} == await self.written(storage)
            assert [b"kept"] == await self.bodies(storage)

    @check
    async def test_nobody_sees_what_is_not_committed(self, storage: Storage) -> None:
        """Neither what was changed, nor what was enqueued; flushed or not."""
        async with self.unit(storage) as unit:
            await self.write(unit, "open")
            unit.enqueue(envelopes(b"open"))

            assert (set(), []) == (await self.written(storage), await self.bodies(storage))

            await unit.flush()

            assert (set(), []) == (await self.written(storage), await self.bodies(storage))

    @check
    async def test_rollback_undoes_changes_and_envelopes(self, storage: Storage) -> None:
        """Nothing of them is left, though others commit later."""
        async with self.unit(storage) as unit:
            await self.write(unit, "undone")
            unit.enqueue(envelopes(b"undone"))
            await unit.rollback()
        await self.commit(storage, texts=["kept"], envelopes=envelopes(b"kept"))

        assert {"kept"} == await self.written(storage)
        assert [b"kept"] == await self.bodies(storage)

    @check
    async def test_close_undoes_what_was_not_committed(self, storage: Storage) -> None:
        """As for a program that is cancelled, and neither commits nor rolls back."""
        async with self.unit(storage) as unit:
            await self.write(unit, "kept")
            unit.enqueue(envelopes(b"kept"))
            await unit.commit()
            await self.write(unit, "undone")
            unit.enqueue(envelopes(b"undone"))

        assert {"kept"} == await self.written(storage)
        assert [b"kept"] == await self.bodies(storage)

    @check
    async def test_nothing_is_begun_before_it_is_needed(self, storage: Storage) -> None:
        """Neither by making a unit, nor by asking for what it provides: a query that uses none costs nothing."""
        async with self.unit(storage) as unit:
            at_first = unit.is_begun
            for wanted in storage.provides:
                unit.get(wanted)

            assert (False, False) == (at_first, unit.is_begun)

    @check
    async def test_a_unit_gives_its_own_object_of_what_is_provided(self, storage: Storage) -> None:
        """The same each time, after a commit too, and another than other units give."""
        async with self.unit(storage) as one, self.unit(storage) as other:
            for wanted in storage.provides:
                given: object = one.get(wanted)
                is_same = one.get(wanted) is given
                await self.write(one, wanted.__name__)
                await one.commit()

                assert (True, True) == (is_same, one.get(wanted) is given)
                assert other.get(wanted) is not given

    @check
    async def test_is_begun_tells_whether_there_is_anything_to_commit(self, storage: Storage) -> None:
        """Each change begins the unit, an enqueued envelope too; commit and rollback end what was begun."""
        story: list[bool] = []
        async with self.unit(storage) as unit:
            await self.write(unit, "text")
            story.append(unit.is_begun)
            await unit.commit()
            story.append(unit.is_begun)
            unit.enqueue(envelopes(b"1"))
            story.append(unit.is_begun)
            await unit.commit()
            story.append(unit.is_begun)
            await unit.accept(GROUP, new_ids(1))
            story.append(unit.is_begun)
            await unit.rollback()
            story.append(unit.is_begun)

        assert [True, False, True, False, True, False] == story

    @check
    async def test_with_nothing_begun_there_is_nothing_to_do(self, storage: Storage) -> None:
        """Commit, rollback and flush are harmless then, in any order, and the unit can be used after them."""
        async with self.unit(storage) as unit:
            await unit.commit()
            await unit.flush()
            await unit.commit()
            await self.write(unit, "text")
            await unit.commit()
            await unit.commit()
        async with self.unit(storage) as unit:
            await unit.rollback()
            await unit.rollback()
        async with self.unit(storage):
            pass

        assert {"text"} == await self.written(storage)

    @check
    async def test_a_unit_works_on_after_a_commit(self, storage: Storage) -> None:
        """It begins anew each time, as a stream needs it that commits each item."""
        async with self.unit(storage) as unit:
            for number in range(3):
                await self.write(unit, f"{number}")
                unit.enqueue(envelopes(b"%d" % number))
                await unit.commit()

                assert {f"{done}" for done in range(number + 1)} == await self.written(storage)
                assert [b"%d" % done for done in range(number + 1)] == await self.bodies(storage)

    @check
    async def test_a_rollback_after_a_commit_undoes_what_came_after_it(self, storage: Storage) -> None:
        """And nothing else."""
        async with self.unit(storage) as unit:
            await self.write(unit, "before")
            unit.enqueue(envelopes(b"before"))
            await unit.commit()
            await self.write(unit, "after")
            unit.enqueue(envelopes(b"after"))
            await unit.rollback()

        assert {"before"} == await self.written(storage)
        assert [b"before"] == await self.bodies(storage)

    @check
    async def test_what_was_flushed_can_be_rolled_back(self, storage: Storage) -> None:
        """The transaction stays open, so nothing is left."""
        async with self.unit(storage) as unit:
            await self.write(unit, "undone")
            unit.enqueue(envelopes(b"undone"))
            await unit.flush()
            is_begun = unit.is_begun
            await unit.rollback()

        assert is_begun
        assert set() == await self.written(storage)
        assert [] == await self.bodies(storage)

    @check
    async def test_what_was_flushed_is_committed_once(self, storage: Storage) -> None:
        """However often it was flushed, and with what came after it, in order."""
        async with self.unit(storage) as unit:
            await self.write(unit, "text")
            unit.enqueue(envelopes(b"1"))
            await unit.flush()
            await unit.flush()
            unit.enqueue(envelopes(b"2"))
            await unit.commit()
            await unit.commit()

        assert {"text"} == await self.written(storage)
        assert [b"1", b"2"] == await self.bodies(storage)

    @check
    async def test_another_task_may_commit(self, storage: Storage) -> None:
        """Than the one that has made the changes, which uses the unit again afterwards."""
        async with self.unit(storage) as unit:
            await self.write(unit, "first")
            await self.in_another_task(unit.commit)
            await self.write(unit, "second")
            unit.enqueue(envelopes(b"second"))
            await self.in_another_task(unit.commit)

        assert {"first", "second"} == await self.written(storage)
        assert [b"second"] == await self.bodies(storage)

    @check
    async def test_another_task_may_roll_back_and_close(self, storage: Storage) -> None:
        """So that this can be seen to its end when the task of the handler is cancelled."""
        for with_rollback in (True, False):
            unit = storage.unit_of_work()
            await self.write(unit, "undone")
            unit.enqueue(envelopes(b"undone"))
            if with_rollback:
                await self.in_another_task(unit.rollback)
            await self.in_another_task(unit.close)

        assert set() == await self.written(storage)
        assert [] == await self.bodies(storage)
