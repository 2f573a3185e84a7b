"""What an Any holds."""

from __future__ import annotations

import collections
import enum
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest

from cqrs_core.serialization import CodecError, codec_for

ID = UUID(int=1)


class Level(enum.IntEnum):
    HIGH = 2


@dataclass
class Card:
    number: str


@dataclass
class Event:
    name: str
    data: Any = None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None, "x", 1.5, True]}, '{"a":[1,null,"x",1.5,true]}'),
        ({"a": (ID, {"b": Card("4")})}, f'{{"a":["{ID}",{{"b":{{"number":"4"}}}}]}}'),
        (Decimal("1.50"), '"1.50"'),
        (datetime(2026, 1, 2, tzinfo=timezone.utc), '"2026-01-02T00:00:00+00:00"'),
        (type("FakeDatetime", (datetime,), {})(2026, 1, 2), '"2026-01-02T00:00:00"'),
        (Level.HIGH, "2"),
        ({1}, "[1]"),
        (frozenset({"a"}), '["a"]'),
        (collections.OrderedDict(a=1), '{"a":1}'),
        (collections.defaultdict(int, a=1), '{"a":1}'),
        (b"\x00", '"AA=="'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_is_written_by_its_class(value: Any, text: str) -> None:
    """Or by the nearest one in its ancestry that has a form."""
    assert text == codec_for(Any).encode(value).decode()
    assert f'{{"name":"n","data":{text}}}' == codec_for(Event).encode(Event("n", value)).decode()


def test_it_is_read_as_plain_json() -> None:
    """What it was is not in the text."""
    assert {"a": [str(ID)]} == codec_for(Any).decode(codec_for(Any).encode({"a": [ID]}))
    assert Event("n", {"a": 1}) == codec_for(Event).decode('{"name":"n","data":{"a":1}}')


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "expected JSON, got object"),
        ({"a": [1, object()]}, "a[1]: expected JSON, got object"),
        ({1: 2}, "['1']: expected str as key, got int"),
        ([float("nan")], "[0]: expected JSON, got float that is not finite"),
        ([1j], "[0]: expected JSON, got complex"),
        ({"a": MappingProxyType({})}, "a: expected JSON, got mappingproxy"),
        ([Card(4)], "[0].number: expected str, got int"),  # type: ignore[arg-type]  # that is the point
    ],
)
def test_what_has_no_form_is_refused_with_its_place(value: Any, message: str) -> None:
    """At any depth, and twice."""
    for _ in range(2):
        with pytest.raises(CodecError) as caught:
            codec_for(Any).encode(value)
        assert message == str(caught.value)
