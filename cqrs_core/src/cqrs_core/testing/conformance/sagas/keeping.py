"""People look at sagas, decide about them, and clear away what has ended."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cqrs_core.errors import SagaChanged, SagaFenced, SagaNotFound
from cqrs_core.saga.log import Branch, LogRecord, SagaAction, SagaStatus, SagaStepStatus
from cqrs_core.saga.plan import Standing
from cqrs_core.saga.storage import SagaChange, SagaQuery, missing_keeper_methods
from cqrs_core.testing.conformance.sagas.suite import LONG_S, NAME, SagaSuite, check, step_write

if TYPE_CHECKING:
    from cqrs_core.saga.storage import SagaKeeper, SagaStorage

_SUSPENDED = Standing(SagaStatus.SUSPENDED, 1, Branch.PRIMARY, 1, SagaStatus.RUNNING)


class KeepingChecks(SagaSuite):
    """``figures``, ``find``, ``change`` and ``purge``; skipped where there are none."""

    @check
    async def test_figures_tell_how_the_sagas_do(self, storage: SagaStorage) -> None:
        """What has ended is in none of them; what nobody has claimed is due since its lease has run out."""
        keeper = _keeper(storage)
        nothing = await keeper.figures()
        stuck, ended, _running = [await self.started(storage) for _ in range(3)]
        await storage.write(step_write(ended.id, standing=Standing(SagaStatus.COMPLETED, 1)))
        await storage.write(step_write(stuck.id, standing=_SUSPENDED))
        none_is_due = await keeper.figures()
        claimed = await self.started(storage, status=SagaStatus.PENDING)
        await self.claimed(storage, claimed.id)
        await self.started(storage, status=SagaStatus.PENDING)
        await self.pass_time(storage, 1.0)

        async def is_due() -> bool:
            due_s = (await keeper.figures()).oldest_due_s
            return due_s is not None and due_s > 0

        await self.until(is_due, failure="A saga that waits for a worker did not become due.")
        figures = await keeper.figures()
        assert (0, 0, None, 0) == nothing[:4]
        assert (1, 1, None, 0) == none_is_due[:4]
        assert (1, 3, 1) == (figures.suspended, figures.live, figures.most_claims)
        assert figures.oldest_due_s is not None
        assert figures.oldest_due_s < LONG_S
        assert figures.counted_to > figures.live

    @check
    async def test_sagas_are_found_by_name_status_and_how_long_they_are_due(self, storage: SagaStorage) -> None:
        """No more than asked for."""
        keeper = _keeper(storage)
        own = await self.started(storage)
        other = await self.started(storage, name="Other", status=SagaStatus.PENDING)
        stuck = await self.started(storage)
        await storage.write(step_write(stuck.id, standing=_SUSPENDED))

        async def found(**query: object) -> set[uuid.UUID]:
            return {record.id for record in await keeper.find(SagaQuery(**query))}  # type: ignore[arg-type]  # of its own

        assert {own.id, other.id, stuck.id} == await found()
        assert {own.id, stuck.id} == await found(name=NAME)
        assert {stuck.id} == await found(statuses=[SagaStatus.SUSPENDED])
        assert {other.id, stuck.id} == await found(statuses=[SagaStatus.SUSPENDED, SagaStatus.PENDING])
        assert {other.id} == await found(overdue_s=0.0)
        assert set() == await found(overdue_s=LONG_S)
        assert 2 == len(await found(limit=2))

    @check
    async def test_a_saga_that_was_changed_by_hand_is_due_and_its_driver_is_fenced_out(
        self, storage: SagaStorage
    ) -> None:
        """The decision is in its history, with its reason."""
        keeper = _keeper(storage)
        new = await self.started(storage)
        turned = Standing(SagaStatus.COMPENSATING, 1, Branch.PRIMARY, 1)
        decision = LogRecord(
            "first", "First", Branch.PRIMARY, SagaAction.ADMIN, SagaStepStatus.COMPLETED, 1, "Ada: the customer asked"
        )
        changed = await keeper.change(SagaChange(new.id, 1, turned, "", [decision], b"{}"))
        with pytest.raises(SagaFenced):
            await storage.write(step_write(new.id))
        claimed = await self.claimed(storage, new.id)
        history = await storage.get_step_history(new.id)

        assert (turned, b"{}", 2, 2, 0, None) == (
            changed.standing,
            changed.context,
            changed.fence,
            changed.version,
            changed.claims,
            changed.owner,
        )
        assert turned._replace(attempt=2) == claimed.standing
        assert [(SagaAction.ADMIN, "Ada: the customer asked")] == [(entry.action, entry.error) for entry in history]

    @check
    async def test_a_saga_that_a_person_has_completed_has_no_error_any_more(self, storage: SagaStorage) -> None:
        """And one that waits for another decision keeps it."""
        keeper = _keeper(storage)
        new = await self.started(storage)
        await storage.write(step_write(new.id, standing=_SUSPENDED, error="it could not be done"))
        waiting = await keeper.change(SagaChange(new.id, 2, _SUSPENDED, "first", []))
        completed = await keeper.change(SagaChange(new.id, 3, Standing(SagaStatus.COMPLETED, 1), "", []))

        assert ("it could not be done", None) == (waiting.error, completed.error)

    @check
    async def test_what_has_changed_since_it_was_looked_at_is_left_as_it_is(self, storage: SagaStorage) -> None:
        """Whoever decides has to look again."""
        keeper = _keeper(storage)
        new = await self.started(storage)
        await storage.write(step_write(new.id))
        before = await self.loaded(storage, new.id)
        with pytest.raises(SagaChanged):
            await keeper.change(SagaChange(new.id, 1, _SUSPENDED, "", []))
        with pytest.raises(SagaNotFound):
            await keeper.change(SagaChange(uuid.uuid4(), 1, _SUSPENDED, "", []))

        assert before == await self.loaded(storage, new.id)

    @check
    async def test_what_ended_long_ago_is_purged(self, storage: SagaStorage) -> None:
        """With its history; what is under way, or waits for a person, never is."""
        keeper = _keeper(storage)
        ended, stuck, running = [await self.started(storage) for _ in range(3)]
        await storage.write(step_write(ended.id, standing=Standing(SagaStatus.COMPLETED, 1)))
        await storage.write(step_write(stuck.id, standing=_SUSPENDED))
        early = await keeper.purge(timedelta(seconds=LONG_S))
        await self.pass_time(storage, 1.0)

        async def purge() -> bool:
            return bool(await keeper.purge(timedelta(0)))

        assert 0 == early
        await self.until(purge, failure="What has ended was not purged.")
        assert await storage.load(ended.id) is None
        assert [] == list(await storage.get_step_history(ended.id))
        assert 0 == await keeper.purge(timedelta(0))
        assert running.id == (await self.loaded(storage, running.id)).id
        assert stuck.id == (await self.loaded(storage, stuck.id)).id


def _keeper(storage: SagaStorage) -> SagaKeeper:
    if missing_keeper_methods(storage):
        pytest.skip(f"{type(storage).__name__} is no SagaKeeper")
    return storage  # type: ignore[return-value]  # it has the methods
