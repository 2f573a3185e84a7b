"""A savepoint that raises is undone, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cqrs_core.testing.conformance.storage.suite import Failed, StorageSuite, check, envelopes, undone_savepoint

if TYPE_CHECKING:
    from cqrs_core.storage import Storage
    from cqrs_core.unit_of_work import UnitOfWork


class NestingChecks(StorageSuite):
    """Savepoints, and savepoints in savepoints."""

    @check
    async def test_a_savepoint_that_ends_well_is_part_of_the_unit(self, storage: Storage) -> None:
        """What it changed is committed with the rest, not before; envelopes in the order in which they were given."""
        async with self.unit(storage) as unit:
            await self._change(unit, "before")
            async with unit.savepoint():
                await self._change(unit, "inside")
            before_commit = await self.written(storage), await self.bodies(storage)
            await self._change(unit, "after")
            await unit.commit()

        assert (set(), []) == before_commit
        await self._assert_kept(storage, "before", "inside", "after")

    @check
    async def test_a_savepoint_that_raises_is_undone(self, storage: Storage) -> None:
        """With what was enqueued in it; what came before is kept, and the unit works on."""
        async with self.unit(storage) as unit:
            await self._change(unit, "before")
            async with undone_savepoint(unit):
                await self._change(unit, "inside")
            await self._change(unit, "after")
            await unit.commit()

        await self._assert_kept(storage, "before", "after")

    @check
    async def test_the_error_of_a_savepoint_goes_on(self, storage: Storage) -> None:
        """As it is: the same object, without another around it."""
        error = Failed()
        async with self.unit(storage) as unit:
            with pytest.raises(Failed) as caught:
                await self._fail_in_savepoint(unit, "inside", error)

        assert caught.value is error

    @check
    async def test_a_unit_may_begin_with_a_savepoint(self, storage: Storage) -> None:
        """Undone or not, the unit is then as any other; and one in which nothing happens does nothing."""
        async with self.unit(storage) as unit:
            async with undone_savepoint(unit):
                await self._change(unit, "undone")
            await self._change(unit, "kept")
            await unit.commit()
        async with self.unit(storage) as unit:
            async with unit.savepoint():
                await self._change(unit, "first")
            await unit.commit()
            async with unit.savepoint():
                pass
            await unit.commit()

        await self._assert_kept(storage, "kept", "first")

    @check
    async def test_of_nested_savepoints_the_innermost_may_be_undone_alone(self, storage: Storage) -> None:
        """Its error is caught around it: the two outside it are kept."""
        async with self.unit(storage) as unit:
            async with unit.savepoint():
                await self._change(unit, "one")
                async with unit.savepoint():
                    await self._change(unit, "two")
                    async with undone_savepoint(unit):
                        await self._change(unit, "three")
                    await self._change(unit, "two again")
                await self._change(unit, "one again")
            await unit.commit()

        await self._assert_kept(storage, "one", "two", "two again", "one again")

    @check
    async def test_a_savepoint_is_undone_with_those_in_it(self, storage: Storage) -> None:
        """That they ended well does not save them."""
        async with self.unit(storage) as unit:
            async with unit.savepoint():
                await self._change(unit, "one")
                async with undone_savepoint(unit):
                    await self._change(unit, "two")
                    async with unit.savepoint():
                        await self._change(unit, "three")
                await self._change(unit, "one again")
            await unit.commit()

        await self._assert_kept(storage, "one", "one again")

    @check
    async def test_an_error_undoes_every_savepoint_that_it_leaves(self, storage: Storage) -> None:
        """Three deep, and what comes before the outermost is kept."""
        async with self.unit(storage) as unit:
            await self._change(unit, "before")
            async with undone_savepoint(unit):
                await self._change(unit, "one")
                async with unit.savepoint():
                    await self._change(unit, "two")
                    await self._fail_in_savepoint(unit, "three", Failed())
            await unit.commit()

        await self._assert_kept(storage, "before")

    @check
    async def test_a_rollback_undoes_savepoints_that_ended_well(self, storage: Storage) -> None:
        """They are kept with the unit, or not at all."""
        async with self.unit(storage) as unit:
            async with unit.savepoint():
                await self._change(unit, "inside")
            await unit.rollback()

        await self._assert_kept(storage)

    @check
    async def test_what_was_flushed_in_a_savepoint_is_undone_with_it(self, storage: Storage) -> None:
        """But not what was enqueued before the savepoint, though it is written by the same flush."""
        async with self.unit(storage) as unit:
            await self._change(unit, "before")
            async with undone_savepoint(unit):
                await self._change(unit, "inside")
                await unit.flush()
            await self._change(unit, "after")
            await unit.commit()

        await self._assert_kept(storage, "before", "after")

    async def _change(self, unit: UnitOfWork, text: str) -> None:
        await self.write(unit, text)
        unit.enqueue(envelopes(text.encode()))

    async def _fail_in_savepoint(self, unit: UnitOfWork, text: str, error: Failed) -> None:
        async with unit.savepoint():
            await self._change(unit, text)
            raise error

    async def _assert_kept(self, storage: Storage, *texts: str) -> None:
        assert set(texts) == await self.written(storage)
        assert [text.encode() for text in texts] == await self.bodies(storage)
