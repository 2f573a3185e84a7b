"""People decide about sagas, and their decisions are in the history."""

from __future__ import annotations

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


async def test_who_decides_says_who_and_why_and_about_what(story: Any) -> None:
    mediator, administration, saga_id = await stuck(story, stuck_undoing(story))
    with pytest.raises(errors.InvalidOption, match="reason is ''"):
        await administration.retry(saga_id, actor="Ada", reason="")
    with pytest.raises(errors.SagaNotFound):
        await administration.retry(uuid.uuid4(), **WHO)
    with pytest.raises(errors.InvalidOption, match="which 'Made' is not"):
        await cqrs.SagaAdministration(mediator.storage, []).retry(saga_id, **WHO)
