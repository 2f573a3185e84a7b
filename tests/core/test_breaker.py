"""The breaker of the core: what the suite for all breakers does not ask."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

import pytest

from cqrs_core.breaker import LocalCircuitBreaker, missing_breaker_methods
from cqrs_core.errors import CircuitOpen, CqrsError, InvalidOption
from cqrs_core.testing import VirtualClock


def drive(coroutine: Any) -> Any:
    """Run what never suspends, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it suspended")


def fail(breaker: LocalCircuitBreaker, error: Exception | None = None) -> None:
    drive(drive(breaker.acquire("Pay.handle")).failed(error or ConnectionError("refused")))


def test_nothing_ever_suspends() -> None:
    """So each step is atomic, on any event loop or none, and a call pays for no switch."""
    clock = VirtualClock()
    breaker = LocalCircuitBreaker(fail_max=1, open_for_s=5, clock=clock)
    drive(drive(breaker.acquire("Pay.handle")).succeeded())
    fail(breaker)

    with pytest.raises(CircuitOpen):
        drive(breaker.acquire("Pay.handle"))


def test_a_call_on_a_closed_circuit_asks_no_clock_and_makes_no_permit() -> None:
    """What is paid for by every call is a look into a dict."""

    class NoClock(VirtualClock):
        def monotonic(self) -> float:
            raise AssertionError("asked for the time")

    breaker = LocalCircuitBreaker(clock=NoClock())

    assert drive(breaker.acquire("Pay.handle")) is drive(breaker.acquire("Pay.handle"))


def test_the_refusal_says_what_happened_and_what_to_do() -> None:
    breaker = LocalCircuitBreaker(fail_max=1, open_for_s=12.5, clock=VirtualClock())
    fail(breaker)

    with pytest.raises(CircuitOpen) as refused:
        drive(breaker.acquire("Pay.handle"))

    assert (
        "The circuit of Pay.handle is open, because calls kept failing: this one was not made. Try again in 12.5 s, or "
        "bind a fallback."
    ) == str(refused.value)
    assert isinstance(refused.value, CqrsError)
    assert isinstance(refused.value, ConnectionError)


async def test_opening_and_closing_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody should look when it opens; the text of the error, which may quote a message, is left out."""
    caplog.set_level(logging.INFO, "cqrs_core.breaker")
    clock = VirtualClock()
    breaker = LocalCircuitBreaker(fail_max=1, open_for_s=5, clock=clock)
    fail(breaker, ConnectionError("card 4711"))
    await clock.advance(5)
    await (await breaker.acquire("Pay.handle")).succeeded()

    expected = [
        ("WARNING", "The circuit of Pay.handle is open for 5 s: the last error was of type ConnectionError."),
        ("INFO", "The circuit of Pay.handle is closed again."),
    ]
    assert expected == [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ["Pay.handle"] * 2 == [vars(record)["circuit"] for record in caplog.records]


def test_without_a_clock_it_is_the_machines() -> None:
    breaker = LocalCircuitBreaker(fail_max=1, open_for_s=1000)
    fail(breaker)

    with pytest.raises(CircuitOpen) as refused:
        drive(breaker.acquire("Pay.handle"))

    assert 900 < refused.value.retry_after_s <= 1000


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        *(("fail_max", value, "a whole number, at least 1") for value in (0, -1, 1.0, True, None, "5")),
        *(
            ("open_for_s", value, "a number of seconds, more than 0")
            for value in (0, -0.1, float("nan"), float("inf"), True, None, "60", 10**400)
        ),
        *(
            ("exclude", value, "a list or tuple of classes of exceptions")
            for value in (ValueError, [ValueError()], (int,), "abc", {ValueError}, None, [BaseException])
        ),
    ],
)
def test_options_that_mean_nothing_are_refused(option: str, value: Any, expected: str) -> None:
    """When it is made, with what they may be."""
    with pytest.raises(InvalidOption) as caught:
        LocalCircuitBreaker(**{option: value})

    assert f"{option} is {value!r}. It must be {expected}." == str(caught.value)


@pytest.mark.parametrize("exclude", [[ValueError], (ValueError, KeyError), [], ()])
def test_exclude_is_a_list_or_a_tuple(exclude: Any) -> None:
    LocalCircuitBreaker(exclude=exclude)


def test_what_is_no_breaker_is_told() -> None:
    """A class is none, though it has the method; what makes breakers is none either, and no more is a lock."""
    things: list[object] = [LocalCircuitBreaker(), LocalCircuitBreaker, object(), lambda: None, None, asyncio.Lock()]

    assert [[], *[["acquire"]] * 5] == [missing_breaker_methods(thing) for thing in things]


def test_a_method_that_does_not_tell_what_it_takes_passes() -> None:
    """Some that are written in C have no signature that Python could read."""

    class WrittenInC:
        acquire = max

    with pytest.raises(ValueError, match="signature"):
        inspect.signature(max)
    assert [] == missing_breaker_methods(WrittenInC())
