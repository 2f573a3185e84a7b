"""Sagas that were claimed often without getting on: the one that ends its processes is found, and no other punished."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.concurrency import Gate, sleep
from cqrs_core.saga.log import SagaStatus

from .test_worker import ended, mediator_of, running


class Died(BaseException):
    """The process is dead: nothing catches this."""


class Process:
    """The storage as one process sees it: when that is dead, it asks for nothing any more."""

    def __init__(self, storage: cqrs.MemorySagaStorage) -> None:
        self._storage = storage
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        if self.is_dead:
            raise Died
        return getattr(self._storage, name)

    def die(self) -> None:
        self.is_dead = True
        raise Died


def dying(story: Any, guilty: str, processes: list[Process]) -> Any:
    """Write a step that ends its process in one saga, and takes a while in others."""

    async def act(self: Any, context: Any) -> Any:
        await story.tell("act A", context)
        await sleep(0)
        if context.order_id == guilty:
            processes[-1].die()
        while not processes[-1].is_dead and context.order_id != guilty and len(processes) < 5:
            await sleep(0)  # none of them gets on before the process has ended five times
        return self.result()

    return story.step("A", act=act)


async def started(mediator: cqrs.SagaMediator, story: Any, storage: Any, claims: int, *orders: str) -> list[uuid.UUID]:
    """Start sagas that were claimed so often, by drivers that have died."""
    ids = [await mediator.start(story.Order(order)) for order in orders]
    for saga_id in ids:
        row = storage._going[saga_id]  # noqa: SLF001 - as crashes leave it
        row.standing, row.claims = row.standing._replace(status=SagaStatus.RUNNING, attempt=claims), claims
    return ids


@pytest.mark.parametrize("guilty", range(6))
async def test_only_the_saga_that_ends_its_process_waits_for_a_person(
    story: Any, storage: Any, clock: Any, guilty: int
) -> None:
    """It is claimed with five others, again and again, and takes them all down with it each time."""
    processes: list[Process] = []
    saga = story.saga(dying(story, f"{guilty}", processes))
    ids = [await mediator_of(story, saga, storage, clock).start(story.Order(f"{number}")) for number in range(6)]
    while storage._going and len(processes) < 9:  # noqa: SLF001 - those that have not ended; far more than it takes
        processes.append(Process(storage))
        try:
            async with running(mediator_of(story, saga, processes[-1], clock).worker()):
                for saga_id in ids:
                    await story.until(ended(storage, saga_id))
            break
        except BaseException:  # trio's task groups raise groups
            if not processes[-1].is_dead:
                raise
            await clock.advance(31.0)
    records = [await storage.load(saga_id) for saga_id in ids]

    assert {guilty} == {number for number, record in enumerate(records) if record.status is SagaStatus.SUSPENDED}
    assert {SagaStatus.COMPLETED, SagaStatus.SUSPENDED} == {record.status for record in records}
    assert 6 == len(processes)  # five that it ended, and one that learns of it
    assert "it was claimed 6 times" in records[guilty].error
    assert "nothing else at work beside one that was claimed 5 times" in records[guilty].error


async def test_nothing_else_is_at_work_beside_a_suspect(story: Any, storage: Any, clock: Any) -> None:
    """It waits for what is at work, and nothing is claimed meanwhile, until a step of it is done."""
    mediator = mediator_of(story, story.saga("A", "B"), storage, clock)
    at_work: list[int] = []
    busy = [0]

    async def act() -> None:
        busy[0] += 1
        for _ in range(5):
            at_work.append(busy[0])
            await sleep(0)
        busy[0] -= 1

    story.on["act A"] = act
    suspects = await started(mediator, story, storage, 4, "1", "2", "3")
    async with running(mediator.worker()):
        for saga_id in suspects:
            await story.until(ended(storage, saga_id))

    assert {1} == set(at_work)
    assert ["act A"] * 3 == [event for event in story.events if event == "act A"]


async def test_the_claim_of_a_suspect_that_waits_is_not_counted(story: Any, storage: Any, clock: Any) -> None:
    """What ends the process before its turn is none of its doing; nor is it begun when the worker stops."""
    mediator = mediator_of(story, story.saga("A"), storage, clock)
    is_acting, may_end = Gate(), Gate()

    async def act() -> None:
        is_acting.open()
        await may_end.wait()

    story.on["act A"] = act
    (suspect,) = await started(mediator, story, storage, 4, "suspect")
    other = await mediator.start(story.Order("other"))
    worker = mediator.worker()
    async with running(worker) as stopping:
        await is_acting.wait()
        waiting = await storage.load(suspect)
        stopping.open()
        may_end.open()
    left = await storage.load(suspect)

    assert (4, 4, True) == (waiting.claims, waiting.attempt, waiting.owner is not None)
    assert waiting.wake_at > clock.now()
    assert SagaStatus.COMPLETED is (await storage.load(other)).status
    assert (4, 4, None) == (left.claims, left.attempt, left.owner)
    assert left.wake_at <= clock.now()
    assert {"claimed": 2, "completed": 1, "left": 1} == dict(worker.counts)


async def test_a_suspect_that_gets_on_is_none_any_more(story: Any, storage: Any, clock: Any) -> None:
    """Its next step is done among others."""
    mediator = mediator_of(story, story.saga("A", "B"), storage, clock)
    together, others = Gate(), []

    async def start_another() -> None:
        if not others:
            others.append(await mediator.start(story.Order("other")))

    async def meet() -> None:
        if story.events.count("act B") == 2:
            together.open()
        await together.wait()

    story.on |= {"act A": start_another, "act B": meet}
    (suspect,) = await started(mediator, story, storage, 4, "suspect")
    async with running(mediator.worker()):
        for saga_id in (suspect, *others):
            await story.until(ended(storage, saga_id))

    assert ["act A", "act A", "act B", "act B"] == sorted(story.events)


async def test_the_first_claim_of_a_saga_is_never_the_last(story: Any, storage: Any, clock: Any) -> None:
    """With ``max_claims=1`` they are driven beside each other; the second suspends them."""
    mediator = mediator_of(story, story.saga("A"), storage, clock, max_claims=1)
    together = Gate()

    async def meet() -> None:
        if len(story.events) == 2:
            together.open()
        await together.wait()

    story.on["act A"] = meet
    (dead,) = await started(mediator, story, storage, 1, "dead")
    ids = [await mediator.start(story.Order(order)) for order in ("1", "2")]
    async with running(mediator.worker()):
        for saga_id in (dead, *ids):
            await story.until(ended(storage, saga_id))
    error = (await storage.load(dead)).error

    assert "it was claimed 2 times without a step getting done: as a rule" in error
    assert ["act A", "act A"] == story.events


async def test_a_suspect_that_waits_is_kept_and_stops_nobody_else(story: Any, storage: Any, clock: Any) -> None:
    """The worker that has it claims nothing more; another takes what is new, and not the suspect."""
    first, second = (mediator_of(story, story.saga("A"), storage, clock) for _ in range(2))
    may_end, others = Gate(), []

    async def act() -> None:
        if len(story.events) == 1:
            await may_end.wait()

    story.on["act A"] = act
    (suspect,) = await started(first, story, storage, 4, "suspect")
    long = await first.start(story.Order("long"))
    async with running(first.worker()):
        await story.until(lambda: story.events == ["act A"])
        others.append(await second.start(story.Order("new")))
        async with running(second.worker()):
            await story.until(ended(storage, others[0]))
            await clock.advance(61.0)  # two leases: both are renewed
            waiting = await storage.load(suspect)
        may_end.open()
        for saga_id in (long, suspect):
            await story.until(ended(storage, saga_id))

    assert (4, True) == (waiting.claims, waiting.owner is not None)
    assert ["act A"] * 3 == story.events


async def test_a_storage_that_is_down_when_a_suspect_is_found_is_not_held_against_it(
    story: Any, storage: Any, clock: Any
) -> None:
    """It is asked again for as long as the saga is ours."""
    mediator = mediator_of(story, story.saga("A"), storage, clock)
    (suspect,) = await started(mediator, story, storage, 4, "suspect")
    write, failures = storage.write, [errors.StorageUnavailable("The storage", "it is down.")] * 2

    async def fail(what: Any, **named: Any) -> None:
        if failures:
            raise failures.pop()
        await write(what, **named)

    storage.write = fail
    worker = mediator.worker()
    async with running(worker):
        for _ in range(20):  # far more than two pauses
            await clock.until_asleep()
            await clock.advance(0.1)

    assert [] == failures
    assert SagaStatus.COMPLETED is (await storage.load(suspect)).status
    assert ["act A"] == story.events
    assert {"claimed": 1, "completed": 1} == dict(worker.counts)


async def test_what_is_suspended_when_it_is_claimed_is_counted_as_that(story: Any, storage: Any, clock: Any) -> None:
    """Beside what is left to others for a while."""
    mediator = mediator_of(story, story.saga("A"), storage, clock)
    (often,) = await started(mediator, story, storage, 5, "often")
    (misfit,) = await started(mediator, story, storage, 1, "misfit")
    storage._going[misfit].context = b"{}x"  # noqa: SLF001 - as nobody writes it
    worker = mediator.worker()
    async with running(worker):
        await story.until(ended(storage, often))
        await story.until(lambda: worker.counts["left"] == 1)

    assert {"claimed": 2, "suspended": 1, "left": 1} == dict(worker.counts)
