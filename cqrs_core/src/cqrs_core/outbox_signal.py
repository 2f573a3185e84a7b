"""The contract of what tells relays in other processes that there is something to send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class OutboxSignal(Protocol):
    """
    Rings from process to process: ``storage.outbox_signal``, where a storage has one.

    Nothing depends on it but how soon a message leaves: relays look at the outbox in any case, so it may lose a ring,
    and has no errors to tell.
    """

    def ring(self) -> None:
        """Let relays know, soon, that something was committed; called after each commit, and returns at once."""
        ...

    async def listen(self, on_ring: Callable[[], None]) -> None:
        """
        Call *on_ring*, on the event loop, whenever somebody has rung, in this process or another; until cancelled.

        What was rung before is not heard. A connection that breaks is made anew.
        """
        ...
