"""People decide about sagas, and their decisions are in the history."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.saga.log import SagaAction, SagaStatus
from cqrs_core.saga.plan import StepKind

WHO = {"actor": "Ada", "reason": "looked into it"}


async def stuck(story: Any, saga: Any) -> tuple[Any, Any, uuid.UUID]:
    """Run a saga until it waits for a person."""
    mediator = story.mediator(saga)
    saga_id = uuid.uuid4()
    with pytest.raises(errors.SagaSuspended):
        await story.run(mediator, saga_id)
    return mediator, cqrs.SagaAdministration(mediator.storage, [saga]), saga_id


def stuck_undoing(story: Any) -> Any:
    story.failures |= {"act C": [ValueError("no")], "undo B": [OSError("down")] * 3}
    return story.saga("A", "B", "C")


def stuck_forward(story: Any) -> Any:
    story.failures["act R"] = [ValueError("down")]
    return story.saga("A", story.step("P", kind=StepKind.PIVOT), story.step("R", kind=StepKind.RETRIABLE), name="Late")


async def test_a_saga_that_was_mended_goes_on_as_it_was(story: Any) -> None:
    """Backwards; the decision is told with who has made it, and why."""
    mediator, administration, saga_id = await stuck(story, stuck_undoing(story))
    story.events.clear()
    record = await administration.retry(saga_id, **WHO)
    with pytest.raises(errors.SagaFailed):
        await story.run(mediator, saga_id)
    history = await mediator.storage.get_step_history(saga_id)

    assert SagaStatus.COMPENSATING is record.status
    assert ["undo B", "undo A"] == story.events
    assert ["Ada: looked into it"] == [entry.error for entry in history if entry.action is SagaAction.ADMIN]


async def test_forward_too_with_another_context(story: Any) -> None:
    mediator, administration, saga_id = await stuck(story, stuck_forward(story))
    story.notes.clear()
    await administration.retry(saga_id, context=story.Order(note="mended"), **WHO)

    assert ["r"] == await story.run(mediator, saga_id)
    assert ["mended"] == story.notes


async def test_an_undo_that_was_done_by_hand_is_skipped(story: Any) -> None:
    mediator, administration, saga_id = await stuck(story, stuck_undoing(story))
    story.events.clear()
    await administration.skip(saga_id, **WHO)
    with pytest.raises(errors.SagaFailed):
        await story.run(mediator, saga_id)

    assert ["undo A"] == story.events


async def test_a_step_that_was_done_by_hand_is_skipped(story: Any) -> None:
    mediator, administration, saga_id = await stuck(story, stuck_forward(story))
    record = await administration.skip(saga_id, **WHO)

    assert SagaStatus.COMPLETED is record.status
    assert [] == await story.run(mediator, saga_id)


async def test_a_saga_is_given_up_as_it_is(story: Any) -> None:
    mediator, administration, saga_id = await stuck(story, stuck_undoing(story))
    await administration.abandon(saga_id, **WHO)
    with pytest.raises(errors.SagaAbandoned, match="half done or half undone.* B could not be undone: OSError: down"):
        await story.run(mediator, saga_id)
    with pytest.raises(errors.SagaChanged, match="it is abandoned, and that cannot be decided then"):
        await administration.retry(saga_id, **WHO)


async def test_a_saga_that_runs_is_undone_and_its_driver_is_fenced_out(story: Any) -> None:
    """The step at work may have taken effect: it is undone as well."""
    saga = story.saga("A", "B", "C")
    mediator = story.mediator(saga)
    administration = cqrs.SagaAdministration(mediator.storage, [saga])
    saga_id = uuid.uuid4()

    async def decide() -> None:
        await administration.undo(saga_id, **WHO)

    story.on["act B"] = decide
    with pytest.raises(errors.SagaFenced):
        await story.run(mediator, saga_id)
    with pytest.raises(errors.SagaFailed):
        await story.run(mediator, saga_id)

    assert ["act A", "act B", "undo B", "undo A"] == story.events


async def test_a_saga_that_nobody_has_begun_is_just_not_done(story: Any) -> None:
    saga = story.saga("A")
    mediator = story.mediator(saga)
    saga_id = await mediator.start(story.Order())
    record = await cqrs.SagaAdministration(mediator.storage, [saga]).undo(saga_id, **WHO)

    assert SagaStatus.FAILED is record.status


async def test_behind_the_point_of_no_return_there_is_no_way_back(story: Any) -> None:
    _, administration, saga_id = await stuck(story, stuck_forward(story))
    with pytest.raises(errors.SagaChanged, match="it is suspended, and that cannot be decided then"):
        await administration.undo(saga_id, **WHO)


async def test_a_primary_that_was_undone_by_hand_lets_the_fallback_begin(story: Any) -> None:
    story.failures |= {"act B": [TimeoutError()], "undo B": [OSError("down")] * 3}
    saga = story.saga("A", cqrs.Fallback(story.step("B"), story.step("F")))
    mediator, administration, saga_id = await stuck(story, saga)
    await administration.skip(saga_id, **WHO)

    assert ["f"] == await story.run(mediator, saga_id)


async def killing(story: Any, saga: Any, moment: str, context: Any = None) -> tuple[Any, uuid.UUID]:
    """Let a step kill its drivers until nobody goes on; gives the storage, and the saga that waits for a person."""
    storage = cqrs.MemorySagaStorage(clock=story.clock)
    mediator = story.mediator(saga, storage, options=cqrs.SagaOptions(max_claims=1))
    saga_id = uuid.uuid4()

    class Died(BaseException):
        """Nobody catches it."""

    async def die() -> None:
        row = storage._going[saga_id]  # noqa: SLF001 - as a process leaves it
        row.fence += 1
        row.wake_at = story.clock.now()
        raise Died

    story.on[moment] = die
    for _ in range(2):
        with pytest.raises(Died):
            await story.run(mediator, saga_id, context)
    with pytest.raises(errors.SagaUnrunnable):
        await story.run(mediator, saga_id, context)
    del story.on[moment]
    story.events.clear()
    return storage, saga_id


async def test_what_another_version_has_begun_is_retried_where_it_is(story: Any) -> None:
    """The step at work is the one that was; whoever goes on with it counts the steps anew."""
    storage, saga_id = await killing(story, story.saga("A", "Old", "B"), "act B")
    new = story.saga("A", "B", "C", retired_steps=[story.step("Old")])
    record = await cqrs.SagaAdministration(storage, [new]).retry(saga_id, **WHO)

    assert "B" == record.step_id
    assert ["b", "c"] == await story.run(story.mediator(new, storage), saga_id)


async def test_what_another_version_has_begun_is_skipped_by_the_steps_of_this_one(story: Any) -> None:
    """Of three steps, two were done; one of them is no more. Behind the one at work, there is one."""
    storage, saga_id = await killing(story, story.saga("A", "Old", "B"), "act B")
    new = story.saga("A", "B", "C", retired_steps=[story.step("Old")])
    record = await cqrs.SagaAdministration(storage, [new]).skip(saga_id, **WHO)

    assert (SagaStatus.RUNNING, 2, "C") == (record.status, record.cursor, record.step_id)
    assert ["c"] == await story.run(story.mediator(new, storage), saga_id)


async def test_what_another_version_has_begun_is_undone_if_by_this_one_there_is_a_way_back(story: Any) -> None:
    """The point of no return of this version is not reached yet."""
    storage, saga_id = await killing(story, story.saga("A", "Old", "B"), "act B")
    new = story.saga("A", "B", story.step("P", kind=StepKind.PIVOT), retired_steps=[story.step("Old")])
    await cqrs.SagaAdministration(storage, [new]).undo(saga_id, **WHO)
    with pytest.raises(errors.SagaFailed):
        await story.run(story.mediator(new, storage), saga_id)

    assert ["undo B", "undo Old", "undo A"] == story.events


async def test_what_this_version_cannot_have_begun_is_not_decided_by_it(story: Any) -> None:
    """But it can be given up."""
    storage, saga_id = await killing(story, story.saga("A", "B"), "act B")
    administration = cqrs.SagaAdministration(storage, [story.saga("X", "A", "B")])
    for decide in (administration.undo, administration.skip):
        with pytest.raises(errors.SagaChanged, match="its definition has changed: it has done A, and Made begins"):
            await decide(saga_id, **WHO)

    assert SagaStatus.ABANDONED is (await administration.abandon(saga_id, **WHO)).status


async def test_a_step_that_this_version_has_not_cannot_be_skipped(story: Any) -> None:
    """Nobody has begun it: the saga has done all that this version does."""
    storage, saga_id = await killing(story, story.saga("A", "B"), "act B")
    storage._going[saga_id].standing = storage._going[saga_id].standing._replace(attempt=0)  # noqa: SLF001 - as nobody has
    with pytest.raises(errors.SagaChanged, match="its definition has changed: it has done all that Made has to do"):
        await cqrs.SagaAdministration(storage, [story.saga("A")]).skip(saga_id, **WHO)


async def test_a_context_that_a_person_gives_loses_no_field_of_another_version(story: Any) -> None:
    mediator, administration, saga_id = await stuck(story, stuck_forward(story))
    row = mediator.storage._going[saga_id]  # noqa: SLF001 - as a newer version has written it
    row.context = json.dumps({**json.loads(row.context), "coupon": "SPRING"}).encode()
    record = await administration.retry(saga_id, context=story.Order(note="mended"), **WHO)

    assert {"order_id": "o-1", "note": "mended", "coupon": "SPRING"} == json.loads(record.context)


async def test_who_decides_says_who_and_why_and_about_what(story: Any) -> None:
    mediator, administration, saga_id = await stuck(story, stuck_undoing(story))
    with pytest.raises(errors.InvalidOption, match="reason is ''"):
        await administration.retry(saga_id, actor="Ada", reason="")
    with pytest.raises(errors.SagaNotFound):
        await administration.retry(uuid.uuid4(), **WHO)
    with pytest.raises(errors.InvalidOption, match="which 'Made' is not"):
        await cqrs.SagaAdministration(mediator.storage, []).retry(saga_id, **WHO)
