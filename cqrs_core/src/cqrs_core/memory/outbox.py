"""The outbox of the memory storage: what was committed, and waits to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.envelope import TYPE
from cqrs_core.errors import UnpublishableEnvelope
from cqrs_core.memory.leases import MemoryLease, Slots
from cqrs_core.memory.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cqrs_core.clock import Clock
    from cqrs_core.envelope import Envelope
    from cqrs_core.memory.records import DeadMessage
    from cqrs_core.outbox import OutboxRecord


class MemoryOutbox:
    """
    Keeps messages in order: a :class:`cqrs_core.outbox.Outbox`.

    Attributes:
        records: All that is in it.
        slots: Which relay has which share of the keys.
    """

    def __init__(self, clock: Clock, *, max_message_bytes: int) -> None:
        self.records = Records(clock)
        self.slots = Slots(clock)
        self._max_message_bytes = max_message_bytes

    @property
    def dead(self) -> Sequence[DeadMessage]:
        """What relays have given up, in the order in which they have."""
        return self.records.dead

    async def pending(self, *, limit: int = 100, after: int = 0) -> Sequence[OutboxRecord]:
        """As :meth:`cqrs_core.outbox.Outbox.pending`."""
        return self.records.behind(after)[:limit]

    def lease(self, name: str, *, ttl_s: float) -> MemoryLease:
        """
        As :meth:`cqrs_core.outbox.Outbox.lease`.

        Raises:
            InvalidOption: *ttl_s* is not more than 0.
        """
        return MemoryLease(self.records, self.slots, name, ttl_s=ttl_s)

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
        self.records.keep(envelopes)

    def forget(self) -> None:
        """Forget everything, and who shares it."""
        self.records.forget()
        self.slots.forget()
