"""The forms of types that are one word in JSON, and of the keys of objects."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import NoneType
from typing import Any
from uuid import UUID

from cqrs_core.serialization.forms import ANYTHING, NULL, Form, must_be

_QUOTED = '"{$}"'


def _text_form(expected: str, cls: type, write: str, read: str) -> Form:
    return Form(expected, (cls,), (str,), write=write, slot=_QUOTED, check_read=must_be("str"), read=read)


STRING = Form("str", (str,), (str,), write="quote($)", check_read=must_be("str"))

_INT = Form(
    "int",
    (int,),
    (int,),
    check_write="if $.__class__ is not int: $ = int(instance_of($, int, bool))",
    check_read=must_be("int"),
)

# What can be done in line is done in line: a call costs as much as the rest of a number.
_DECIMAL = Form(
    "decimal string",
    (Decimal,),
    (str,),
    check_write="if $.__class__ is not Decimal: $ = instance_of($, Decimal)\nif not $.is_finite(): raise Mismatch",
    slot='"{$!s}"',
    check_read='if $.__class__ is str and not $.strip("0123456789."): $ = Decimal($)\nelse: $ = read_decimal($)',
    lenient_json_types=(int,),
)

_FLOAT = Form(
    "float",
    (float,),
    (float,),
    check_write="if $.__class__ is not float: $ = plain_float($)\nif not isfinite($): raise Mismatch",
    slot="{$!r}",
    check_read="if $.__class__ is not float: $ = plain_float($)",  # what is read is finite: the parser sees to it
    lenient_python_types=(int,),
    lenient_json_types=(int,),
)

SCALARS: dict[Any, Form] = {
    Any: ANYTHING,
    object: ANYTHING,
    None: NULL,
    NoneType: NULL,
    str: STRING,
    int: _INT,
    bool: Form("bool", (bool,), (bool,), check_write=must_be("bool"), write="WORDS[$]", check_read=must_be("bool")),
    float: _FLOAT,
    Decimal: _DECIMAL,
    UUID: _text_form("UUID string", UUID, "uuid_to_text($)", "read_uuid($)"),
    datetime: _text_form("date-time string", datetime, "datetime_to_text($)", "read_datetime($)"),
    date: _text_form("date string", date, "date_to_text($)", "read_date($)"),
    time: _text_form("time string", time, "time_to_text($)", "read_time($)"),
    timedelta: _text_form("duration string", timedelta, "duration_to_text($)", "read_duration($)"),
    bytes: _text_form("base64 string", bytes, "bytes_to_text($)", "read_bytes($)"),
}

_INT_KEY = Form("int", (int,), (str,), write="write_int_key($)", read="read_int_key($)")


def key_form(form: Form) -> Form | None:
    """Give the form of keys of a type; ``None`` for what is not one string in JSON."""
    if form is _INT:
        return _INT_KEY
    return form if form.json_types == (str,) and len(form.python_types) == 1 else None
