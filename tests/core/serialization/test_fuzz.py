"""Random types, random values, damaged text, random bytes. FUZZ_EXAMPLES=2500 looks longer."""

from __future__ import annotations

import json
import os
import string
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from itertools import count
from typing import Any, Generic, Literal, NamedTuple, Optional, TypeVar, Union
from uuid import UUID

import pytest

from cqrs_core.serialization import CodecError, codec_for

pytest.importorskip("hypothesis")

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

T = TypeVar("T")


class Status(Enum):
    NEW = "new"
    PAID = "paid"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Box(Generic[T]):
    item: T
    more: list[T] = field(default_factory=list)


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)
    index: dict[str, Tree] = field(default_factory=dict)


class Drawn(NamedTuple):
    """A type and how to make values of it."""

    tp: Any
    values: st.SearchStrategy[Any]
    is_hashable: bool = False


whole_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
offsets = st.none() | st.integers(-23 * 3600, 23 * 3600).map(lambda seconds: timezone(timedelta(seconds=seconds)))
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: whole_text,
    int: st.integers(-(10**30), 10**30),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    UUID: st.uuids(),
    datetime: st.datetimes(timezones=offsets),
    date: st.dates(),
    time: st.times(timezones=offsets),
    timedelta: st.timedeltas(),
    bytes: st.binary(max_size=12),
    Status: st.sampled_from(Status),
    Level: st.sampled_from(Level),
    Literal["x", 1, False, None]: st.sampled_from(["x", 1, False, None]),
    None: st.none(),
}
#: Members of untagged unions, by their type in JSON: one of each at most.
JSON_TYPE: dict[Any, type] = {
    **dict.fromkeys((str, Decimal, UUID, datetime, date, time, timedelta, bytes, Status), str),
    int: int,
    Level: int,
    float: float,
    bool: bool,
}
KEYS = (str, int, UUID, date, Status, Decimal)
numbers = count()


@st.composite
def types(draw: st.DrawFn, depth: int = 3) -> Drawn:
    """Draw any type that the codec knows, not deeper than *depth*."""
    kinds = ["scalar", "list", "tuple", "fixed", "set", "dict", "optional", "union", "tagged", "record", "generic"]
    kind = draw(st.sampled_from(["scalar", *kinds] if depth else ["scalar"]))
    if kind == "scalar":
        tp = draw(st.sampled_from(list(SCALARS)))
        return Drawn(tp, SCALARS[tp], is_hashable=True)
    if kind == "union":
        members = draw(st.lists(st.sampled_from(list(JSON_TYPE)), min_size=2, max_size=4, unique_by=JSON_TYPE.get))
        return Drawn(Union[tuple(members)], st.one_of([SCALARS[tp] for tp in members]), is_hashable=True)
    if kind == "tagged":
        records = [draw(dataclasses(depth - 1)) for _ in range(draw(st.integers(2, 3)))]
        tp = Optional[Union[tuple(record.tp for record in records)]]
        return Drawn(tp, st.none() | st.one_of([record.values for record in records]))
    if kind == "record":
        return draw(dataclasses(depth - 1))
    if kind == "fixed":
        parts = draw(st.lists(types(depth - 1), min_size=1, max_size=3))
        tp = tuple[tuple(part.tp for part in parts)]  # type: ignore[misc]  # at run time it is one
        return Drawn(tp, st.tuples(*(part.values for part in parts)), all(part.is_hashable for part in parts))
    return draw(around(kind, draw(types(depth - 1))))


@st.composite
def around(draw: st.DrawFn, kind: str, item: Drawn) -> Drawn:
    """Draw a type that holds others of one type."""
    if kind == "optional":
        return Drawn(Optional[item.tp], st.none() | item.values, item.is_hashable)
    if kind == "list":
        return Drawn(list[item.tp], st.lists(item.values, max_size=4))  # type: ignore[name-defined]  # a type that is drawn by lot
    if kind == "tuple":
        return Drawn(tuple[item.tp, ...], st.lists(item.values, max_size=4).map(tuple), item.is_hashable)  # type: ignore[name-defined]  # a type that is drawn by lot
    if kind == "set" and item.is_hashable:
        return Drawn(frozenset[item.tp], st.frozensets(item.values, max_size=4), is_hashable=True)  # type: ignore[name-defined]  # a type that is drawn by lot
    if kind == "generic":
        return Drawn(Box[item.tp], st.builds(Box, item.values, st.lists(item.values, max_size=2)))  # type: ignore[name-defined]  # a type that is drawn by lot
    key = draw(st.sampled_from(KEYS))
    return Drawn(dict[key, item.tp], st.dictionaries(SCALARS[key], item.values, max_size=3))  # type: ignore[name-defined, valid-type]  # a type that is drawn by lot


@st.composite
def dataclasses(draw: st.DrawFn, depth: int) -> Drawn:
    """Draw a dataclass with any options and some defaults, at the end as the rule is."""
    parts = draw(st.lists(types(depth), max_size=4))
    options = draw(st.fixed_dictionaries({name: st.booleans() for name in ("frozen", "slots", "kw_only")}))
    with_default = draw(st.integers(0, len(parts)))
    fields: list[Any] = []
    for number, part in enumerate(parts):
        default = draw(st.lists(part.values, min_size=1, max_size=1)) if number >= with_default else []
        rest = (field(default_factory=lambda default=default: default[0]),) if default else ()
        fields.append((f"field_{number}", part.tp, *rest))
    cls = make_dataclass(f"Record{next(numbers)}", fields, **options, namespace={"__module__": __name__})
    return Drawn(cls, st.builds(cls, **{f"field_{number}": part.values for number, part in enumerate(parts)}))


def exact(value: Any) -> Any:
    """Tell apart what ``==`` does not: 1, 1.0 and True; Decimal 1 and 1.0; offsets; -0.0."""
    if isinstance(value, (list, tuple)):
        return type(value), [exact(item) for item in value]
    if isinstance(value, frozenset):
        return type(value), sorted(repr(exact(item)) for item in value)
    if isinstance(value, dict):
        return [(exact(key), exact(item)) for key, item in value.items()]
    if hasattr(value, "__dataclass_fields__"):
        return type(value), [exact(getattr(value, name)) for name in value.__dataclass_fields__]
    if isinstance(value, (datetime, time)):
        value = value.replace(fold=0)  # ISO 8601 has no word for it
    return type(value), repr(value)


def fuzz(examples: int) -> Any:
    """Give the same examples each time, so that a red run can be run again."""
    return settings(
        max_examples=int(os.environ.get("FUZZ_EXAMPLES", examples)),
        deadline=None,
        database=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )


policies = st.sampled_from(["ignore", "refuse"])


@fuzz(100)
@given(st.data())
def test_random_values_of_random_types_come_back_exactly(data: st.DataObject) -> None:
    """The same down to classes, digits and offsets, through text and through plain values; the text is JSON."""
    drawn = data.draw(types())
    codec = codec_for(drawn.tp, unknown_fields=data.draw(policies))
    value = data.draw(drawn.values)

    encoded = codec.encode(value)

    assert json.loads(encoded, parse_constant=pytest.fail) == codec.to_plain(value)
    assert exact(value) == exact(codec.decode(encoded))
    assert exact(value) == exact(codec.from_plain(codec.to_plain(value)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda parts: (
        st.lists(parts, max_size=3) | st.dictionaries(st.text(string.printable, max_size=9), parts, max_size=3)
    ),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn, value: Any) -> Any:
    """Change one place, at any depth."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        how = draw(st.sampled_from(["inside", "inside", "drop", "add"]))
        if how == "drop":
            return {name: item for name, item in value.items() if name != key}
        return {**value, **({draw(whole_text): 1} if how == "add" else {key: draw(damaged(value[key]))})}
    if isinstance(value, list) and value and draw(st.booleans()):
        number = draw(st.integers(0, len(value) - 1))
        return [*value[:number], draw(damaged(value[number])), *value[number + 1 :]]
    return draw(json_values)


@fuzz(100)
@given(st.data())
def test_damaged_text_is_refused_with_a_path_that_leads_into_it_or_can_be_written(data: st.DataObject) -> None:
    """Nothing but CodecError comes out, and what is accepted is a value of the type."""
    drawn = data.draw(types())
    codec = codec_for(drawn.tp, unknown_fields=data.draw(policies))
    here = data.draw(damaged(codec.to_plain(data.draw(drawn.values))))
    for read in (codec.from_plain, lambda plain: codec.decode(json.dumps(plain))):
        try:
            result = read(here)
        except CodecError as error:
            assert_leads_into(here, error)
        else:
            codec.encode(result)


def assert_leads_into(plain: Any, error: CodecError) -> None:
    """Follow the path of an error."""
    *way, last = error.steps or (None,)
    for step in way:
        plain = plain[step]
    if error.problem == "missing":
        assert last not in plain
    elif error.steps:
        assert isinstance(plain, (dict, list))
        plain[last]


TARGETS: tuple[Any, ...] = (
    Any,
    Tree,
    Box[Decimal],
    list[int | str],
    tuple[float, Optional[UUID]],
    dict[Decimal, datetime],
    frozenset[bytes],
    Union[Tree, Box[timedelta], None],
)
#: Words with which JSON ends: numbers that floats cannot hold, and half a character, among them.
words = st.sampled_from(
    [
        "null",
        "true",
        "NaN",
        "-Infinity",
        "1e999",
        "-0",
        "1.5",
        "1" * 5000,
        '"1.0"',
        '"\\ud800"',
        '"AA=="',
        '"P1D"',
        '"',
        "\ufeff",
    ]
)
names = st.sampled_from(["$type", "name", "children", "index", "item", "more", "1", "1.0", "\\ud800"])
#: Texts that are JSON but for some of their words.
texts = st.recursive(
    words,
    lambda parts: (
        st.lists(parts, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.dictionaries(names, parts, max_size=3).map(
            lambda entries: "{" + ",".join(f'"{name}":{item}' for name, item in entries.items()) + "}"
        )
    ),
    max_leaves=5,
)


@fuzz(150)
@given(st.binary(max_size=60) | whole_text.map(str.encode) | texts.map(str.encode))
def test_random_bytes_give_a_value_or_the_one_error(data: bytes) -> None:
    """Whoever reads from outside catches CodecError and no other; its path leads into the text if that is JSON."""
    for tp in TARGETS:
        codec: Any = codec_for(tp)
        try:
            result = codec.decode(data)
        except CodecError as error:
            assert error.problem  # noqa: PT017 - either outcome is right
            if error.steps:
                assert_leads_into(json.loads(data), error)
        else:
            codec.encode(result)


@fuzz(150)
@given(json_values)
def test_random_json_gives_a_value_or_an_error_whose_path_leads_into_it(plain: Any) -> None:
    """The same whether it was parsed before or not."""
    for tp in TARGETS:
        for read in (codec_for(tp).from_plain, lambda value, tp=tp: codec_for(tp).decode(json.dumps(value))):
            try:
                result = read(plain)
            except CodecError as error:
                assert_leads_into(plain, error)
            else:
                codec_for(tp).encode(result)
