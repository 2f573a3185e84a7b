"""A lease is renewed while its driver lives, however long a step takes; one that is lost ends the step."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_core.bootstrap import bootstrap_sagas
from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import Gate, open_task_group
from cqrs_core.saga.leases import Heartbeat, Lease
from cqrs_core.saga.storage import SagaClaim
from cqrs_core.testing import VirtualClock


class Renewing(cqrs.MemorySagaStorage):
    """Notes what is renewed at once, and loses what it is told to."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.renewed: list[int] = []
        self.lost: set[uuid.UUID] = set()
        self.is_down = False
        self.was_renewed = Gate()

    async def renew(self, held: Any, *, lease_s: float) -> Any:
        if self.is_down:
            raise errors.StorageUnavailable("The storage", "it is down.")
        self.renewed.append(len(held))
        self.was_renewed.open()
        return {*await super().renew(held, lease_s=lease_s), *self.lost}


def mediator_of(story: Any, storage: Any, saga: Any, clock: Any, lease_s: float = 30.0) -> cqrs.SagaMediator:
    return bootstrap_sagas(
        sagas_mapper=lambda sagas: sagas.bind(story.Order, saga),
        saga_storage=storage,
        options=cqrs.SagaOptions(lease_s=lease_s),
        clock=clock,
    )


async def test_all_leases_are_renewed_in_one_call_while_steps_take_long(story: Any) -> None:
    """Three sagas, in steps of 100 s, with leases of 30 s: every 10 s one call for all three, and none becomes due."""
    clock = VirtualClock()
    storage = Renewing(clock=clock)
    mediator = mediator_of(story, storage, story.saga("A"), clock)
    story.on["act A"] = lambda: clock.sleep(100.0)
    due: list[int] = []

    async with open_task_group() as tasks:
        for _ in range(3):
            tasks.start(lambda: story.run(mediator))
        await clock.until_asleep(4)  # three steps, and the heart
        for _ in range(9):
            await clock.advance(10.0)
            await clock.until_asleep(4)
            due.append(len(await storage.claim(SagaClaim("another", 30.0, limit=10))))
        await clock.advance(10.0)

    assert [0] * 9 == due
    assert [3] * 9 == storage.renewed[:9]
    assert ["act A"] * 3 == story.events


async def test_a_lease_that_is_lost_ends_the_step(story: Any) -> None:
    """Nothing of it would be kept; nothing is undone."""
    clock = VirtualClock()
    storage = Renewing(clock=clock)
    mediator = mediator_of(story, storage, story.saga("A"), clock)
    saga_id = uuid.uuid4()
    story.on["act A"] = lambda: Gate().wait()
    raised: list[errors.SagaFenced] = []

    async def run() -> None:
        with pytest.raises(errors.SagaFenced) as found:
            await story.run(mediator, saga_id)
        raised.append(found.value)

    async with open_task_group() as tasks:
        tasks.start(run)
        await clock.until_asleep()
        storage.lost.add(saga_id)
        await clock.advance(10.0)

    assert [saga_id] == [error.saga_id for error in raised]
    assert ["act A"] == story.events


async def test_a_storage_that_cannot_renew_is_asked_again(story: Any, caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    storage = Renewing(clock=clock)
    mediator = mediator_of(story, storage, story.saga("A"), clock)
    may_end = Gate()
    story.on["act A"] = may_end.wait

    async with open_task_group() as tasks:
        tasks.start(lambda: story.run(mediator))
        await clock.until_asleep()
        storage.is_down = True
        await clock.advance(10.0)
        await clock.until_asleep()
        storage.is_down = False
        await clock.advance(10.0)
        await clock.until_asleep()
        may_end.open()

    assert [1] == storage.renewed
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("1 sagas could not be kept: The storage cannot be reached: it is down.")


async def test_a_heart_beats_in_real_time_as_well(story: Any) -> None:
    """With the machine's own clock: a lease of 60 ms, and a step that ends when it has been renewed."""
    storage = Renewing()
    mediator = mediator_of(story, storage, story.saga("A"), SystemClock(), lease_s=0.06)
    story.on["act A"] = storage.was_renewed.wait

    with anyio.fail_after(20):
        assert ["a"] == await story.run(mediator)


async def test_a_checkpoint_renews_only_a_lease_that_is_half_over(story: Any) -> None:
    """An indexed column is not written with every step."""
    clock = VirtualClock()
    storage = cqrs.MemorySagaStorage(clock=clock)
    saga = story.saga("A", "B", "C")
    mediator = mediator_of(story, storage, saga, clock)
    saga_id = uuid.uuid4()
    ends = []
    async for _ in mediator.stream(story.Order(), saga_id):
        record = await storage.load(saga_id)
        assert record is not None
        ends.append(None if record.wake_at is None else (record.wake_at - VirtualClock().now()).total_seconds())
        clock._seconds += 8.0  # noqa: SLF001 - time passes, and no heart beats

    assert [30.0, 30.0, None] == ends


async def test_a_lease_holds_from_when_it_was_asked_for_and_not_to_its_end() -> None:
    """A fifth of it is not relied on: clocks differ, and answers take time."""
    lease = Lease(uuid.uuid4(), 1, asked_at=100.0, lease_s=30.0)

    assert 124.0 == lease.safe_until


async def test_what_is_let_go_is_renewed_no_more() -> None:
    clock = VirtualClock()
    storage = Renewing(clock=clock)
    heartbeat = Heartbeat(storage, lease_s=30.0, clock=clock)
    lease = Lease(uuid.uuid4(), 1, 0.0, 30.0)
    heartbeat.hold(lease)
    heartbeat.let_go(lease)
    await clock.until_asleep()
    await clock.advance(10.0)

    assert [] == storage.renewed


def test_a_heart_beats_on_one_loop_after_the_other(story: Any) -> None:
    """A mediator that is kept for good: the timer of a loop that has ended does not stand in the way."""
    storage = Renewing.__new__(Renewing)
    mediators: list[cqrs.SagaMediator] = []

    async def main() -> None:
        if not mediators:
            storage.__init__()  # type: ignore[misc] # a gate is of one loop
            mediators.append(mediator_of(story, storage, story.saga("A"), SystemClock(), lease_s=0.06))
        storage.was_renewed = Gate()
        story.on["act A"] = storage.was_renewed.wait
        with anyio.fail_after(20):
            await story.run(mediators[0])

    anyio.run(main)
    anyio.run(main)

    assert ["act A", "act A"] == story.events


async def test_a_heart_goes_on_beating_whatever_the_storage_raises(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    storage = Renewing(clock=clock)
    heartbeat = Heartbeat(storage, lease_s=30.0, clock=clock)
    renew, lease = storage.renew, Lease(uuid.uuid4(), 1, 0.0, 30.0)

    async def break_down(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    storage.renew = break_down  # type: ignore[method-assign] # for this once
    heartbeat.hold(lease)
    await clock.until_asleep()
    await clock.advance(10.0)
    storage.renew = renew  # type: ignore[method-assign] # again
    await clock.until_asleep()
    await clock.advance(10.0)

    assert [1] == storage.renewed
    assert "Sagas could not be kept." in caplog.text
