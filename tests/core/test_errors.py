"""What all errors have in common."""

from __future__ import annotations

import inspect
import sys

import pytest

import cqrs_core as cqrs
from cqrs_core import errors

ERRORS = [member for name, member in vars(errors).items() if name in errors.__all__ and inspect.isclass(member)]


def test_there_are_errors_to_speak_of() -> None:
    """The list that the other tests go through is not empty."""
    assert 30 < len(ERRORS)


#: The base itself; and the group, for which Python 3.10 has no built-in.
WITHOUT_BUILTIN = {cqrs.CqrsError} | ({errors.EventHandlersFailed} if sys.version_info < (3, 11) else set())


@pytest.mark.parametrize("error", [error for error in ERRORS if error not in WITHOUT_BUILTIN])
def test_every_error_derives_from_the_base_and_from_what_a_stranger_would_catch(error: type[Exception]) -> None:
    """STYLE: CqrsError and a built-in; the docstring tells what happened."""
    builtin = {base for base in error.__mro__ if base.__module__ == "builtins"}

    assert issubclass(error, cqrs.CqrsError)
    assert error.__doc__
    assert {Exception, BaseException, object} < builtin


def test_the_text_of_a_key_error_is_not_quoted() -> None:
    """KeyError shows the repr of its argument; ours do not."""
    error = errors.DuplicateHandler(int, str, bytes)

    assert str(error).startswith("int is bound to str and to bytes. ")


def test_failed_event_handlers_are_told_with_number_and_kinds() -> None:
    """The text names the types of the errors, and not what they say."""
    error = errors.EventHandlersFailed([ValueError("secret"), KeyError("secret"), ValueError("secret")], "answer")

    assert str(error).startswith("3 event handlers failed (ValueError, KeyError); the others ran")
    assert "secret" not in str(error)
    assert ("answer", 3) == (error.response, len(error.errors))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups are of Python 3.11")
def test_failed_event_handlers_are_an_exception_group() -> None:
    """``except*`` takes it apart; the parts keep the response."""
    failure = errors.EventHandlersFailed([ValueError("a"), KeyError("b")], "answer")

    matching, rest = failure.split(ValueError)

    assert isinstance(matching, errors.EventHandlersFailed)
    assert isinstance(rest, errors.EventHandlersFailed)
    assert (["a"], "answer") == ([str(error) for error in matching.errors], matching.response)
    assert ["b"] == [error.args[0] for error in rest.errors]
