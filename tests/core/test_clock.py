"""The machine's own clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from cqrs_core.clock import SystemClock


def test_now_is_aware_and_in_utc() -> None:
    """For what others read."""
    before = datetime.now(timezone.utc)
    now = SystemClock().now()
    after = datetime.now(timezone.utc)

    assert timezone.utc is now.tzinfo
    assert before <= now <= after


def test_the_seconds_never_go_back() -> None:
    """They begin anywhere."""
    clock = SystemClock()

    seconds = [clock.monotonic() for _ in range(100)]

    assert sorted(seconds) == seconds
    assert {float} == set(map(type, seconds))


async def test_sleeping_no_time_lets_others_run_and_returns() -> None:
    """Under asyncio and trio; less than nothing is nothing."""
    clock = SystemClock()

    await clock.sleep(0)
    await clock.sleep(-timedelta.max.total_seconds())
