"""
Unions: ``X | None`` as it is, several dataclasses with ``"$type"``, anything else by its type in JSON.

What JSON could not tell apart (``UUID | str``) is refused when compiled: guessing would hide a defect until a value
comes that looks like both.
"""

from __future__ import annotations

import json
from types import NoneType
from typing import TYPE_CHECKING

from cqrs_core.serialization.errors import UnsupportedType, type_name
from cqrs_core.serialization.forms import ANYTHING, NULL, TAG, Form, block, lines, literal

if TYPE_CHECKING:
    from cqrs_core.serialization.annotations import Annotation
    from cqrs_core.serialization.namespace import Namespace


def union_form(namespace: Namespace, tp: Annotation, outline: Form, members: list[Form]) -> Form:
    """
    Give the form of a union.

    Args:
        tp: The union, for errors.
        outline: A form whose functions are not defined yet, to be used if functions are needed.
        members: The forms of its members; unions among them have been taken apart.

    Raises:
        UnsupportedType: Two members cannot be told apart in JSON.
    """
    if ANYTHING in members:
        return ANYTHING
    others = [member for member in members if member is not NULL]
    if len(others) == 1:
        return _optional(tp, others[0])
    objects = [member for member in members if dict in member.json_types]
    is_tagged = len(objects) > 1
    if is_tagged:
        _check_tags(tp, objects)
    readers = _members_by_json_type(tp, members, is_tagged=is_tagged)
    _define_writer(namespace, outline.write_function, members, is_tagged=is_tagged)
    _define_reader(namespace, outline.read_function, readers, objects if is_tagged else [])
    return outline._replace(
        expected=" or ".join(member.expected for member in members),
        python_types=tuple(dict.fromkeys(cls for member in members for cls in member.python_types)),
        json_types=tuple(readers),
    )


def _optional(tp: Annotation, form: Form) -> Form:
    """Give the form of ``X | None``, checked in line: no call for a value that is not there."""
    if NoneType in form.json_types:
        if NoneType in form.python_types:
            return form
        raise _ambiguous(tp, form, NULL)
    return Form(
        f"{form.expected} or None",
        (*form.python_types, NoneType),
        (*form.json_types, NoneType),
        check_write=lines("if $ is None: $ = 'null'", block("else:", form.check_write, f"$ = {form.text('$')}")),
        check_read=block("if $ is not None:", form.reading("$")) if form.reading("$") else "",
    )


def _members_by_json_type(tp: Annotation, members: list[Form], *, is_tagged: bool) -> dict[type, Form]:
    claimed: dict[type, Form] = {}
    for member in members:
        for json_type in member.json_types:
            other = claimed.setdefault(json_type, member)
            if other is not member and not (json_type is dict and is_tagged):
                raise _ambiguous(tp, other, member)
    for member in members:
        for json_type in member.lenient_json_types:
            claimed.setdefault(json_type, member)
    return claimed


def _check_tags(tp: Annotation, objects: list[Form]) -> None:
    seen: dict[str, Form] = {}
    for member in objects:
        other = seen.setdefault(member.tag, member)
        if not member.tag or other is not member:
            first, second = (other, member) if other is not member else (objects[0], objects[1])
            raise _ambiguous(tp, first, second)


def _define_writer(namespace: Namespace, name: str, members: list[Form], *, is_tagged: bool) -> None:
    by_class = ["c = v.__class__"]
    by_ancestry: list[str] = []
    taken: set[type] = set()
    for classes_of in (_python_types, _lenient_python_types):
        for member in members:
            for cls in classes_of(member):
                if cls in taken:
                    continue
                taken.add(cls)
                write = namespace.writer(member)
                if is_tagged and dict in member.json_types:
                    write = _define_tagging(namespace, member.tag, write)
                class_name = namespace.add("python_type", cls)
                by_class.append(f"if c is {class_name}: return {write}(v)")
                by_ancestry.append(f"if isinstance(v, {class_name}): return {write}(v)")
    namespace.define(name, *by_class, *by_ancestry, "raise Mismatch")


def _define_tagging(namespace: Namespace, tag: str, write: str) -> str:
    first = literal(f'"{TAG}":{json.dumps(tag, ensure_ascii=False)}')
    return namespace.define(
        namespace.reserve("write_tagged"),
        f"text = {write}(v)",
        "rest = ',' + text[1:] if len(text) > 2 else '}'",
        f"return f'{{{{{first}{{rest}}'",
    )


def _define_reader(namespace: Namespace, name: str, readers: dict[type, Form], tagged: list[Form]) -> None:
    by_type: list[str] = []
    for json_type, member in readers.items():
        read = _define_tag_reader(namespace, tagged) if json_type is dict and tagged else namespace.reader(member)
        by_type.append(f"if c is {namespace.add('json_type', json_type)}: return {read}(v)")
    namespace.define(name, "c = v.__class__", *by_type, "raise Mismatch")


def _define_tag_reader(namespace: Namespace, members: list[Form]) -> str:
    choices: list[str] = []
    for member in members:
        value = f"{{k: x for k, x in v.items() if k != {TAG!r}}}" if member.drops_tag else "v"
        choices.append(f"if tag == {member.tag!r}: return {namespace.reader(member)}({value})")
    tags = ", ".join(repr(member.tag) for member in members)
    expected = namespace.add("expected", {TAG: f"one of {tags}"})
    return namespace.define(
        namespace.reserve("read_tagged"),
        f"tag = v.get({TAG!r})",
        *choices,
        f"raise field_fault(Mismatch(), {TAG!r}, v, {expected})",
    )


def _python_types(form: Form) -> tuple[type, ...]:
    return form.python_types


def _lenient_python_types(form: Form) -> tuple[type, ...]:
    return form.lenient_python_types


def _ambiguous(tp: Annotation, first: Form, second: Form) -> UnsupportedType:
    return UnsupportedType(
        tp,
        f"{first.expected} and {second.expected} cannot be told apart in JSON (in {type_name(tp)})",
        f"Put them into dataclasses with different names: those are told apart by {TAG!r}.",
    )
