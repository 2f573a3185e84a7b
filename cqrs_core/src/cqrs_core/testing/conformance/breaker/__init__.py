"""What every circuit breaker must do."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cqrs_core.concurrency import open_task_group
from cqrs_core.errors import CircuitOpen
from cqrs_core.testing.conformance.breaker.suite import (
    FAIL_MAX,
    OPEN_FOR_S,
    BreakerSuite,
    JumpingClock,
    NoSuchOrder,
    Refused,
    answer,
    check,
    fail,
    is_refused,
    succeed,
)
from cqrs_core.testing.conformance.running import run_on

if TYPE_CHECKING:
    from cqrs_core.breaker import Permit

__all__ = ["CircuitBreakerConformance"]


class CircuitBreakerConformance(BreakerSuite):
    """
    The checks for a :class:`cqrs_core.breaker.CircuitBreaker`: subclass as ``TestMyBreaker``, and implement one method.

    .. code-block:: python

        class TestMyBreaker(CircuitBreakerConformance):
            backends = ("asyncio", "trio")

            def make_breaker(self, *, fail_max, open_for_s, exclude, clock):
                return MyBreaker(fail_max, open_for_s, exclude=exclude, now=clock.monotonic)
    """

    # Closed, open, half-open -----------------------------------------------------------------------------------------

    @check
    async def test_so_many_failures_in_a_row_open_the_circuit(self, clock: JumpingClock) -> None:
        """With the last of them, and not before."""
        breaker = self.breaker(clock)
        refusals = []
        for _ in range(FAIL_MAX):
            refusals.append(await is_refused(breaker))
            await fail(breaker)

        assert [False] * FAIL_MAX == refusals
        assert await is_refused(breaker)

    @check
    async def test_a_success_ends_a_row_of_failures(self, clock: JumpingClock) -> None:
        """They count when they are consecutive."""
        breaker = self.breaker(clock)
        await fail(breaker, FAIL_MAX - 1)
        await succeed(breaker)
        await fail(breaker, FAIL_MAX - 1)

        assert not await is_refused(breaker)

    @check
    async def test_a_refusal_names_the_circuit_and_when_to_try_again(self, clock: JumpingClock) -> None:
        """The seconds count down."""
        breaker = self.breaker(clock)
        await fail(breaker, FAIL_MAX, circuit="payments")
        told = []
        for _ in range(4):
            with pytest.raises(CircuitOpen) as refused:
                await breaker.acquire("payments")
            told.append((refused.value.circuit, refused.value.retry_after_s))
            await clock.advance(2)

        assert [("payments", seconds) for seconds in (10, 8, 6, 4)] == told

    @check
    async def test_a_probe_that_succeeds_closes_the_circuit(self, clock: JumpingClock) -> None:
        """And failures count from none."""
        breaker = await self.half_open(clock)
        await succeed(breaker)
        await fail(breaker, FAIL_MAX - 1)

        assert not await is_refused(breaker)

    @check
    async def test_a_probe_that_fails_opens_the_circuit_again(self, clock: JumpingClock) -> None:
        """One failure is enough, and the time begins anew."""
        breaker = await self.half_open(clock)
        await fail(breaker)
        await clock.advance(OPEN_FOR_S - 1)
        was_refused = await is_refused(breaker)
        await clock.advance(1)

        assert was_refused
        assert not await is_refused(breaker)

    @check
    async def test_circuits_are_independent(self, clock: JumpingClock) -> None:
        """What fails on one is nothing to another, and failures of several do not add up."""
        breaker = self.breaker(clock)
        await fail(breaker, FAIL_MAX - 1, circuit="one")
        await fail(breaker, FAIL_MAX, circuit="other")
        await succeed(breaker, "third")

        assert [False, True, False] == [await is_refused(breaker, name) for name in ("one", "other", "third")]

    # Many calls at once ----------------------------------------------------------------------------------------------

    @check
    async def test_a_half_open_circuit_lets_one_call_through(self, clock: JumpingClock) -> None:
        """Of however many that come at once."""
        breaker = await self.half_open(clock)
        passed: list[Permit] = []

        async def call() -> None:
            try:
                passed.append(await breaker.acquire("circuit"))
            except CircuitOpen as refused:
                assert 0 <= refused.retry_after_s <= OPEN_FOR_S  # noqa: PT017 - what is raised by most of the calls

        async with open_task_group() as calls:
            for _ in range(50):
                calls.start(call)

        assert 1 == len(passed)

    @check
    async def test_failures_after_the_circuit_opened_do_not_prolong_it(self, clock: JumpingClock) -> None:
        """Those were let through before: what they prove is known."""
        breaker = self.breaker(clock)
        late = [await breaker.acquire("circuit") for _ in range(FAIL_MAX)]
        await fail(breaker, FAIL_MAX)
        await clock.advance(OPEN_FOR_S - 1)
        for permit in late:
            await permit.failed(ConnectionError())
        await clock.advance(1)

        assert not await is_refused(breaker)

    @check
    async def test_a_late_failure_does_not_take_the_turn_of_the_probe(self, clock: JumpingClock) -> None:
        """It says nothing about the service of now."""
        breaker = self.breaker(clock)
        late = await breaker.acquire("circuit")
        await fail(breaker, FAIL_MAX)
        await clock.advance(OPEN_FOR_S)
        probe = await breaker.acquire("circuit")
        await late.failed(ConnectionError())
        await probe.succeeded()

        assert not await is_refused(breaker)

    @check
    async def test_a_late_success_does_not_close_the_circuit(self, clock: JumpingClock) -> None:
        """Neither one that is open nor one that is being probed."""
        breaker = self.breaker(clock)
        late = [await breaker.acquire("circuit") for _ in range(2)]
        await fail(breaker, FAIL_MAX)
        await late[0].succeeded()
        was_refused = await is_refused(breaker)
        await clock.advance(OPEN_FOR_S)
        await breaker.acquire("circuit")
        await late[1].succeeded()

        assert was_refused
        assert await is_refused(breaker)

    @check
    async def test_a_failure_from_before_does_not_count_after_the_circuit_closed(self, clock: JumpingClock) -> None:
        """The row begins with the calls that were let through since."""
        breaker = self.breaker(clock)
        late = [await breaker.acquire("circuit") for _ in range(FAIL_MAX)]
        await fail(breaker, FAIL_MAX)
        await clock.advance(OPEN_FOR_S)
        await succeed(breaker)
        for permit in late:
            await permit.failed(ConnectionError())

        assert not await is_refused(breaker)

    @check
    async def test_a_probe_that_hangs_loses_its_turn(self, clock: JumpingClock) -> None:
        """After as much time again another call is let through, and what the first proves is dropped."""
        breaker = await self.half_open(clock)
        hanging = await breaker.acquire("circuit")
        await clock.advance(OPEN_FOR_S)
        probe = await breaker.acquire("circuit")
        await hanging.succeeded()
        was_refused = await is_refused(breaker)
        await probe.succeeded()
        await hanging.failed(ConnectionError())

        assert was_refused
        assert not await is_refused(breaker)

    # Outcomes that are no verdict ------------------------------------------------------------------------------------

    @check
    async def test_cancelled_calls_prove_nothing(self, clock: JumpingClock) -> None:
        """They neither count nor end a row of failures."""
        breaker = self.breaker(clock)
        for _ in range(2 * FAIL_MAX):
            (await breaker.acquire("circuit")).abandoned()
        was_refused = await is_refused(breaker)
        await fail(breaker, FAIL_MAX - 1)
        (await breaker.acquire("circuit")).abandoned()
        await fail(breaker)

        assert not was_refused
        assert await is_refused(breaker)

    @check
    async def test_after_a_cancelled_probe_the_next_call_is_one(self, clock: JumpingClock) -> None:
        """At once; and still one call only."""
        breaker = await self.half_open(clock)
        (await breaker.acquire("circuit")).abandoned()
        probe = await breaker.acquire("circuit")
        was_refused = await is_refused(breaker)
        await probe.succeeded()

        assert was_refused
        assert not await is_refused(breaker)

    @check
    async def test_excluded_errors_neither_count_nor_end_a_row_of_failures(self, clock: JumpingClock) -> None:
        """Nor do their subclasses, whatever their metaclass."""
        breaker = self.breaker(clock)
        for _ in range(FAIL_MAX):
            await answer(breaker, NoSuchOrder())
            await answer(breaker, Refused())
        was_refused = await is_refused(breaker)
        await fail(breaker, FAIL_MAX - 1)
        await answer(breaker, Refused())
        await fail(breaker)

        assert not was_refused
        assert await is_refused(breaker)

    @check
    async def test_a_probe_that_is_answered_by_an_excluded_error_closes_the_circuit(self, clock: JumpingClock) -> None:
        """Whatever answers is there."""
        breaker = await self.half_open(clock)
        await answer(breaker, NoSuchOrder())
        await fail(breaker, FAIL_MAX - 1)

        assert not await is_refused(breaker)

    @check
    async def test_errors_stay_as_they_are(self, clock: JumpingClock) -> None:
        """``failed`` raises nothing, even when it opens the circuit, and leaves no trace on the error of the caller."""
        breaker = self.make_breaker(fail_max=1, open_for_s=OPEN_FOR_S, exclude=(NoSuchOrder,), clock=clock)
        errors: list[Exception] = [NoSuchOrder(), ConnectionError()]
        for error in errors:
            await answer(breaker, error)

        assert [(None, None, None)] * 2 == [(e.__traceback__, e.__cause__, e.__context__) for e in errors]

    # Time ------------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("hours", [-25, -1, 1, 25])
    def test_only_time_that_passes_counts(self, backend: str, hours: int) -> None:
        """Dates that are set back or forth, by hand or for summer time, change nothing."""

        async def main() -> None:
            clock = JumpingClock()
            breaker = self.breaker(clock)
            await fail(breaker, FAIL_MAX)
            clock.jump = timedelta(hours=hours)
            with pytest.raises(CircuitOpen) as refused:
                await breaker.acquire("circuit")
            await clock.advance(OPEN_FOR_S)

            assert OPEN_FOR_S == refused.value.retry_after_s
            assert not await is_refused(breaker)

        run_on(backend, main)
