"""Work that nobody waits for, and that ends with the loop."""

from __future__ import annotations

from contextvars import Context
from typing import TYPE_CHECKING, Any

from cqrs_core.concurrency.loops import is_asyncio_running, running_trio
from cqrs_core.errors import NoEventLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Work = Callable[[], Awaitable[None]]

#: asyncio itself holds its tasks by weak references only.
_tasks: set[Any] = set()


def start_later(seconds: float, work: Work) -> None:
    """
    Let *work* begin when *seconds* of real time have passed, if the loop still runs then.

    It must not raise: there is nobody to tell. Until it begins, asyncio has a timer and no task, so that a loop that is
    closed meanwhile has nothing to complain of.

    Raises:
        NoEventLoop: Neither asyncio nor trio is running.
    """
    trio = running_trio()
    if trio is not None:

        async def wait_and_work() -> None:
            await trio.sleep(seconds)
            await work()

        trio.lowlevel.spawn_system_task(wait_and_work)
    elif is_asyncio_running():
        import asyncio  # noqa: PLC0415 - it is running, so this costs a look-up

        # In a context of its own: it is no part of the message that is being handled here.
        asyncio.get_running_loop().call_later(seconds, _begin, work, context=Context())
    else:
        raise NoEventLoop


def _begin(work: Work) -> None:
    import asyncio  # noqa: PLC0415 - as above

    async def run() -> None:
        await work()

    task = asyncio.ensure_future(run())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
