"""The outbox of the memory storage: what was committed, and waits to be sent."""

from __future__ import annotations

from bisect import bisect_right
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING

from cqrs_core.envelope import TYPE
from cqrs_core.errors import UnpublishableEnvelope
from cqrs_core.outbox import OutboxRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from cqrs_core.clock import Clock
    from cqrs_core.envelope import Envelope


class MemoryOutbox:
    """Keeps messages in order: a :class:`cqrs_core.outbox.Outbox`."""

    def __init__(self, clock: Clock, *, max_message_bytes: int) -> None:
        self._clock = clock
        self._max_message_bytes = max_message_bytes
        self._records: list[OutboxRecord] = []
        self._positions = count(1)  # it goes on when everything is forgotten

    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        """As :meth:`cqrs_core.outbox.Outbox.pending`."""
        start = bisect_right(self._records, after, key=attrgetter("position"))
        return self._records[start : start + limit]

    def remove(self, positions: Collection[int]) -> None:
        """Forget messages that were sent; those that are not there are left out."""
        gone = set(positions)
        self._records = [record for record in self._records if record.position not in gone]

    def check(self, envelope: Envelope) -> None:
        """
        See that *envelope* can be kept.

        Raises:
            UnpublishableEnvelope: Its body is too long.
        """
        length, limit = len(envelope.body), self._max_message_bytes
        if length > limit:
            problem = (
                f"its body has {length} bytes, and this memory storage takes {limit}. Send where the content is to be "
                "found, or raise max_message_bytes."
            )
            raise UnpublishableEnvelope(envelope.headers.get(TYPE, "A message"), envelope.topic, problem)

    def keep(self, envelopes: Iterable[Envelope]) -> None:
        """Write what was committed."""
        now = self._clock.now()
        self._records += [OutboxRecord(next(self._positions), envelope, now) for envelope in envelopes]

    def forget(self) -> None:
        """Forget everything."""
        self._records.clear()
