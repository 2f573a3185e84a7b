"""A block that somebody else can end, without ending the task that is in it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cqrs_core.concurrency.cancellations import ask_to_end, asked_to_end, take_back
from cqrs_core.concurrency.loops import running_trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class CancelScope:
    """A block that can be ended from outside; see :func:`open_cancel_scope`."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self.is_cancelled = False

    def cancel(self) -> None:
        """End the block where it next awaits, without an error; to be called while it is open, and from its loop."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self._end()


@contextmanager
def open_cancel_scope() -> Iterator[CancelScope]:
    """Open a block that others may end; it costs little, and starts no task."""
    trio = running_trio()
    if trio is not None:
        with trio.CancelScope() as inner:
            yield CancelScope(inner.cancel)
        return
    import asyncio  # noqa: PLC0415 - it is running, so this costs a look-up

    owner = asyncio.current_task()
    asked_before = asked_to_end(owner)
    scope = CancelScope(lambda: ask_to_end(owner))
    try:
        yield scope
    except BaseException as error:
        is_own = scope.is_cancelled and take_back(owner) <= asked_before
        if not (is_own and isinstance(error, asyncio.CancelledError)):
            raise
    else:
        if scope.is_cancelled:
            take_back(owner)


@contextmanager
def move_on_after(seconds: float) -> Iterator[CancelScope]:
    """Open a block that is ended when *seconds* of real time have passed; ``is_cancelled`` tells whether it was."""
    trio = running_trio()
    if trio is not None:
        with trio.move_on_after(seconds) as inner:
            scope = CancelScope(inner.cancel)
            yield scope
        scope.is_cancelled = inner.cancelled_caught
        return
    import asyncio  # noqa: PLC0415 - as above

    with open_cancel_scope() as scope:
        timer = asyncio.get_running_loop().call_later(seconds, scope.cancel)
        try:
            yield scope
        finally:
            timer.cancel()
