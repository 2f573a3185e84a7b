"""
Run many things at once on the loop that is running, and wait for all of them.

asyncio and trio are both served. Neither is imported here before it is needed: a running trio is found in
``sys.modules``. Nothing is kept between calls, so one mediator can serve several event loops one after the other.
"""

from __future__ import annotations

import sys
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

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
    trio = _running_trio()
    if trio is not None:
        await _in_nursery(trio, worker, count)
    elif _is_asyncio_running():
        await _in_tasks(worker, count)
    else:
        raise NoEventLoop


def _running_trio() -> Any:  # noqa: ANN401 - the module trio, which the core does not import
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_task() else None


def _is_asyncio_running() -> bool:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


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
        await _end(tasks)
    for task in tasks:
        task.result()


async def _end(tasks: list[Any]) -> None:
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


#: What the current task has entered, through whatever calls.
_entered: ContextVar[tuple[Once, ...]] = ContextVar("_entered", default=())


class Once:
    """
    Steps that must have succeeded, in order, before the first message goes on its way.

    Whoever comes first runs them while others wait. A step that raises, or whose runner is cancelled, is run again by
    the next who comes; steps that succeeded are not. Threads cannot wait for each other's loops: of two that come at
    the same time, both may run a step.
    """

    def __init__(self, steps: Iterable[Callable[[], Awaitable[object]]]) -> None:
        self._steps = deque(steps)
        self._runner: _Gate | None = None

    @property
    def is_done(self) -> bool:
        """Whether every step has succeeded."""
        return not self._steps

    @property
    def is_entered(self) -> bool:
        """Whether a step of this is what is running here: then waiting for it would never end."""
        return self in _entered.get()

    async def run(self) -> None:
        """
        Return when every step has succeeded; at once, if one of them is what is running here.

        Raises:
            Exception: What the first step that failed raised, to the one who ran it.
        """
        while self._steps and not self.is_entered:
            gate = self._runner
            if gate is not None and gate.is_of_this_loop():
                await gate.wait()
                continue
            # A gate of another loop belongs to a loop that was ended in the middle of a step.
            self._runner = gate = _Gate()
            token = _entered.set((*_entered.get(), self))
            try:
                while self._steps:
                    step = self._steps[0]
                    await step()
                    if self._steps and self._steps[0] is step:  # else another thread has been here
                        self._steps.popleft()
            finally:
                _entered.reset(token)
                if self._runner is gate:
                    self._runner = None
                gate.open()


class _Gate:
    """An event of the library that is running, opened once."""

    def __init__(self) -> None:
        trio = _running_trio()
        if trio is not None:
            self._loop: object = trio.lowlevel.current_trio_token()
            self._event = trio.Event()
        elif _is_asyncio_running():
            import asyncio  # noqa: PLC0415 - as above

            self._loop = asyncio.get_running_loop()
            self._event = asyncio.Event()
        else:
            raise NoEventLoop

    def is_of_this_loop(self) -> bool:
        """Whether waiting here can ever end."""
        trio = _running_trio()
        if trio is not None:
            return self._loop is trio.lowlevel.current_trio_token()
        import asyncio  # noqa: PLC0415 - as above

        return self._loop is asyncio.get_running_loop()

    async def wait(self) -> None:
        """Return when the gate is open."""
        await self._event.wait()

    def open(self) -> None:
        """Let everybody pass."""
        self._event.set()
