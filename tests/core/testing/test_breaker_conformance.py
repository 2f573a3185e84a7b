"""The suite for circuit breakers finds what is wrong with one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from cqrs_core.clock import Clock
from cqrs_core.errors import CircuitOpen
from cqrs_core.testing.conformance.breaker import CircuitBreakerConformance

# Breakers with one fault each ----------------------------------------------------------------------------------------


class Right:
    """A breaker without a fault, and without any cleverness: what is wrong with others is in its subclasses."""

    def __init__(self, fail_max: int, open_for_s: float, exclude: tuple[type[Exception], ...], clock: Clock) -> None:
        self.fail_max = fail_max
        self.open_for_s = open_for_s
        self.exclude = exclude
        self.clock = clock
        self.circuits: dict[str, Circuit] = {}

    async def acquire(self, circuit: str) -> Permit:
        state = self.circuits.setdefault(self.key(circuit), Circuit())
        if state.until is not None:
            left = state.until - self.time()
            if left > 0:
                raise self.refusal(circuit, left)
            self.begin_probe(state)
        return Permit(self, state)

    def key(self, circuit: str) -> str:
        return circuit

    def time(self) -> float:
        return self.clock.monotonic()

    def refusal(self, circuit: str, left: float) -> CircuitOpen:
        return CircuitOpen(circuit, left)

    def begin_probe(self, state: Circuit) -> None:
        state.until = self.time() + self.open_for_s
        state.epoch += 1

    def is_late(self, permit: Permit) -> bool:
        return permit.epoch != permit.state.epoch

    def is_answer(self, error: Exception) -> bool:
        return isinstance(error, self.exclude)

    def succeed(self, state: Circuit) -> None:
        state.failures = 0
        if state.until is not None:
            state.until = None
            state.epoch += 1

    def answered(self, state: Circuit) -> None:
        if state.until is not None:
            self.succeed(state)

    def fail(self, state: Circuit, error: Exception) -> None:
        state.failures += 1
        if state.failures >= self.fail_max or state.until is not None:
            self.open(state)

    def open(self, state: Circuit) -> None:
        state.until = self.time() + self.open_for_s
        state.epoch += 1

    def abandon(self, state: Circuit) -> None:
        if state.until is not None:
            state.until = self.time()


class Circuit:
    def __init__(self) -> None:
        self.failures = 0
        self.until: float | None = None
        self.epoch = 0


class Permit:
    def __init__(self, breaker: Right, state: Circuit) -> None:
        self.breaker = breaker
        self.state = state
        self.epoch = state.epoch

    async def succeeded(self) -> None:
        if not self.breaker.is_late(self):
            self.breaker.succeed(self.state)

    async def failed(self, error: Exception) -> None:
        if self.breaker.is_late(self):
            return
        if self.breaker.is_answer(error):
            self.breaker.answered(self.state)
        else:
            self.breaker.fail(self.state, error)

    def abandoned(self) -> None:
        if not self.breaker.is_late(self):
            self.breaker.abandon(self.state)


class OpensTooLate(Right):
    def __init__(self, fail_max: int, *others: Any) -> None:
        super().__init__(fail_max + 1, *others)


class AddsUpAllFailures(Right):
    def succeed(self, state: Circuit) -> None:
        failures = state.failures
        super().succeed(state)
        state.failures = failures


class TellsTheWholeTime(Right):
    def refusal(self, circuit: str, left: float) -> CircuitOpen:
        return super().refusal(circuit, self.open_for_s)


class KeepsCountingAfterClosing(Right):
    def succeed(self, state: Circuit) -> None:
        was_closed = state.until is None
        failures = state.failures
        super().succeed(state)
        state.failures = 0 if was_closed else failures


class GivesTheProbeSeveralTries(Right):
    def fail(self, state: Circuit, error: Exception) -> None:
        state.failures = 0 if state.failures >= self.fail_max else state.failures
        state.failures += 1
        if state.failures >= self.fail_max:
            self.open(state)
        else:
            self.abandon(state)


class HasOneCircuit(Right):
    def key(self, circuit: str) -> str:
        return "the only one"


class LetsEveryProbeThrough(Right):
    def begin_probe(self, state: Circuit) -> None:
        pass


class TakesLateFailures(Right):
    """It minds the state for successes alone."""

    async def acquire(self, circuit: str) -> Permit:
        right = await super().acquire(circuit)

        class Failing(Permit):
            async def failed(self, error: Exception) -> None:
                self.breaker.open(self.state)

        return Failing(self, right.state)


class TakesEverything(Right):
    def is_late(self, permit: Permit) -> bool:
        return False


class WaitsForTheProbe(Right):
    def begin_probe(self, state: Circuit) -> None:
        super().begin_probe(state)
        state.until = 1e9


class CountsCancellations(Right):
    def abandon(self, state: Circuit) -> None:
        self.fail(state, Exception())


class TakesCancellationsForSuccess(Right):
    def abandon(self, state: Circuit) -> None:
        self.succeed(state)


class KeepsTheTurnOfACancelledProbe(Right):
    def abandon(self, state: Circuit) -> None:
        pass


class ExcludesNothing(Right):
    def is_answer(self, error: Exception) -> bool:
        return False


class OverlooksMetaclasses(Right):
    def is_answer(self, error: Exception) -> bool:
        return super().is_answer(error) and type(type(error)) is type


class TakesAnswersForSuccess(Right):
    def answered(self, state: Circuit) -> None:
        self.succeed(state)


class TakesAnswersForNothing(Right):
    def answered(self, state: Circuit) -> None:
        self.abandon(state)


class RaisesTheError(Right):
    def open(self, state: Circuit) -> None:
        super().open(state)
        raise RuntimeError("it is open now")


class MarksTheError(Right):
    def fail(self, state: Circuit, error: Exception) -> None:
        super().fail(state, error)
        try:
            raise error
        except ConnectionError:
            pass


class AsksForTheDate(Right):
    def time(self) -> float:
        return (self.clock.now() - datetime.fromisoformat("2000-01-01T00:00:00+00:00")).total_seconds()


FAULTS = [
    (OpensTooLate, "test_so_many_failures_in_a_row_open_the_circuit"),
    (AddsUpAllFailures, "test_a_success_ends_a_row_of_failures"),
    (TellsTheWholeTime, "test_a_refusal_names_the_circuit_and_when_to_try_again"),
    (KeepsCountingAfterClosing, "test_a_probe_that_succeeds_closes_the_circuit"),
    (GivesTheProbeSeveralTries, "test_a_probe_that_fails_opens_the_circuit_again"),
    (HasOneCircuit, "test_circuits_are_independent"),
    (LetsEveryProbeThrough, "test_a_half_open_circuit_lets_one_call_through"),
    (TakesEverything, "test_failures_after_the_circuit_opened_do_not_prolong_it"),
    (TakesLateFailures, "test_a_late_failure_does_not_take_the_turn_of_the_probe"),
    (TakesEverything, "test_a_late_success_does_not_close_the_circuit"),
    (TakesEverything, "test_a_failure_from_before_does_not_count_after_the_circuit_closed"),
    (TakesEverything, "test_a_probe_that_hangs_loses_its_turn"),
    (WaitsForTheProbe, "test_a_probe_that_hangs_loses_its_turn"),
    (CountsCancellations, "test_cancelled_calls_prove_nothing"),
    (TakesCancellationsForSuccess, "test_cancelled_calls_prove_nothing"),
    (KeepsTheTurnOfACancelledProbe, "test_after_a_cancelled_probe_the_next_call_is_one"),
    (ExcludesNothing, "test_excluded_errors_neither_count_nor_end_a_row_of_failures"),
    (OverlooksMetaclasses, "test_excluded_errors_neither_count_nor_end_a_row_of_failures"),
    (TakesAnswersForSuccess, "test_excluded_errors_neither_count_nor_end_a_row_of_failures"),
    (TakesAnswersForNothing, "test_a_probe_that_is_answered_by_an_excluded_error_closes_the_circuit"),
    (RaisesTheError, "test_errors_stay_as_they_are"),
    (MarksTheError, "test_errors_stay_as_they_are"),
    (AsksForTheDate, "test_only_time_that_passes_counts"),
]


def run(check: str, breaker_type: type[Right]) -> None:
    class Suite(CircuitBreakerConformance):
        def make_breaker(self, *, fail_max: int, open_for_s: float, exclude: Any, clock: Clock) -> Right:
            return breaker_type(fail_max, open_for_s, tuple(exclude), clock)

    arguments: list[Any] = [1] if check == "test_only_time_that_passes_counts" else []  # hours
    getattr(Suite(), check)("asyncio", *arguments)


@pytest.mark.parametrize(("breaker_type", "check"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_fails_the_check_that_is_about_it(breaker_type: type[Right], check: str) -> None:
    with pytest.raises((AssertionError, RuntimeError, CircuitOpen, pytest.fail.Exception)):
        run(check, breaker_type)


def test_there_is_a_fault_for_every_check() -> None:
    """A check that nothing fails proves nothing."""
    checks = {name for name in dir(CircuitBreakerConformance) if name.startswith("test_")}

    assert checks == {check for _, check in FAULTS}


@pytest.mark.parametrize("check", sorted({check for _, check in FAULTS}))
def test_the_same_breaker_without_a_fault_passes(check: str) -> None:
    """So it is the fault that the check found."""
    run(check, Right)


def test_a_forgotten_make_breaker_fails_loudly() -> None:
    """An abstract class would be left out by pytest, without a word."""
    with pytest.raises(NotImplementedError, match=r"^CircuitBreakerConformance must implement make_breaker\(\)$"):
        CircuitBreakerConformance().test_circuits_are_independent("asyncio")
