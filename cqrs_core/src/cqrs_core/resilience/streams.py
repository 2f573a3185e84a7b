"""The same policies around streams: before the first item a stream can begin anew, after it no more."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from cqrs_core.resilience.calls import add_cause, calls_for_fallback, delay_before_next, permit_of, tell_of_failure

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cqrs_core.breaker import CircuitBreaker
    from cqrs_core.clock import Clock
    from cqrs_core.resilience.policies import HandlerFallback
    from cqrs_core.resilience.retry_policy import RetryPolicy

    #: Answers one request by a stream.
    Stream = Callable[[Any], AsyncGenerator[Any, None]]


def retried_stream(stream: Stream, policy: RetryPolicy, clock: Clock) -> Stream:
    """Begin *stream* again as long as *policy* says, and it has handed out nothing."""

    async def stream_and_retry(request: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - of the type that is answered
        attempt = 1
        while True:
            has_begun = False
            try:
                async with aclosing(stream(request)) as answers:
                    async for answer in answers:
                        has_begun = True
                        yield answer
                return  # noqa: TRY300 - an else would stand far from what it belongs to
            except Exception as error:
                delay_s = None if has_begun else delay_before_next(policy, attempt, error, request)
                if delay_s is None:
                    raise
            await clock.sleep(delay_s)
            attempt += 1

    return stream_and_retry


def stream_through_breaker(stream: Stream, breaker: CircuitBreaker, circuit: str) -> Stream:
    """Ask *breaker* before each stream, and tell it at the end what became of it; nothing of one that is left early."""

    async def stream_with_permit(request: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - as above
        permit = await permit_of(breaker, circuit)
        try:
            async with aclosing(stream(request)) as answers:
                async for answer in answers:
                    yield answer
        except Exception as error:
            if permit is not None:
                await tell_of_failure(permit, error)
            raise
        except BaseException:
            if permit is not None:
                permit.abandoned()
            raise
        if permit is not None:
            await permit.succeeded()

    return stream_with_permit


def stream_with_fallback(primary: Stream, fallback: Stream, rules: HandlerFallback, circuit: str) -> Stream:
    """Answer by *fallback* when *primary* fails, as *rules* have it, before it has handed out anything."""

    async def stream_or_fall_back(request: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - as above
        has_begun = False
        try:
            async with aclosing(primary(request)) as answers:
                async for answer in answers:
                    has_begun = True
                    yield answer
            return  # noqa: TRY300 - as above
        except Exception as error:
            if has_begun or not calls_for_fallback(rules, error, request, circuit):
                raise
            failure = error
        try:
            async with aclosing(fallback(request)) as answers:
                async for answer in answers:
                    yield answer
        except Exception as error:
            add_cause(error, failure)
            raise
        finally:
            del failure  # its traceback holds this frame, as in with_fallback

    return stream_or_fall_back
