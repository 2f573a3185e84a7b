"""Run many pieces of work, a few at a time, and wait for all of them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from cqrs_core.concurrency.loops import is_asyncio_running, running_trio
from cqrs_core.errors import NoEventLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable


async def run_all(work: Iterable[Callable[[], Awaitable[None]]], *, limit: int) -> None:
    """
    Run every piece of *work*, at most *limit* at the same time, and return when all have ended.

    Workers take pieces from one queue, so the bound needs no semaphore: nothing is held while a piece runs, and work
    that comes back here (a handler that sends a command) cannot wait for itself.

    Args:
        work: Coroutine functions without arguments. After one that raises, no further piece is begun.
        limit: At least 1; with 1, or one piece, no task is made.

    Raises:
        Exception: The first that a piece raised, when those that were running have ended.
        NoEventLoop: Several are to run at once, and neither asyncio nor trio is running.
    """
    queue = deque(work)
    errors: list[Exception] = []

    async def worker() -> None:
        while queue:
            try:
                await queue.popleft()()
            except Exception as error:  # noqa: BLE001 - raised below, the same way under asyncio and trio
                errors.append(error)
                queue.clear()

    count = min(limit, len(queue))
    if count > 1:
        await _spawn(worker, count)
    else:
        await worker()
    if errors:
        raise errors[0]


async def _spawn(worker: Callable[[], Awaitable[None]], count: int) -> None:
    trio = running_trio()
    if trio is not None:
        await _in_nursery(trio, worker, count)
    elif is_asyncio_running():
        await _in_tasks(worker, count)
    else:
        raise NoEventLoop


async def _in_nursery(trio: Any, worker: Callable[[], Awaitable[None]], count: int) -> None:  # noqa: ANN401 - see above
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(worker)


async def _in_tasks(worker: Callable[[], Awaitable[None]], count: int) -> None:
    import asyncio  # noqa: PLC0415 - it is running, so this costs a look-up

    async def run() -> None:
        await worker()

    tasks = [asyncio.ensure_future(run()) for _ in range(count)]
    try:
        # Not a TaskGroup, which Python 3.10 lacks; and not gather, which would cancel twice those that clean up.
        await asyncio.wait(tasks)
    finally:
        await end_all(tasks)
    for task in tasks:
        task.result()


async def end_all(tasks: list[Any]) -> None:
    """Cancel what still runs, and wait until it has ended, however often the caller is cancelled meanwhile."""
    import asyncio  # noqa: PLC0415 - as above

    interrupted: asyncio.CancelledError | None = None
    pending = {task for task in tasks if not task.done()}
    for task in pending:
        task.cancel()
    while pending:
        try:
            _, pending = await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            interrupted = error
            pending = {task for task in pending if not task.done()}
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen here, so that asyncio does not report it as never retrieved
    if interrupted is not None:
        raise interrupted
