"""How a check runs: on a loop of its own, and not for ever."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, TypeVar

from cqrs_core.concurrency.loops import running_trio
from cqrs_core.concurrency.run_all import end_all

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

S = TypeVar("S")
T = TypeVar("T")


def run_on(backend: str, main: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run *main* to its end on a new loop of asyncio or trio."""
    if backend == "trio":
        import trio  # noqa: PLC0415 - only who asks for it has it

        trio.run(main)
    else:
        asyncio.run(main())


def as_test(body: Callable[..., object], main: Callable[[S], Coroutine[None, None, None]]) -> Callable[[S, str], None]:
    """Make a test that runs *main*, given the suite, on a loop of its own; it is called and explained like *body*."""

    def run(self: S, backend: str) -> None:
        run_on(backend, functools.partial(main, self))

    test = functools.wraps(body)(run)
    # pytest asks for a signature to learn what to pass, and for __wrapped__ to learn where the test is written.
    test.__signature__ = inspect.signature(run, follow_wrapped=False)  # type: ignore[attr-defined] # a plain function
    return test


async def within(seconds: float, work: Callable[[], Coroutine[None, None, T]], *, failure: Callable[[], str]) -> T:
    """
    Do *work*, but not longer than so many *seconds*.

    Raises:
        AssertionError: It took longer, and was cancelled; its text begins with what *failure* says then.
    """
    trio = running_trio()
    if trio is not None:
        with trio.move_on_after(seconds):
            return await work()
    else:
        # Not wait_for: a TimeoutError that the work raises must not be taken for ours.
        task = asyncio.ensure_future(work())
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            was_done = task.done()
            await end_all([task])
        if was_done:
            return task.result()
    raise AssertionError(f"{failure()} That was to happen within {seconds:g} s.")
