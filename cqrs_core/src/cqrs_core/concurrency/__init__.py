"""
What runs at the same time, on the loop that is running.

asyncio and trio are both served. Neither is imported here before it is needed: a running trio is found in
``sys.modules``. Nothing is kept between calls, so one mediator can serve several event loops one after the other.
"""

from __future__ import annotations

from cqrs_core.concurrency.background import start_later
from cqrs_core.concurrency.cancel_scope import CancelScope, move_on_after, open_cancel_scope
from cqrs_core.concurrency.cancellations import as_failure, watched
from cqrs_core.concurrency.loops import Gate, current_task, sleep
from cqrs_core.concurrency.once import Once
from cqrs_core.concurrency.run_all import run_all
from cqrs_core.concurrency.task_group import TaskGroup, open_task_group, run_shielded, run_within

__all__ = [
    "CancelScope",
    "Gate",
    "Once",
    "TaskGroup",
    "as_failure",
    "current_task",
    "move_on_after",
    "open_cancel_scope",
    "open_task_group",
    "run_all",
    "run_shielded",
    "run_within",
    "sleep",
    "start_later",
    "watched",
]
