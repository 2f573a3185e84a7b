"""Work that nobody waits for begins later, in a context of its own, and ends with the loop."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar

import pytest

from cqrs_core.concurrency import Gate, start_later
from cqrs_core.errors import NoEventLoop

inside: ContextVar[str] = ContextVar("inside", default="nothing")


async def test_it_begins_when_the_time_has_come_and_is_no_part_of_what_runs_here() -> None:
    done, seen = Gate(), []

    async def work() -> None:
        seen.append(inside.get())
        done.open()

    token = inside.set("a message")
    start_later(0.001, work)
    inside.reset(token)
    assert [] == seen
    await done.wait()

    assert ["nothing"] == seen


def test_a_loop_that_is_closed_before_has_nothing_to_complain_of() -> None:
    """Not even of a task that was never awaited: warnings are errors here."""

    async def work() -> None:
        raise AssertionError("It must not begin.")

    async def main() -> None:
        start_later(3600.0, work)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    gc.collect()


def test_outside_a_loop_nothing_can_begin() -> None:
    async def work() -> None: ...

    with pytest.raises(NoEventLoop):
        start_later(0, work)
