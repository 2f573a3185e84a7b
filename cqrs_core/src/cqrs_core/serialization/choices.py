"""Types that list their values: enums, flags and ``Literal``; in JSON, the value itself."""

from __future__ import annotations

import json
from enum import Enum, Flag
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

from cqrs_core.serialization.errors import UnsupportedType, type_name
from cqrs_core.serialization.forms import Form, must_be

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.serialization.annotations import Annotation
    from cqrs_core.serialization.namespace import Namespace

_WORDS = (str, int, bool, NoneType)
_MOST_LISTED = 20


def enum_form(namespace: Namespace, cls: type[Enum]) -> Form:
    """
    Give the form of an enum.

    Raises:
        UnsupportedType: A value is neither str nor int nor bool nor None.
    """
    name = namespace.add(cls.__name__, cls)
    # _value_ is documented; .value is a descriptor written in Python.
    if issubclass(cls, Flag):
        expected = f"int of {cls.__name__}"
        # Python 3.11 began with flags that drop bits that they do not know, instead of refusing them.
        check = f"if $.__class__ is not int or {name}($)._value_ != $: raise Mismatch"
        form = Form(expected, (cls,), (int,), write="$._value_", slot="{$!s}", check_read=check, read=f"{name}($)")
    else:
        pairs = [(member, member.value) for member in cls]
        form = _choice(namespace, cls, pairs)
        # Looked up by value: the hash of a member is a method written in Python.
        texts = namespace.add("texts", {value: _json_text(value) for _, value in pairs})
        form = form._replace(write=f"{texts}[$._value_]")
        if _has_own_missing(cls):
            types = namespace.add("json_types", form.json_types)
            form = form._replace(check_read=f"if $.__class__ not in {types}: raise Mismatch", read=f"{name}($)")
    return form._replace(check_write=must_be(name))


def literal_form(namespace: Namespace, tp: Annotation) -> Form:
    """
    Give the form of ``Literal[...]``, which may hold members of enums.

    Raises:
        UnsupportedType: It holds bytes, or a member and its value.
    """
    pairs = [(member, member.value if isinstance(member, Enum) else member) for member in get_args(tp)]
    form = _choice(namespace, tp, pairs)
    is_text = form.python_types == (str,)
    texts: dict[Any, str] = {
        member if is_text else (type(member), member): _json_text(value) for member, value in pairs
    }
    return form._replace(write=f"{namespace.add('texts', texts)}[{'$' if is_text else '$.__class__, $'}]")


def _choice(namespace: Namespace, tp: Annotation, pairs: Sequence[tuple[object, object]]) -> Form:
    """Give the form of members with their values, as far as it concerns reading."""
    json_types: tuple[type[Any], ...] = tuple(dict.fromkeys(type(value) for _, value in pairs))
    if not set(json_types) <= set(_WORDS):
        raise UnsupportedType(
            tp,
            f"{type_name(tp)} has values that are neither str nor int nor bool nor None",
            "Give its members such values.",
        )
    is_text = json_types == (str,)
    # True == 1: so the type belongs to the key, unless all are strings.
    members: dict[Any, Any] = {value if is_text else (type(value), value): member for member, value in pairs}
    if len(members) < len(pairs):
        raise UnsupportedType(tp, f"{type_name(tp)} has two members with one value", "Take one of them out.")
    words = [repr(value) for _, value in pairs[:_MOST_LISTED]]
    more = len(pairs) - len(words)
    return Form(
        f"one of {', '.join(words)}{f' and {more} more' if more else ''}",
        tuple(dict.fromkeys(type(member) for member, _ in pairs)),
        json_types,
        read=f"{namespace.add('members', members)}[{'$' if is_text else '$.__class__, $'}]",
    )


def _has_own_missing(cls: type[Enum]) -> bool:
    return any("_missing_" in vars(base) for base in cls.__mro__[: cls.__mro__.index(Enum)])


def _json_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
