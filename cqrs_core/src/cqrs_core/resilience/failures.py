"""What an error says of the attempt that raised it: whether it took effect, and what it failed for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.errors import CommitInDoubt, EventHandlersFailed, UnitOfWorkRolledBack

if TYPE_CHECKING:
    from collections.abc import Iterator


def has_taken_effect(error: Exception) -> bool:
    """
    Tell whether what was attempted has taken effect, though only handlers of its events failed.

    The error may also be that of another command, which the handler has sent: nothing in it tells.
    """
    return isinstance(error, EventHandlersFailed) and not error.is_rolled_back


def may_be_repeated(error: Exception) -> bool:
    """Tell whether doing it again, or something else in its place, does nothing twice."""
    return not has_taken_effect(error) and not isinstance(error, CommitInDoubt)


def reason_of(error: Exception) -> Exception:
    """Give what a unit of work was rolled back for; of other errors, themselves."""
    if isinstance(error, EventHandlersFailed) and error.is_rolled_back and len(error.errors) == 1:
        return reason_of(error.errors[0])
    if isinstance(error, UnitOfWorkRolledBack) and isinstance(error.__cause__, Exception):
        return reason_of(error.__cause__)
    return error


def single_errors(error: Exception) -> Iterator[Exception]:
    """Take groups apart, those that are in groups too."""
    error = reason_of(error)
    inside = getattr(error, "errors" if isinstance(error, EventHandlersFailed) else "exceptions", None)
    if not isinstance(inside, tuple) or not all(isinstance(single, Exception) for single in inside):
        yield error
        return
    for single in inside:
        yield from single_errors(single)
