"""The inbox of the memory storage: what was accepted, and when."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from cqrs_core.concurrency import sleep
from cqrs_core.errors import InvalidOption
from cqrs_core.memory.claims import Claims

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Hashable, Sequence
    from datetime import datetime, timedelta

    from cqrs_core.clock import Clock
    from cqrs_core.memory.claims import Receipt


class MemoryInbox:
    """Remembers what was accepted: a :class:`cqrs_core.inbox.Inbox`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._accepted: dict[Receipt, datetime] = {}
        self._claims = Claims(self._accepted)

    async def purge(self, older_than: timedelta, *, batch_size: int = 5000) -> int:
        """
        As :meth:`cqrs_core.inbox.Inbox.purge`; between two batches, others run.

        Raises:
            InvalidOption: *batch_size* is less than 1.
        """
        if batch_size < 1:
            raise InvalidOption("batch_size", batch_size, "at least 1")
        end = self._clock.now() - older_than
        forgotten = 0
        while batch := list(islice((receipt for receipt, at in self._accepted.items() if at < end), batch_size)):
            for receipt in batch:
                del self._accepted[receipt]
            forgotten += len(batch)
            await sleep(0)
        return forgotten

    async def claim(self, unit: Hashable, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[Receipt]:
        """
        Give *unit* those of the messages that are new to *group*, for it to keep or to release.

        Raises:
            Deadlock: Another unit has claimed one of them, and waits for *unit*.
        """
        return await self._claims.claim(unit, list(dict.fromkeys((group, message_id) for message_id in message_ids)))

    def keep(self, receipts: Collection[Receipt]) -> None:
        """Take what was claimed as accepted, from now on."""
        self._accepted.update(dict.fromkeys(receipts, self._clock.now()))
        self._claims.release(receipts)

    def release(self, receipts: Collection[Receipt]) -> None:
        """Let others claim what was claimed."""
        self._claims.release(receipts)

    def forget(self) -> None:
        """Forget everything, and wait for nobody any more."""
        self._accepted.clear()
        self._claims.release_all()
