"""What workers of sagas tell an observer."""

from __future__ import annotations

from typing import Any

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.saga.figures import METRICS
from cqrs_core.saga.plan import StepKind
from cqrs_core.testing import VirtualClock


def app_of(story: Any, clock: VirtualClock, notebook: Any) -> cqrs.App:
    app = cqrs.App("shop", storage=cqrs.MemoryStorage(clock=clock), observer=notebook, clock=clock)
    pivot = story.step("P", kind=StepKind.PIVOT)
    app.sagas.bind(story.Order, story.saga("A", pivot, story.step("R", kind=StepKind.RETRIABLE)))
    return app


async def test_an_observer_is_told_what_became_of_sagas(story: Any, notebook: Any) -> None:
    """Each claim and each end by the name of the saga; how all of them do, every 15 seconds."""
    clock = VirtualClock()
    app = app_of(story, clock, notebook)
    story.failures |= {"act A": [None, ValueError("no")], "act P": [None, TimeoutError()]}
    async with app.running(only=["sagas"]):
        await clock.until_asleep(2)
        worker = app.saga_worker
        assert worker is not None
        for number in range(1, 4):
            await app.start_saga(story.Order(f"{number}"))
            await story.until(lambda total=2 * number: worker.counts.total() == total)
        await clock.advance(15.0)
        await clock.until_asleep(2)

    assert {"claimed": 3, "completed": 1, "failed": 1, "suspended": 1} == dict(worker.counts)
    assert {"claimed Made": 3, "completed Made": 1, "failed Made": 1, "suspended Made": 1} == notebook.totals
    assert {
        "waiting_for_person": [0, 1],
        "live": [0, 0],
        "oldest_due": [0.0, 0.0],
        "most_claims": [0, 0],
    } == notebook.values
    assert {metric.name for metric in METRICS} - {"cqrs.sagas.left"} == {metric.name for metric in notebook.metrics}


async def test_what_nobody_claims_grows_older(story: Any, notebook: Any) -> None:
    """Here, a saga whose name this worker does not know."""
    clock = VirtualClock()
    storage = cqrs.MemoryStorage(clock=clock)
    app = cqrs.App("shop", storage=storage, observer=notebook, clock=clock)
    app.sagas.bind(story.Order, story.saga("A", name="Known"))
    other = cqrs.App("other", storage=storage, clock=clock)
    other.sagas.bind(story.Order, story.saga("A", name="Unknown"))
    async with other, app.running(only=["sagas"]):
        await other.start_saga(story.Order())
        await clock.until_asleep(2)
        await clock.advance(15.0)
        await clock.until_asleep(2)

    assert [1, 1] == notebook.values["live"][-2:]
    assert 15.0 == notebook.values["oldest_due"][-1]


async def test_sagas_that_cannot_be_looked_at_are_driven_all_the_same(story: Any, notebook: Any) -> None:
    """To observe must do no harm."""
    clock = VirtualClock()
    storage = cqrs.MemoryStorage(clock=clock)
    app = cqrs.App("shop", storage=storage, observer=notebook, clock=clock)
    app.sagas.bind(story.Order, story.saga("A"))
    figures, failures = storage.sagas.figures, [errors.StorageUnavailable("the database", "it is away")]

    async def fail_once() -> Any:
        if failures:
            raise failures.pop()
        return await figures()

    storage.sagas.figures = fail_once  # type: ignore[method-assign]  # for a while
    async with app.running(only=["sagas"]):
        await app.start_saga(story.Order())
        await clock.until_asleep(2)
        assert {} == notebook.values
        await clock.advance(15.0)
        await clock.until_asleep(2)

    assert {"claimed Made": 1, "completed Made": 1} == notebook.totals
    assert [0] == notebook.values["live"]


async def test_unobserved_nobody_looks(story: Any) -> None:
    clock = VirtualClock()
    storage = cqrs.MemoryStorage(clock=clock)
    storage.sagas.figures = None  # type: ignore[method-assign, assignment]  # not to be called
    app = cqrs.App("shop", storage=storage, clock=clock)
    app.sagas.bind(story.Order, story.saga("A"))
    async with app.running(only=["sagas"]):
        await app.start_saga(story.Order())
        await clock.until_asleep(1)

    worker = app.saga_worker
    assert worker is not None
    assert {"claimed": 1, "completed": 1} == dict(worker.counts)
