"""
What python-cqrs writes of dataclasses, brought into the form that is read here.

There, names are in camelCase, UUIDs have no dashes, and durations look as ``str(timedelta)`` shows them.

Source:
    python-cqrs 5.3, ``DCEvent.to_dict``; ``dataclass_wizard`` 0.39, ``to_camel_case`` and ``dumpers``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, get_args, is_typeddict
from uuid import UUID

from cqrs_core.serialization.annotations import (
    field_annotations,
    origin_of,
    typed_dict_annotations,
    union_arguments,
    unwrap,
)
from cqrs_core.serialization.dates import duration_to_text

if TYPE_CHECKING:
    from cqrs_core.serialization.annotations import Annotation
    from cqrs_core.serialization.plain import Plain

_BARE_UUID = re.compile("[0-9a-f]{32}").fullmatch
_SHOWN_DURATION = re.compile(
    r"(?:(?P<days>-?\d{1,9}) days?, )?(?P<hours>\d\d?):(?P<minutes>\d\d):(?P<seconds>\d\d)"
    r"(?:\.(?P<microseconds>\d{6}))?",
    re.ASCII,
).fullmatch


def camel_case(name: str) -> str:
    """Write ``order_id`` as ``orderId``."""
    single = re.sub("_+", "_", name)
    return single[:1].lower() + re.sub(r"_(.)", lambda match: match.group(1).upper(), single[1:])


def in_our_form(tp: Annotation, value: Plain) -> Plain:
    """
    Rewrite what is in the form of python-cqrs in *value*, as far as *tp* says what it is.

    The keys of a ``dict`` are data and stay as they are, but for UUIDs. What does not fit *tp* stays as well: whoever
    reads it will say so.
    """
    tp = unwrap(tp)
    members = union_arguments(tp)
    if members is not None:
        # Of a union that can be read at all, no two members look alike; save several dataclasses, which are told apart
        # by a tag that python-cqrs does not write.
        fitting = [member for member in members if _may_be(member, value)]
        return in_our_form(fitting[0], value) if len(fitting) == 1 else value
    if not _may_be(tp, value):
        return value
    if isinstance(value, str):
        return _word_in_our_form(origin_of(tp), value)
    if isinstance(value, list):
        return _array_in_our_form(get_args(tp), value)
    if is_dataclass(origin_of(tp)) or is_typeddict(origin_of(tp)):
        return _record_in_our_form(tp, value)
    arguments = get_args(tp)
    key, item = arguments if len(arguments) == len(("key", "item")) else (None, None)
    return {in_our_form(key, name): in_our_form(item, part) for name, part in value.items()}


def _may_be(tp: Annotation, value: Plain) -> bool:
    """Tell whether a *tp* that has another form there could be written as *value*."""
    origin = origin_of(tp)
    if not isinstance(origin, type):  # Literal, Any
        return False
    if isinstance(value, dict):
        return is_dataclass(origin) or is_typeddict(origin) or issubclass(origin, Mapping)
    if isinstance(value, list):
        return bool(get_args(tp)) and not is_dataclass(origin) and not issubclass(origin, Mapping)
    return isinstance(value, str) and issubclass(origin, (UUID, timedelta))


def _word_in_our_form(cls: type, text: str) -> str:
    if issubclass(cls, UUID):
        return str(UUID(text)) if _BARE_UUID(text) else text
    found = _SHOWN_DURATION(text)
    if found is None:
        return text
    return duration_to_text(timedelta(**{unit: int(digits or 0) for unit, digits in found.groupdict().items()}))


def _array_in_our_form(arguments: tuple[Annotation, ...], value: list[Plain]) -> list[Plain]:
    is_record = len(arguments) == len(value) and Ellipsis not in arguments  # tuple[int, str]
    each = arguments if is_record else [arguments[0]] * len(value)
    return [in_our_form(argument, item) for argument, item in zip(each, value, strict=True)]


def _record_in_our_form(tp: Annotation, value: Mapping[str, Plain]) -> dict[str, Plain]:
    annotations, own = _names(tp)
    renamed = {key if key in annotations else own.get(key, key): item for key, item in value.items()}
    return {key: in_our_form(annotations.get(key), item) for key, item in renamed.items()}


@lru_cache(maxsize=1024)
def _names(tp: Annotation) -> tuple[Mapping[str, Annotation], Mapping[str, str]]:
    """Give what each field is annotated with, and its name by its camelCase; a ``TypedDict`` is a dict there."""
    if not is_dataclass(origin_of(tp)):
        return typed_dict_annotations(tp)[0], {}
    names = [field.name for field in fields(origin_of(tp))]
    return field_annotations(tp, names), {camel_case(name): name for name in names}
