"""What becomes of a message that the broker refuses: it waits, or is given up."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cqrs_core.outbox import OutboxRecord
    from cqrs_core.relay.options import RelayOptions

logger = logging.getLogger(__name__)


class RefusalKeeper(Protocol):
    """Where it is kept that messages wait, or are given up: :class:`cqrs_core.outbox.OutboxLease` is one."""

    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        """As :meth:`cqrs_core.outbox.OutboxLease.postpone`."""
        ...

    async def bury(self, position: int, *, reason: str, error: str) -> None:
        """As :meth:`cqrs_core.outbox.OutboxLease.bury`."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What becomes of one refused message; no other is to blame, so only those of its key wait with it.

    Attributes:
        position: Of which message.
        error: Why it was refused, as it is kept with the message.
        reason: Why it is given up, if it is.
        delay_s: Else: seconds until it is tried again; ``None``: until somebody lets it go.
    """

    position: int
    error: str
    reason: str | None = None
    delay_s: float | None = None

    async def keep_in(self, keeper: RefusalKeeper) -> None:
        """Let *keeper* know."""
        if self.reason is not None:
            await keeper.bury(self.position, reason=self.reason, error=self.error)
        else:
            await keeper.postpone(self.position, delay_s=self.delay_s, error=self.error)


def judge(record: OutboxRecord, refusal: BaseException | None, *, is_permanent: bool, options: RelayOptions) -> Verdict:
    """Decide, by *options*, what becomes of *record*, and log it."""
    attempts = record.attempts + 1
    position, error = record.position, f"{type(refusal).__name__}: {refusal}"
    facts = {"topic": record.envelope.topic, "position": position, "message_id": record.envelope.id}
    if not is_permanent and attempts < options.retry.max_attempts:
        delay_s = options.retry.delay_after(attempts)
        logger.warning("A message was refused; trying again in %.1f s: %s", delay_s, error, extra=facts)
        return Verdict(position, error, delay_s=delay_s)
    if options.on_dead == "halt":
        logger.error("A message was refused for good, and its key waits for somebody: %s", error, extra=facts)
        return Verdict(position, error)
    logger.error("A message was refused for good, and is among the dead ones: %s", error, extra=facts)
    return Verdict(position, error, reason="permanent" if is_permanent else "attempts")
