"""Waiting that ends early when somebody rings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.concurrency import Gate, run_within

if TYPE_CHECKING:
    from cqrs_core.clock import Clock


class Bell:
    """
    Rung by those who have left something to do, and heard by the one who does it.

    A ring that nobody waits for is heard by the next who waits.
    """

    def __init__(self) -> None:
        self._is_rung = False
        self._gate: Gate | None = None

    def ring(self) -> None:
        """End the waiting."""
        self._is_rung = True
        if self._gate is not None and self._gate.is_of_this_loop():
            self._gate.open()

    async def wait(self, seconds: float, clock: Clock) -> bool:
        """
        Wait for a ring, but no longer than *seconds*.

        Returns:
            Whether it rang.
        """
        if not self._is_rung:
            self._gate = gate = Gate()
            await run_within(seconds, gate.wait, clock.sleep)
            self._gate = None
        was_rung, self._is_rung = self._is_rung, False
        return was_rung
