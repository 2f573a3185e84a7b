"""
A broker within one process: for tests, for programs of one process, and to begin with.

It passes the same checks as any other broker (``cqrs_core.testing.conformance``), but forgets everything when it stops.
A message goes this way: :mod:`.broker` (what programs call) → :mod:`.exchange` (all that is there between start and
stop) → :mod:`.sending` (what becomes of it) → :mod:`.topics` (is there room; which partition) → :mod:`.queues` (what a
group has of a partition) → :mod:`.subscriptions` (who receives it).
"""

from __future__ import annotations

from cqrs_core.memory.broker import MemoryBroker

__all__ = ["MemoryBroker"]
