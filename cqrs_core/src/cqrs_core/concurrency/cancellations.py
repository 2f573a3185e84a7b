"""
How often an asyncio task was asked to end, and by whom.

From Python 3.11 on the task counts by itself. On 3.10 only what is asked for here is counted, so one that comes from
outside while ours is under way, which is until what it ends has cleaned up, is taken for ours.

Source:
    ``asyncio.timeouts.Timeout`` of Python 3.11: its cancellation was the only one if, taken back, no more of them are
    left than there were when the block was entered.
"""

from __future__ import annotations

import sys
from typing import Any
from weakref import WeakKeyDictionary

from cqrs_core.errors import StrayCancellation

_Task = Any  # asyncio.Task, which is not imported for its name alone

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

else:
    _asked: WeakKeyDictionary[_Task, int] = WeakKeyDictionary()

    def asked_to_end(task: _Task) -> int:
        """Count the cancellations of *task* that were not taken back."""
        return _asked.get(task, 0)

    def ask_to_end(task: _Task) -> None:
        """Cancel *task*."""
        _asked[task] = asked_to_end(task) + 1
        task.cancel()

    def take_back(task: _Task) -> int:
        """Take one cancellation back, which has arrived; gives how many are left."""
        _asked[task] = asked_to_end(task) - 1
        return _asked[task]


def is_stray(error: BaseException) -> bool:
    """
    Tell whether *error* is a cancellation that nobody asked of the task that runs: of something it has waited for.

    asyncio has such: a future that another task cancelled. For whoever waited, it is a failure like any other. On
    Python 3.10, one that somebody asked of this task without asking here is taken for one.
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
