"""Policies around calls: of handlers of requests and of events, and of chains."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cqrs_core.errors import CircuitOpen
from cqrs_core.resilience.failures import has_taken_effect, may_be_repeated, reason_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cqrs_core.breaker import CircuitBreaker, Permit
    from cqrs_core.clock import Clock
    from cqrs_core.resilience.policies import HandlerFallback
    from cqrs_core.resilience.retry_policy import RetryPolicy

    #: Handles one request, or one event.
    Handle = Callable[[Any], Awaitable[Any]]

logger = logging.getLogger(__name__)

# In all of these: what has taken effect, where handlers of its events alone failed, is not done again. A breaker hears
# that the call succeeded. Were it no verdict, a circuit would not close as long as a handler of events is broken; and a
# handler that could send a command has got somewhere, so that to close too early costs no more than as many failures as
# open the circuit again.


def retried(handle: Handle, policy: RetryPolicy, clock: Clock) -> Handle:
    """Repeat *handle* as long as *policy* says; the error that is raised is the last."""

    async def handle_and_retry(message: Any) -> Any:  # noqa: ANN401 - of the type that is handled
        attempt = 1
        while True:
            try:
                return await handle(message)
            except Exception as error:
                delay_s = delay_before_next(policy, attempt, error, message)
                if delay_s is None:
                    raise
            await clock.sleep(delay_s)
            attempt += 1

    return handle_and_retry


def delay_before_next(policy: RetryPolicy, attempt: int, error: Exception, message: object) -> float | None:
    """Give the seconds to wait before the next attempt, and say so in the log; ``None`` if there is none."""
    if attempt >= policy.max_attempts or not may_be_repeated(error) or not policy.is_worth_retrying(error):
        return None
    delay_s = policy.delay_after(attempt)
    logger.warning(
        "Attempt %d at %s failed; trying again in %.2f s.", attempt, type(message).__qualname__, delay_s, exc_info=error
    )
    return delay_s


def through_breaker(handle: Handle, breaker: CircuitBreaker, circuit: str) -> Handle:
    """Ask *breaker* before each call of *handle*, and tell it what became of it."""

    async def handle_with_permit(message: Any) -> Any:  # noqa: ANN401 - of the type that is handled
        permit = await permit_of(breaker, circuit)
        if permit is None:
            return await handle(message)
        try:
            result = await handle(message)
        except Exception as error:
            await tell_of_failure(permit, error)
            raise
        except BaseException:
            permit.abandoned()
            raise
        await permit.succeeded()
        return result

    return handle_with_permit


async def tell_of_failure(permit: Permit, error: Exception) -> None:
    """Tell the breaker that a call raised *error*."""
    if has_taken_effect(error):
        await permit.succeeded()
    else:
        await permit.failed(reason_of(error))


async def permit_of(breaker: CircuitBreaker, circuit: str) -> Permit | None:
    """Ask *breaker*; ``None`` if it is broken itself: then the call is made without it, and the log says so."""
    try:
        return await breaker.acquire(circuit)
    except CircuitOpen:
        raise
    except Exception:
        logger.exception("The circuit breaker of %s is broken; the call is made without it.", circuit)
        return None


def with_fallback(primary: Handle, fallback: Handle, rules: HandlerFallback, circuit: str) -> Handle:
    """Call *fallback* when *primary* fails as *rules* have it; what that raises has the first error as its cause."""

    async def handle_or_fall_back(message: Any) -> Any:  # noqa: ANN401 - of the type that is handled
        try:
            return await primary(message)
        except Exception as error:
            if not calls_for_fallback(rules, error, message, circuit):
                raise
            failure = error
        try:
            return await fallback(message)
        except Exception as error:
            add_cause(error, failure)
            raise
        finally:
            del failure  # its traceback holds this frame: neither would be freed before the next collection

    return handle_or_fall_back


def calls_for_fallback(rules: HandlerFallback, error: Exception, message: object, circuit: str) -> bool:
    """Tell whether *error* of the primary is one for the fallback, and say so in the log."""
    # Its own circuit: that of a command which the primary sent is an error like any other.
    is_open = isinstance(error, CircuitOpen) and error.circuit == circuit
    if not may_be_repeated(error):
        return False
    kinds = tuple(rules.failure_exceptions)
    if not is_open and kinds and not isinstance(error, kinds) and not isinstance(reason_of(error), kinds):
        return False
    text, name = "%r takes over for %s, because of %s.", type(message).__qualname__
    if is_open or (kinds and Exception not in kinds):
        # Foreseen by name; and that a circuit is open is nothing new: the failures that opened it were told.
        logger.debug(text, rules, name, type(error).__qualname__)
    else:
        logger.warning(text, rules, name, type(error).__qualname__, exc_info=error)
    return True


def add_cause(error: Exception, cause: Exception) -> None:
    """Say that *error* came of *cause*, unless it has a cause of its own."""
    if error.__cause__ is None and error is not cause and not has_taken_effect(error):
        error.__cause__ = cause
