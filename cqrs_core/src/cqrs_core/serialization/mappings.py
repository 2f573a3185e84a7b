"""Objects of JSON whose names are data: dictionaries."""

from __future__ import annotations

from collections import abc
from typing import TYPE_CHECKING, Any

from cqrs_core.serialization.arrays import collect
from cqrs_core.serialization.forms import Form, block, guard, lines, must_be

if TYPE_CHECKING:
    from cqrs_core.serialization.namespace import Namespace

#: Annotation -> what is taken for it when written.
MAPPINGS: dict[Any, type] = {dict: dict, abc.Mapping: abc.Mapping, abc.MutableMapping: abc.MutableMapping}


def define_mapping(namespace: Namespace, form: Form, accepted: type, key: Form, item: Form) -> None:
    """Define the two functions that *form* calls, for any number of entries."""
    expected = (key.expected, item.expected)
    accepted_name = namespace.add("accepted", accepted)
    check_write = lines(key.check_write.replace("$", "k"), item.check_write.replace("$", "x"))
    entry = f"f'{_inline(key, 'k')}:{_inline(item, 'x')}'"
    namespace.define(
        form.write_function,
        f"if v.__class__ is not dict: v = dict(instance_of(v, {accepted_name}))",
        "rest = iter(v.items())",
        guard(collect(check_write, entry, "k, x"), f"entry_fault(error, v, rest, {namespace.writer(key)}, {expected})"),
        "return '{' + ','.join(out) + '}'",
    )
    namespace.define(
        form.read_function,
        must_be("dict", "v"),
        "out = {}; rest = iter(v.items())",
        guard(
            block("for k, x in rest:", key.reading("k"), item.reading("x"), "out[k] = x"),
            f"entry_fault(error, v, rest, {namespace.reader(key)}, {expected})",
        ),
        # Decimals and moments have several spellings of one key; a silent loss otherwise.
        f"if len(out) != len(v): raise repeated_key(v, {namespace.reader(key)})" if key.reading("k") else "",
        "return out",
    )


def _inline(form: Form, variable: str) -> str:
    return form.slot.replace("$", form.write).replace("$", variable)
