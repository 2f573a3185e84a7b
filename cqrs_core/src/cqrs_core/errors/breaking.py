"""Errors of circuit breakers."""

from __future__ import annotations

from cqrs_core.errors.base import CqrsError


class CircuitOpen(CqrsError, ConnectionError):
    """
    A call was not made: those before it failed, and the circuit breaker spares whatever is behind them.

    Attributes:
        circuit: Which circuit; for a handler its qualified name.
        retry_after_s: Seconds after which a call is let through; a probe that succeeds meanwhile makes it sooner.
    """

    def __init__(self, circuit: str, retry_after_s: float) -> None:
        self.circuit = circuit
        self.retry_after_s = retry_after_s
        super().__init__(
            f"The circuit of {circuit} is open, because calls kept failing: this one was not made. Try again in "
            f"{retry_after_s:.1f} s, or bind a fallback."
        )
