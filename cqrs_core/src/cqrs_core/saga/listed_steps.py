"""What stands in a list of steps: a handler class, one with options, or two with a rule; and what they say."""

from __future__ import annotations

from typing import Any, TypeVar

from cqrs_core.errors import UnresolvedAnnotation
from cqrs_core.saga.steps import Fallback, Step
from cqrs_core.type_arguments import MISSING, type_argument


def handler_of(given: Any) -> Any:  # noqa: ANN401 - what a program wrote
    """Give the handler class of what stands for one."""
    return given.handler if isinstance(given, Step) else given


def id_of(given: Any) -> str:  # noqa: ANN401 - what a program wrote
    """Give the id of a step: what was said, or the name of its class."""
    if isinstance(given, Fallback):
        return id_of(given.primary)
    step_id = option_of(given, "step_id") or getattr(handler_of(given), "__name__", "")
    return step_id if isinstance(step_id, str) else ""


def option_of(given: Any, name: str) -> Any:  # noqa: ANN401 - what a program wrote
    """Tell what is said of a step: where it stands, or by its class."""
    if isinstance(given, Step) and name in given.options:
        return given.options[name]
    return getattr(handler_of(given), name, None)


def sides_of(given: Any) -> tuple[Any, ...]:  # noqa: ANN401 - what a program wrote
    """Give both sides of a fallback, or the only one."""
    return (given.primary, given.fallback) if isinstance(given, Fallback) else (given,)


def argument_of(cls: type, base: type, *, must_resolve: bool = False) -> Any:  # noqa: ANN401 - what a program wrote
    """Give the argument of the generic *base*; ``MISSING`` if it was not said, or cannot be told yet."""
    try:
        found = type_argument(cls, base)
    except UnresolvedAnnotation:
        if must_resolve:
            raise
        return MISSING
    return MISSING if isinstance(found, TypeVar) else found
