"""Marks for functions that are hooks. pluggy reads them, and nobody has to import pluggy to set them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, overload

F = TypeVar("F", bound=Callable[..., object])
#: pluggy's name for the project, which is also the group of the entry points.
PROJECT = "cqrs_core"


@overload
def hookimpl(function: F, /) -> F: ...


@overload
def hookimpl(*, optionalhook: bool = ..., specname: str | None = ...) -> Callable[[F], F]: ...


def hookimpl(
    function: F | None = None, /, *, optionalhook: bool = False, specname: str | None = None
) -> F | Callable[[F], F]:
    """
    Mark a function of a plug-in module as the implementation of a hook; with or without parentheses.

    ``pluggy.HookimplMarker("cqrs_core")`` does as well. Its options that order implementations are left out: every
    backend is offered, whoever comes first, and two of one name are told apart by their distributions.

    Args:
        optionalhook: Do not refuse the plug-in where cqrs-core is too old to know this hook.
        specname: The name of the hook, if the function is called something else.
    """
    options = {"optionalhook": optionalhook, "specname": specname}

    def mark(marked: F) -> F:
        # This attribute is all that pluggy looks for; the options that are missing it fills in itself.
        setattr(marked, f"{PROJECT}_impl", options)
        return marked

    return mark if function is None else mark(function)


def hookspec(function: F) -> F:
    """Mark a function as the declaration of a hook."""
    setattr(function, f"{PROJECT}_spec", {})
    return function
