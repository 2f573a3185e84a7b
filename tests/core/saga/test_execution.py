"""The steps of a saga: in order, durable before they are told, and undone when one fails."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.concurrency import Gate
from cqrs_core.resilience import RetryPolicy
from cqrs_core.saga.log import SagaStatus
from cqrs_core.saga.plan import StepKind

TWICE = RetryPolicy(max_attempts=2, delay_s=1.0, jitter=0.0)


async def status_of(mediator: Any, saga_id: uuid.UUID) -> SagaStatus:
    record = await mediator.storage.load(saga_id)
    status: SagaStatus = record.status
    return status


async def history_of(mediator: Any, saga_id: uuid.UUID) -> list[str]:
    history = await mediator.storage.get_step_history(saga_id)
    return [f"{entry.action} {entry.step_name}: {entry.status}" for entry in history]


async def test_a_result_is_handed_out_when_it_is_durable(story: Any) -> None:
    """DESIGN 6: whoever sees a result finds it stored, and the context with it."""
    mediator = story.mediator(story.saga("A", "B"))
    saga_id, seen = uuid.uuid4(), []
    async for result in mediator.stream(story.Order(), saga_id):
        record = await mediator.storage.load(saga_id)
        seen.append((result.response, result.step_type.__name__, result.saga_id, record.cursor, record.context))

    assert [
        ("a", "A", saga_id, 1, b'{"order_id":"o-1","note":"A"}'),
        ("b", "B", saga_id, 2, b'{"order_id":"o-1","note":"AB"}'),
    ] == seen
    assert SagaStatus.COMPLETED is await status_of(mediator, saga_id)
    assert ["act A: completed", "act B: completed"] == await history_of(mediator, saga_id)


async def test_no_step_runs_before_the_saga_is_durable(story: Any) -> None:
    """Promise 1."""
    mediator = story.mediator(story.saga("A"))
    saga_id = uuid.uuid4()
    stored = []

    async def look() -> None:
        stored.append(await mediator.storage.load(saga_id))

    story.on["act A"] = look
    await story.run(mediator, saga_id)

    assert [(SagaStatus.RUNNING, 0, 1)] == [(record.status, record.cursor, record.attempt) for record in stored]


async def test_a_saga_of_three_steps_costs_four_writes(story: Any) -> None:
    """N + 1: the start, and one for each step; of one that fails at the third, one more for the turn, and two undos."""

    class Counting(cqrs.MemorySagaStorage):
        writes = 0

        async def start(self, *given: Any, **named: Any) -> Any:
            self.writes += 1
            return await super().start(*given, **named)

        async def write(self, *given: Any, **named: Any) -> None:
            self.writes += 1
            await super().write(*given, **named)

    storage = Counting()
    mediator = story.mediator(story.saga("A", "B", "C"), storage)
    await story.run(mediator)
    good = storage.writes
    story.failures["act C"] = [ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator)

    assert 4 == good
    assert 6 == storage.writes - good  # start, A, B, turn, undo B, undo A


async def test_what_was_done_is_undone_in_reverse_and_the_step_that_failed_is_not(story: Any) -> None:
    """Its own error reaches whoever ran the saga."""
    mediator = story.mediator(story.saga("A", "B", "C", "D"))
    story.failures["act C"] = [ValueError("declined")]
    saga_id, context = uuid.uuid4(), story.Order()
    with pytest.raises(ValueError, match="declined"):
        await story.run(mediator, saga_id, context)

    assert ["act A", "act B", "act C", "undo B", "undo A"] == story.events
    assert SagaStatus.FAILED is await status_of(mediator, saga_id)
    assert [
        "act A: completed",
        "act B: completed",
        "act C: failed",
        "compensate B: completed",
        "compensate A: completed",
    ] == await history_of(mediator, saga_id)
    assert "AB" == context.note  # what C has begun to change is undone


async def test_a_saga_whose_first_step_fails_has_nothing_to_undo(story: Any) -> None:
    mediator = story.mediator(story.saga("A", "B"))
    story.failures["act A"] = [ValueError("no")]
    saga_id = uuid.uuid4()
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator, saga_id)

    assert ["act A"] == story.events
    assert SagaStatus.FAILED is await status_of(mediator, saga_id)


async def test_the_turn_is_durable_before_the_first_undo(story: Any) -> None:
    """Promise 5: whoever goes on from here never goes forward."""
    mediator = story.mediator(story.saga("A", "B"))
    story.failures["act B"] = [ValueError("no")]
    saga_id, seen = uuid.uuid4(), []

    async def look() -> None:
        seen.append(await status_of(mediator, saga_id))

    story.on["undo A"] = look
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator, saga_id)

    assert [SagaStatus.COMPENSATING] == seen


class FromAClient(Exception):
    """What a client library raises when it knows nothing."""


@pytest.mark.parametrize(
    "error",
    [TimeoutError(), ConnectionResetError(), errors.StepInDoubt(), FromAClient(), errors.CommitInDoubt("the database")],
)
async def test_a_step_that_may_have_taken_effect_is_undone_as_well(story: Any, error: Exception) -> None:
    step = story.step("B", in_doubt_on=(TimeoutError, ConnectionError, FromAClient))
    mediator = story.mediator(story.saga("A", step))
    story.failures["act B"] = [error]
    saga_id = uuid.uuid4()
    with pytest.raises(type(error)):
        await story.run(mediator, saga_id)

    assert ["act A", "act B", "undo B", "undo A"] == story.events
    assert "act B: in_doubt" in await history_of(mediator, saga_id)


async def test_an_attempt_that_ran_out_of_time_is_in_doubt(story: Any) -> None:
    mediator = story.mediator(story.saga("A", story.step("B", timeout_s=2.0)))
    story.on["act B"] = lambda: Gate().wait()
    with pytest.raises(errors.HandlerTimedOut, match=r"B did not end within 2 s"):
        await story.run(mediator)

    assert ["act A", "act B", "undo B", "undo A"] == story.events


async def test_what_fails_after_the_step_has_returned_finds_its_effect_done(story: Any) -> None:
    """A wrong result, or a context that cannot be written: the step is undone as well."""

    async def returns_nothing(_: Any, context: Any) -> None:
        await story.tell("act B", context)

    async def spoils(self: Any, context: Any) -> Any:
        await story.tell("act B", context)
        context.note = object()
        return self.result()

    wrong = story.mediator(story.saga("A", story.step("B", act=returns_nothing)))
    with pytest.raises(errors.WrongStepResult, match=r"End it with `return self.result\(response\)`"):
        await story.run(wrong)
    first, story.events = story.events, []
    with pytest.raises(ValueError, match="note: expected str"):
        await story.run(story.mediator(story.saga("A", story.step("B", act=spoils))))

    assert ["act A", "act B", "undo B", "undo A"] == first == story.events


async def test_a_step_is_tried_again_with_the_context_that_it_was_given(story: Any) -> None:
    """The policy is the one of requests; delays are those of the clock."""
    mediator = story.mediator(story.saga("A", story.step("B", retry=TWICE)))
    story.failures["act B"] = [ValueError("once")]

    assert ["a", "b"] == await story.run(mediator)
    assert ["act A", "act B", "act B"] == story.events
    assert ["", "A", "A"] == story.notes
    assert [1.0] == story.waits


async def test_of_several_attempts_one_in_doubt_is_enough(story: Any) -> None:
    """The first may have taken effect, the second has not: the step is undone."""
    mediator = story.mediator(story.saga(story.step("B", retry=TWICE)))
    story.failures["act B"] = [TimeoutError(), ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator)

    assert ["act B", "act B", "undo B"] == story.events


async def test_an_undo_is_tried_again_and_then_the_saga_waits_for_a_person(story: Any) -> None:
    """What was done before it is not undone past it: the order would be lost."""
    mediator = story.mediator(story.saga("A", "B", "C"))
    story.failures["act C"] = [ValueError("no")]
    story.failures["undo B"] = [OSError("refund is down")] * 3
    saga_id = uuid.uuid4()
    with pytest.raises(errors.SagaSuspended, match="B could not be undone: OSError: refund is down") as raised:
        await story.run(mediator, saga_id)
    record = await mediator.storage.load(saga_id)

    assert isinstance(raised.value.__cause__, ValueError)
    assert ["act A", "act B", "act C", "undo B", "undo B", "undo B"] == story.events
    assert (SagaStatus.SUSPENDED, SagaStatus.COMPENSATING, 2, None) == (
        record.status,
        record.suspended_from,
        record.cursor,
        record.wake_at,
    )
    assert "B could not be undone: OSError: refund is down" == record.error


async def test_an_undo_that_succeeds_at_last_undoes_the_rest(story: Any) -> None:
    mediator = story.mediator(story.saga("A", "B"))
    story.failures |= {"act B": [ValueError("no")], "undo A": [OSError("down"), None]}
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator)

    assert ["act A", "act B", "undo A", "undo A"] == story.events


async def test_an_undo_sees_the_context_as_it_is_stored_and_what_it_changes_is_not_kept(story: Any) -> None:
    mediator = story.mediator(story.saga("A", "B", "C"))
    story.failures["act C"] = [ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator)

    assert ["", "A", "AB", "AB", "AB"] == story.notes


async def test_a_point_of_no_return_that_is_refused_is_no_such_point(story: Any) -> None:
    mediator = story.mediator(story.saga("A", story.step("P", kind=StepKind.PIVOT)))
    story.failures["act P"] = [ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator)

    assert ["act A", "act P", "undo A"] == story.events


async def test_a_point_of_no_return_that_is_in_doubt_waits_for_a_person(story: Any) -> None:
    mediator = story.mediator(story.saga("A", story.step("P", kind=StepKind.PIVOT)))
    story.failures["act P"] = [TimeoutError()]
    saga_id = uuid.uuid4()
    with pytest.raises(errors.SagaSuspended):
        await story.run(mediator, saga_id)

    assert ["act A", "act P"] == story.events
    assert SagaStatus.SUSPENDED is await status_of(mediator, saga_id)


async def test_behind_the_point_of_no_return_a_step_is_tried_and_then_waits_for_a_person(story: Any) -> None:
    retriable = story.step("R", kind=StepKind.RETRIABLE, retry=TWICE)
    mediator = story.mediator(story.saga("A", story.step("P", kind=StepKind.PIVOT), retriable))
    story.failures["act R"] = [ValueError("1"), ValueError("2")]
    saga_id = uuid.uuid4()
    with pytest.raises(errors.SagaSuspended, match="ValueError: 2"):
        await story.run(mediator, saga_id)

    assert ["act A", "act P", "act R", "act R"] == story.events


async def test_keys_tell_steps_and_their_undoing_apart_and_are_the_same_in_every_attempt(story: Any) -> None:
    saga_id = uuid.uuid4()
    mediator = story.mediator(story.saga("A", story.step("B", retry=TWICE)))
    story.failures["act B"] = [TimeoutError(), ValueError("no")]
    act_keys = []

    async def look() -> None:
        act_keys.append(cqrs.current_step().act_key)

    story.on["undo B"] = look
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator, saga_id)
    keys = {what: set(found) for what, found in story.keys.items()}

    assert [1] * 4 == [len(found) for found in keys.values()]
    assert 4 == len(set.union(*keys.values()))
    assert set(act_keys) == keys["act B"]
    assert 2 == len(story.keys["act B"])


def test_outside_a_step_there_is_no_current_one() -> None:
    with pytest.raises(LookupError, match="No step of a saga runs here"):
        cqrs.current_step()


async def test_a_context_that_cannot_be_written_starts_nothing(story: Any) -> None:
    mediator = story.mediator(story.saga("A"))
    with pytest.raises(ValueError, match="note: expected str"):
        await story.run(mediator, context=story.Order(note=3))

    assert [] == story.events


async def test_a_handler_that_cannot_be_made_has_not_taken_effect(story: Any) -> None:
    """The container fails: the steps before it are undone, and it is not."""

    class Fails:
        async def resolve(self, wanted: type) -> Any:
            if wanted.__name__ == "B":
                raise OSError("no connection")
            return wanted()

    mediator = story.mediator(story.saga("A", "B"), di_container=Fails())
    with pytest.raises(OSError, match="no connection"):
        await story.run(mediator)

    assert ["act A", "undo A"] == story.events
