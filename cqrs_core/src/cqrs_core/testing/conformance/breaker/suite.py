"""What the checks for circuit breakers share: a clock for each, and how calls end."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from cqrs_core.errors import CircuitOpen
from cqrs_core.testing.clock import VirtualClock
from cqrs_core.testing.conformance.running import as_test, within
from cqrs_core.testing.conformance.suite import Suite

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from cqrs_core.breaker import CircuitBreaker
    from cqrs_core.clock import Clock

    S = TypeVar("S", bound="BreakerSuite")

FAIL_MAX = 3
OPEN_FOR_S = 10.0


class NoSuchOrder(Exception):
    """An answer, though an error."""


class _Meta(type):
    """What makes ``type(error_class) is type`` untrue, as that of abstract classes does."""


class Refused(NoSuchOrder, metaclass=_Meta):
    """A subclass of what is excluded; its class has a metaclass."""


class JumpingClock(VirtualClock):
    """
    A clock whose date can be set, as somebody, or summer time, sets that of a machine.

    Attributes:
        jump: How far the date is from where it would be.
    """

    jump = timedelta(0)

    def now(self) -> datetime:
        """As :meth:`cqrs_core.clock.Clock.now`."""
        return super().now() + self.jump


def check(body: Callable[[S, JumpingClock], Coroutine[None, None, None]]) -> Callable[[S, str], None]:
    """Make a test of a method that wants a clock: it runs on a loop of its own, for a limited time."""

    async def main(self: S) -> None:
        await within(
            self.deadline_s,
            functools.partial(body, self, JumpingClock()),
            failure=lambda: f"{body.__name__} did not end.",
        )

    return as_test(body, main)


async def succeed(breaker: CircuitBreaker, circuit: str = "circuit") -> None:
    """Make a call that returns."""
    permit = await breaker.acquire(circuit)
    await permit.succeeded()


async def fail(breaker: CircuitBreaker, times: int = 1, *, circuit: str = "circuit", error: str = "") -> None:
    """Make calls that raise what is no answer."""
    for _ in range(times):
        permit = await breaker.acquire(circuit)
        await permit.failed(ConnectionError(error))


async def answer(breaker: CircuitBreaker, error: Exception) -> None:
    """Make a call that raises what is excluded."""
    permit = await breaker.acquire("circuit")
    await permit.failed(error)


async def is_refused(breaker: CircuitBreaker, circuit: str = "circuit") -> bool:
    """Tell whether a call is refused; one that is not proves nothing."""
    try:
        permit = await breaker.acquire(circuit)
    except CircuitOpen:
        return True
    permit.abandoned()
    return False


class BreakerSuite(Suite):
    """What an author implements, and what the checks use."""

    def make_breaker(
        self, *, fail_max: int, open_for_s: float, exclude: Sequence[type[Exception]], clock: Clock
    ) -> CircuitBreaker:
        """
        Give a breaker whose circuits are all closed.

        Args:
            fail_max: How many failures in a row open a circuit.
            open_for_s: Seconds until a probe.
            exclude: Errors that are answers.
            clock: Tells the time.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement make_breaker()")

    def breaker(self, clock: Clock) -> CircuitBreaker:
        """Give a breaker as most checks want it."""
        return self.make_breaker(fail_max=FAIL_MAX, open_for_s=OPEN_FOR_S, exclude=(NoSuchOrder,), clock=clock)

    async def half_open(self, clock: VirtualClock) -> CircuitBreaker:
        """Give a breaker that lets one call through, and no more."""
        breaker = self.breaker(clock)
        await fail(breaker, FAIL_MAX)
        await clock.advance(OPEN_FOR_S)
        return breaker
