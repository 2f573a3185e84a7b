"""When to try again, and after what delays."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cqrs_core import RetryPolicy
from cqrs_core.errors import EventHandlersFailed, InvalidOption


def test_delays_grow_from_the_first_to_the_longest() -> None:
    """delay_s * backoff ** (n - 1), at most max_delay_s."""
    policy = RetryPolicy(delay_s=0.5, backoff=3, max_delay_s=10, jitter=0)

    assert [0.5, 1.5, 4.5, 10, 10] == [policy.delay_after(attempt) for attempt in range(1, 6)]  # 0.5·3⁰, 0.5·3¹, ...


@pytest.mark.parametrize(("drawn", "delay_s"), [(0.0, 8.0), (0.5, 7.0), (1.0, 6.0)])
def test_jitter_is_the_share_that_is_drawn(drawn: float, delay_s: float) -> None:
    """It makes delays shorter, and never longer than the longest."""
    policy = RetryPolicy(delay_s=100, max_delay_s=8, jitter=0.25)

    assert delay_s == policy.delay_after(1, lambda: drawn)  # 8·(1 - 0.25·drawn)


def test_full_jitter_is_anything_between_nothing_and_the_whole() -> None:
    """Drawn anew each time."""
    policy = RetryPolicy(delay_s=4, jitter=1)

    delays = {policy.delay_after(1) for _ in range(50)}

    assert 1 < len(delays)
    assert all(0 <= delay <= 4 for delay in delays)


@pytest.mark.parametrize("backoff", [1, 2, 2.0, 1e308])
def test_however_many_attempts_there_were_the_delay_is_bounded(backoff: float) -> None:
    """Numbers that a float cannot hold included."""
    policy = RetryPolicy(delay_s=1, backoff=backoff, max_delay_s=30, jitter=0)

    assert (1 if backoff == 1 else 30) == policy.delay_after(1_000_000)


def test_no_delay_stays_no_delay() -> None:
    """Nothing, doubled a thousand times, is nothing."""
    policy = RetryPolicy(delay_s=0, backoff=2)

    assert {0.0} == {policy.delay_after(attempt) for attempt in (1, 2, 1024, 1026, 5000)}


class Lasting(ConnectionError):
    pass


def test_what_is_worth_another_attempt_is_said_by_class_and_its_exceptions_too() -> None:
    """Subclasses count."""
    policy = RetryPolicy(retry_on=(ConnectionError, KeyError), give_up_on=(Lasting,))

    errors = [ConnectionError(), ConnectionResetError(), KeyError(), Lasting(), ValueError()]
    assert [True, True, True, False, False] == [policy.is_worth_retrying(error) for error in errors]


def test_by_default_every_error_is_worth_five_attempts() -> None:
    """Half a second, doubled, thirty seconds at most."""
    policy = RetryPolicy()

    assert policy.is_worth_retrying(ValueError())
    assert (5, 0.5, 2.0, 30.0, 0.1) == (
        *(policy.max_attempts, policy.delay_s, policy.backoff),
        *(policy.max_delay_s, policy.jitter),
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("max_attempts", value) for value in (0, -1, 1.5, math.inf, "5", None, True)),
        *(("delay_s", value) for value in (-0.1, math.inf, math.nan, "1", None, True, 10**400)),
        *(("backoff", value) for value in (0.9, 0, math.inf, math.nan, "2", True, 10**400)),
        *(("max_delay_s", value) for value in (-1, math.inf, math.nan, None, 10**400)),
        *(("jitter", value) for value in (-0.1, 1.1, math.nan, "full", True, 10**400)),
        *(("retry_on", value) for value in (ValueError, [ValueError], (int,), ("x",), (BaseException,), None)),
        *(("give_up_on", value) for value in (KeyError, (KeyError(),), ((KeyError,),))),
    ],
)
def test_an_option_outside_its_bounds_is_refused(option: str, value: Any) -> None:
    """With its name, its value, and what it may be."""
    with pytest.raises(InvalidOption) as caught:
        RetryPolicy(**{option: value})

    assert (option, str(value)) == (caught.value.option, str(caught.value.value))
    assert "It must be" in str(caught.value)


def test_a_number_that_is_too_long_to_be_written_is_refused_like_others() -> None:
    """Python writes no int of more than 4,300 digits, and raises a ValueError of its own."""
    with pytest.raises(InvalidOption, match="^delay_s is <int object at"):
        RetryPolicy(delay_s=10**5000)


def test_the_largest_numbers_can_be_reckoned_with() -> None:
    """Whether they are of one type or another."""
    policy = RetryPolicy(delay_s=1e300, backoff=10**300, max_delay_s=10**308, jitter=1)

    assert [1e300, 10**308] == [policy.delay_after(attempt, lambda: 0) for attempt in (1, 2)]


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 1, "delay_s": 0, "backoff": 1, "max_delay_s": 0, "jitter": 0},
        {"jitter": 1, "retry_on": (), "give_up_on": (ValueError, OSError)},
    ],
)
def test_the_bounds_themselves_are_allowed(options: dict[str, Any]) -> None:
    """One attempt, no delay, no growth, no jitter, or nothing but jitter."""
    policy = RetryPolicy(**options)

    assert options == {name: getattr(policy, name) for name in options}


def test_of_a_group_every_error_counts() -> None:
    """What a handler's own tasks, or a command that it sent, have raised; groups in groups too."""
    policy = RetryPolicy(retry_on=(ConnectionError,), give_up_on=(ConnectionResetError,))

    assert policy.is_worth_retrying(EventHandlersFailed([ConnectionError(), EventHandlersFailed([ConnectionError()])]))
    assert not policy.is_worth_retrying(EventHandlersFailed([ConnectionError(), EventHandlersFailed([KeyError()])]))
    assert not policy.is_worth_retrying(EventHandlersFailed([ConnectionResetError()]))
