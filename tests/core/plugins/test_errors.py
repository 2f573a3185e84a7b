"""What all errors of plug-ins have in common."""

from __future__ import annotations

import inspect

import pytest

import cqrs_core as cqrs
from cqrs_core import plugins
from cqrs_core.plugins import errors

ERRORS = [
    member
    for member in vars(errors).values()
    if inspect.isclass(member) and issubclass(member, cqrs.CqrsError) and member.__module__ == errors.__name__
]


def test_there_are_errors_to_speak_of() -> None:
    assert 9 <= len(ERRORS)


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_derives_from_what_a_stranger_would_catch_and_can_be_imported(error: type[Exception]) -> None:
    """STYLE: CqrsError and a built-in."""
    builtin = {base for base in error.__mro__ if base.__module__ == "builtins"}

    assert {Exception, BaseException, object} < builtin
    assert error is getattr(plugins, error.__name__)
    assert error.__name__ in plugins.__all__
