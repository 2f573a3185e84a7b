"""Which library runs here: asyncio or trio. What they both have, under one name."""

from __future__ import annotations

import sys
from typing import Any

from cqrs_core.errors import NoEventLoop


def running_trio() -> Any:  # noqa: ANN401 - the module trio, which the core does not import
    """Give the module trio if it runs the current task, else ``None``."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_task() else None


def is_asyncio_running() -> bool:
    """Tell whether an event loop of asyncio runs in this thread."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def current_task() -> object:
    """Give what stands for the task that runs here; ``None`` where no event loop runs."""
    trio = running_trio()
    if trio is not None:
        task: object = trio.lowlevel.current_task()
        return task
    if not is_asyncio_running():
        return None
    import asyncio  # noqa: PLC0415 - it is running, so this costs a look-up

    return asyncio.current_task()


async def sleep(seconds: float) -> None:
    """
    Let *seconds* pass, and others run, even if there is nothing to wait for.

    Raises:
        NoEventLoop: Neither asyncio nor trio is running.
    """
    trio = running_trio()
    if trio is not None:
        await trio.sleep(max(seconds, 0))  # asyncio takes less than nothing for nothing
    elif is_asyncio_running():
        import asyncio  # noqa: PLC0415 - it is running, so this costs a look-up

        await asyncio.sleep(seconds)
    else:
        raise NoEventLoop


class Gate:
    """
    An event of the library that is running, opened once.

    Raises:
        NoEventLoop: Made where neither asyncio nor trio is running.
    """

    def __init__(self) -> None:
        trio = running_trio()
        if trio is not None:
            self._loop: object = trio.lowlevel.current_trio_token()
            self._event = trio.Event()
        elif is_asyncio_running():
            import asyncio  # noqa: PLC0415 - it is running, so this costs a look-up

            self._loop = asyncio.get_running_loop()
            self._event = asyncio.Event()
        else:
            raise NoEventLoop

    def is_of_this_loop(self) -> bool:
        """Whether waiting here can ever end."""
        trio = running_trio()
        if trio is not None:
            return self._loop is trio.lowlevel.current_trio_token()
        if not is_asyncio_running():
            return False
        import asyncio  # noqa: PLC0415 - as above

        return self._loop is asyncio.get_running_loop()

    @property
    def is_open(self) -> bool:
        """Whether everybody may pass."""
        is_set: bool = self._event.is_set()
        return is_set

    async def wait(self) -> None:
        """Return when the gate is open."""
        await self._event.wait()

    def open(self) -> None:
        """Let everybody pass."""
        self._event.set()
