"""
Which handler serves which message. Maps are filled at start, and frozen when a mediator is built from them.

``request_map`` and ``event_map`` are what programs fill; ``bindings`` what they then hold; ``checks`` finds everything
that is wrong with it, before the first message.
"""

from __future__ import annotations

from cqrs_core.maps.bindings import EventBinding, RequestBinding, Target, binding_keys
from cqrs_core.maps.checks import event_handler_problems, is_coroutine_callable
from cqrs_core.maps.event_map import EventMap
from cqrs_core.maps.request_map import RequestMap

__all__ = [
    "EventBinding",
    "EventMap",
    "RequestBinding",
    "RequestMap",
    "Target",
    "binding_keys",
    "event_handler_problems",
    "is_coroutine_callable",
]
