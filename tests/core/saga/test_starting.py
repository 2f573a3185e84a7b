"""A saga is started once under its id; whoever comes again is told how it ends."""

from __future__ import annotations

import uuid
from contextlib import aclosing
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.bootstrap import bootstrap_sagas
from cqrs_core.concurrency import Gate, open_task_group
from cqrs_core.saga.log import SagaStatus


async def test_a_second_start_of_a_completed_saga_does_nothing(story: Any) -> None:
    mediator = story.mediator(story.saga("A"))
    saga_id = uuid.uuid4()
    await story.run(mediator, saga_id)

    assert [] == await story.run(mediator, saga_id)
    assert ["act A"] == story.events


async def test_a_second_start_of_a_failed_saga_is_told_so(story: Any) -> None:
    mediator = story.mediator(story.saga("A"))
    story.failures["act A"] = [ValueError("no")]
    saga_id = uuid.uuid4()
    with pytest.raises(ValueError, match="no"):
        await story.run(mediator, saga_id)
    with pytest.raises(errors.SagaFailed, match="The reason: ValueError: no") as raised:
        await story.run(mediator, saga_id)

    assert saga_id == raised.value.saga_id
    assert ["act A"] == story.events


async def test_a_second_start_of_a_suspended_saga_is_told_so(story: Any) -> None:
    mediator = story.mediator(story.saga("A", "B"))
    story.failures |= {"act B": [ValueError("no")], "undo A": [OSError("down")] * 3}
    saga_id = uuid.uuid4()
    causes: list[type] = []
    for _ in range(2):
        with pytest.raises(errors.SagaSuspended, match="A could not be undone: OSError: down") as raised:
            await story.run(mediator, saga_id)
        causes.append(type(raised.value.__cause__))

    assert [ValueError, type(None)] == causes
    assert 5 == len(story.events)


async def test_a_second_start_that_waits_for_what_is_forgotten_is_told_so(story: Any) -> None:
    """How it ended, nobody knows any more."""
    storage = cqrs.MemorySagaStorage(max_finished=0, clock=story.clock)
    mediator = story.mediator(story.saga("A"), storage)
    saga_id, is_acting, may_end = uuid.uuid4(), Gate(), Gate()

    async def act() -> None:
        is_acting.open()
        await may_end.wait()

    async def second() -> None:
        with pytest.raises(errors.SagaNotFound):
            await story.run(mediator, saga_id)

    story.on["act A"] = act
    async with open_task_group() as tasks:
        tasks.start(lambda: story.run(mediator, saga_id))
        await is_acting.wait()
        tasks.start(second)
        await story.until(lambda: bool(story.waits))
        may_end.open()

    assert ["act A"] == story.events


async def test_a_mediator_that_has_no_saga_is_wired_once() -> None:
    opened: list[Any] = []

    def open_storage() -> Any:
        opened.append(cqrs.MemorySagaStorage())
        return opened[-1]

    mediator = bootstrap_sagas(saga_storage=open_storage)  # type: ignore[arg-type] # what gives one will do

    assert mediator.storage is mediator.storage is opened[-1]
    assert 1 == len(opened)


async def test_a_storage_in_memory_has_the_clock_of_its_mediator(story: Any) -> None:
    mediator = bootstrap_sagas(sagas_mapper=lambda sagas: sagas.bind(story.Order, story.saga("A")), clock=story.clock)
    record = await mediator.storage.load(await mediator.start(story.Order()))

    assert record is not None
    assert story.clock.now() == record.created_at


async def test_a_second_start_waits_for_the_end_of_the_first(story: Any) -> None:
    """It never drives: each step is done once."""
    mediator = story.mediator(story.saga("A", "B"))
    saga_id, is_acting, may_end = uuid.uuid4(), Gate(), Gate()
    ends: list[Any] = []

    async def act() -> None:
        is_acting.open()
        await may_end.wait()

    story.on["act A"] = act

    async def second() -> None:
        ends.append(await story.run(mediator, saga_id))

    async def first() -> None:
        ends.append(await story.run(mediator, saga_id))

    async with open_task_group() as tasks:
        tasks.start(first)
        await is_acting.wait()
        tasks.start(second)
        await story.until(lambda: bool(story.waits))  # it has looked, and looks again later
        may_end.open()

    assert [["a", "b"], []] == ends
    assert ["act A", "act B"] == story.events


async def test_another_input_under_the_same_id_is_refused(story: Any) -> None:
    mediator = story.mediator(story.saga("A"))
    saga_id = uuid.uuid4()
    await story.run(mediator, saga_id)
    before = await mediator.storage.load(saga_id)
    with pytest.raises(ValueError, match="and was started with another context. Nothing was changed"):
        await story.run(mediator, saga_id, story.Order("o-2"))

    assert before == await mediator.storage.load(saga_id)


async def test_another_saga_under_the_same_id_is_refused(story: Any) -> None:
    storage = cqrs.MemorySagaStorage(clock=story.clock)
    saga_id = uuid.uuid4()
    await story.run(story.mediator(story.saga("A", name="First"), storage), saga_id)
    with pytest.raises(errors.SagaAlreadyExists, match="as a First"):
        await story.run(story.mediator(story.saga("A", name="Second"), storage), saga_id)


async def test_a_saga_that_its_driver_has_left_is_gone_on_with(story: Any) -> None:
    """Who stopped to iterate comes again: what is done is not done again, and nothing is in doubt."""
    mediator = story.mediator(story.saga("A", "B", "C"))
    saga_id = uuid.uuid4()
    async with aclosing(mediator.stream(story.Order(), saga_id)) as results:
        async for _ in results:
            break
    left = await mediator.storage.load(saga_id)

    assert (SagaStatus.RUNNING, 1, 0, None) == (left.status, left.cursor, left.attempt, left.owner)
    assert ["b", "c"] == await story.run(mediator, saga_id)
    assert ["act A", "act B", "act C"] == story.events
    assert ["", "A", "AB"] == story.notes


async def test_start_leaves_the_saga_to_others(story: Any) -> None:
    mediator = story.mediator(story.saga("A"))
    saga_id = await mediator.start(story.Order())
    again = await mediator.start(story.Order(), saga_id)
    record = await mediator.storage.load(saga_id)

    assert saga_id == again
    assert [] == story.events
    assert (SagaStatus.PENDING, 0) == (record.status, record.attempt)
    assert ["a"] == await story.run(mediator, saga_id)


async def test_a_context_without_a_saga_is_told_at_once(story: Any) -> None:
    class Other(cqrs.SagaContext):
        name: str

    mediator = story.mediator(story.saga("A"))
    with pytest.raises(LookupError, match=r"No saga is bound to .*Other"):
        mediator.stream(Other("x"))


async def test_of_several_sagas_for_a_context_one_is_named(story: Any) -> None:
    one, two, three = (story.saga(letter, name=letter) for letter in "ABC")

    def bind(sagas: cqrs.SagaMap) -> None:
        sagas.bind(story.Order, one)
        sagas.bind(story.Order, two)

    mediator = cqrs.bootstrap.bootstrap_sagas(sagas_mapper=bind)

    assert ["b"] == [result.response async for result in mediator.stream(story.Order(), saga=two)]
    with pytest.raises(errors.SagaNotBound, match="Bound are A, B: say which, by saga="):
        mediator.stream(story.Order())
    with pytest.raises(errors.SagaNotBound, match="Bound are A, B: C is not"):
        mediator.stream(story.Order(), saga=three)


def test_everything_that_is_wrong_with_a_map_is_told_at_once(story: Any) -> None:
    class Other(cqrs.SagaContext):
        name: str

    class Asks(story.step("A")):  # type: ignore[misc] # a class that is made here
        def __init__(self, service: int) -> None: ...

    def bind(sagas: cqrs.SagaMap) -> None:
        sagas.bind(Other, story.saga("A", name="One"))
        sagas.bind(story.Order, story.saga("A", name="One"))

    with pytest.raises(cqrs.WiringError, match="2 wiring problems") as raised:
        cqrs.bootstrap.bootstrap_sagas(sagas_mapper=bind)
    with pytest.raises(cqrs.WiringError, match="service"):
        story.mediator(story.saga(Asks))
    with pytest.raises(cqrs.WiringError, match="saga_storage is"):
        cqrs.bootstrap.bootstrap_sagas(saga_storage=object())  # type: ignore[arg-type]  # wrong on purpose

    assert "It is bound to" in str(raised.value)
    assert "has its name too, 'One'" in str(raised.value)


def test_a_context_that_json_cannot_carry_is_refused_before_anything_runs() -> None:
    class Odd(cqrs.SagaContext):
        thing: complex

    class A(cqrs.SagaStepHandler[Odd, None]):
        async def act(self, context: Odd) -> Any: ...

    class OddSaga(cqrs.Saga[Odd]):
        steps = [A]

    with pytest.raises(cqrs.WiringError, match="complex has no form in JSON"):
        cqrs.bootstrap.bootstrap_sagas(sagas_mapper=lambda sagas: sagas.bind(Odd, OddSaga))


def test_a_map_in_use_is_frozen(story: Any) -> None:
    kept: list[cqrs.SagaMap] = []
    saga = story.saga("A")

    def bind(sagas: cqrs.SagaMap) -> None:
        kept.append(sagas)
        sagas.bind(story.Order, saga)

    cqrs.bootstrap.bootstrap_sagas(sagas_mapper=bind)
    with pytest.raises(RuntimeError, match="this SagaMap is in use"):
        kept[0].bind(story.Order, saga)
    assert 1 == len(kept[0])


async def test_a_startup_comes_before_the_first_saga(story: Any) -> None:
    async def start() -> None:
        story.events.append("startup")

    mediator = story.mediator(story.saga("A"), on_startup=[start])
    await story.run(mediator)
    await story.run(mediator)

    assert ["startup", "act A", "act A"] == story.events
