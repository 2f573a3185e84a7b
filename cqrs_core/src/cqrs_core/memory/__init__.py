"""
A broker and a storage within one process: for tests, for programs of one process, and to begin with.

They pass the same checks as any others (``cqrs_core.testing.conformance``), but forget everything when they stop.

A message goes this way: :mod:`.broker` (what programs call) → :mod:`.exchange` (all that is there between start and
stop) → :mod:`.sending` (what becomes of it) → :mod:`.topics` (is there room; which partition) → :mod:`.queues` (what a
group has of a partition) → :mod:`.subscriptions` (who receives it).

A change goes this way: :mod:`.storage` (what programs call) → :mod:`.unit` (what is to be kept together) →
:mod:`.outbox`, :mod:`.inbox` and :mod:`.sagas` (what was kept) → :mod:`.claims` (who waits for whom). What was kept in
the outbox is sent by :mod:`.leases` (who sends what) → :mod:`.records` (what waits, and what was given up). A person
looks after it through :mod:`.keeper`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.memory.broker import MemoryBroker
from cqrs_core.memory.claims import Deadlock
from cqrs_core.memory.storage import MemoryStorage

if TYPE_CHECKING:
    from cqrs_core.memory.sagas import MemorySagaStorage
else:

    def __getattr__(name: str) -> object:  # hidden from type checkers, which would believe any name
        """Import what a program without sagas does not need."""
        if name != "MemorySagaStorage":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from cqrs_core.memory.sagas import MemorySagaStorage  # noqa: PLC0415 - see above

        return MemorySagaStorage


__all__ = ["Deadlock", "MemoryBroker", "MemorySagaStorage", "MemoryStorage"]
