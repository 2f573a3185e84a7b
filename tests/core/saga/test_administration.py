"""People decide about sagas, and their decisions are in the history."""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.saga.log import SagaAction, SagaStatus
from cqrs_core.saga.plan import StepKind
from cqrs_core.saga.storage import SagaChange
from cqrs_core.serialization import CodecError

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
    with pytest.raises(errors.SagaChanged, match="it is abandoned, and this is decided of sagas that are suspended"):
        await administration.retry(saga_id, **WHO)


async def test_a_saga_that_runs_is_undone_and_its_driver_is_fenced_out(story: Any) -> None:
    """The step at work may have taken effect: it is undone as well."""
    saga = story.saga("A", "B", "C")
    mediator = story.mediator(saga)
    administration = cqrs.SagaAdministration(mediator.storage, [saga])
    saga_id = uuid.uuid4()

    async def decide() -> None:
        await administration.cancel(saga_id, **WHO)

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
    record = await cqrs.SagaAdministration(mediator.storage, [saga]).cancel(saga_id, **WHO)

    assert SagaStatus.FAILED is record.status


async def test_behind_the_point_of_no_return_there_is_no_way_back(story: Any) -> None:
    _, administration, saga_id = await stuck(story, stuck_forward(story))
    for decide in (administration.compensate, partial(administration.resolve, took_effect=False)):
        with pytest.raises(errors.SagaChanged, match="it is past its point of no return"):
            await decide(saga_id, **WHO)


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
    await cqrs.SagaAdministration(storage, [new]).compensate(saga_id, **WHO)
    with pytest.raises(errors.SagaFailed):
        await story.run(story.mediator(new, storage), saga_id)

    assert ["undo B", "undo Old", "undo A"] == story.events


async def test_what_this_version_cannot_have_begun_is_not_decided_by_it(story: Any) -> None:
    """But it can be given up."""
    storage, saga_id = await killing(story, story.saga("A", "B"), "act B")
    administration = cqrs.SagaAdministration(storage, [story.saga("X", "A", "B")])
    for decide in (administration.compensate, administration.skip):
        with pytest.raises(errors.SagaChanged, match="its definition has changed: it has done A, and Made begins"):
            await decide(saga_id, **WHO)

    assert SagaStatus.ABANDONED is (await administration.abandon(saga_id, **WHO)).status


async def test_a_step_that_this_version_has_not_cannot_be_skipped(story: Any) -> None:
    """Nobody has begun it: the saga has done all that this version does."""
    storage, saga_id = await killing(story, story.saga("A", "B"), "act B")
    storage._going[saga_id].standing = storage._going[saga_id].standing._replace(attempt=0)  # noqa: SLF001 - as nobody has
    with pytest.raises(errors.SagaChanged, match="its definition has changed: it has done all that Made has to do"):
        await cqrs.SagaAdministration(storage, [story.saga("A")]).skip(saga_id, **WHO)


async def test_a_step_that_nobody_has_begun_is_not_taken_for_another(story: Any) -> None:
    """In the place of the one at work, this version has another: that was not done by hand."""
    storage, saga_id = await killing(story, story.saga("A", "B", "Z"), "act B")
    storage._going[saga_id].standing = storage._going[saga_id].standing._replace(attempt=0)  # noqa: SLF001 - as nobody has
    before = await storage.load(saga_id)
    with pytest.raises(errors.SagaChanged, match="the step 'B' is at work, and Made goes on with 'Y'"):
        await cqrs.SagaAdministration(storage, [story.saga("A", "Y", "Z")]).skip(saga_id, **WHO)

    assert before == await storage.load(saga_id)


async def test_behind_a_step_that_was_skipped_nothing_is_in_doubt(story: Any) -> None:
    """Who decides begins nothing: the next step is refused at its first try, and is not undone; there is a way back."""
    story.failures |= {"act B": [ValueError("no")]}
    storage, saga_id = await killing(story, story.saga("A", "B"), "act A")
    story.events.clear()
    saga = story.saga("A", "B")
    record = await cqrs.SagaAdministration(storage, [saga]).skip(saga_id, **WHO)
    with pytest.raises(ValueError, match="no"):
        await story.run(story.mediator(saga, storage), saga_id)

    assert (SagaStatus.RUNNING, 1, 0) == (record.status, record.cursor, record.attempt)
    assert ["act B", "undo A"] == story.events


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


def stuck_in_doubt(story: Any) -> Any:
    """A pivot of which nobody knows whether it has taken effect."""
    story.failures["act P"] = [TimeoutError()]
    last = story.step("B", kind=StepKind.RETRIABLE)
    return story.saga("A", story.step("P", kind=StepKind.PIVOT), last, name="Doubtful")


async def test_a_step_in_doubt_that_took_effect_is_taken_for_done(story: Any) -> None:
    """With what it would have left in the context, if a person says so."""
    mediator, administration, saga_id = await stuck(story, stuck_in_doubt(story))
    story.notes.clear()
    await administration.resolve(saga_id, took_effect=True, context={"note": "paid"}, **WHO)

    assert ["b"] == await story.run(mediator, saga_id)
    assert ["paid"] == story.notes


async def test_a_step_in_doubt_that_took_no_effect_is_not_undone(story: Any) -> None:
    """What was done before it is: so there is a way back, also from a pivot."""
    mediator, administration, saga_id = await stuck(story, stuck_in_doubt(story))
    story.events.clear()
    record = await administration.resolve(saga_id, took_effect=False, **WHO)
    with pytest.raises(errors.SagaFailed):
        await story.run(mediator, saga_id)

    assert (SagaStatus.COMPENSATING, 1) == (record.status, record.cursor)
    assert ["undo A"] == story.events


async def test_from_a_pivot_in_doubt_there_is_no_way_back_while_nobody_knows(story: Any) -> None:
    _, administration, saga_id = await stuck(story, stuck_in_doubt(story))

    with pytest.raises(errors.SagaChanged, match="it is past its point of no return"):
        await administration.compensate(saga_id, **WHO)


async def test_a_doubt_is_ended_only_where_there_is_one(story: Any) -> None:
    """Nothing is in doubt of a saga that is being undone."""
    _, administration, saga_id = await stuck(story, stuck_undoing(story))

    with pytest.raises(errors.SagaChanged, match="no step of it is in doubt"):
        await administration.resolve(saga_id, took_effect=True, **WHO)
    with pytest.raises(errors.InvalidOption, match="what has taken no effect has changed nothing"):
        await administration.resolve(saga_id, took_effect=False, context={"note": "x"}, **WHO)


async def test_a_suspended_saga_that_went_forward_is_undone(story: Any) -> None:
    """Here, one whose process has died of its second step again and again: that may have taken effect."""
    saga = story.saga("A", "B", "C")
    mediator = story.mediator(saga)
    saga_id = uuid.uuid4()
    story.on["act B"] = partial(_stand_still, mediator, saga_id)
    with pytest.raises(errors.SagaFenced):
        await story.run(mediator, saga_id)
    record = await cqrs.SagaAdministration(mediator.storage, [saga]).compensate(saga_id, **WHO)
    with pytest.raises(errors.SagaFailed):
        await story.run(mediator, saga_id)

    assert (SagaStatus.COMPENSATING, 2) == (record.status, record.cursor)
    assert ["act A", "act B", "undo B", "undo A"] == story.events


async def _stand_still(mediator: Any, saga_id: uuid.UUID) -> None:
    """Have others suspend the saga meanwhile."""
    record = await mediator.storage.load(saga_id)
    standing = record.standing._replace(status=SagaStatus.SUSPENDED, suspended_from=SagaStatus.RUNNING)
    await mediator.storage.change(SagaChange(saga_id, record.version, standing, record.step_id, []))


@pytest.mark.parametrize("name", ["cancel", "compensate"])
async def test_each_way_back_is_for_sagas_that_stand_there(story: Any, name: str) -> None:
    """One that is suspended is not cancelled, and one that goes forward not compensated: nothing changes."""
    mediator, administration, saga_id = await stuck(story, stuck_undoing(story))
    if name == "compensate":
        saga_id = await mediator.start(story.Order("o-2"))
    before = await mediator.storage.load(saga_id)
    expected = "it is suspended, and this is decided of sagas that go forward"
    if name == "compensate":
        expected = "it is pending, and this is decided of sagas that are suspended"

    with pytest.raises(errors.SagaChanged, match=expected):
        await getattr(administration, name)(saga_id, **WHO)
    assert before == await mediator.storage.load(saga_id)


async def test_what_is_being_undone_cannot_be_undone_once_more(story: Any) -> None:
    _, administration, saga_id = await stuck(story, stuck_undoing(story))

    with pytest.raises(errors.SagaChanged, match="it is being undone already"):
        await administration.compensate(saga_id, **WHO)


async def test_fields_of_the_context_are_changed_one_by_one(story: Any) -> None:
    """Those that this version does not know stay, with another context too; what does not fit changes nothing."""
    mediator, administration, saga_id = await stuck(story, stuck_forward(story))
    row = mediator.storage._rows[saga_id]  # noqa: SLF001 - as a newer version has written it
    row.context = row.context[:-1] + b',"newer":1}'
    before = await mediator.storage.load(saga_id)
    with pytest.raises(errors.InvalidOption, match="context is 'nota'. It must be one of the fields order_id, note"):
        await administration.retry(saga_id, context={"nota": "x"}, **WHO)
    with pytest.raises(CodecError, match="note: expected str, got int"):
        await administration.retry(saga_id, context={"note": 5}, **WHO)
    for nothing_of_json in (object(), float("nan"), "\ud800"):
        with pytest.raises(CodecError, match="it is to be changed by what JSON has"):
            await administration.retry(saga_id, context={"note": nothing_of_json}, **WHO)
    with pytest.raises(errors.InvalidOption, match=r"It must be of .*Order, or a mapping"):
        await administration.retry(saga_id, context=cqrs.SagaContext(), **WHO)
    assert before == await mediator.storage.load(saga_id)
    record = await administration.retry(saga_id, context={"note": "mended"}, **WHO)

    assert {"order_id": "o-1", "note": "mended", "newer": 1} == json.loads(record.context)
    story.failures["act R"] = [ValueError("again")]
    with pytest.raises(errors.SagaSuspended):
        await story.run(mediator, saga_id)
    record = await administration.retry(saga_id, context=story.Order("o-9"), **WHO)
    assert {"order_id": "o-9", "note": "", "newer": 1} == json.loads(record.context)


def test_a_storage_that_nobody_can_look_into_is_refused() -> None:
    class Closed:
        is_durable = has_outbox = True
        start = write = claim = renew = load = get_step_history = find = change = print

    with pytest.raises(errors.InvalidOption, match="an object that also has figures, purge"):
        cqrs.SagaAdministration(Closed(), [])  # type: ignore[arg-type]  # what it is about
