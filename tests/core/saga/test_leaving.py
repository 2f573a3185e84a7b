"""Drivers that leave: cancelled, or because nobody iterates any more; and the storage that leaves them."""

from __future__ import annotations

import uuid
from contextlib import aclosing
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.concurrency import Gate, open_task_group
from cqrs_core.saga.log import SagaStatus
from cqrs_core.saga.plan import StepKind
from cqrs_core.saga.storage import SagaClaim


class Durable(cqrs.MemorySagaStorage):
    """As if it were kept when the process ends."""

    is_durable = True


async def cancel_at(story: Any, mediator: Any, moment: str, saga_id: uuid.UUID) -> None:
    """Run a saga, and cancel it at that moment."""
    reached = Gate()

    async def wait() -> None:
        del story.on[moment]
        reached.open()
        await Gate().wait()

    async def run() -> None:
        await story.run(mediator, saga_id)

    story.on[moment] = wait
    async with open_task_group() as tasks:
        tasks.start(run)
        await reached.wait()
        tasks.cancel()


async def test_cancelled_in_a_step_a_saga_that_nobody_goes_on_with_is_undone(story: Any) -> None:
    """The step at work may have taken effect; the undoing is not interrupted."""
    mediator = story.mediator(story.saga("A", "B", "C"))
    saga_id = uuid.uuid4()
    await cancel_at(story, mediator, "act B", saga_id)
    record = await mediator.storage.load(saga_id)

    assert ["act A", "act B", "undo B", "undo A"] == story.events
    assert SagaStatus.FAILED is record.status


async def test_cancelled_while_it_is_undone_it_is_undone_to_the_end(story: Any) -> None:
    """The undo that was interrupted is done again."""
    mediator = story.mediator(story.saga("A", "B"))
    story.failures["act B"] = [ValueError("no")]
    saga_id = uuid.uuid4()
    await cancel_at(story, mediator, "undo A", saga_id)
    record = await mediator.storage.load(saga_id)

    assert ["act A", "act B", "undo A", "undo A"] == story.events
    assert SagaStatus.FAILED is record.status


async def test_cancelled_in_a_durable_storage_it_is_left_to_others_who_know_of_the_doubt(story: Any) -> None:
    """It goes forward from there; if the step then fails, it is undone as well."""
    storage = Durable(clock=story.clock)
    mediator = story.mediator(story.saga("A", "B"), storage)
    saga_id = uuid.uuid4()
    await cancel_at(story, mediator, "act B", saga_id)
    left = await storage.load(saga_id)
    story.failures["act B"] = [ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator, saga_id)

    assert left is not None
    assert (SagaStatus.RUNNING, 1, 1, None) == (left.status, left.cursor, left.attempt, left.owner)
    assert ["act A", "act B", "act B", "undo B", "undo A"] == story.events


async def test_an_undo_that_was_cancelled_has_been_begun(story: Any) -> None:
    """Whoever does it again knows that it is not the first, and the claim counts: it may kill its driver each time."""
    storage = Durable(clock=story.clock)
    saga = story.saga("A", "B")
    mediator = story.mediator(saga, storage)
    story.failures["act B"] = [ValueError("no")]
    saga_id = uuid.uuid4()
    await cancel_at(story, mediator, "undo A", saga_id)
    left = await storage.load(saga_id)
    attempts: list[int] = []

    async def look() -> None:
        attempts.append(cqrs.current_step().attempt)
        await cancel.wait()

    cancel = Gate()
    story.on["undo A"] = look
    cancel.open()
    with pytest.raises(errors.SagaFailed):
        await story.run(mediator, saga_id)

    assert left is not None
    assert (SagaStatus.COMPENSATING, 1) == (left.status, left.attempt)
    assert [2] == attempts


async def test_cancelled_behind_the_point_of_no_return_it_is_left_as_it_is(story: Any) -> None:
    """It cannot be undone: somebody has to go on with it."""
    retriable = story.step("R", kind=StepKind.RETRIABLE)
    mediator = story.mediator(story.saga("A", story.step("P", kind=StepKind.PIVOT), retriable))
    saga_id = uuid.uuid4()
    await cancel_at(story, mediator, "act R", saga_id)
    record = await mediator.storage.load(saga_id)

    assert (SagaStatus.RUNNING, 2, 1) == (record.status, record.cursor, record.attempt)
    assert ["r"] == await story.run(mediator, saga_id)


async def test_who_stops_to_iterate_leaves_the_saga_between_two_steps(story: Any) -> None:
    """The next was not begun, and that is known: its attempt is 0."""
    mediator = story.mediator(story.saga("A", "B"))
    saga_id = uuid.uuid4()
    async with aclosing(mediator.stream(story.Order(), saga_id)) as results:
        await anext(results)
    record = await mediator.storage.load(saga_id)

    assert (SagaStatus.RUNNING, 1, 0, None, 0) == (
        record.status,
        record.cursor,
        record.attempt,
        record.owner,
        record.claims,
    )


async def test_who_stops_to_iterate_after_the_last_step_leaves_a_completed_saga(story: Any) -> None:
    mediator = story.mediator(story.saga("A"))
    saga_id = uuid.uuid4()
    async with aclosing(mediator.stream(story.Order(), saga_id)) as results:
        await anext(results)

    assert SagaStatus.COMPLETED is (await mediator.storage.load(saga_id)).status


class Failing(cqrs.MemorySagaStorage):
    """A storage that does not answer so many times, before or after it has done what it was asked."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.before = self.after = 0

    async def write(self, *given: Any, **named: Any) -> None:
        if self.before:
            self.before -= 1
            raise errors.StorageUnavailable("The storage", "it is down.")
        await super().write(*given, **named)
        if self.after:
            self.after -= 1
            raise errors.StorageUnavailable("The storage", "its answer was lost.")

    async def renew(self, *given: Any, **named: Any) -> Any:
        if self.before:
            raise errors.StorageUnavailable("The storage", "it is down.")
        return await super().renew(*given, **named)


@pytest.mark.parametrize(("before", "after"), [(3, 0), (0, 1), (2, 1)])
async def test_a_storage_that_does_not_answer_is_asked_again(story: Any, before: int, after: int) -> None:
    """Nothing is done twice, and nothing is undone because of it."""
    storage = Failing(clock=story.clock)
    mediator = story.mediator(story.saga("A", "B"), storage)
    storage.before, storage.after = before, after
    saga_id = uuid.uuid4()

    assert ["a", "b"] == await story.run(mediator, saga_id)
    assert ["act A", "act B"] == story.events
    assert 2 == len(await storage.get_step_history(saga_id))


async def test_a_storage_that_is_down_for_too_long_ends_the_driver_and_undoes_nothing(story: Any) -> None:
    """As long as the lease surely holds, it is asked; then the step is left to whoever comes, as one in doubt."""
    storage = Failing(clock=story.clock)
    mediator = story.mediator(story.saga("A", "B"), storage)

    async def go_down() -> None:
        storage.before = 10**9

    story.on["act B"] = go_down
    saga_id = uuid.uuid4()
    began = story.clock.monotonic()
    with pytest.raises(ConnectionError, match="The storage of the saga .* cannot be reached") as raised:
        await story.run(mediator, saga_id)
    record = await storage.load(saga_id)

    assert isinstance(raised.value, errors.SagaStorageUnavailable)
    assert ["act A", "act B"] == story.events
    assert record is not None
    assert (SagaStatus.RUNNING, 1, 1) == (record.status, record.cursor, record.attempt)
    assert story.clock.monotonic() - began > 20  # most of the lease


async def test_a_zombie_changes_nothing_and_learns_it(story: Any) -> None:
    """Promise 4: taken over in the middle of a step, it undoes nothing, and writes nothing."""
    storage = cqrs.MemorySagaStorage(clock=story.clock)
    mediator = story.mediator(story.saga("A", "B"), storage)
    saga_id = uuid.uuid4()

    async def lose() -> None:
        del story.on["act A"]
        storage._going[saga_id].wake_at = story.clock.now()  # noqa: SLF001 - as if its lease had run out
        story.events.append("taken over")
        assert ["a", "b"] == await story.run(mediator, saga_id)

    story.on["act A"] = lose
    with pytest.raises(errors.SagaFenced, match="was taken over by another worker"):
        await story.run(mediator, saga_id)
    record = await storage.load(saga_id)

    assert ["act A", "taken over", "act A", "act B"] == story.events
    assert record is not None
    assert (SagaStatus.COMPLETED, 2) == (record.status, record.fence)
    assert 2 == len(await storage.get_step_history(saga_id))


async def test_a_zombie_is_not_tried_again(story: Any) -> None:
    """Nor is it a failure of the step, which would lead to the fallback."""
    storage = cqrs.MemorySagaStorage(clock=story.clock)
    retried = story.step("A", retry=cqrs.RetryPolicy(max_attempts=5))
    mediator = story.mediator(story.saga(cqrs.Fallback(retried, story.step("F"))), storage)
    saga_id = uuid.uuid4()

    async def lose() -> None:
        storage._going[saga_id].fence += 1  # noqa: SLF001 - another driver

    story.on["act A"] = lose
    with pytest.raises(errors.SagaFenced):
        await story.run(mediator, saga_id)

    assert ["act A"] == story.events


async def test_that_another_saga_was_taken_over_is_an_error_like_any_other(story: Any) -> None:
    """A step that drives a saga of its own: what happens to that is a failure of the step, and no more."""
    mediator = story.mediator(story.saga("A", "B"))
    story.failures["act B"] = [errors.SagaFenced(uuid.uuid4())]
    with pytest.raises(errors.SagaFenced):
        await story.run(mediator)

    assert ["act A", "act B", "undo A"] == story.events


async def test_a_process_that_stood_still_asks_before_it_begins_a_step(story: Any) -> None:
    """If nobody has taken the saga over, it is kept, and gone on with; if somebody has, nothing is begun."""
    storage = Durable(clock=story.clock)
    mediator = story.mediator(story.saga("A", "B", "C"), storage)
    saga_id = uuid.uuid4()
    async with aclosing(mediator.stream(story.Order(), saga_id)) as results:
        await anext(results)
        story.clock._seconds += 100.0  # noqa: SLF001 - no heart beats
        await anext(results)
        story.clock._seconds += 100.0  # noqa: SLF001 - as above
        storage._going[saga_id].fence += 1  # noqa: SLF001 - another driver
        with pytest.raises(errors.SagaFenced):
            await anext(results)

    assert ["act A", "act B"] == story.events


async def test_a_decision_that_came_between_two_steps_is_heard_before_the_next_begins(story: Any) -> None:
    """Promise 5: whoever hands results out slowly looks whether the saga is still to go on, and renews nothing."""
    saga = story.saga("A", "B", "C")
    mediator = story.mediator(saga)
    saga_id = uuid.uuid4()
    ends: list[Any] = []
    async with aclosing(mediator.stream(story.Order(), saga_id)) as results:
        await anext(results)
        story.clock._seconds += 2.0  # noqa: SLF001 - no heart beats
        await anext(results)
        ends.append((await mediator.storage.load(saga_id)).wake_at.timestamp() - story.clock.now().timestamp())
        await cqrs.SagaAdministration(mediator.storage, [saga]).undo(saga_id, actor="Ada", reason="it was called off")
        story.clock._seconds += 2.0  # noqa: SLF001 - as above
        with pytest.raises(errors.SagaFenced):
            await anext(results)

    assert ["act A", "act B"] == story.events
    assert [28.0] == ends  # 30 s from the start, of which 2 have passed


async def test_a_saga_that_gets_on_is_not_looked_at(story: Any) -> None:
    """Each of its writes says that it is still ours: steps of 0.9 s, where a second is news."""
    mediator = story.mediator(story.saga("A", "B", "C", "D"))
    storage: Any = mediator.storage
    load, looks = storage.load, []

    async def look(saga_id: uuid.UUID) -> Any:
        looks.append(saga_id)
        return await load(saga_id)

    async def take_a_while() -> None:
        story.clock._seconds += 0.9  # noqa: SLF001 - as above

    storage.load = look
    story.on |= {f"act {name}": take_a_while for name in "ABCD"}

    assert ["a", "b", "c", "d"] == await story.run(mediator)
    assert [] == looks


async def test_a_driver_that_has_heard_that_the_saga_is_lost_begins_nothing(story: Any) -> None:
    """The heart has told it while nothing ran that could be ended; the storage need not be asked again."""
    saga = story.saga("A", "B")
    mediator = story.mediator(saga)
    saga_id = uuid.uuid4()
    async with aclosing(mediator.stream(story.Order(), saga_id)) as results:
        await anext(results)
        (lease,) = mediator._engine.heartbeat._held  # noqa: SLF001 - as the heart does
        lease.lose()
        with pytest.raises(errors.SagaFenced):
            await anext(results)

    assert ["act A"] == story.events


async def test_a_look_that_is_answered_when_the_lease_has_run_out_says_nothing(story: Any) -> None:
    """The process stood still between the two; another has the saga by then."""
    mediator = story.mediator(story.saga("A", "B"))
    storage: Any = mediator.storage
    saga_id = uuid.uuid4()
    load = storage.load

    async def load_slowly(wanted: uuid.UUID) -> Any:
        record = await load(wanted)
        storage.load = load
        story.clock._seconds += 30.0  # noqa: SLF001 - as above
        await storage.claim(SagaClaim("another", 30.0))
        return record

    async with aclosing(mediator.stream(story.Order(), saga_id)) as results:
        await anext(results)
        story.clock._seconds += 2.0  # noqa: SLF001 - as above
        storage.load = load_slowly
        with pytest.raises(errors.SagaFenced):
            await anext(results)

    assert ["act A"] == story.events


async def test_an_undo_is_not_begun_either_by_one_that_stood_still(story: Any) -> None:
    storage = Durable(clock=story.clock)
    mediator = story.mediator(story.saga("A", "B"), storage)
    saga_id = uuid.uuid4()
    story.failures["act B"] = [ValueError("no")]

    async def stand_still() -> None:
        write = storage.write

        async def then_lose(*given: Any, **named: Any) -> None:
            await write(*given, **named)
            story.clock._seconds += 100.0  # noqa: SLF001 - no heart beats
            storage._going[saga_id].fence += 1  # noqa: SLF001 - another driver

        storage.write = then_lose  # type: ignore[method-assign] # for this once

    story.on["act B"] = stand_still
    with pytest.raises(errors.SagaFenced):
        await story.run(mediator, saga_id)

    assert ["act A", "act B"] == story.events
