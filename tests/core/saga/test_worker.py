"""The worker: drives what is due, shares it with others, and stops in good order."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.bootstrap import bootstrap_sagas
from cqrs_core.concurrency import Gate, open_task_group, sleep
from cqrs_core.saga.log import SagaStatus


def mediator_of(story: Any, saga: Any, storage: Any, clock: Any, **options: Any) -> cqrs.SagaMediator:
    return bootstrap_sagas(
        sagas_mapper=lambda sagas: sagas.bind(story.Order, saga),
        saga_storage=storage,
        clock=clock,
        options=cqrs.SagaOptions(**options),
    )


@asynccontextmanager
async def running(*workers: cqrs.SagaRecoveryWorker) -> Any:
    """Run workers for the length of a block, and stop them at its end."""
    async with open_task_group() as tasks:
        stopping = Gate()
        for worker in workers:
            tasks.start(lambda worker=worker: worker.run(stopping))  # type: ignore[misc] # one for each
        yield stopping
        stopping.open()


def ended(storage: Any, saga_id: uuid.UUID) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        record = await storage.load(saga_id)
        return bool(record.status.is_ended or record.status is SagaStatus.SUSPENDED)

    return look


async def test_a_saga_that_was_started_is_driven_at_once(story: Any, storage: Any, clock: Any) -> None:
    """The worker of the same process hears of it: no time passes."""
    mediator = mediator_of(story, story.saga("A", "B"), storage, clock)
    worker = mediator.worker()
    async with running(worker):
        await clock.until_asleep()
        saga_id = await mediator.start(story.Order())
        await story.until(ended(storage, saga_id))

    assert ["act A", "act B"] == story.events
    assert {"claimed": 1, "completed": 1} == dict(worker.counts)


async def test_a_saga_that_another_process_has_started_is_found(story: Any, storage: Any, clock: Any) -> None:
    """Within a second and a fifth."""
    saga = story.saga("A")
    mediator = mediator_of(story, saga, storage, clock)
    async with running(mediator.worker()):
        await clock.until_asleep()
        saga_id = await mediator_of(story, saga, storage, clock).start(story.Order())
        await clock.advance(1.2)
        await story.until(ended(storage, saga_id))

    assert ["act A"] == story.events
    polls = [seconds for seconds in clock.slept if seconds < 10]
    assert all(0.8 <= seconds <= 1.2 for seconds in polls)


async def test_two_workers_share_the_sagas(story: Any, storage: Any, clock: Any) -> None:
    """Twenty sagas, each driven once."""
    saga = story.saga("A")
    mediators = [mediator_of(story, saga, storage, clock, max_concurrent=2) for _ in range(2)]
    ids = [await mediators[0].start(story.Order(f"{number}")) for number in range(20)]
    workers = [mediator.worker() for mediator in mediators]
    async with running(*workers):
        for saga_id in ids:
            await story.until(ended(storage, saga_id))

    assert ["act A"] * 20 == story.events
    assert 20 == sum(worker.counts["completed"] for worker in workers)


async def test_no_more_sagas_are_driven_at_once_than_allowed(story: Any, storage: Any, clock: Any) -> None:
    mediator = mediator_of(story, story.saga("A"), storage, clock, max_concurrent=3)
    at_work: list[int] = [0, 0]

    async def act() -> None:
        at_work[0] += 1
        at_work[1] = max(at_work)
        for _ in range(10):
            await sleep(0)
        at_work[0] -= 1

    story.on["act A"] = act
    ids = [await mediator.start(story.Order(f"{number}")) for number in range(10)]
    async with running(mediator.worker()):
        for saga_id in ids:
            await story.until(ended(storage, saga_id))

    assert 3 == at_work[1]


async def test_only_sagas_that_it_knows_are_claimed(story: Any, storage: Any, clock: Any) -> None:
    other = mediator_of(story, story.saga("A", name="Other"), storage, clock)
    saga_id = await other.start(story.Order())
    worker = mediator_of(story, story.saga("A", name="Known"), storage, clock).worker()

    assert 0 == await worker.run_once()
    assert SagaStatus.PENDING is (await storage.load(saga_id)).status


async def test_a_saga_that_nobody_can_run_waits_for_a_person_at_last(story: Any, storage: Any, clock: Any) -> None:
    """Its name has been unknown to all workers for an hour."""
    saga_id = await mediator_of(story, story.saga("A", name="Gone"), storage, clock).start(story.Order())
    worker = mediator_of(story, story.saga("A", name="Known"), storage, clock).worker()
    async with running(worker):
        await clock.until_asleep()
        assert SagaStatus.PENDING is (await storage.load(saga_id)).status
        for _ in range(3):
            await clock.advance(3600.0 / 2)
            await clock.until_asleep()
        await story.until(ended(storage, saga_id))
    record = await storage.load(saga_id)

    assert (SagaStatus.SUSPENDED, SagaStatus.RUNNING) == (record.status, record.suspended_from)
    assert "no program that is running has a saga of its name, 'Gone'." == record.error


async def test_what_cannot_be_run_here_is_left_to_others_and_waits_for_a_person_at_last(
    story: Any, storage: Any, clock: Any
) -> None:
    """A newer version may run beside this one: it gets the saga, if it comes in time."""
    old, new = story.saga("A", "B"), story.saga("X", "A", "B")
    saga_id = await mediator_of(story, old, storage, clock).start(story.Order())
    storage._going[saga_id].standing = storage._going[saga_id].standing._replace(attempt=1)  # noqa: SLF001 - as a crash leaves it
    worker = mediator_of(story, new, storage, clock).worker()
    waits: list[float] = []
    for _ in range(20):  # far more than it takes
        record = await storage.load(saga_id)
        if not record.status.is_live:
            break
        if record.wake_at > clock.now():
            waits.append(round((record.wake_at - clock.now()).total_seconds()))
            await clock.advance((record.wake_at - clock.now()).total_seconds())
        await worker.run_once()

    assert 4 == len(waits)
    assert sorted(waits) == waits
    assert waits[0] <= 5
    assert "its definition has changed" in record.error
    assert 1 == record.attempt
    assert [] == story.events


async def test_a_saga_that_fails_is_undone_and_counted(story: Any, storage: Any, clock: Any) -> None:
    mediator = mediator_of(story, story.saga("A", "B"), storage, clock)
    story.failures["act B"] = [ValueError("no")]
    await mediator.start(story.Order())
    worker = mediator.worker()

    assert 1 == await worker.run_once()
    assert ["act A", "act B", "undo A"] == story.events
    assert {"claimed": 1, "failed": 1} == dict(worker.counts)


async def test_a_saga_that_waits_for_a_person_is_told(
    story: Any, storage: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    step = story.step("A", compensation_retry=None)
    mediator = mediator_of(story, story.saga(step, "B"), storage, clock)
    story.failures |= {"act B": [ValueError("no")], "undo A": [OSError("down")]}
    await mediator.start(story.Order())
    worker = mediator.worker()
    await worker.run_once()

    assert {"claimed": 1, "suspended": 1} == dict(worker.counts)
    assert "A saga waits for a person." in [record.getMessage() for record in caplog.records]


async def test_stopped_it_lets_steps_end_and_leaves_the_rest_to_others(story: Any, storage: Any, clock: Any) -> None:
    """Nothing is in doubt, and nothing is counted against the saga."""
    mediator = mediator_of(story, story.saga("A", "B"), storage, clock)
    is_acting, may_end = Gate(), Gate()

    async def act() -> None:
        is_acting.open()
        await may_end.wait()

    story.on["act A"] = act
    saga_id = await mediator.start(story.Order())
    worker = mediator.worker()
    async with running(worker) as stopping:
        await is_acting.wait()
        stopping.open()
        await sleep(0)
        may_end.open()
    record = await storage.load(saga_id)

    assert ["act A"] == story.events
    assert (SagaStatus.RUNNING, 1, 0, None, 0) == (
        record.status,
        record.cursor,
        record.attempt,
        record.owner,
        record.claims,
    )
    assert {"claimed": 1, "left": 1} == dict(worker.counts)


async def test_a_step_that_does_not_end_in_time_is_cancelled_and_in_doubt(story: Any, storage: Any, clock: Any) -> None:
    """It is due at once, with one attempt that may have taken effect; there is no worker that would undo it here."""
    mediator = mediator_of(story, story.saga("A", "B"), storage, clock)
    is_acting = Gate()

    async def act() -> None:
        is_acting.open()
        await Gate().wait()

    story.on["act A"] = act
    saga_id = await mediator.start(story.Order())
    async with running(mediator.worker(stop_deadline_s=5.0)) as stopping:
        await is_acting.wait()
        stopping.open()
        await clock.until_asleep(2)
        await clock.advance(5.0)
    record = await storage.load(saga_id)

    assert (SagaStatus.RUNNING, 0, 1, None, 1) == (
        record.status,
        record.cursor,
        record.attempt,
        record.owner,
        record.claims,
    )


async def test_a_storage_that_is_down_is_asked_again(
    story: Any, storage: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mediator = mediator_of(story, story.saga("A"), storage, clock)
    saga_id = await mediator.start(story.Order())
    claim, failures = storage.claim, [1, 2]

    async def down(which: Any) -> Any:
        if failures:
            failures.pop()
            raise errors.StorageUnavailable("The storage", "it is down.")
        return await claim(which)

    storage.claim = down
    async with running(mediator.worker()):
        for _ in range(2):
            await clock.until_asleep()
            await clock.advance(1.0)
        await story.until(ended(storage, saga_id))

    assert 2 == sum("Sagas cannot be claimed" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    "wrong", [{"lease_s": 0}, {"poll_s": -1}, {"max_concurrent": 0}, {"max_claims": True}, {"orphans_after_s": "x"}]
)
def test_options_have_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidOption, match=next(iter(wrong))):
        cqrs.SagaOptions(**wrong)


async def test_a_claimed_saga_that_is_lost_at_once_is_left(
    story: Any, storage: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its history cannot be read: the lease runs out, and somebody else has better luck."""
    mediator = mediator_of(story, story.saga("A"), storage, clock)
    saga_id = await mediator.start(story.Order())
    storage._going[saga_id].version = 2  # noqa: SLF001 - it was claimed before, and may have a history
    history = storage.get_step_history

    async def down(_: uuid.UUID) -> Any:
        raise errors.StorageUnavailable("The storage", "it is down.")

    storage.get_step_history = down
    worker = mediator.worker()
    await worker.run_once()
    storage.get_step_history = history
    await clock.advance(30.0)
    await worker.run_once()

    assert ["act A"] == story.events
    assert SagaStatus.COMPLETED is (await storage.load(saga_id)).status
    assert "A saga that was claimed is left until its lease runs out" in caplog.text


async def test_a_storage_that_goes_down_in_a_step_leaves_the_saga_to_the_next(
    story: Any, storage: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mediator = mediator_of(story, story.saga("A"), storage, clock)
    await mediator.start(story.Order())
    write = storage.write

    async def lose(*_: Any, **__: Any) -> None:
        raise errors.SagaFenced(uuid.uuid4())

    async def go_down() -> None:
        storage.write = lose

    story.on["act A"] = go_down
    worker = mediator.worker()
    await worker.run_once()
    storage.write = write

    assert 1 == worker.counts["left"]
    assert "A saga is left to whoever claims it next." in caplog.text


async def test_an_old_saga_of_a_known_name_is_driven_like_any_other(story: Any, storage: Any, clock: Any) -> None:
    """What looks for sagas that nobody knows may find one that it does."""
    mediator = mediator_of(story, story.saga("A"), storage, clock, max_concurrent=1)
    ids = [await mediator.start(story.Order(f"{number}")) for number in range(2)]
    await clock.advance(3601.0)
    async with running(mediator.worker()):
        for saga_id in ids:
            await story.until(ended(storage, saga_id))

    assert ["act A"] * 2 == story.events


async def test_many_old_sagas_of_a_known_name_are_no_more_at_once_than_allowed(
    story: Any, storage: Any, clock: Any
) -> None:
    """They are counted, claiming goes on beside them, and when the worker stops each ends the step that it is at."""
    mediator = mediator_of(story, story.saga("A", "B"), storage, clock, max_concurrent=2)
    ids = [await mediator.start(story.Order(f"{number}")) for number in range(3)]
    await clock.advance(3601.0)
    acting: list[str] = []
    may_end = Gate()

    async def act() -> None:
        acting.append("A")
        await may_end.wait()

    story.on["act A"] = act
    worker = mediator.worker()
    async with running(worker) as stopping:
        await story.until(lambda: len(acting) == 2)
        stopping.open()
        may_end.open()
    statuses = [(record.status, record.cursor) for saga_id in ids if (record := await storage.load(saga_id))]

    assert ["act A", "act A"] == story.events
    assert {"claimed": 2, "left": 2} == dict(worker.counts)
    assert [(SagaStatus.RUNNING, 1)] * 2 + [(SagaStatus.PENDING, 0)] == sorted(statuses, key=lambda pair: -pair[1])


async def test_an_orphan_that_cannot_be_suspended_stands_in_nobodys_way(
    story: Any, storage: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A person was faster, or the storage goes down just then: what can be driven is driven, and nothing is lost."""
    await mediator_of(story, story.saga("A", name="Gone"), storage, clock).start(story.Order())
    mediator = mediator_of(story, story.saga("A", name="Known"), storage, clock)
    await clock.advance(3601.0)
    saga_id = await mediator.start(story.Order())
    write, failures = storage.write, [errors.StorageUnavailable("The storage", "it is down."), "fenced"]

    async def fail(what: Any, **named: Any) -> None:
        if what.standing.status is SagaStatus.SUSPENDED:
            failure = failures.pop(0)
            raise errors.SagaFenced(what.saga_id) if failure == "fenced" else failure
        await write(what, **named)

    storage.write = fail
    async with running(mediator.worker()):
        await story.until(ended(storage, saga_id))
        assert ["fenced"] == failures
        await clock.until_asleep()
        while failures:
            await clock.advance(61.0)
            await clock.until_asleep()
        later = await mediator.start(story.Order())
        await story.until(ended(storage, later))

    assert ["act A", "act A"] == story.events
    assert "A saga of an unknown name was not suspended" in caplog.text


async def test_what_is_claimed_while_the_worker_stops_is_left_as_it_was(story: Any, storage: Any, clock: Any) -> None:
    """Nothing is begun, nothing is counted against it, and what its last driver may have done is not forgotten."""
    mediator = mediator_of(story, story.saga("A"), storage, clock)
    saga_id = await mediator.start(story.Order())
    row = storage._going[saga_id]  # noqa: SLF001 - as a crash leaves it
    row.standing, row.claims = row.standing._replace(status=SagaStatus.RUNNING, attempt=1), 2
    claim, is_asked, may_answer = storage.claim, Gate(), Gate()

    async def answer_late(which: Any) -> Any:
        claimed = await claim(which)
        if which.overdue_s:
            return claimed
        is_asked.open()
        await may_answer.wait()
        return claimed

    storage.claim = answer_late
    worker = mediator.worker()
    async with running(worker) as stopping:
        await is_asked.wait()
        stopping.open()
        may_answer.open()
    record = await storage.load(saga_id)

    assert [] == story.events
    assert (SagaStatus.RUNNING, 1, 2, None) == (record.status, record.attempt, record.claims, record.owner)
    assert record.wake_at <= clock.now()
    assert {"claimed": 1, "left": 1} == dict(worker.counts)
