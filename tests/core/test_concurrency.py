"""Running many things, and waiting for all of them; running steps once."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from cqrs_core.concurrency import Once, run_all
from cqrs_core.errors import NoEventLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def checkpoint(times: int = 1) -> None:
    """Let others run."""
    for _ in range(times):
        await anyio.lowlevel.checkpoint()


# run_all -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pieces", "limit", "most"), [(6, 1, 1), (6, 3, 3), (2, 9, 2), (0, 5, 0)])
async def test_every_piece_runs_and_never_more_than_the_limit_at_a_time(pieces: int, limit: int, most: int) -> None:
    """Workers take pieces from one queue."""
    running = peak = done = 0

    async def piece() -> None:
        nonlocal running, peak, done
        running += 1
        peak = max(peak, running)
        await checkpoint(3)
        running -= 1
        done += 1

    await run_all([piece] * pieces, limit=limit)

    assert (pieces, most) == (done, peak)


@pytest.mark.parametrize("limit", [1, 2])
async def test_after_an_error_no_piece_is_begun_and_it_is_raised_as_it_is(limit: int) -> None:
    """Those that were running end; under trio, too, the error comes without a group around it."""
    begun: list[str] = []

    def piece(name: str, error: Exception | None = None) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            begun.append(name)
            await checkpoint()
            if error is not None:
                raise error

        return run

    failure = ValueError("b")
    with pytest.raises(ValueError, match="^b$") as caught:
        await run_all([piece("a"), piece("b", failure), *[piece("late")] * 5], limit=limit)

    assert failure is caught.value
    assert ["a", "b"] == begun[:2]
    assert begun.count("late") <= 1  # the worker that had "a" may have taken one before "b" failed


async def test_cancelling_ends_every_piece_before_it_returns() -> None:
    """No orphan is left: each piece has ended by the time the cancelled call has."""
    ended = 0

    async def piece() -> None:
        nonlocal ended
        try:
            await anyio.sleep_forever()
        finally:
            ended += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: run_all([piece] * 4, limit=4))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert 4 == ended


def test_a_piece_that_takes_its_time_to_clean_up_is_waited_for_and_not_disturbed() -> None:
    """asyncio: however often the caller is cancelled, and whoever has ended before, the clean-up runs to its end."""
    steps: list[str] = []

    async def main() -> None:
        begun, ending, release = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def stubborn() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ending.set()
                await release.wait()
                steps.append("cleaned up")

        async def quick() -> None:
            await asyncio.Event().wait()

        running = asyncio.ensure_future(run_all([stubborn, quick], limit=2))
        await begun.wait()
        running.cancel()
        await ending.wait()
        running.cancel()
        await anyio.wait_all_tasks_blocked()
        assert not running.done()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        steps.append("returned")

    asyncio.run(main())

    assert ["cleaned up", "returned"] == steps


def test_a_piece_that_was_cancelled_from_elsewhere_does_not_end_the_others() -> None:
    """asyncio: they run to their end, and then the call tells."""
    steps: list[str] = []

    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def other() -> None:
        await checkpoint(3)
        steps.append("other done")

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await run_all([cancelled, other], limit=2)

    asyncio.run(main())

    assert ["other done"] == steps


def test_outside_any_loop_pieces_run_one_after_the_other_and_not_side_by_side() -> None:
    """Sequential work needs no loop; parallel work says what it needs."""
    ran: list[int] = []

    async def piece() -> None:
        ran.append(1)

    with pytest.raises(StopIteration):
        run_all([piece] * 2, limit=1).send(None)
    parallel = run_all([piece] * 2, limit=2)
    with pytest.raises(NoEventLoop, match="Neither asyncio nor trio is running"):
        parallel.send(None)

    assert [1, 1] == ran


# Once ----------------------------------------------------------------------------------------------------------------


async def test_steps_run_once_and_in_order_however_many_come_at_the_same_time() -> None:
    """The first runs them, the others wait until all are done."""
    log: list[str] = []

    async def first() -> None:
        log.append("first begins")
        await checkpoint(3)
        log.append("first ends")

    async def second() -> None:
        log.append("second")

    once = Once([first, second])

    async def come() -> None:
        await once.run()
        log.append("passes")

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(come)
    await come()

    assert ["first begins", "first ends", "second", *["passes"] * 4] == log
    assert once.is_done


async def test_a_step_that_failed_is_tried_again_by_the_next_and_steps_that_succeeded_are_not() -> None:
    """The error goes to the one who ran the step."""
    log: list[str] = []

    async def good() -> None:
        log.append("good")

    async def flaky() -> None:
        log.append("flaky")
        if log.count("flaky") == 1:
            raise ConnectionError

    once = Once([good, flaky])

    with pytest.raises(ConnectionError):
        await once.run()
    assert not once.is_done
    await once.run()

    assert ["good", "flaky", "flaky"] == log


async def test_when_the_runner_is_cancelled_one_of_those_who_wait_takes_over() -> None:
    """Nobody waits for ever for somebody who has gone."""
    log: list[str] = []

    async def step() -> None:
        log.append("begins")
        if log.count("begins") == 1:
            await anyio.sleep_forever()
        log.append("ends")

    once = Once([step])
    runner = anyio.CancelScope()

    async def come_and_be_cancelled() -> None:
        with runner:
            await once.run()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come_and_be_cancelled)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(once.run)
        await anyio.wait_all_tasks_blocked()
        runner.cancel()

    assert ["begins", "begins", "ends"] == log


def test_a_loop_that_was_ended_in_the_middle_does_not_block_the_next() -> None:
    """A gate of a loop that has gone is nobody's to open."""
    log: list[str] = []

    async def step() -> None:
        log.append("begins")
        if len(log) == 1:
            await asyncio.Event().wait()

    once = Once([step])

    loop = asyncio.new_event_loop()
    stuck = loop.create_task(once.run())
    loop.run_until_complete(asyncio.wait_for(asyncio.wait({loop.create_task(checkpoint(2))}), 5))
    asyncio.run(once.run())
    stuck.cancel()
    loop.run_until_complete(asyncio.wait({stuck}))
    loop.close()

    assert ["begins", "begins"] == log
    assert once.is_done


def test_two_threads_that_come_at_the_same_time_both_get_through() -> None:
    """Each runs the step in its own loop, because neither can wait for the other's."""
    both_begun = threading.Barrier(2, timeout=10)
    ran: list[int] = []

    async def step() -> None:
        both_begun.wait()
        ran.append(threading.get_ident())

    once = Once([step])
    other = threading.Thread(target=lambda: asyncio.run(once.run()))
    other.start()
    asyncio.run(once.run())
    other.join(timeout=10)

    assert 2 == len(set(ran))
    assert once.is_done


async def test_a_step_may_come_back_to_what_it_prepares() -> None:
    """A start-up that sends a message passes its own gate: waiting for itself would never end."""
    log: list[str] = []

    async def warm() -> None:
        await once.run()
        log.append("warm")

    once = Once([warm])

    with anyio.fail_after(5):
        await once.run()

    assert ["warm"] == log
    assert not once.is_entered
