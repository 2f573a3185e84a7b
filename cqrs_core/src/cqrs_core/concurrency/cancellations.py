"""
How often an asyncio task was asked to end, and by whom.

From Python 3.11 on the task counts by itself. On 3.10 what is asked for here is counted, and, of what others ask for,
what arrives in a :func:`watched` await; elsewhere, one from outside while ours is under way is taken for ours.

Source:
    ``asyncio.timeouts.Timeout`` of Python 3.11: its cancellation was the only one if, taken back, no more of them are
    left than there were when the block was entered.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from cqrs_core.concurrency.loops import running_trio
from cqrs_core.errors import StrayCancellation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

_Task = Any  # asyncio.Task, which is not imported for its name alone
T = TypeVar("T")

if sys.version_info >= (3, 11):

    def asked_to_end(task: _Task) -> int:
        """Count the cancellations of *task* that were not taken back."""
        return task.cancelling()  # type: ignore[no-any-return]  # see _Task

    def ask_to_end(task: _Task) -> None:
        """Cancel *task*."""
        task.cancel()

    def take_back(task: _Task) -> int:
        """Take one cancellation back, which has arrived; gives how many are left."""
        return task.uncancel()  # type: ignore[no-any-return]  # see _Task

    def watched(awaitable: Awaitable[T]) -> Awaitable[T]:
        """Give what, awaited in place of *awaitable*, has every cancellation counted: itself."""
        return awaitable

else:
    _asked: WeakKeyDictionary[_Task, int] = WeakKeyDictionary()
    #: Tasks that were asked here, and perhaps have not noticed.
    _under_way: WeakSet[_Task] = WeakSet()
    #: Tasks in a watched await. One in another sees what the outer has seen already.
    _watched: WeakSet[_Task] = WeakSet()

    def asked_to_end(task: _Task) -> int:
        """Count the cancellations of *task* that were not taken back."""
        return _asked.get(task, 0)

    def ask_to_end(task: _Task) -> None:
        """Cancel *task*."""
        _asked[task] = asked_to_end(task) + 1
        _under_way.add(task)
        task.cancel()

    def take_back(task: _Task) -> int:
        """Take one cancellation back, which has arrived; gives how many are left."""
        _under_way.discard(task)
        _asked[task] = asked_to_end(task) - 1
        return _asked[task]

    async def watched(awaitable: Awaitable[T]) -> T:
        """Await *awaitable* in this task, and count each cancellation that arrives meanwhile and was not asked here."""
        if running_trio() is not None:
            return await awaitable
        import asyncio  # noqa: PLC0415 - it is running, so this costs a look-up

        task = asyncio.current_task()
        if task in _watched:
            return await awaitable

        async def wait() -> T:
            return await awaitable

        _watched.add(task)
        try:
            answer: T = await _Arrivals(wait(), task, asyncio.CancelledError)
        finally:
            _watched.discard(task)
        return answer

    class _Arrivals(Generator[Any, Any, Any]):
        """Passes on each step of a coroutine, and looks at what is thrown into it: nothing tells when it is asked."""

        def __init__(self, coroutine: Coroutine[Any, Any, Any], task: _Task, cancelled: type[BaseException]) -> None:
            self._coroutine = coroutine
            self._task = task
            self._cancelled = cancelled

        def __await__(self) -> Generator[Any, Any, Any]:
            return self

        def send(self, value: Any, /) -> Any:  # noqa: ANN401 - between asyncio and what it waits for
            return self._coroutine.send(value)

        def throw(self, error: Any, /, *rest: Any) -> Any:  # noqa: ANN401 - an exception or its class, and as above
            kind = error if isinstance(error, type) else type(error)
            if issubclass(kind, self._cancelled):
                if self._task in _under_way:
                    _under_way.discard(self._task)
                else:
                    _asked[self._task] = asked_to_end(self._task) + 1
            return self._coroutine.throw(error, *rest)


def is_stray(error: BaseException) -> bool:
    """
    Tell whether *error* is a cancellation that nobody asked of the task that runs: of something it has waited for.

    asyncio has such: a future that another task cancelled. For whoever waited, it is a failure like any other. On
    Python 3.10, one that somebody asked of this task without asking here is taken for one, unless it was counted as it
    arrived in a :func:`watched` await.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:  # trio runs
        return False
    return task is not None and not asked_to_end(task)


def as_failure(error: BaseException) -> Exception:
    """
    Give *error* as one that can be told and tried again.

    Raises:
        BaseException: *error* itself, if it is to end what runs: a cancellation of the task, ``SystemExit``.
    """
    if isinstance(error, Exception):
        return error
    if is_stray(error):
        stray = StrayCancellation()
        stray.__cause__ = error
        return stray
    raise error
