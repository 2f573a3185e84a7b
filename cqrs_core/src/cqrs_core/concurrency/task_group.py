"""Tasks that live as long as a block: what asyncio calls a task group and trio a nursery."""

from __future__ import annotations

import abc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from cqrs_core.concurrency.cancellations import as_failure, ask_to_end, asked_to_end, take_back, watched
from cqrs_core.concurrency.loops import is_asyncio_running, running_trio
from cqrs_core.errors import NoEventLoop, TaskGroupClosed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable

    Work = Callable[[], Awaitable[None]]


class TaskGroup(abc.ABC):
    """Starts tasks that have ended when the block that :func:`open_task_group` opened has been left."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    @abc.abstractmethod
    def start(self, work: Work) -> None:
        """
        Run *work* beside the block; it begins when the caller next awaits.

        It always begins: of a group that is being cancelled, it ends where it first awaits.

        Raises:
            TaskGroupClosed: The block has been left.
        """

    @abc.abstractmethod
    def cancel(self) -> None:
        """
        End every task, and the block itself where it next awaits. The block is then left without an error.

        Once the block has been left, there is nothing to do.
        """

    async def run(self, work: Work) -> None:
        """Run *work*; if it raises, everything else ends."""
        try:
            await work()
        except BaseException as error:  # noqa: BLE001 - raised where the block ends, alike under asyncio and trio
            self.errors.append(as_failure(error))
            self.cancel()


@asynccontextmanager
async def open_task_group() -> AsyncIterator[TaskGroup]:
    """
    Open a block that waits at its end for the tasks that were started in it.

    A task that raises, or the block if it raises, ends all others.

    Raises:
        Exception: What the block raised; else the first that a task raised, as it is, without a group around it. A
            cancellation that nobody asked of the task is one: ``StrayCancellation``.
        NoEventLoop: Neither asyncio nor trio is running.
    """
    trio = running_trio()
    if trio is not None:
        opened = _in_trio(trio)
    elif is_asyncio_running():
        opened = _in_asyncio()
    else:
        raise NoEventLoop
    async with opened as group:
        yield group
    if group.errors:
        raise group.errors[0]


class _TrioTaskGroup(TaskGroup):
    def __init__(self, nursery: Any) -> None:  # noqa: ANN401 - of trio, which the core does not import
        super().__init__()
        self._nursery = nursery

    def start(self, work: Work) -> None:
        try:
            self._nursery.start_soon(self.run, work)
        except RuntimeError as error:  # "closed to new arrivals"
            raise TaskGroupClosed from error

    def cancel(self) -> None:
        self._nursery.cancel_scope.cancel()


@asynccontextmanager
async def _in_trio(trio: Any) -> AsyncIterator[TaskGroup]:  # noqa: ANN401 - the module
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield _TrioTaskGroup(nursery)
        except Exception as error:  # noqa: BLE001 - a nursery would put it into a group; raised below
            raised = error
            nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


class _AsyncioTaskGroup(TaskGroup):
    """Not ``asyncio.TaskGroup``, which Python 3.10 lacks, and which cannot be cancelled from within."""

    def __init__(self, owner: Any) -> None:  # noqa: ANN401 - an asyncio.Task, not imported for its name alone
        super().__init__()
        self._owner = owner
        self._asked_before = asked_to_end(owner)
        self._is_owner_asked = False
        self._is_cancelled = False
        self._is_closed = False
        self._tasks: set[Any] = set()
        #: Those that have begun and were not cancelled yet. Before it begins, asyncio would drop a task without a word;
        #: and a second time would cut short what it does to end.
        self._cancellable: set[Any] = set()

    def start(self, work: Work) -> None:
        import asyncio  # noqa: PLC0415 - it is running, so this costs a look-up

        if self._is_closed:
            raise TaskGroupClosed
        task = asyncio.ensure_future(self._begin(work))
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def cancel(self) -> None:
        if self._is_closed:
            return
        self._cancel_tasks()
        if not self._is_owner_asked:
            self._is_owner_asked = True
            ask_to_end(self._owner)

    async def wait(self) -> None:
        """Return when all tasks have ended, those too that they start meanwhile."""
        import asyncio  # noqa: PLC0415 - as above

        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> asyncio.CancelledError | None:
        """Cancel all tasks, wait until they have ended, and give the last cancellation that arrived meanwhile."""
        import asyncio  # noqa: PLC0415 - as above

        interrupted: asyncio.CancelledError | None = None
        is_first = True
        # Once more at least if the owner was cancelled and has awaited nothing since: here it arrives.
        while self._tasks or (is_first and self._is_owner_asked):
            is_first = False
            self._cancel_tasks()
            try:
                await (asyncio.wait(self._tasks) if self._tasks else asyncio.sleep(0))
            except asyncio.CancelledError as error:
                interrupted = error
        self._is_closed = True
        return interrupted

    def is_cancelled_by_others(self) -> bool:
        """Tell, once and at the end, whether the owner was cancelled by somebody beside this group."""
        return not self._is_owner_asked or take_back(self._owner) > self._asked_before

    async def _begin(self, work: Work) -> None:
        import asyncio  # noqa: PLC0415 - as above

        self._cancellable.add(asyncio.current_task())
        if self._is_cancelled:
            self._cancel_tasks()
        await self.run(work)

    def _cancel_tasks(self) -> None:
        self._is_cancelled = True
        while self._cancellable:
            ask_to_end(self._cancellable.pop())

    def _forget(self, task: Any) -> None:  # noqa: ANN401 - an asyncio.Task, as above
        self._tasks.discard(task)
        self._cancellable.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:  # SystemExit, say: what TaskGroup.run lets pass
            self.errors.append(error)
            self.cancel()


@asynccontextmanager
async def _in_asyncio() -> AsyncIterator[TaskGroup]:
    import asyncio  # noqa: PLC0415 - as above

    group = _AsyncioTaskGroup(asyncio.current_task())
    raised: BaseException | None = None
    cancelled: asyncio.CancelledError | None = None
    try:
        yield group
        await group.wait()
    except asyncio.CancelledError as error:
        cancelled = error
    except BaseException as error:  # noqa: BLE001 - raised below, when the tasks have ended
        raised = error
    cancelled = await group.close() or cancelled
    if group.is_cancelled_by_others() and cancelled is not None:
        raise cancelled
    if raised is not None:
        raise raised


async def run_within(seconds: float, work: Work, sleep: Callable[[float], Awaitable[None]]) -> bool:
    """
    Run *work*, and cancel it when *seconds* have passed, as *sleep* measures them.

    Returns:
        Whether it ended by itself.
    """
    is_done = False
    async with open_task_group() as group:

        async def expire() -> None:
            await sleep(seconds)
            group.cancel()

        group.start(expire)
        await watched(work())
        is_done = True
        group.cancel()
    return is_done


#: The tasks of :func:`run_shielded`.
_shielded: WeakSet[Any] = WeakSet()


async def run_shielded(work: Work) -> None:
    """
    Run *work* to its end even if the caller is cancelled meanwhile; the cancellation arrives after it.

    Raises:
        Exception: What *work* raised; under asyncio a cancellation comes first, with it as its cause.
    """
    trio = running_trio()
    if trio is not None:
        with trio.CancelScope(shield=True):
            await work()
        return
    if not is_asyncio_running():
        await work()  # where no loop runs, nobody can cancel
        return
    import asyncio  # noqa: PLC0415 - as above

    if asyncio.current_task() in _shielded:
        await work()  # nobody else has this task, to cancel it
        return

    async def run() -> None:
        await work()

    task = asyncio.ensure_future(run())
    _shielded.add(task)
    interrupted: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            interrupted = error
    if interrupted is not None:
        if not task.cancelled() and task.exception() is not None:
            raise interrupted from task.exception()
        raise interrupted
    task.result()
