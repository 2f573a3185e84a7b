"""When to try again, and how long to wait before."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cqrs_core.errors import InvalidOption
from cqrs_core.resilience.failures import single_errors

if TYPE_CHECKING:
    from collections.abc import Callable


#: The largest number that has a place in arithmetic with others: an int may be larger, and infinity is.
_LARGEST = sys.float_info.max
_BOUNDS = (
    ("delay_s", 0, _LARGEST, "a number of seconds, 0 or more"),
    ("backoff", 1, _LARGEST, "a number, at least 1"),
    ("max_delay_s", 0, _LARGEST, "a number of seconds, 0 or more"),
    ("jitter", 0, 1, "a number from 0 to 1"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """
    How often something that fails is tried, and after what delays.

    The delay before attempt ``n + 1`` is ``delay_s * backoff ** (n - 1)``, at most ``max_delay_s``; of that, *jitter*
    is the share that is drawn at random, so that those who failed together do not come back together.

    Attributes:
        max_attempts: How many attempts there are in all, the first included; at least 1.
        delay_s: Seconds before the second attempt.
        backoff: What each delay is multiplied by to give the next; at least 1.
        max_delay_s: The longest delay, in seconds.
        jitter: From 0 (none) to 1 (anything between nothing and the whole delay).
        retry_on: Errors that are worth another attempt.
        give_up_on: Exceptions to that: errors that no further attempt would mend.

    Raises:
        InvalidOption: A number is outside its bounds, or a class is no class of errors.

    Source:
        M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    max_attempts: int = 5
    delay_s: float = 0.5
    backoff: float = 2.0
    max_delay_s: float = 30.0
    jitter: float = 0.1
    retry_on: tuple[type[Exception], ...] = (Exception,)
    give_up_on: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        attempts: object = self.max_attempts  # options come from programs that no type checker has seen
        is_count = isinstance(attempts, int) and not isinstance(attempts, bool) and attempts >= 1
        check("max_attempts", attempts, is_count, "a whole number, at least 1")
        for name, lowest, highest, expected in _BOUNDS:
            number = getattr(self, name)
            is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
            check(name, number, is_number and lowest <= number <= highest, expected)
        for name in ("retry_on", "give_up_on"):
            classes = getattr(self, name)
            fits = isinstance(classes, tuple) and all(isinstance(cls, type) for cls in classes)
            fits = fits and all(issubclass(cls, Exception) for cls in classes)
            check(name, classes, fits, "a tuple of classes of exceptions")

    def is_worth_retrying(self, error: Exception) -> bool:
        """
        Tell whether *error* is of a kind that another attempt may mend; of a group, whether all in it are.

        Of a unit of work that was rolled back, what it was rolled back for decides.
        """
        return all(
            isinstance(single, self.retry_on) and not isinstance(single, self.give_up_on)
            for single in single_errors(error)
        )

    def delay_after(self, attempt: int, draw: Callable[[], float] | None = None) -> float:
        """
        Give the seconds to wait after an attempt that failed.

        Args:
            attempt: Which attempt it was, from 1.
            draw: Gives a number from 0 to 1; ``random.random`` unless given.
        """
        try:
            delay = min(self.delay_s * float(self.backoff) ** (attempt - 1), self.max_delay_s)
        except OverflowError:
            delay = self.max_delay_s if self.delay_s else 0.0
        if not self.jitter:
            return delay
        return delay * (1 - self.jitter * (draw or _drawn)())


def _drawn() -> float:
    import random  # noqa: PLC0415 - only who has to wait needs it

    return random.random()  # noqa: S311 - to spread attempts, not to keep a secret


def check(option: str, value: object, is_right: bool, expected: str) -> None:  # noqa: FBT001 - named at each call
    """Refuse an option that is not right."""
    if not is_right:
        raise InvalidOption(option, value, expected)


#: For what has no end but success: a broker, or a storage, that does not answer.
OUTAGE = RetryPolicy(delay_s=0.1, max_delay_s=30.0)
