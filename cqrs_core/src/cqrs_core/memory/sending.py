"""What becomes of messages that are being sent, and how their senders wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.concurrency import Gate

if TYPE_CHECKING:
    from cqrs_core.envelope import Envelope

DELIVERED = SendOutcome(SendStatus.DELIVERED)


class Sending:
    """
    One message that is being sent, until it is settled.

    Attributes:
        envelope: The message.
        outcome: What became of it; ``None`` as long as that is open.
    """

    __slots__ = ("_batch", "_groups_left", "envelope", "outcome")

    def __init__(self, envelope: Envelope, batch: Batch) -> None:
        self.envelope = envelope
        self.outcome: SendOutcome | None = None
        self._batch = batch
        self._groups_left = 0

    @property
    def is_taken(self) -> bool:
        """Whether the groups have it, so that it can no longer be called back."""
        return self._groups_left > 0 or self.outcome is DELIVERED

    def taken(self, groups: int) -> bool:
        """Note that so many groups have it, and tell whether each must say when it is done."""
        if groups and self._batch.until_acknowledged:
            self._groups_left = groups
            return True
        self.settle(DELIVERED)
        return False

    def acknowledged(self) -> None:
        """Note that one of the groups is done with it."""
        self._groups_left -= 1
        if not self._groups_left:
            self.settle(DELIVERED)

    def settle(self, outcome: SendOutcome) -> None:
        """Decide what became of it; only the first time counts."""
        if self.outcome is None:
            self.outcome = outcome
            self._batch.count_down()


class Batch:
    """
    The messages of one call.

    Attributes:
        until_acknowledged: Whether a message is delivered when its groups are done with it, or already when they have
            it.
        sendings: The messages, in the order of the call.
    """

    __slots__ = ("_gate", "_left", "sendings", "until_acknowledged")

    def __init__(self, *, until_acknowledged: bool) -> None:
        self.until_acknowledged = until_acknowledged
        self.sendings: list[Sending] = []
        self._left = 0
        self._gate: Gate | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it is known of each message what became of it."""
        return not self._left

    def add(self, envelope: Envelope) -> Sending:
        """Add a message; nothing of it is decided yet."""
        sending = Sending(envelope, self)
        self.sendings.append(sending)
        self._left += 1
        return sending

    def outcomes(self) -> list[SendOutcome]:
        """Tell of each message, in the order of the call, what became of it; those that are settled."""
        return [sending.outcome for sending in self.sendings if sending.outcome is not None]

    def count_down(self) -> None:
        """Note that one more message is settled."""
        self._left -= 1
        if not self._left and self._gate is not None:
            self._gate.open()

    async def wait(self) -> None:
        """Return when all are settled."""
        if self._left:
            self._gate = Gate()
            await self._gate.wait()
