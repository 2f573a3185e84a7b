"""Sagas that their drivers have left are gone on with, if what is stored fits the program; else people are asked."""

from __future__ import annotations

import json
import uuid
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.clock import SystemClock
from cqrs_core.emitter import EventEmitter
from cqrs_core.saga.contexts import ContextForm
from cqrs_core.saga.definition import definition_of
from cqrs_core.saga.log import SagaStatus
from cqrs_core.saga.plan import StepKind
from cqrs_core.wiring import HandlerSource


async def die_at(story: Any, mediator: Any, moment: str, saga_id: uuid.UUID, context: Any = None) -> None:
    """Run a saga with a driver that dies at that moment: it writes nothing any more, and its lease runs out."""
    storage = mediator.storage

    class Died(BaseException):
        """Nobody catches it."""

    async def die() -> None:
        row = storage._going[saga_id]  # noqa: SLF001 - as a process leaves it
        row.fence += 1  # whatever else this driver writes is refused
        row.wake_at = story.clock.now()
        raise Died

    story.on[moment] = die
    with pytest.raises(Died):
        await story.run(mediator, saga_id, context)
    del story.on[moment]


async def recover(story: Any, saga: Any, saga_id: uuid.UUID, storage: Any, builder: Any = None) -> None:
    await cqrs.recover_saga(
        saga=saga,
        saga_id=saga_id,
        context_builder=builder or story.Order,
        container=cqrs.SimpleContainer(),
        storage=storage,
    )


@pytest.fixture
def story(story: Any) -> Any:
    """Here time passes in earnest: what is recovered by hand knows no other."""
    story.clock = SystemClock()
    return story


class Durable(cqrs.MemorySagaStorage):
    """As if it were kept when a process ends: no driver undoes anything because it is ended."""

    is_durable = True


@pytest.fixture
def storage() -> Durable:
    return Durable()


async def test_a_saga_goes_on_where_it_was_left(story: Any, storage: Any) -> None:
    """What is done is not done again; what may have been begun is, with the same key."""
    saga = story.saga("A", "B", "C")
    saga_id = uuid.uuid4()
    await die_at(story, story.mediator(saga, storage), "act B", saga_id)
    await recover(story, saga(), saga_id, storage)
    record = await storage.load(saga_id)

    assert ["act A", "act B", "act B", "act C"] == story.events
    assert 1 == len(set(story.keys["act B"]))
    assert ["", "A", "A", "AB"] == story.notes
    assert (SagaStatus.COMPLETED, 0) == (record.status, record.claims)


async def test_a_step_that_is_declined_after_a_crash_is_undone_as_well(story: Any, storage: Any) -> None:
    """It may have taken effect the first time."""
    saga = story.saga("A", "B")
    saga_id = uuid.uuid4()
    await die_at(story, story.mediator(saga, storage), "act B", saga_id)
    story.failures["act B"] = [ValueError("declined now")]
    with pytest.raises(ValueError, match="declined now"):
        await recover(story, saga, saga_id, storage)

    assert ["act A", "act B", "act B", "undo B", "undo A"] == story.events


async def test_a_saga_that_had_turned_round_is_undone_to_the_end(story: Any, storage: Any) -> None:
    """The undo that may have been begun is done again, and nothing goes forward."""
    saga = story.saga("A", "B", "C")
    saga_id = uuid.uuid4()
    story.failures["act C"] = [ValueError("no")]
    await die_at(story, story.mediator(saga, storage), "undo B", saga_id)
    with pytest.raises(errors.SagaFailed):
        await recover(story, saga, saga_id, storage)

    assert ["act A", "act B", "act C", "undo B", "undo B", "undo A"] == story.events
    assert SagaStatus.FAILED is (await storage.load(saga_id)).status


async def test_recovery_follows_the_record_of_the_fallback(story: Any, storage: Any) -> None:
    """Whatever the breaker says by then: the side that was begun is gone on with, and undone."""
    saga = story.saga("A", cqrs.Fallback(story.step("B"), story.step("F")), "C")
    saga_id = uuid.uuid4()
    story.failures["act B"] = [ValueError("no")]
    await die_at(story, story.mediator(saga, storage), "act F", saga_id)
    story.failures["act C"] = [ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        await recover(story, saga, saga_id, storage)

    assert ["act A", "act B", "act F", "act F", "act C", "undo F", "undo A"] == story.events


async def test_a_primary_that_was_being_undone_is_undone(story: Any, storage: Any) -> None:
    saga = story.saga("A", cqrs.Fallback(story.step("B"), story.step("F")))
    saga_id = uuid.uuid4()
    story.failures["act B"] = [TimeoutError()]
    await die_at(story, story.mediator(saga, storage), "undo B", saga_id)
    await recover(story, saga, saga_id, storage)

    assert ["act A", "act B", "undo B", "undo B", "act F"] == story.events


async def test_a_saga_that_somebody_drives_cannot_be_recovered(story: Any, storage: Any) -> None:
    saga = story.saga("A")
    mediator = story.mediator(saga, storage)
    saga_id = uuid.uuid4()
    found: list[str] = []

    async def look() -> None:
        with pytest.raises(errors.SagaNotClaimable) as raised:
            await recover(story, saga, saga_id, storage)
        found.append(str(raised.value))

    story.on["act A"] = look
    await story.run(mediator, saga_id)

    assert "has it until" in found[0]


async def test_what_has_ended_is_not_recovered(story: Any, storage: Any) -> None:
    saga = story.saga("A")
    mediator = story.mediator(saga, storage)
    good, bad = uuid.uuid4(), uuid.uuid4()
    await story.run(mediator, good)
    story.failures["act A"] = [ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator, bad)

    await recover(story, saga, good, storage)
    with pytest.raises(errors.SagaFailed, match="ValueError: no"):
        await recover(story, saga, bad, storage)
    with pytest.raises(LookupError, match="There is no saga"):
        await recover(story, saga, uuid.uuid4(), storage)
    with pytest.raises(errors.InvalidOption, match="storage is None"):
        await cqrs.recover_saga(saga, good)
    assert ["act A", "act A"] == story.events


async def test_a_saga_of_another_name_is_not_taken(story: Any, storage: Any) -> None:
    saga_id = uuid.uuid4()
    await die_at(story, story.mediator(story.saga("A", name="One"), storage), "act A", saga_id)
    with pytest.raises(errors.SagaNotClaimable, match="it is a One, and no Two"):
        await recover(story, story.saga("A", name="Two"), saga_id, storage)


async def test_a_context_may_be_built_by_a_function(story: Any, storage: Any) -> None:
    saga = story.saga("A", "B")
    saga_id = uuid.uuid4()
    await die_at(story, story.mediator(saga, storage), "act B", saga_id)
    await recover(story, saga, saga_id, storage, lambda data: story.Order(**{**data, "note": "built "}))

    assert ["", "A", "built "] == story.notes


async def test_fields_of_a_newer_version_are_kept(story: Any, storage: Any) -> None:
    """Also those of a dataclass within the context."""
    saga = story.saga("A", "B")
    saga_id = uuid.uuid4()
    await die_at(story, story.mediator(saga, storage), "act B", saga_id)
    row = storage._going[saga_id]  # noqa: SLF001 - as a newer program has written it
    row.context = b'{"order_id":"o-1","note":"A","tip":{"eur":3},"more":[1]}'
    await recover(story, saga, saga_id, storage)

    assert {"order_id": "o-1", "note": "AB", "tip": {"eur": 3}, "more": [1]} == json.loads(
        (await storage.load(saga_id)).context
    )


async def test_a_context_that_no_longer_fits_waits_for_a_person(story: Any, storage: Any) -> None:
    saga = story.saga("A", "B")
    saga_id = uuid.uuid4()
    await die_at(story, story.mediator(saga, storage), "act B", saga_id)
    storage._going[saga_id].context = b'{"order_id":7}'  # noqa: SLF001 - as above
    with pytest.raises(errors.SagaUnrunnable, match=r"its context does not fit its class: CodecError: order_id"):
        await recover(story, saga, saga_id, storage)
    record = await storage.load(saga_id)

    assert (SagaStatus.SUSPENDED, SagaStatus.RUNNING, 1) == (record.status, record.suspended_from, record.attempt)
    assert "its context does not fit its class" in record.error
    assert ["act A", "act B"] == story.events


async def suspended(story: Any, storage: Any, old: Any, new: Any, moment: str = "act B") -> str:
    """Begin a saga with one class, recover it with another, and tell why that does not go."""
    saga_id = uuid.uuid4()
    await die_at(story, story.mediator(old, storage), moment, saga_id)
    with pytest.raises(errors.SagaUnrunnable) as raised:
        await recover(story, new, saga_id, storage)
    record = await storage.load(saga_id)
    assert SagaStatus.SUSPENDED is record.status
    assert "B" == record.step_id
    return str(raised.value.reason)


async def test_a_changed_definition_is_never_guessed(story: Any, storage: Any) -> None:
    """Promise 8."""
    old = story.saga("A", "B", "C")

    assert "its definition has changed: it has done A, and Made begins with X." == await suspended(
        story, storage, old, story.saga("X", "A", "B", "C")
    )
    assert (
        "its definition has changed: the step 'B' may have been begun, and Made goes on with 'X'."
        == await suspended(story, storage, old, story.saga("A", "X", "B"))
    )
    assert "its definition has changed: the step 'B' may have been begun, and Made goes on with None." == (
        await suspended(story, storage, old, story.saga("A"))
    )
    with_fallback = story.saga("A", cqrs.Fallback(story.step("B"), story.step("F")), "C")
    story.failures["act B"] = [ValueError("no")]
    assert "its definition has changed: the fallback of B is gone." == await suspended(
        story, storage, with_fallback, story.saga("A", "B", "C", "D"), "act F"
    )


async def test_a_definition_that_has_grown_behind_the_step_at_work_goes_on(story: Any, storage: Any) -> None:
    saga_id = uuid.uuid4()
    await die_at(story, story.mediator(story.saga("A", "B"), storage), "act B", saga_id)
    new = story.saga("A", "B", "C")
    await recover(story, new, saga_id, storage)
    record = await storage.load(saga_id)

    assert ["act A", "act B", "act B", "act C"] == story.events
    assert definition_of(new).fingerprint == record.fingerprint


async def test_a_renamed_step_is_known_by_its_alias(story: Any, storage: Any) -> None:
    saga_id = uuid.uuid4()
    await die_at(story, story.mediator(story.saga("A", "B", "C"), storage), "act B", saga_id)
    new = story.saga(
        cqrs.Step(story.step("A"), id="first"),
        cqrs.Step(story.step("B"), id="second"),
        "C",
        aliases={"A": "first", "B": "second"},
    )
    story.failures["act C"] = [ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        await recover(story, new, saga_id, storage)

    assert ["act A", "act B", "act B", "act C", "undo B", "undo A"] == story.events


async def test_a_retired_step_is_not_done_and_can_be_undone(story: Any, storage: Any) -> None:
    saga_id = uuid.uuid4()
    await die_at(story, story.mediator(story.saga("A", "Old", "B"), storage), "act B", saga_id)
    new = story.saga("A", "B", retired_steps=[story.step("Old")])
    story.failures["act B"] = [ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        await recover(story, new, saga_id, storage)

    assert ["act A", "act Old", "act B", "act B", "undo B", "undo Old", "undo A"] == story.events


async def test_what_nothing_here_undoes_waits_for_a_person(story: Any, storage: Any) -> None:
    """A step that was removed without being retired."""
    saga_id = uuid.uuid4()
    story.failures["act B"] = [ValueError("no")]
    await die_at(story, story.mediator(story.saga("A", "Old", "B"), storage), "undo Old", saga_id)
    with pytest.raises(errors.SagaUnrunnable, match="nothing here undoes Old: keep what does in retired_steps"):
        await recover(story, story.saga("A", "B"), saga_id, storage)
    record = await storage.load(saga_id)

    assert (SagaStatus.SUSPENDED, SagaStatus.COMPENSATING) == (record.status, record.suspended_from)


async def test_a_saga_that_kills_its_drivers_waits_for_a_person(story: Any, storage: Any) -> None:
    """Claims are counted, and not failures: a process that dies tells of none. Five are enough."""
    saga = story.saga("A", "B")
    mediator = story.mediator(saga, storage)
    saga_id = uuid.uuid4()
    await die_at(story, mediator, "act B", saga_id)
    for _ in range(5):
        await die_at(story, mediator, "act B", saga_id)
    with pytest.raises(errors.SagaUnrunnable, match="it was claimed 6 times without a step getting done"):
        await recover(story, saga, saga_id, storage)

    assert SagaStatus.SUSPENDED is (await storage.load(saga_id)).status


async def test_a_step_that_gets_done_ends_the_count(story: Any, storage: Any) -> None:
    saga = story.saga("A", "B", "C")
    mediator = story.mediator(saga, storage)
    saga_id = uuid.uuid4()
    for moment in ("act B", "act B", "act B", "act C"):
        await die_at(story, mediator, moment, saga_id)

    assert 0 == (await storage.load(saga_id)).claims


async def test_who_recovers_an_undone_saga_is_told_why_it_is(story: Any, storage: Any) -> None:
    """The step has failed elsewhere; its error is stored."""
    saga = story.saga("A", "B")
    mediator = story.mediator(saga, storage)
    story.failures["act B"] = [ValueError("declined")]
    saga_id = uuid.uuid4()
    await die_at(story, mediator, "undo A", saga_id)
    with pytest.raises(errors.SagaFailed, match="The reason: ValueError: declined"):
        await recover(story, saga, saga_id, storage)


async def test_what_is_recovered_by_hand_publishes_with_the_emitter_that_was_given(story: Any, storage: Any) -> None:
    """Without one, a saga whose step has something to publish is left as it is, and not undone."""

    class Sent(cqrs.NotificationEvent[str]):
        pass

    class Publisher:
        published: list[object] = []

        async def publish(self, event: Any) -> None:
            self.published.append(event.payload)

    async def act(self: Any, context: Any) -> Any:
        self.events.append(Sent(event_name="Sent", payload="b"))
        await story.tell("act B", context)
        return self.result()

    saga = story.saga("A", story.step("B", act=act))
    mediator = story.mediator(saga, storage)
    saga_id = uuid.uuid4()
    await die_at(story, mediator, "act B", saga_id)
    with pytest.raises(errors.SagaUnrunnable, match="Sent"):
        await recover(story, saga, saga_id, storage)
    storage._going[saga_id].wake_at = story.clock.now()  # noqa: SLF001 - as if its lease had run out
    emitter = EventEmitter(cqrs.EventMap(), HandlerSource(cqrs.SimpleContainer()), publisher=Publisher())
    await cqrs.recover_saga(saga=saga, saga_id=saga_id, storage=storage, event_emitter=emitter)

    assert ["b"] == Publisher.published
    assert SagaStatus.COMPLETED is (await storage.load(saga_id)).status
    assert ["act A"] + ["act B"] * 3 == story.events


async def test_a_mediator_recovers_with_its_own_events(story: Any, storage: Any) -> None:
    saga = story.saga("A", "B")
    mediator = story.mediator(saga, storage)
    saga_id = uuid.uuid4()
    await die_at(story, mediator, "act B", saga_id)

    assert ["b"] == [result.response async for result in mediator.recover(saga_id, saga=saga)]
    with pytest.raises(errors.InvalidOption, match="a saga that is bound"):
        mediator.recover(saga_id, saga=story.saga("Z"))


async def test_a_pivot_that_was_interrupted_is_done_again(story: Any, storage: Any) -> None:
    saga = story.saga("A", story.step("P", kind=StepKind.PIVOT))
    saga_id = uuid.uuid4()
    await die_at(story, story.mediator(saga, storage), "act P", saga_id)
    await recover(story, saga, saga_id, storage)

    assert ["act A", "act P", "act P"] == story.events


@dataclass
class Address:
    street: str


@dataclass
class Delivery(cqrs.SagaContext):
    address: Address
    phone: str | None = None


def test_unknown_fields_of_what_is_within_the_context_are_kept() -> None:
    """Of dataclasses that are its fields, as deep as they go; of lists and dicts, nobody can tell which is which."""
    form = ContextForm(Delivery)
    written = b'{"address":{"street":"Main","floor":3,"geo":{"x":1}},"phone":null,"new":[1]}'
    context = form.decode(written)
    unknown = form.unknown(context, written)
    context.address = Address("Side")
    again = json.loads(form.encode(context, unknown))

    assert {"address": {"floor": 3, "geo": {"x": 1}}, "new": [1]} == unknown
    assert {"address": {"street": "Side", "floor": 3, "geo": {"x": 1}}, "phone": None, "new": [1]} == again
    assert {} == form.unknown(form.decode(again := json.dumps({"address": {"street": "x"}}).encode()), again)


async def test_a_saga_that_has_done_all_that_a_shorter_version_does_waits_for_a_person(
    story: Any, storage: Any
) -> None:
    """Its last step was removed before it was begun: whether it is complete, nobody but a person knows."""
    saga_id = uuid.uuid4()
    mediator = story.mediator(story.saga("A", "B"), storage)
    async with aclosing(mediator.stream(story.Order(), saga_id)) as results:
        await anext(results)
    with pytest.raises(errors.SagaUnrunnable, match="it has done all that Made has to do"):
        await recover(story, story.saga("A"), saga_id, storage)
    record = await storage.load(saga_id)

    assert ("B", SagaStatus.SUSPENDED) == (record.step_id, record.status)


async def test_a_history_that_does_not_fit_waits_for_a_person(story: Any, storage: Any) -> None:
    """Two steps are to be undone, and the history knows of one: something was lost, and nothing is guessed."""
    saga = story.saga("A", "B", "C")
    saga_id = uuid.uuid4()
    story.failures["act C"] = [ValueError("no")]
    await die_at(story, story.mediator(saga, storage), "undo B", saga_id)
    del storage._going[saga_id].history[0]  # noqa: SLF001 - as no storage would
    with pytest.raises(errors.SagaUnrunnable, match="2 steps are to be undone, and its history has 1"):
        await recover(story, saga, saga_id, storage)


async def test_a_definition_that_cannot_be_put_together_is_told(story: Any, storage: Any) -> None:
    class Asks(story.step("A")):  # type: ignore[misc] # a class that is made here
        def __init__(self, service: int) -> None: ...

    with pytest.raises(cqrs.WiringError, match="service"):
        await recover(story, story.saga(Asks), uuid.uuid4(), storage)


async def test_a_saga_that_is_claimed_for_the_first_time_has_no_history_to_read(story: Any, storage: Any) -> None:
    """Its version says so; one that has been written since, or decided about, may have one."""
    mediator = story.mediator(story.saga("A", "B"), storage)
    history, read = storage.get_step_history, []

    async def count(saga_id: uuid.UUID) -> Any:
        read.append(saga_id)
        return await history(saga_id)

    storage.get_step_history = count
    new, left = await mediator.start(story.Order("new")), uuid.uuid4()
    await die_at(story, mediator, "act B", left)
    assert 2 == await mediator.worker().run_once()

    assert [left] == read
    assert [SagaStatus.COMPLETED] * 2 == [(await storage.load(saga_id)).status for saga_id in (new, left)]
