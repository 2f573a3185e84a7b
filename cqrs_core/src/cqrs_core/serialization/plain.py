"""Plain values: what ``json`` makes of a text."""

from __future__ import annotations

from math import isfinite
from typing import Any, TypeAlias

from cqrs_core.serialization.errors import CodecError, key_step

#: None, bool, int, float, str, list, or dict with names.
Plain: TypeAlias = Any


def check_plain(value: Plain) -> None:
    """
    Refuse what no text in JSON and UTF-8 can give: other classes, NaN, lone surrogates.

    Raises:
        CodecError: With the path to the first such value.
    """
    cls = value.__class__
    if cls is dict:
        for name, item in value.items():
            _check_inside(name, key_step(name), must_be_str=True)
            _check_inside(item, name)
    elif cls is list:
        for number, item in enumerate(value):
            _check_inside(item, number)
    else:
        _check_word(value)


def _check_inside(value: Plain, step: str | int, *, must_be_str: bool = False) -> None:
    try:
        if must_be_str and value.__class__ is not str:
            raise CodecError(f"expected str as key, got {type(value).__name__}")
        check_plain(value)
    except CodecError as error:
        error.within(step)
        raise


def _check_word(value: Plain) -> None:
    cls = value.__class__
    if cls is str:
        # A lone surrogate can be written in JSON as an escape, but it is no character: UTF-8 has no form for it.
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise CodecError("text that is not Unicode (a lone surrogate)")
    elif cls is float:
        if not isfinite(value):
            raise CodecError("expected a finite number")
    elif value is not None and cls not in (int, bool):
        raise CodecError(f"expected JSON, got {cls.__name__}")
