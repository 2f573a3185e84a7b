"""Tasks that live as long as a block, and work that is bounded or shielded: alike under asyncio and trio."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from cqrs_core.concurrency import open_task_group, run_shielded, run_within, sleep
from cqrs_core.errors import StrayCancellation, TaskGroupClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])
counts_cancellations = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio counts them from 3.11 on")


async def checkpoint(times: int = 1) -> None:
    """Let others run."""
    for _ in range(times):
        await anyio.lowlevel.checkpoint()


async def for_ever() -> None:
    await anyio.sleep_forever()


def fails(error: Exception, *, after: int = 1) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        await checkpoint(after)
        raise error

    return run


def tells_when_ended(log: list[str], name: str) -> Callable[[], Awaitable[None]]:
    """Work that never ends by itself."""

    async def run() -> None:
        try:
            await for_ever()
        finally:
            log.append(name)

    return run


@pytest.fixture(autouse=True)
async def nothing_is_left(anyio_backend_name: str) -> Any:
    """After each test: no task runs on, and whoever opened a group is as uncancelled as before."""
    if anyio_backend_name != "asyncio":
        yield  # trio itself sees to it
        return
    before = len(asyncio.all_tasks())
    yield
    assert before == len(asyncio.all_tasks())
    assert not getattr(asyncio.current_task(), "cancelling", int)()


# the block -----------------------------------------------------------------------------------------------------------


async def test_the_block_waits_for_its_tasks_and_for_those_that_they_start() -> None:
    """However deep: it is left when nothing runs any more."""
    log: list[int] = []

    async with open_task_group() as group:

        async def descend(depth: int) -> None:
            await checkpoint(2)
            log.append(depth)
            if depth:
                group.start(partial(descend, depth - 1))

        group.start(partial(descend, 3))
        assert [] == log  # it begins when the caller next awaits

    assert [3, 2, 1, 0] == log


async def test_an_empty_block_is_left_at_once() -> None:
    """There is nothing to wait for, and nothing is raised."""
    async with open_task_group() as group:
        pass

    assert [] == group.errors


async def test_a_task_sees_the_context_of_whoever_started_it_and_does_not_change_it() -> None:
    """The current message, say, is known in tasks that its handler starts."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen: list[str] = []

    async def look() -> None:
        seen.append(variable.get())
        variable.set("changed")

    async with open_task_group() as group:
        variable.set("set after the block was opened")
        group.start(look)

    assert ["set after the block was opened"] == seen
    assert "set after the block was opened" == variable.get()


async def test_a_group_takes_no_task_after_its_block() -> None:
    """Nobody would wait for it."""
    async with open_task_group() as group:
        pass

    with pytest.raises(TaskGroupClosed, match="The task group is closed"):
        group.start(for_ever)


async def test_cancelling_a_group_after_its_block_does_nothing() -> None:
    """Whoever opened it goes on, and is not interrupted."""
    async with open_task_group() as group:
        pass

    group.cancel()

    await checkpoint(2)


@on_asyncio
async def test_tasks_that_have_ended_are_forgotten() -> None:
    """A group that lives as long as a consumer does not keep every task that it ever had."""

    class Piece:
        async def __call__(self) -> None:
            await checkpoint()

    async with open_task_group() as group:
        pieces = [Piece() for _ in range(5)]
        known = [weakref.ref(piece) for piece in pieces]
        for piece in pieces:
            group.start(piece)
        del piece, pieces
        await checkpoint(5)
        gc.collect()
        assert [None] * 5 == [reference() for reference in known]


# errors --------------------------------------------------------------------------------------------------------------


async def test_a_task_that_raises_ends_everything_and_its_error_comes_as_it_is() -> None:
    """No group is put around it; the block is ended where it awaits."""
    log: list[str] = []
    failure = ValueError("task")

    with pytest.raises(ValueError, match="^task$") as caught:
        async with open_task_group() as group:
            group.start(tells_when_ended(log, "other"))
            group.start(fails(failure))
            try:
                await for_ever()
            finally:
                log.append("block")

    assert failure is caught.value
    assert {"other", "block"} == set(log)


async def test_a_task_that_raises_while_the_block_only_waits_ends_the_others() -> None:
    """The block had nothing more to do."""
    log: list[str] = []

    with pytest.raises(ValueError, match="^task$"):
        async with open_task_group() as group:
            group.start(tells_when_ended(log, "other"))
            group.start(fails(ValueError("task")))

    assert ["other"] == log


async def test_when_the_block_raises_its_tasks_end_first() -> None:
    """The error comes as it is, when nothing runs any more."""
    log: list[str] = []
    failure = ValueError("block")

    with pytest.raises(ValueError, match="^block$") as caught:
        async with open_task_group() as group:
            group.start(tells_when_ended(log, "task"))
            await checkpoint(2)
            raise failure

    assert failure is caught.value
    assert ["task"] == log


async def test_of_the_blocks_error_and_a_tasks_the_blocks_is_raised() -> None:
    """Though the task fails while the block's error is already on its way."""

    async def fails_at_its_end() -> None:
        try:
            await for_ever()
        finally:
            raise ValueError("task")

    with pytest.raises(KeyError, match="block"):
        async with open_task_group() as group:
            group.start(fails_at_its_end)
            await checkpoint(2)
            raise KeyError("block")

    assert [ValueError] == [type(error) for error in group.errors]


async def test_of_two_tasks_that_fail_the_first_is_raised_and_both_are_known() -> None:
    """In the order in which they failed."""
    with pytest.raises(ValueError, match="^first$"):
        async with open_task_group() as group:
            group.start(fails(ValueError("second"), after=0))
            group.start(fails(ValueError("third"), after=0))
            group.errors.append(ValueError("first"))

    assert "first" == str(group.errors[0])
    assert 2 <= len(group.errors)


async def test_what_is_no_error_of_the_program_ends_the_tasks_as_well() -> None:
    """SystemExit in the block leaves no task behind."""
    log: list[str] = []

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - trio puts a group around it
        async with open_task_group() as group:
            group.start(tells_when_ended(log, "task"))
            await checkpoint(2)
            raise SystemExit(3)

    assert "SystemExit" in repr(caught.value)
    assert ["task"] == log


# cancel() ------------------------------------------------------------------------------------------------------------


async def test_the_block_can_cancel_and_is_left_without_an_error() -> None:
    """It ends where it next awaits, and its tasks with it."""
    log: list[str] = []

    async with open_task_group() as group:
        group.start(tells_when_ended(log, "task"))
        await checkpoint(2)
        group.cancel()
        log.append("still here")
        await checkpoint()
        log.append("not here")

    assert ["still here", "task"] == log
    await checkpoint(2)  # nothing of the cancellation is left over


async def test_a_block_that_awaits_nothing_after_cancelling_is_not_cancelled_later() -> None:
    """With tasks or without: the next one who awaits is not hit."""
    for has_task in (False, True):
        async with open_task_group() as group:
            if has_task:
                group.start(for_ever)
            group.cancel()

        await checkpoint(2)


async def test_a_task_can_cancel() -> None:
    """Everything ends: itself where it next awaits, the others, the block."""
    log: list[str] = []

    async with open_task_group() as group:

        async def cancel() -> None:
            group.cancel()
            log.append("cancelled")
            await checkpoint()
            log.append("not here")

        group.start(tells_when_ended(log, "other"))
        group.start(cancel)
        await for_ever()

    assert ["cancelled", "other"] == log


async def test_cancelling_twice_is_cancelling_once() -> None:
    """From the block, from a task, at the same time."""
    async with open_task_group() as group:

        async def cancel() -> None:
            group.cancel()
            group.cancel()

        group.start(cancel)
        group.start(cancel)
        group.start(for_ever)
        await checkpoint(1)
        group.cancel()
        await for_ever()


async def test_a_block_that_raises_after_cancelling_is_heard() -> None:
    """Its error is no part of the cancellation."""
    with pytest.raises(ValueError, match="^late$"):
        async with open_task_group() as group:
            group.start(for_ever)
            group.cancel()
            raise ValueError("late")


async def test_a_task_that_is_started_after_cancelling_ends_too() -> None:
    """By the block, or by a task that cleans up."""
    log: list[str] = []

    async def never_done() -> None:
        await for_ever()
        log.append("not here")

    async with open_task_group() as group:

        async def starts_at_its_end() -> None:
            try:
                await for_ever()
            finally:
                group.start(never_done)
                log.append("started")

        group.start(starts_at_its_end)
        await checkpoint(2)
        group.cancel()
        group.start(never_done)

    assert ["started"] == log


async def test_a_task_that_was_started_always_begins() -> None:
    """Also one of a group that is being cancelled, so that it can put away what it was given; as trio has it."""
    log: list[str] = []

    async def closes() -> None:
        try:
            log.append("begun")
            await checkpoint()
            log.append("not here")
        finally:
            log.append("closed")

    with pytest.raises(ValueError, match="^block$"):
        async with open_task_group() as group:
            group.start(closes)
            raise ValueError("block")
    async with open_task_group() as group:
        group.start(closes)
        group.cancel()
        group.start(closes)

    assert ["begun", "closed"] == log[:2]
    assert ["begun", "begun", "closed", "closed"] == sorted(log[2:])


async def test_an_inner_block_ends_with_the_outer_one() -> None:
    """Cancelling the outer group is not swallowed by the inner one."""
    log: list[str] = []

    async with open_task_group() as outer:

        async def cancel() -> None:
            await checkpoint(2)
            outer.cancel()

        outer.start(cancel)
        async with open_task_group() as inner:
            inner.start(tells_when_ended(log, "inner task"))
            await for_ever()
        log.append("not here")
        await for_ever()

    assert ["inner task"] == log


async def test_cancelling_the_inner_block_leaves_the_outer_one_alone() -> None:
    """What comes after the inner block runs."""
    log: list[str] = []

    async with open_task_group() as outer:
        outer.start(tells_when_ended(log, "outer task"))
        async with open_task_group() as inner:
            inner.start(tells_when_ended(log, "inner task"))
            await checkpoint(2)
            inner.cancel()
            await for_ever()
        await checkpoint(2)
        log.append("after")
        outer.cancel()

    assert ["inner task", "after", "outer task"] == log


async def test_of_two_blocks_that_are_cancelled_at_once_both_end() -> None:
    """The inner group does not take the outer one's cancellation for its own, on any Python."""
    log: list[str] = []

    async with open_task_group() as outer, open_task_group() as helpers:

        async def cancel_both() -> None:
            await checkpoint(2)
            inner.cancel()
            outer.cancel()

        async with open_task_group() as inner:
            helpers.start(cancel_both)
            await for_ever()
        await checkpoint()
        log.append("not here")
        await for_ever()

    assert [] == log


@on_asyncio
async def test_what_a_task_does_to_end_is_not_cut_short() -> None:
    """asyncio: it is cancelled once, however many reasons there are, and then waited for."""
    log: list[str] = []
    release = asyncio.Event()

    async with open_task_group() as group:

        async def cleans_up() -> None:
            try:
                await for_ever()
            finally:
                await release.wait()
                log.append("cleaned up")

        async def fails_at_its_end() -> None:
            try:
                await for_ever()
            except asyncio.CancelledError:
                group.cancel()
                group.start(letting_go)
                raise

        async def letting_go() -> None:
            await for_ever()

        group.start(cleans_up)
        group.start(fails_at_its_end)
        asyncio.get_running_loop().call_later(0, release.set)
        await checkpoint(2)
        group.cancel()

    assert ["cleaned up"] == log


# cancellation from outside -------------------------------------------------------------------------------------------


async def test_cancelled_from_outside_everything_ends_and_nothing_runs_on_after_it() -> None:
    """The cancellation goes on to whoever cancelled."""
    log: list[str] = []

    async def owner() -> None:
        async with open_task_group() as group:
            group.start(tells_when_ended(log, "task"))
            await for_ever()
        log.append("not here")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(owner)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert ["task"] == log


async def test_cancelled_from_outside_while_the_group_is_being_cancelled_the_outside_wins() -> None:
    """At the same moment: on 3.10, asyncio does not count, and there alone ours may win."""
    log: list[str] = []

    async def owner(scope: anyio.CancelScope) -> None:
        async with open_task_group() as group:

            async def cancel_both() -> None:
                await checkpoint(2)
                group.cancel()
                scope.cancel()

            group.start(cancel_both)
            await for_ever()
        await checkpoint()
        log.append("not here")

    with anyio.CancelScope() as scope:
        await owner(scope)

    assert [] == log
    assert scope.cancelled_caught


@on_asyncio
@counts_cancellations
@pytest.mark.parametrize("is_outside_first", [True, False])
async def test_asyncio_counts_a_cancellation_from_outside_beside_ours(is_outside_first: bool) -> None:  # noqa: FBT001 - a parameter
    """Only ours is taken back."""

    async def owner() -> None:
        async with open_task_group() as group:
            this = asyncio.current_task()
            assert this is not None
            for cancel in (this.cancel, group.cancel) if is_outside_first else (group.cancel, this.cancel):
                cancel()

    task = asyncio.ensure_future(owner())
    await asyncio.wait([task])

    assert task.cancelled()
    assert 1 == task.cancelling()  # type: ignore[attr-defined, unused-ignore]  # of 3.11


@on_asyncio
async def test_however_often_it_is_cancelled_from_outside_it_waits_for_its_tasks() -> None:
    """And for those that these start while they end."""
    log: list[str] = []
    gates = [asyncio.Event() for _ in range(2)]

    async def owner() -> None:
        async with open_task_group() as group:

            async def slow(number: int) -> None:
                try:
                    await for_ever()
                finally:
                    await gates[number].wait()
                    log.append(f"task {number}")

            group.start(partial(slow, 0))
            group.start(partial(slow, 1))
            await for_ever()

    task = asyncio.ensure_future(owner())
    await checkpoint(3)
    for gate in gates:
        task.cancel()
        await checkpoint(3)
        gate.set()
        await checkpoint(3)
    await asyncio.wait([task])

    assert task.cancelled()
    assert ["task 0", "task 1"] == log


@on_asyncio
async def test_a_task_that_is_started_while_an_impatient_owner_waits_is_waited_for() -> None:
    """asyncio: a second cancellation from outside does not make the group forget what was started meanwhile."""
    log: list[str] = []
    release = asyncio.Event()

    async def owner() -> None:
        async with open_task_group() as group:

            async def starts_another_at_its_end() -> None:
                try:
                    await for_ever()
                finally:
                    await release.wait()
                    group.start(tells_when_ended(log, "late"))
                    log.append("early")

            group.start(starts_another_at_its_end)
            await for_ever()

    task = asyncio.ensure_future(owner())
    await checkpoint(3)
    task.cancel()
    await checkpoint(3)
    task.cancel()
    await checkpoint(3)
    release.set()
    await asyncio.wait([task])

    assert ["early", "late"] == log


@on_asyncio
@counts_cancellations
async def test_inside_a_timeout_of_asyncio_the_timeout_is_told_from_a_cancellation() -> None:
    """A deadline that passes while the group is being cancelled gives TimeoutError, and no CancelledError."""
    timeout: Any = asyncio.timeout  # type: ignore[attr-defined, unused-ignore]  # of 3.11

    with pytest.raises(TimeoutError):
        async with timeout(None) as deadline, open_task_group() as group:
            group.start(for_ever)

            async def expire() -> None:
                group.cancel()
                deadline.reschedule(0)

            group.start(expire)
            await for_ever()
            raise AssertionError

    async with timeout(60), open_task_group() as group:
        group.start(for_ever)
        group.cancel()
        await for_ever()
    with pytest.raises(TimeoutError):
        async with timeout(0), open_task_group() as group:
            group.start(for_ever)


@on_asyncio
@counts_cancellations
async def test_inside_what_a_cancelled_task_does_to_end_a_group_works_as_ever() -> None:
    """Being cancelled already is none of its business: its own cancellation ends its block, and no more."""
    log: list[str] = []

    async def owner() -> None:
        try:
            await for_ever()
        finally:
            async with open_task_group() as group:
                group.start(for_ever)
                await checkpoint()
                group.cancel()
                await for_ever()
            log.append("after the group")
            log.append(str(await run_within(60, checkpoint, sleep)))

    task = asyncio.ensure_future(owner())
    await checkpoint()
    task.cancel()
    await asyncio.wait([task])

    assert ["after the group", "True"] == log
    assert task.cancelled()
    assert 1 == task.cancelling()  # type: ignore[attr-defined, unused-ignore]  # of 3.11


@on_asyncio
async def test_a_cancellation_that_nobody_asked_of_the_task_is_an_error_of_the_group() -> None:
    """As when the task of a shared connection was cancelled: a loop that waited for it must not end without a word."""
    log: list[str] = []

    async def waits_for_what_was_cancelled() -> None:
        raise asyncio.CancelledError

    async def other() -> None:
        try:
            await for_ever()
        finally:
            log.append("other ended")

    with pytest.raises(StrayCancellation) as caught:
        async with open_task_group() as group:
            group.start(waits_for_what_was_cancelled)
            group.start(other)

    assert ["other ended"] == log
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


# run_within ----------------------------------------------------------------------------------------------------------


async def no_time_passes(_seconds: float) -> None:
    await for_ever()


async def time_flies(_seconds: float) -> None:
    await checkpoint(3)


async def test_work_that_ends_in_time_ends_by_itself() -> None:
    """The answer is True, and nothing of the deadline is left."""
    asked: list[float] = []

    async def wait(seconds: float) -> None:
        asked.append(seconds)
        await for_ever()

    assert await run_within(7, partial(checkpoint, 2), wait)
    await checkpoint(2)

    assert [7] == asked


async def test_work_that_awaits_nothing_ends_in_time() -> None:
    """Even with no time at all."""
    log: list[str] = []

    async def work() -> None:
        log.append("done")

    assert await run_within(0, work, sleep)
    assert ["done"] == log


async def test_work_that_takes_too_long_is_cancelled_and_waited_for() -> None:
    """The answer is False when it has ended."""
    log: list[str] = []

    assert not await run_within(7, tells_when_ended(log, "ended"), time_flies)
    await checkpoint(2)

    assert ["ended"] == log


async def test_an_error_of_the_work_comes_as_it_is() -> None:
    """In time, or while it is being cancelled."""

    async def fails_at_its_end() -> None:
        try:
            await for_ever()
        finally:
            raise ValueError("late")

    with pytest.raises(ValueError, match="^early$"):
        await run_within(7, fails(ValueError("early")), no_time_passes)
    with pytest.raises(ValueError, match="^late$"):
        await run_within(7, fails_at_its_end, time_flies)


async def test_bounded_work_ends_with_whoever_is_cancelled() -> None:
    """A cancellation from outside is none of the deadline, and goes on."""
    log: list[str] = []

    async def bounded() -> None:
        await run_within(7, tells_when_ended(log, "ended"), no_time_passes)
        log.append("not here")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bounded)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert ["ended"] == log


async def test_bounds_can_be_nested() -> None:
    """The inner one ends the inner work only; the outer one ends both."""
    log: list[str] = []

    async def inner() -> None:
        log.append(f"inner: {await run_within(1, for_ever, time_flies)}")
        await run_within(1, tells_when_ended(log, "inner ended"), no_time_passes)
        log.append("not here")

    async def longer(_seconds: float) -> None:
        await checkpoint(30)

    log.append(f"outer: {await run_within(2, inner, longer)}")

    assert ["inner: False", "inner ended", "outer: False"] == log


# run_shielded --------------------------------------------------------------------------------------------------------


async def test_shielded_work_runs_to_its_end_though_the_caller_is_cancelled() -> None:
    """The cancellation arrives after it."""
    log: list[str] = []

    async def main() -> None:
        async def work() -> None:
            log.append("begun")
            await checkpoint(5)
            log.append("done")

        await run_shielded(work)
        await checkpoint()
        log.append("not here")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(main)
        while not log:
            await checkpoint()
        tasks.cancel_scope.cancel()

    assert ["begun", "done"] == log


async def test_shielded_work_that_raises_is_heard() -> None:
    """As if it had not been shielded."""
    failure = ValueError("work")

    with pytest.raises(ValueError, match="^work$") as caught:
        await run_shielded(fails(failure))

    assert failure is caught.value


@on_asyncio
async def test_shielded_work_that_raises_after_a_cancellation_is_its_cause() -> None:
    """asyncio: cancelled twice, it still waits; the cancellation goes on and carries the error."""
    failure = ValueError("work")

    async def caller() -> BaseException | None:
        try:
            await run_shielded(fails(failure, after=6))
        except asyncio.CancelledError as error:
            return error.__cause__
        return None

    task = asyncio.ensure_future(caller())
    for _ in range(2):
        await checkpoint(2)
        task.cancel()

    assert failure is await task


async def test_a_group_can_be_used_in_shielded_work() -> None:
    """As when a consumer leaves its group while its App is being cancelled."""
    log: list[str] = []

    async def work() -> None:
        async with open_task_group() as group:
            group.start(tells_when_ended(log, "task"))
            await checkpoint(2)
            group.cancel()
            await for_ever()
        log.append("done")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_shielded, work)
        await checkpoint()
        tasks.cancel_scope.cancel()

    assert log in (["task", "done"], [])  # not begun, or done
