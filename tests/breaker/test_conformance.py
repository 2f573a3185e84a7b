"""The breaker on aiobreaker does what every circuit breaker does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_breaker import AioBreakerAdapter
from cqrs_core.testing.conformance.breaker import CircuitBreakerConformance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.clock import Clock


class TestAioBreakerAdapter(CircuitBreakerConformance):
    backends = ("asyncio", "trio")

    def make_breaker(
        self, *, fail_max: int, open_for_s: float, exclude: Sequence[type[Exception]], clock: Clock
    ) -> AioBreakerAdapter:
        return AioBreakerAdapter(fail_max, open_for_s, exclude, clock=clock)
