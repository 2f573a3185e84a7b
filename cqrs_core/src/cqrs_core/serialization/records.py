"""Objects of JSON whose names are known: dataclasses and ``TypedDict``."""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any

from cqrs_core.serialization.construction import construction
from cqrs_core.serialization.forms import TAG, Form, block, guard, lines, literal, must_be

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cqrs_core.serialization.namespace import Namespace


def sent_fields(cls: type[Any]) -> list[Field[Any]]:
    """Give the fields that a constructor takes; others are made again by it."""
    return [field for field in fields(cls) if field.init]


def define_record(
    namespace: Namespace, form: Form, cls: type[Any], items: Mapping[str, Form], *, refuse_unknown: bool
) -> None:
    """
    Define the two functions that *form* calls, for a dataclass.

    Args:
        items: The form of each field that is sent.

    Raises:
        UnsupportedType: The constructor does not fit the fields.
    """
    sent = sent_fields(cls)
    class_name = namespace.add(cls.__name__, cls)
    expected = namespace.add("expected", {name: item.expected for name, item in items.items()})
    fault = f"field_fault(error, at, v, {expected})"
    writes: list[str] = []
    reads: list[str] = []
    texts: list[str] = []
    for number, field in enumerate(sent):
        variable, item = f"x{number}", items[field.name]
        writes.append(lines(f"at = {field.name!r}; {variable} = v.{field.name}", item.writing(variable)))
        reads.append(_reading(namespace, field, variable, item, count_defaults=refuse_unknown))
        texts.append(f"{_name_text(field.name)}:{item.slot_of(variable)}")
    namespace.define(
        form.write_function,
        must_be(class_name, "v"),
        "at = None",
        guard(lines(*writes, f"at = None\nreturn f'{{{{{','.join(texts)}}}}}'"), fault),
    )
    build = construction(namespace, cls, class_name, sent)
    if refuse_unknown:
        # Counting is enough to know that there is an unknown one; to name it is for the error.
        reads.insert(0, f"expected_size = {len(sent)}")
        reads.append(lines("at = None", _refuse_unknown("expected_size", tuple(items))))
    namespace.define(
        form.read_function, must_be("dict", "v"), "at = None", guard(lines(*reads, "at = None", build), fault)
    )


def define_typed_dict(
    namespace: Namespace, form: Form, items: Mapping[str, Form], required: frozenset[str], *, refuse_unknown: bool
) -> None:
    """
    Define the two functions that *form* calls, for a ``TypedDict``.

    Names that are not in the class are never written: that would lose them.
    """
    known = tuple(items)
    expected = namespace.add("expected", {name: item.expected for name, item in items.items()})
    fault = f"field_fault(error, at, v, {expected})"
    writes: list[str] = []
    reads: list[str] = []
    for name, item in items.items():
        text = f"out.append(f'{_name_text(name)}:{item.slot_of('x')}')"
        fetch, keep = f"at = {name!r}; x = v[{name!r}]", f"out[{name!r}] = x"
        write, read = lines(fetch, item.writing("x"), text), lines(fetch, item.reading("x"), keep)
        is_there = f"if {name!r} in v:"
        writes.append(write if name in required else block(is_there, write))
        reads.append(read if name in required else block(is_there, read))
    namespace.define(
        form.write_function,
        "if not isinstance(v, dict): raise Mismatch",
        "at = None; out = []",
        guard(lines(*writes, "at = None", _refuse_unknown("len(out)", known)), fault),
        "return '{' + ','.join(out) + '}'",
    )
    unknown = _refuse_unknown("len(out)", known) if refuse_unknown else ""
    namespace.define(
        form.read_function,
        must_be("dict", "v"),
        "at = None; out = {}",
        guard(lines(*reads, "at = None", unknown), fault) if items or unknown else "",
        "return out",
    )


def _reading(namespace: Namespace, field: Field[Any], variable: str, item: Form, *, count_defaults: bool) -> str:
    read = lines(f"{variable} = v[{field.name!r}]", item.reading(variable))
    at = f"at = {field.name!r}"
    if field.default is not MISSING:
        default = namespace.add(f"default_{field.name}", field.default)
    elif field.default_factory is not MISSING:
        default = namespace.add(f"default_{field.name}", field.default_factory) + "()"
    else:
        return lines(at, read)
    absent = f"else: {variable} = {default}{'; expected_size -= 1' if count_defaults else ''}"
    return lines(at, block(f"if {field.name!r} in v:", read), absent)


def _refuse_unknown(size: str, known: tuple[str, ...]) -> str:
    # A tag is let pass: the type may have been one of several when the text was written.
    return f"if len(v) != {size} and len(v) - ({TAG!r} in v) != {size}: raise unknown_field(v, {known!r})"


def _name_text(name: str) -> str:
    return literal(json.dumps(name, ensure_ascii=False))
