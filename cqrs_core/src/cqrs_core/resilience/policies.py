"""What a program attaches to a binding, so that a failure is not the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cqrs_core.breaker import missing_breaker_methods
from cqrs_core.durations import is_duration
from cqrs_core.errors import CqrsError, InvalidOption
from cqrs_core.resilience.retry_policy import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cqrs_core.breaker import CircuitBreaker

    #: Finds the breaker of a name, or URL, among the plug-ins.
    OpenBreaker = Callable[[str], CircuitBreaker]


class HandlerFallback:
    """
    A handler, and another one that takes over when it fails; what requests and events share.

    Attributes:
        primary: What is tried first.
        fallback: What is tried then: with a scope, and attempts, of its own.
        failure_exceptions: Errors for which it is; empty: any. A circuit that is open is always one.
        circuit_breaker: Spares *primary* while it keeps failing; a name or URL is opened when the mediator is built.
    """

    def __init__(
        self,
        primary: Any,  # noqa: ANN401 - a handler class, or a chain of them; the wiring looks at it
        fallback: Any,  # noqa: ANN401 - as above
        failure_exceptions: Sequence[type[Exception]] = (),
        circuit_breaker: CircuitBreaker | str | None = None,
    ) -> None:
        self.primary = primary
        self.fallback = fallback
        self.failure_exceptions = failure_exceptions
        self.circuit_breaker = circuit_breaker

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_shown(self.primary)}, {_shown(self.fallback)})"


class RequestHandlerFallback(HandlerFallback):
    """A handler of requests, of streams, or a chain, and one of the same kind that takes over when it fails."""


class EventHandlerFallback(HandlerFallback):
    """A handler of events, and another one that takes over when it fails."""


@dataclass(frozen=True, slots=True)
class Policies:
    """
    The policies of one binding.

    Attributes:
        retry: When a failed attempt is repeated.
        timeout_s: Seconds that one attempt of the handler may take; of a stream, each item.
        rules: The fallback that was bound, for its errors and its breaker.
    """

    retry: RetryPolicy | None = None
    timeout_s: float | None = None
    rules: HandlerFallback | None = None

    @property
    def are_used(self) -> bool:
        """Whether there is any."""
        return self.retry is not None or self.timeout_s is not None or self.rules is not None

    def problems(self) -> list[CqrsError]:
        """Tell everything that is wrong with them: errors, none of them raised."""
        found: list[CqrsError] = []
        retry, timeout_s = _as_given(self.retry), _as_given(self.timeout_s)
        if retry is not None and not isinstance(retry, RetryPolicy):
            found.append(InvalidOption("retry", retry, "a RetryPolicy"))
        if timeout_s is not None and not is_duration(timeout_s):
            found.append(InvalidOption("timeout_s", timeout_s, "a number of seconds, more than 0"))
        if self.rules is not None:
            found.extend(_rule_problems(self.rules))
        return found


def _rule_problems(rules: HandlerFallback) -> list[CqrsError]:
    found: list[CqrsError] = []
    errors, breaker = _as_given(rules.failure_exceptions), _as_given(rules.circuit_breaker)
    is_sequence = isinstance(errors, (tuple, list))
    if not is_sequence or not all(isinstance(cls, type) and issubclass(cls, Exception) for cls in errors):
        found.append(InvalidOption("failure_exceptions", errors, "a tuple of classes of exceptions"))
    if breaker is not None and not isinstance(breaker, str) and missing_breaker_methods(breaker):
        expected = "a circuit breaker: an object with `async def acquire(circuit)`, or the name of one"
        found.append(InvalidOption("circuit_breaker", breaker, expected))
    return found


def _as_given(option: Any) -> Any:  # noqa: ANN401 - options come from programs that no type checker has seen
    return option


def _shown(target: Any) -> str:  # noqa: ANN401 - as above
    if isinstance(target, (list, tuple)):
        return f"[{', '.join(map(_shown, target))}]"
    return getattr(target, "__qualname__", None) or repr(target)
