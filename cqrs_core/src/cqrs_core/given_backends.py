"""A backend that a program has given: by its name or URL, or as an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def backend_from(
    kind: str, given: T | str, *, open_backend: Callable[[str], T], missing_methods: Callable[[object], list[str]]
) -> T:
    """
    Give the backend that is meant.

    Args:
        kind: What it is for, and what the option is called by which it is given.
        given: A name or a URL, by which it is opened; or the backend itself.
        open_backend: Opens one.
        missing_methods: Tells what an object lacks of it.

    Raises:
        InvalidOption: It is an object of another kind.
        CqrsError: It cannot be opened.
    """
    if isinstance(given, str):
        return open_backend(given)
    check_backend(kind, given, missing_methods(given), kind, "a URL, a name, or ")
    return given


def check_backend(option: str, given: object, missing: Sequence[str], kind: str, other_forms: str = "") -> None:
    """
    Refuse an object that lacks methods.

    Args:
        option: What the option is called by which it is given.
        missing: What it lacks.
        kind: What it is to be.
        other_forms: What may be given instead.

    Raises:
        InvalidOption: It lacks something.
    """
    if missing:
        article = "an" if kind[0] in "aeiou" else "a"
        expected = f"{other_forms}{article} {kind}: an object that also has {', '.join(missing)}"
        # By its type: what is shown for a URL of another library may hold its password.
        raise InvalidOption(option, type(given), expected)
