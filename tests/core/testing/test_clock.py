"""The virtual clock: time passes when the test says so."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import anyio
import pytest

from cqrs_core.clock import Clock
from cqrs_core.errors import InvalidOption
from cqrs_core.testing import VirtualClock

START = datetime(2000, 1, 1, tzinfo=timezone.utc)


async def wake_after(clock: Clock, log: list[tuple[str, float]], name: str, *seconds: float) -> None:
    for pause in seconds:
        await clock.sleep(pause)
        log.append((name, clock.monotonic()))


async def test_the_time_stands_still_until_it_is_advanced() -> None:
    """Both faces of the clock move together, and by nothing else."""
    clock = VirtualClock()
    assert (START, 0.0) == (clock.now(), clock.monotonic())

    await clock.advance(1.5)

    assert (START + timedelta(seconds=1.5), 1.5) == (clock.now(), clock.monotonic())


async def test_sleepers_are_woken_in_the_order_of_their_time() -> None:
    """Each sees the time for which it asked; of two with the same time, the one that asked first is first."""
    clock, log = VirtualClock(), []
    async with anyio.create_task_group() as tasks:
        for name, seconds in [("late", 3), ("first", 1), ("second", 1), ("never", 4)]:
            tasks.start_soon(wake_after, clock, log, name, seconds)
            await clock.until_asleep(1)
            await anyio.wait_all_tasks_blocked()

        await clock.advance(3)

        assert [("first", 1.0), ("second", 1.0), ("late", 3.0)] == log
        tasks.cancel_scope.cancel()


async def test_one_that_sleeps_again_right_away_is_woken_again() -> None:
    """An advance of three seconds wakes one that sleeps one second at a time three times, in between others."""
    clock, log = VirtualClock(), []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wake_after, clock, log, "one", 1, 1, 1)
        tasks.start_soon(wake_after, clock, log, "two", 1.5)
        await clock.until_asleep(2)

        await clock.advance(3)

    assert [("one", 1.0), ("two", 1.5), ("one", 2.0), ("one", 3.0)] == log


async def test_sums_of_fractions_are_what_they_look_like() -> None:
    """0.1 + 0.7 is less than 0.8 for a computer; a sleeper should not oversleep for that."""
    clock, log = VirtualClock(), []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wake_after, clock, log, "one", 0.8)
        await clock.until_asleep()

        await clock.advance(0.1)
        await clock.advance(0.7)

    assert [("one", 0.8)] == log


@pytest.mark.parametrize("seconds", [1 / 3, 0.4731234567891, 1e-12, 86_400 / 7])
async def test_nobody_is_woken_before_the_time(seconds: float) -> None:
    """Also of a moment that no sum of tenths comes to, such as one that was drawn by lot."""
    clock = VirtualClock(jumps=True)
    for _ in range(10):
        moment = clock.monotonic() + seconds

        await clock.sleep(seconds)

        assert moment == pytest.approx(clock.monotonic(), rel=1e-15, abs=1e-12)


async def test_who_waits_for_what_is_left_comes_to_the_end() -> None:
    """However little that is: each time, some of it passes."""
    clock = VirtualClock(jumps=True)
    for seconds in (1 / 3, 0.4731234567891, 7.1, 1e-12, 1e6 / 7):
        deadline = clock.monotonic() + seconds
        while clock.monotonic() < deadline:
            await clock.sleep(deadline - clock.monotonic())
            assert len(clock.slept) < 100


async def test_three_thirds_are_a_whole() -> None:
    """One that looks every third of a time has looked three times when it is over."""
    clock, log = VirtualClock(), []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wake_after, clock, log, "one", *[10 / 3] * 3)
        await clock.until_asleep()

        await clock.advance(10)

    assert 3 == len(log)


async def test_what_was_asked_for_is_noted_in_order() -> None:
    """Also what needed no waiting; and others run meanwhile, as with any clock."""
    clock, log = VirtualClock(), []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wake_after, clock, log, "other", 0, -1)
        await clock.sleep(0)
        await anyio.wait_all_tasks_blocked()

    assert [0, 0, -1] == sorted(clock.slept, reverse=True)
    assert [("other", 0.0), ("other", 0.0)] == log


async def test_until_asleep_returns_when_so_many_sleep() -> None:
    """Not before; one that was cancelled does not count."""
    clock, log = VirtualClock(), []
    returned: list[int] = []

    async def watch() -> None:
        await clock.until_asleep(2)
        returned.append(2)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as cancelled:
                cancelled.start_soon(wake_after, clock, log, "cancelled", 1)
                await clock.until_asleep()
                scope.cancel()
        tasks.start_soon(wake_after, clock, log, "one", 1)
        await anyio.wait_all_tasks_blocked()
        assert [] == returned
        tasks.start_soon(wake_after, clock, log, "two", 1)
        await anyio.wait_all_tasks_blocked()
        assert [2] == returned
        await clock.advance(1)

    assert [("one", 1.0), ("two", 1.0)] == log


async def test_a_clock_that_jumps_lets_nobody_wait() -> None:
    """Sleeping moves the time and returns, after others have run."""
    clock, log = VirtualClock(jumps=True), []

    async def other() -> None:
        log.append(("other", clock.monotonic()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await wake_after(clock, log, "one", 60, 3600, -1)

    assert [("one", 60.0), ("one", 3660.0), ("one", 3660.0)] == [entry for entry in log if entry[0] == "one"]
    assert "other" in {name for name, _ in log[:-1]}
    assert [60, 3600, -1] == clock.slept


async def test_the_time_does_not_go_back() -> None:
    with pytest.raises(InvalidOption, match=r"seconds is -1\. It must be at least 0"):
        await VirtualClock().advance(-1)


def test_the_start_may_be_chosen_and_says_its_zone() -> None:
    start = datetime(2024, 2, 29, 12, tzinfo=timezone.utc)

    assert start == VirtualClock(start=start).now()
    with pytest.raises(InvalidOption, match="with a time zone"):
        VirtualClock(start=start.replace(tzinfo=None))
