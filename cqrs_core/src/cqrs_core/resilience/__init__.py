"""
What is done about calls that fail: try again, give up after a time, spare a service that is down, do something else.

General layout: ``policies`` are what a program attaches to a binding, ``retry_policy`` the one that says when to try
again. ``calls`` and ``streams`` put them around what they guard, in the order ``fallback(breaker(retry(...)))``; the
deadline of one attempt is innermost, where the handler is called. This is the only such routine: requests, events,
streams and chains all come here, and what has no policy never does.
"""

from __future__ import annotations

from cqrs_core.resilience.policies import EventHandlerFallback, HandlerFallback, Policies, RequestHandlerFallback
from cqrs_core.resilience.retry_policy import OUTAGE, RetryPolicy

__all__ = ["OUTAGE", "EventHandlerFallback", "HandlerFallback", "Policies", "RequestHandlerFallback", "RetryPolicy"]
