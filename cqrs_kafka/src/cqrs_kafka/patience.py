"""Wait for something, but not for ever: some calls of the client never return, and some do not like to end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

#: After so many times ``unavailable_after_s`` without an answer, it is tried with another consumer.
STALLED = 3
#: How long what was cancelled may take to end; then it is left to itself.
_GRACE_S = 0.5


async def within(seconds: float, work: Coroutine[object, object, T]) -> T:
    """
    Do *work*, but not longer than so many *seconds*, whatever it does about being cancelled.

    Raises:
        TooSlow: It took longer, and was cancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=max(0.0, seconds))
    finally:
        was_done = task.done()
        if not was_done:
            task.add_done_callback(look_at)
            task.cancel()
            await asyncio.wait({task}, timeout=_GRACE_S)
    if not was_done:
        raise TooSlow(f"not done after {seconds:.1f} s")
    if task.cancelled():  # from inside: the client cancels what waits for it when it ends
        raise TooSlow("given up by the client")
    return task.result()


class TooSlow(Exception):
    """Something was not done in time. Not a TimeoutError, which the work itself may raise."""


def look_at(future: asyncio.Future[T]) -> None:
    """Look whether *future* failed: perhaps nobody else does, and asyncio would complain."""
    if not future.cancelled():
        future.exception()
