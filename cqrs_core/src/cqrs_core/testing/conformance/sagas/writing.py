"""A saga is started once, and written by the one who has it, all at once or not at all."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from cqrs_core.concurrency import Gate, open_task_group, sleep
from cqrs_core.errors import SagaAlreadyExists, SagaFenced
from cqrs_core.saga.log import Branch, SagaAction, SagaStatus, still_done
from cqrs_core.saga.plan import Standing
from cqrs_core.testing.conformance.sagas.suite import (
    LONG_S,
    SHORT_S,
    SagaSuite,
    check,
    envelope,
    new_saga,
    record_of,
    step_write,
)

if TYPE_CHECKING:
    from cqrs_core.saga.storage import NewSaga, SagaStorage

_AT_ONCE = 8


class WritingChecks(SagaSuite):
    """``start``, ``write``, ``load`` and ``get_step_history``."""

    @check
    async def test_a_started_saga_is_stored_as_it_was_given(self, storage: SagaStorage) -> None:
        """Version and fence begin at 1, and who starts it has it."""
        new = await self.started(storage)
        record = await self.loaded(storage, new.id)

        assert (new.id, new.name, new.fingerprint, new.context, new.input_hash) == (
            record.id,
            record.name,
            record.fingerprint,
            record.context,
            record.input_hash,
        )
        assert Standing(SagaStatus.RUNNING, 0, Branch.PRIMARY, 1) == record.standing
        assert (1, 1, 0, "first", new.owner, None) == (
            record.version,
            record.fence,
            record.claims,
            record.step_id,
            record.owner,
            record.error,
        )
        assert record.wake_at is not None
        assert record.wake_at > record.created_at
        assert record.created_at.utcoffset() is not None
        assert [] == list(await storage.get_step_history(new.id))

    @check
    async def test_a_pending_saga_is_due_at_once(self, storage: SagaStorage) -> None:
        """Nothing of it was begun: its attempt is 0, and whoever claims it begins."""
        new = await self.started(storage, status=SagaStatus.PENDING)
        stored = await self.loaded(storage, new.id)
        record = await self.claimed(storage, new.id)

        assert Standing(SagaStatus.PENDING, 0, Branch.PRIMARY, 0) == stored.standing
        assert Standing(SagaStatus.RUNNING, 0, Branch.PRIMARY, 1) == record.standing

    @check
    async def test_a_second_start_changes_nothing(self, storage: SagaStorage) -> None:
        """It is told what there is, as it is by then."""
        new = await self.started(storage)
        await storage.write(step_write(new.id))
        before = await self.loaded(storage, new.id)
        existing = await storage.start(new_saga(id=new.id, name="Other", context=b"{}"))

        assert before == existing == await self.loaded(storage, new.id)

    @check
    async def test_a_start_whose_answer_was_lost_can_be_repeated(self, storage: SagaStorage) -> None:
        """It is known by its owner: the same call is the one that has written it."""
        new = await self.started(storage)

        assert await storage.start(new) is None

    @check
    async def test_of_many_who_start_one_id_one_wins(self, storage: SagaStorage) -> None:
        """Eight at once: one has started it, seven are told what there is."""
        saga_id = uuid.uuid4()
        told: list[bool] = []

        async def start() -> None:
            told.append(await storage.start(new_saga(id=saga_id)) is None)

        async with open_task_group() as tasks:
            for _ in range(_AT_ONCE):
                tasks.start(start)

        assert [False] * (_AT_ONCE - 1) + [True] == sorted(told)

    @check
    async def test_a_write_is_stored_as_a_whole(self, storage: SagaStorage) -> None:
        """Position, context, history; the version is counted up, and the fence is not."""
        new = await self.started(storage)
        await storage.write(step_write(new.id, fingerprint="f" * 16, error="was tried twice"))
        record = await self.loaded(storage, new.id)
        (entry,) = await storage.get_step_history(new.id)

        assert Standing(SagaStatus.RUNNING, 1, Branch.PRIMARY, 1) == record.standing
        assert (2, 1, "second", b'{"name":"after the first"}', "f" * 16, "was tried twice", new.owner) == (
            record.version,
            record.fence,
            record.step_id,
            record.context,
            record.fingerprint,
            record.error,
            record.owner,
        )
        assert record_of("first") == (
            entry.step_id,
            entry.step_name,
            entry.branch,
            entry.action,
            entry.status,
            entry.attempt,
            entry.error,
        )
        assert new.id == entry.saga_id
        assert entry.timestamp.utcoffset() is not None

    @check
    async def test_what_a_write_leaves_out_stays(self, storage: SagaStorage) -> None:
        """Context, fingerprint, error and lease, if they are ``None``."""
        new = await self.started(storage)
        await storage.write(step_write(new.id, error="first"))
        before = await self.loaded(storage, new.id)
        await storage.write(step_write(new.id, version=2, context=None, log=()))
        after = await self.loaded(storage, new.id)

        assert (before.context, before.fingerprint, before.error, before.wake_at) == (
            after.context,
            after.fingerprint,
            after.error,
            after.wake_at,
        )

    @check
    async def test_every_status_and_side_is_stored(self, storage: SagaStorage) -> None:
        """And the direction that a suspended saga had."""
        new = await self.started(storage)
        standings = [
            Standing(SagaStatus.RUNNING, 1, Branch.LEAVING, 3),
            Standing(SagaStatus.RUNNING, 1, Branch.FALLBACK, 1),
            Standing(SagaStatus.COMPENSATING, 2, Branch.PRIMARY, 1),
            Standing(SagaStatus.SUSPENDED, 2, Branch.PRIMARY, 1, SagaStatus.COMPENSATING),
        ]
        stored: list[Standing] = []
        for version, standing in enumerate(standings, start=1):
            await storage.write(step_write(new.id, version=version, standing=standing))
            stored.append((await self.loaded(storage, new.id)).standing)

        assert standings == stored

    @check
    async def test_a_history_is_in_the_order_of_writing(self, storage: SagaStorage) -> None:
        """Of entries of one write, too; greater numbers are later."""
        new = await self.started(storage)
        done = [record_of("first"), record_of("second", error="lost"), record_of("second", SagaAction.COMPENSATE)]
        await storage.write(step_write(new.id, log=done))
        await storage.write(step_write(new.id, version=2, log=[record_of("third")]))
        history = await storage.get_step_history(new.id)

        assert ["first", "second", "second", "third"] == [entry.step_id for entry in history]
        assert sorted({entry.seq for entry in history}) == [entry.seq for entry in history]
        assert ["first", "third"] == [done.step_id for done in still_done(history)]

    @check
    async def test_a_write_with_another_fence_is_refused(self, storage: SagaStorage) -> None:
        """A driver that another has taken over from changes nothing any more, and learns it."""
        new = await self.started(storage, lease_s=SHORT_S)
        await self.pass_time(storage, SHORT_S)
        before = await self.claimed(storage, new.id)
        with pytest.raises(SagaFenced) as raised:
            await storage.write(step_write(new.id, envelopes=(envelope(b"of a zombie"),) * storage.has_outbox))

        assert new.id == raised.value.saga_id
        assert before == await self.loaded(storage, new.id)
        assert [] == list(await storage.get_step_history(new.id))
        if storage.has_outbox:
            assert [] == list(await self.sent(storage))

    @check
    async def test_a_write_with_an_old_version_is_refused(self, storage: SagaStorage) -> None:
        """Even if it is the driver's own: something else was written meanwhile."""
        new = await self.started(storage)
        await storage.write(step_write(new.id))
        await storage.write(step_write(new.id, version=2))
        with pytest.raises(SagaFenced):
            await storage.write(step_write(new.id))

        assert 3 == (await self.loaded(storage, new.id)).version

    @check
    async def test_a_write_whose_answer_was_lost_can_be_repeated(self, storage: SagaStorage) -> None:
        """It is made once: its entries are in the history once, and its messages are sent once."""
        new = await self.started(storage)
        write = step_write(new.id, envelopes=(envelope(b"1"),) * storage.has_outbox)
        await storage.write(write)
        await storage.write(write)

        assert 2 == (await self.loaded(storage, new.id)).version
        assert 1 == len(await storage.get_step_history(new.id))
        if storage.has_outbox:
            assert [b"1"] == [sent.body for sent in await self.sent(storage)]

    @check
    async def test_another_write_of_the_same_version_is_no_repetition(self, storage: SagaStorage) -> None:
        """A driver that was cancelled in the middle of a write, and then writes something else, must learn of it."""
        new = await self.started(storage)
        await storage.write(step_write(new.id))
        turned = step_write(new.id, standing=Standing(SagaStatus.COMPENSATING, 1, Branch.PRIMARY, 1))
        with pytest.raises(SagaFenced):
            await storage.write(turned)

        assert SagaStatus.RUNNING is (await self.loaded(storage, new.id)).status

    @check
    async def test_a_write_to_a_saga_that_is_not_there_is_refused(self, storage: SagaStorage) -> None:
        """As to one that is another's."""
        with pytest.raises(SagaFenced):
            await storage.write(step_write(uuid.uuid4()))

    @check
    async def test_messages_are_sent_with_the_write(self, storage: SagaStorage) -> None:
        """In their order."""
        if not storage.has_outbox:
            pytest.skip("has_outbox is not set")
        new = await self.started(storage)
        messages = [envelope(b"1"), envelope(b"2")]
        await storage.write(step_write(new.id, envelopes=messages))

        assert messages == list(await self.sent(storage))

    @check
    async def test_a_saga_that_is_not_there_is_nothing(self, storage: SagaStorage) -> None:
        """Nor has it a history."""
        assert await storage.load(uuid.uuid4()) is None
        assert [] == list(await storage.get_step_history(uuid.uuid4()))

    @check
    async def test_in_a_unit_a_saga_is_started_when_that_is_committed(self, storage: SagaStorage) -> None:
        """Rolled back, it never was."""
        if not self.has_units:
            pytest.skip("has_units is not set")
        kept, lost = (new_saga(status=SagaStatus.PENDING) for _ in range(2))
        async with self.open_unit(storage) as unit:
            assert await storage.start(lost, within=unit) is None
            await unit.rollback()
        async with self.open_unit(storage) as unit:
            assert await storage.start(kept, within=unit) is None
            is_begun = unit.is_begun
            await unit.commit()

        assert is_begun
        assert await storage.load(lost.id) is None
        assert SagaStatus.PENDING is (await self.loaded(storage, kept.id)).status

    @check
    async def test_in_a_unit_what_it_has_started_is_there(self, storage: SagaStorage) -> None:
        """A second start of the id is told of it, as it would be outside."""
        if not self.has_units:
            pytest.skip("has_units is not set")
        new = new_saga(status=SagaStatus.PENDING)
        async with self.open_unit(storage) as unit:
            assert await storage.start(new, within=unit) is None
            existing = await storage.start(new_saga(id=new.id, name="Other"), within=unit)
            repeated = await storage.start(new, within=unit)
            await unit.commit()

        assert existing is not None
        assert (new.name, None) == (existing.name, repeated)
        assert new.name == (await self.loaded(storage, new.id)).name

    @check
    async def test_of_two_units_that_start_one_id_the_second_is_told(self, storage: SagaStorage) -> None:
        """By its start, or by its commit, which keeps nothing: what it wanted to start is not there."""
        if not self.has_units:
            pytest.skip("has_units is not set")
        first = new_saga(status=SagaStatus.PENDING)
        second = new_saga(id=first.id, status=SagaStatus.PENDING, input_hash="another context ")

        assert await self._is_told(storage, first, second)
        assert first.input_hash == (await self.loaded(storage, first.id)).input_hash

    @check
    async def test_two_units_may_start_the_same(self, storage: SagaStorage) -> None:
        """The same saga, of the same id and context: there is one, and the commit of the second is no error."""
        if not self.has_units:
            pytest.skip("has_units is not set")
        first = new_saga(status=SagaStatus.PENDING)
        await self._is_told(storage, first, first._replace(owner="another"), may_fail=False)

        assert first.owner == (await self.loaded(storage, first.id)).owner

    async def _is_told(self, storage: SagaStorage, first: NewSaga, second: NewSaga, *, may_fail: bool = True) -> bool:
        """Start two in units that are open at once, and commit the first of them first; tells whether the second is."""
        has_begun, is_committed = Gate(), Gate()
        told: list[bool] = []

        async def start_too() -> None:
            async with self.open_unit(storage) as unit:
                has_begun.open()
                existing = await storage.start(second, within=unit)
                await is_committed.wait()
                try:
                    await unit.commit()
                except SagaAlreadyExists:
                    assert may_fail, "A start of what is there already has failed."
                    told.append(True)
                else:
                    told.append(existing is not None)

        async with open_task_group() as tasks, self.open_unit(storage) as unit:
            assert await storage.start(first, within=unit) is None
            tasks.start(start_too)
            await has_begun.wait()
            await sleep(0)  # it waits for this commit now, or has not heard of it
            await unit.commit()
            is_committed.open()
        return told == [True]

    @check
    async def test_in_a_unit_a_write_is_made_when_that_is_committed(self, storage: SagaStorage) -> None:
        """Rolled back, it was not, and can be made again."""
        if not self.has_units:
            pytest.skip("has_units is not set")
        new = await self.started(storage)
        async with self.open_unit(storage) as unit:
            await storage.write(step_write(new.id), within=unit)
            await unit.rollback()
        before = await self.loaded(storage, new.id)
        async with self.open_unit(storage) as unit:
            await storage.write(step_write(new.id), within=unit)
            await unit.commit()

        assert 1 == before.version
        assert 2 == (await self.loaded(storage, new.id)).version
        assert 1 == len(await storage.get_step_history(new.id))

    @check
    async def test_in_two_units_one_write_is_made_once(self, storage: SagaStorage) -> None:
        """As when the answer of the first commit was lost, and the driver has made it again."""
        if not self.has_units:
            pytest.skip("has_units is not set")
        new = await self.started(storage)
        write = step_write(new.id)
        for _ in range(2):
            async with self.open_unit(storage) as unit:
                await storage.write(write, within=unit)
                await unit.commit()

        assert 2 == (await self.loaded(storage, new.id)).version
        assert 1 == len(await storage.get_step_history(new.id))

    @check
    async def test_in_a_unit_a_write_is_guarded(self, storage: SagaStorage) -> None:
        """At once, or by the commit: who has lost the saga keeps nothing of the unit."""
        if not self.has_units:
            pytest.skip("has_units is not set")
        new = await self.started(storage, lease_s=SHORT_S)
        await self.pass_time(storage, SHORT_S)
        await self.claimed(storage, new.id, lease_s=LONG_S)
        async with self.open_unit(storage) as unit:
            with pytest.raises(SagaFenced):
                await storage.write(step_write(new.id), within=unit)
            await unit.rollback()

        assert [] == list(await storage.get_step_history(new.id))
