"""Of several units that accept the same message at once, one handles it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cqrs_core.concurrency import CancelScope, open_cancel_scope, open_task_group, sleep
from cqrs_core.testing.conformance.running import within
from cqrs_core.testing.conformance.storage.suite import GROUP, StorageSuite, check, new_ids

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from cqrs_core.storage import Storage
    from cqrs_core.unit_of_work import UnitOfWork

_COPIES = 4


class RacingChecks(StorageSuite):
    """The inbox, several units at once."""

    @check
    async def test_accept_waits_for_a_unit_that_commits(self, storage: Storage) -> None:
        """The second is told when the first has ended, and that the message is not new."""
        ids = new_ids(1)
        async with self.unit(storage) as first:
            events, answer = await self._race(storage, ids, first, first.commit)

        assert ["the first ends", "the second is answered"] == events
        assert set() == set(answer)

    @check
    async def test_accept_waits_for_a_unit_that_is_rolled_back(self, storage: Storage) -> None:
        """The second is told when the first has ended, and that the message is new: it was not handled."""
        ids = new_ids(1)
        async with self.unit(storage) as first:
            events, answer = await self._race(storage, ids, first, first.rollback)

        assert ["the first ends", "the second is answered"] == events
        assert set(ids) == set(answer)
        assert set() == await self.accept(storage, ids)

    @check
    async def test_accept_waits_for_a_unit_that_is_closed(self, storage: Storage) -> None:
        """As for one that is rolled back."""
        ids = new_ids(1)
        first = storage.unit_of_work()
        events, answer = await self._race(storage, ids, first, first.close)

        assert ["the first ends", "the second is answered"] == events
        assert set(ids) == set(answer)

    @check
    async def test_a_cancelled_accept_leaves_a_unit_that_can_be_rolled_back(self, storage: Storage) -> None:
        """Cancelled while it waits, it is not answered when the other ends, and then it holds nothing."""
        wanted, free = new_ids(2)
        scopes: list[CancelScope] = []
        story: list[str] = []
        async with self.unit(storage) as first, self.unit(storage) as second:
            await first.accept(GROUP, [wanted])

            async def wait() -> None:
                with open_cancel_scope() as scope:
                    scopes.append(scope)
                    await second.accept(GROUP, [free, wanted])
                    story.append("answered")
                await second.rollback()
                story.append("rolled back")

            async def cancel() -> None:
                scopes[0].cancel()
                # Some databases cannot be called back: then the unit is rolled back when this one has ended.
                await first.rollback()

            await self.while_waiting(storage, wait, cancel)
            is_begun = second.is_begun

        assert ["rolled back"] == story
        assert not is_begun
        assert {wanted, free} == await self.accept(storage, [wanted, free])

    @check
    async def test_of_many_copies_at_once_one_is_new(self, storage: Storage) -> None:
        """100 messages, 4 copies of each, a unit for each copy: 100 are handled, and what handling changes is kept."""
        ids = new_ids(100)
        handled: list[uuid.UUID] = []

        async def handle(message_id: uuid.UUID, unit: UnitOfWork) -> Collection[uuid.UUID]:
            new = await unit.accept(GROUP, [message_id])
            for each in new:
                await self.write(unit, f"{each}")
            return new

        async def consume() -> None:
            for message_id in ids:
                handled.extend(await self.attempt(storage, partial(handle, message_id)))

        await self._at_once([consume] * _COPIES)

        assert sorted(ids) == sorted(handled)
        assert {f"{message_id}" for message_id in ids} == await self.written(storage)

    @check
    async def test_batches_in_opposite_orders_do_not_block_each_other_for_good(self, storage: Storage) -> None:
        """One may fail, with an error that says so, and is then tried again; each message is new to one of them."""
        batches = [new_ids(10) for _ in range(10)]
        handled: list[uuid.UUID] = []

        async def handle(batch: Sequence[uuid.UUID], unit: UnitOfWork) -> Collection[uuid.UUID]:
            return await unit.accept(GROUP, batch)

        async def consume(step: int) -> None:
            for batch in batches:
                handled.extend(await self.attempt(storage, partial(handle, batch[::step])))

        await self._at_once([partial(consume, step) for step in (1, -1, 1, -1)])

        assert sorted(message_id for batch in batches for message_id in batch) == sorted(handled)

    @check
    async def test_units_that_wait_for_each_other_do_not_for_good(self, storage: Storage) -> None:
        """Each has what the other wants: one of them fails, with an error that says so, and can be tried again."""
        pairs = [new_ids(2) for _ in range(10)]
        handled: list[uuid.UUID] = []

        async def handle(pair: Sequence[uuid.UUID], unit: UnitOfWork) -> Collection[uuid.UUID]:
            new = {*await unit.accept(GROUP, pair[:1])}
            # The other has its first one now; but not in a storage that lets one unit at a time write.
            await sleep(0)
            return {*new, *await unit.accept(GROUP, pair[1:])}

        async def consume(step: int) -> None:
            for pair in pairs:
                handled.extend(await self.attempt(storage, partial(handle, pair[::step])))

        await self._at_once([partial(consume, 1), partial(consume, -1)])

        assert sorted(message_id for pair in pairs for message_id in pair) == sorted(handled)

    async def _race(
        self, storage: Storage, ids: Sequence[uuid.UUID], first: UnitOfWork, end: Callable[[], Awaitable[None]]
    ) -> tuple[list[str], list[uuid.UUID]]:
        """Let *first* accept, a second unit too, and *end* the first: give what happened, and the second's answer."""
        events: list[str] = []
        answer: list[uuid.UUID] = []
        await first.accept(GROUP, ids)

        async def ask() -> None:
            async with self.unit(storage) as second:
                answer.extend(await second.accept(GROUP, ids))
                events.append("the second is answered")
                await second.commit()

        async def end_first() -> None:
            events.append("the first ends")
            await end()

        await self.while_waiting(storage, ask, end_first)
        return events, answer

    async def _at_once(self, works: Sequence[Callable[[], Awaitable[None]]]) -> None:
        async def run() -> None:
            async with open_task_group() as tasks:
                for work in works:
                    tasks.start(work)

        await within(2 * self.deadline_s, run, failure=lambda: f"{len(works)} units at once did not end.")
