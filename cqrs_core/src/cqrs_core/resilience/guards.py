"""Puts policies around what they guard, always in the same order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.clock import SystemClock
from cqrs_core.errors import CqrsError, InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from cqrs_core.breaker import CircuitBreaker
    from cqrs_core.clock import Clock
    from cqrs_core.resilience.calls import Handle
    from cqrs_core.resilience.deadline import Deadline
    from cqrs_core.resilience.policies import Policies
    from cqrs_core.resilience.streams import Stream

    #: Finds the breaker of a name, or URL, among the plug-ins.
    OpenBreaker = Callable[[str], CircuitBreaker]


class Guards:
    """
    ``fallback(breaker(retry(attempt)))``, for all mediators of a program; what has no policy stays as it is.

    Attributes:
        clock: Measures deadlines, and lets the delays between attempts pass.
    """

    def __init__(self, *, clock: Clock | None = None, open_breaker: OpenBreaker | None = None) -> None:
        """
        Take what policies need.

        Args:
            clock: The machine's unless given.
            open_breaker: Finds breakers that are given by their names. Each name gives one breaker, so that bindings
                that name it share its circuits.
        """
        self.clock = clock or SystemClock()
        self._open_breaker = open_breaker
        self._opened: dict[str, CircuitBreaker] = {}

    def problems(self, policies: Policies) -> list[CqrsError]:
        """Tell everything that is wrong with *policies*, and open the breaker that they name: errors, none raised."""
        found = policies.problems()
        named = policies.rules.circuit_breaker if policies.rules is not None else None
        if isinstance(named, str) and named not in self._opened:
            if self._open_breaker is None:
                expected = "a circuit breaker: names are opened by an App, and by the bootstrap functions"
                return [*found, InvalidOption("circuit_breaker", named, expected)]
            try:
                self._opened[named] = self._open_breaker(named)
            except CqrsError as error:
                found.append(error)
        return found

    def deadline(self, policies: Policies) -> Deadline | None:
        """Give what ends one attempt in time, if there is to be one."""
        if policies.timeout_s is None:
            return None
        from cqrs_core.resilience.deadline import Deadline  # noqa: PLC0415 - who has no policy pays for none

        return Deadline(policies.timeout_s, self.clock)

    def call(self, primary: Handle, fallback: Handle | None, policies: Policies, circuit: str) -> Handle:
        """
        Guard a call.

        Args:
            primary: One attempt at it.
            fallback: One attempt at what is done in its place.
            circuit: What the breaker knows *primary* by.
        """
        from cqrs_core.resilience.calls import retried, through_breaker, with_fallback  # noqa: PLC0415 - as above

        retry, rules = policies.retry, policies.rules
        if retry is not None:
            primary = retried(primary, retry, self.clock)
        if rules is None or fallback is None:
            return primary
        breaker = self.breaker_of(policies)
        if breaker is not None:
            primary = through_breaker(primary, breaker, circuit)
        if retry is not None:
            fallback = retried(fallback, retry, self.clock)
        return with_fallback(primary, fallback, rules, circuit)

    def stream(self, primary: Stream, fallback: Stream | None, policies: Policies, circuit: str) -> Stream:
        """Guard a stream, as :meth:`call`."""
        from cqrs_core.resilience.streams import (  # noqa: PLC0415 - as above
            retried_stream,
            stream_through_breaker,
            stream_with_fallback,
        )

        retry, rules = policies.retry, policies.rules
        if retry is not None:
            primary = retried_stream(primary, retry, self.clock)
        if rules is None or fallback is None:
            return primary
        breaker = self.breaker_of(policies)
        if breaker is not None:
            primary = stream_through_breaker(primary, breaker, circuit)
        if retry is not None:
            fallback = retried_stream(fallback, retry, self.clock)
        return stream_with_fallback(primary, fallback, rules, circuit)

    def breaker_of(self, policies: Policies) -> CircuitBreaker | None:
        """Give the breaker of *policies*, if they have one; one that they name was opened by :meth:`problems`."""
        given = policies.rules.circuit_breaker if policies.rules is not None else None
        return self._opened[given] if isinstance(given, str) else given
