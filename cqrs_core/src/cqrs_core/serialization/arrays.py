"""Arrays of JSON: lists, sets and tuples of any length, tuples of a fixed one, named tuples."""

from __future__ import annotations

import re
from collections import abc
from typing import TYPE_CHECKING, Any, NamedTuple

from cqrs_core.serialization.forms import Form, block, guard, lines, must_be

if TYPE_CHECKING:
    from cqrs_core.serialization.namespace import Namespace


class ArrayKind(NamedTuple):
    """What is taken for an annotation, and how it is made from a list."""

    python_types: tuple[type, ...]
    make: str = "out"
    is_hashed: bool = False


_LIST_LIKE = ArrayKind((list, tuple))

ARRAYS: dict[Any, ArrayKind] = {
    list: ArrayKind((list,)),
    abc.MutableSequence: ArrayKind((list,)),
    abc.Sequence: _LIST_LIKE,
    abc.Collection: ArrayKind((list, tuple, set, frozenset)),
    tuple: ArrayKind((tuple,), "tuple(out)"),
    set: ArrayKind((set,), "made_set(set, out)", is_hashed=True),
    abc.MutableSet: ArrayKind((set,), "made_set(set, out)", is_hashed=True),
    frozenset: ArrayKind((frozenset,), "made_set(frozenset, out)", is_hashed=True),
    abc.Set: ArrayKind((frozenset, set), "made_set(frozenset, out)", is_hashed=True),
}


def define_array(namespace: Namespace, form: Form, kind: ArrayKind, item: Form) -> None:
    """Define the two functions that *form* calls, for any number of *item*."""
    fault = f"item_fault(error, v, rest, {item.expected!r})"
    accepted = namespace.add("accepted", kind.python_types)
    namespace.define(
        form.write_function,
        f"if not isinstance(v, {accepted}): raise Mismatch",
        "rest = iter(v)",
        guard(collect(item.check_write, item.text("x"), "x"), fault),
        "return '[' + ','.join(out) + ']'",
    )
    namespace.define(
        form.read_function,
        must_be("list", "v"),
        "rest = iter(v)",
        guard(collect(item.check_read, item.read, "x"), fault),
        f"return {kind.make}",
    )


def define_tuple(namespace: Namespace, form: Form, items: list[Form], class_name: str = "") -> None:
    """
    Define the two functions that *form* calls, for one item of each of *items*.

    Args:
        class_name: What a named tuple is called in the namespace; empty for plain tuples.
    """
    expected = namespace.add("expected", [item.expected for item in items])
    names = [f"x{number}" for number in range(len(items))]
    items_text = ",".join(item.slot_of(name) for name, item in zip(names, items, strict=True))
    fetch = [f"at = {number}; {name} = v[{number}]" for number, name in enumerate(names)]
    fault = f"position_fault(error, at, v, {expected})"
    made = "(" + "".join(f"{name}, " for name in names) + ")"
    namespace.define(
        form.write_function,
        must_be(class_name, "v") if class_name else "if not isinstance(v, tuple): raise Mismatch",
        f"if len(v) != {len(items)}: raise Mismatch",
        guard(
            lines("at = 0", *_interleave(fetch, [item.writing(name) for name, item in zip(names, items, strict=True)])),
            fault,
        ),
        f"return f'[{items_text}]'",
    )
    namespace.define(
        form.read_function,
        must_be("list", "v"),
        f"if len(v) != {len(items)}: raise Mismatch",
        guard(
            lines("at = 0", *_interleave(fetch, [item.reading(name) for name, item in zip(names, items, strict=True)])),
            fault,
        ),
        f"return {class_name}{made}",
    )


def collect(check: str, expression: str, variables: str) -> str:
    """
    Give the loop that fills ``out`` from ``rest``, in its fastest shape.

    Args:
        check: Statements for each item, in which ``$`` is the item.
        expression: What is put into the list, with ``$`` or with *variables*.
    """
    check, expression = check.replace("$", "x"), expression.replace("$", "x")
    call = re.fullmatch(rf"(\w+)\({variables}\)", expression)
    if check:
        return lines("out = []", block(f"for {variables} in rest:", check, f"out.append({expression})"))
    return f"out = list(map({call[1]}, rest))" if call else f"out = [{expression} for {variables} in rest]"


def _interleave(first: list[str], second: list[str]) -> list[str]:
    return [statement for pair in zip(first, second, strict=True) for statement in pair]
