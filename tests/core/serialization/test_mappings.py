"""Dictionaries."""

from __future__ import annotations

import collections
from collections import abc
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any, Dict, Literal, Optional
from uuid import UUID

import pytest

from cqrs_core.serialization import CodecError, UnsupportedType, codec_for

ID = UUID("12345678-1234-4234-8234-123456789abc")


class Status(Enum):
    NEW = "new"


class Level(IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    ("tp", "value", "text"),
    [
        (dict[str, int], {"a": 1, "b": 2}, '{"a":1,"b":2}'),
        (dict, {"a": [1]}, '{"a":[1]}'),
        (Dict[int, str], {7: "x", -1: "y"}, '{"7":"x","-1":"y"}'),
        (dict[UUID, Decimal], {ID: Decimal(1)}, f'{{"{ID}":"1"}}'),
        (dict[Decimal, bool], {Decimal("1.50"): True}, '{"1.50":true}'),
        (dict[Status, date], {Status.NEW: date(2026, 1, 2)}, '{"new":"2026-01-02"}'),
        (dict[Literal["a", "b"], None], {"b": None}, '{"b":null}'),
        (dict[str, Optional[int]], {"a": None, "b": 1}, '{"a":null,"b":1}'),
        (abc.Mapping[str, list[int]], {"a": [1]}, '{"a":[1]}'),
        (abc.MutableMapping[str, int], {'"\\': 1}, '{"\\"\\\\":1}'),
        (dict[str, dict[str, int]], {"a": {"b": 1}}, '{"a":{"b":1}}'),
    ],
    ids=str,
)
def test_keys_are_written_as_strings_and_come_back(
    tp: Any, value: Any, text: str, there_and_back: Callable[[Any, Any], Any]
) -> None:
    """Names in JSON are strings; the annotation tells what they were."""
    assert text == codec_for(tp).encode(value).decode()
    assert value == there_and_back(tp, value)


@pytest.mark.parametrize(
    ("tp", "text", "name"),
    [
        (dict[Decimal, int], '{"1":1,"2":2,"1.0":3}', "['1.0']"),
        (dict[datetime, int], '{"2026-01-01T00:00:00Z":1,"2026-01-01T01:00:00+01:00":2}', "['2026-01-01T01"),
        (dict[UUID, int], f'{{"{ID}":1,"{str(ID).upper()}":2}}', "['12345678"),
    ],
    ids=str,
)
def test_two_names_that_are_one_key_are_refused(tp: Any, text: str, name: str) -> None:
    """One of the two values would be lost without a word."""
    with pytest.raises(CodecError, match="the same key as another name$") as caught:
        codec_for(tp).decode(text)
    assert caught.value.path.startswith(name)


def test_any_mapping_is_written_where_one_is_expected() -> None:
    """A subclass of dict as the dict that it is; others for Mapping only."""
    assert b'{"a":1}' == codec_for(dict[str, int]).encode(collections.OrderedDict(a=1))
    assert b'{"a":1}' == codec_for(abc.Mapping[str, int]).encode(MappingProxyType({"a": 1}))
    with pytest.raises(CodecError, match=r"expected dict, got mappingproxy"):
        codec_for(dict[str, int]).encode(MappingProxyType({"a": 1}))  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    ("tp", "text", "message"),
    [
        (dict[str, int], "[]", "expected dict, got list"),
        (dict[str, int], '{"a":1,"a b":"x"}', "['a b']: expected int, got str"),
        (dict[int, int], '{"01":1}', "['01']: expected int as key, got str"),
        (dict[int, int], '{"1_0":1}', "['1_0']: expected int as key, got str"),
        (dict[UUID, int], '{"x":1}', "x: expected UUID string as key, got str"),
        (dict[Status, int], '{"lost":1}', "lost: expected one of 'new' as key, got 'lost'"),
        (dict[str, list[int]], '{"a":[1,[]]}', "a[1]: expected int, got list"),
    ],
)
def test_the_entry_that_does_not_fit_is_named(tp: Any, text: str, message: str) -> None:
    """And whether it is its key."""
    with pytest.raises(CodecError) as caught:
        codec_for(tp).decode(text)
    assert message == str(caught.value)


@pytest.mark.parametrize(
    ("tp", "value", "message"),
    [
        (dict[str, int], {"a": 1, 1: 1}, "['1']: expected str as key, got int"),
        (dict[int, int], {True: 1}, "True: expected int as key, got bool"),
        (dict[str, int], {"a": "1"}, "a: expected int, got str"),
        (dict[str, int], [("a", 1)], "expected dict, got list"),
    ],
)
def test_the_entry_that_is_not_written_is_named(tp: Any, value: Any, message: str) -> None:
    """As when it is read."""
    with pytest.raises(CodecError) as caught:
        codec_for(tp).encode(value)
    assert message == str(caught.value)


def test_long_keys_are_cut_in_paths() -> None:
    """They come from outside."""
    with pytest.raises(CodecError) as caught:
        codec_for(dict[str, int]).decode('{"' + "a " * 1000 + '":null}')
    assert 62 == len(caught.value.path)  # sixty and the brackets


@pytest.mark.parametrize("key", [float, bool, None, Level, Optional[str], list[int], int | str, Any], ids=str)
def test_other_keys_are_refused_when_compiled(key: Any) -> None:
    """As strings they could not be told from each other, or have no form that one would expect."""
    with pytest.raises(UnsupportedType, match=r"cannot be the key of a dict"):
        codec_for(dict[key, int])
