"""Unions: optional values, tagged dataclasses, members of different types of JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, Literal, Optional, TypedDict, TypeVar, Union
from uuid import UUID

import pytest

from cqrs_core.serialization import CodecError, UnsupportedType, codec_for

T = TypeVar("T")
ID = UUID("12345678-1234-4234-8234-123456789abc")


@dataclass
class Card:
    number: str


@dataclass
class Cash:
    amount: Decimal = Decimal(0)


@dataclass
class Nothing:
    pass


@dataclass
class Debit(Card):
    bank: str = ""


@dataclass
class Payment:
    by: Card | Cash | Nothing | None
    times: int | str | list[int] = 1


@dataclass
class Branch:
    left: Branch | Leaf | None = None
    right: Union[Branch, Leaf, None] = None


@dataclass
class Leaf:
    value: int | None = field(default=None)


@dataclass
class Box(Generic[T]):
    item: T


class Wish(TypedDict):
    text: str


class Mixed(Enum):
    WORD = "a"
    NUMBER = 1


class Void(Enum):
    NOTHING = None


@pytest.mark.parametrize(
    ("tp", "value", "text"),
    [
        (Optional[Card], None, "null"),
        (Card | None, Card("4"), '{"number":"4"}'),
        (Optional[tuple[int, ...]], (), "[]"),
        (Union[int, str, None], "7", '"7"'),
        (int | str | None, 7, "7"),
        (int | float, 1.0, "1.0"),
        (int | float, 1, "1"),
        (Decimal | int, 5, "5"),
        (Decimal | int, Decimal(5), '"5"'),
        (bool | int, True, "true"),
        (bool | int, 1, "1"),
        (UUID | int, ID, f'"{ID}"'),
        (Literal["all"] | int, "all", '"all"'),
        (list[int] | dict[str, int] | str, {"a": 1}, '{"a":1}'),
        (list[UUID | None], [None, ID], f'[null,"{ID}"]'),
        (Payment, Payment(Card("4")), '{"by":{"$type":"Card","number":"4"},"times":1}'),
        (Payment, Payment(Nothing(), [1]), '{"by":{"$type":"Nothing"},"times":[1]}'),
        (Payment, Payment(None, "x"), '{"by":null,"times":"x"}'),
        (Card | Debit, Debit("4", "b"), '{"$type":"Debit","number":"4","bank":"b"}'),
        (Card | Cash | str, "x", '"x"'),
        (Box[int] | Card, Box(1), '{"$type":"Box","item":1}'),
        (Wish | None, {"text": "x"}, '{"text":"x"}'),
        (Any | None, [1], "[1]"),
    ],
    ids=str,
)
def test_each_member_has_its_form(tp: Any, value: Any, text: str, there_and_back: Callable[[Any, Any], Any]) -> None:
    """Bare but for one of several dataclasses, which says its name first; and comes back as what it was."""
    assert text == codec_for(tp).encode(value).decode()
    assert repr(value) == repr(there_and_back(tp, value))


def test_an_int_is_written_for_a_float_if_no_member_is_int() -> None:
    """The only member that could be meant."""
    assert b"1.0" == codec_for(float | str).encode(1)
    assert "1.0" == repr(codec_for(float | str).decode(b"1"))


def test_unions_may_recur(there_and_back: Callable[[Any, Any], Any]) -> None:
    """Through their own members."""
    tree = Branch(Branch(Leaf(1), None), Leaf())
    assert tree == there_and_back(Branch, tree)
    assert tree == there_and_back(Branch | Leaf, tree)


@pytest.mark.parametrize(
    ("tp", "text", "message"),
    [
        (Optional[int], '"x"', "expected int or None, got str"),
        (Optional[int], '""', "expected int or None, got str"),
        (int | Leaf, "1.5", "expected int or Leaf, got float"),
        (bool | Leaf, "1", "expected bool or Leaf, got int"),
        (Payment, '{"by":{"number":"4"}}', "by.$type: missing"),
        (Payment, '{"by":{"$type":"Crypto"}}', "by.$type: expected one of 'Card', 'Cash', 'Nothing', got 'Crypto'"),
        (Payment, '{"by":{"$type":[]}}', "by.$type: expected one of 'Card', 'Cash', 'Nothing', got list"),
        (Payment, '{"by":{"$type":"Card"}}', "by.number: missing"),
        (Payment, '{"by":3}', "by: expected Card or Cash or Nothing or None, got int"),
        (Payment, '{"by":null,"times":[1,"2"]}', "times[1]: expected int, got str"),
    ],
)
def test_what_fits_no_member_is_refused(tp: Any, text: str, message: str) -> None:
    """All members are named; within the right one, the path goes on."""
    with pytest.raises(CodecError) as caught:
        codec_for(tp).decode(text)
    assert message == str(caught.value)


@pytest.mark.parametrize(
    ("tp", "value", "message"),
    [
        (int | Leaf, True, "expected int or Leaf, got bool"),
        (int | Leaf, 1.5, "expected int or Leaf, got float"),
        (Card | Cash, Debit("4"), "expected Card or Cash, got Debit"),
        (Card | None, Debit("4"), "expected Card or None, got Debit"),
        (Card | Cash, Card(4), "number: expected str, got int"),  # type: ignore[arg-type]  # that is the point
    ],
)
def test_what_is_no_member_is_not_written(tp: Any, value: Any, message: str) -> None:
    """Instances of subclasses would lose their own fields."""
    with pytest.raises(CodecError) as caught:
        codec_for(tp).encode(value)
    assert message == str(caught.value)


@pytest.mark.parametrize(
    ("tp", "message"),
    [
        (UUID | str, "UUID string and str cannot be told apart in JSON"),
        (date | datetime | None, "date string and date-time string cannot be told apart"),
        (list[int] | tuple[str, ...], "list and list cannot be told apart"),
        (Card | Cash | UUID | str, "UUID string and str cannot be told apart"),
        (Card | dict[str, int], "Card and dict cannot be told apart"),
        (Card | Mapping[str, int], "Card and dict cannot be told apart"),
        (Card | Wish, "Card and Wish cannot be told apart"),
        (Box[int] | Box[str], "Box and Box cannot be told apart"),
        (Literal["a"] | str, "one of 'a' and str cannot be told apart"),
        (Mixed | int, "one of 'a', 1 and int cannot be told apart"),
        (Void | None, "one of None and None cannot be told apart"),
    ],
    ids=str,
)
def test_members_that_json_cannot_tell_apart_are_refused_when_compiled(tp: Any, message: str) -> None:
    """To guess would work until the first value that looks like both; the cure is in the text."""
    with pytest.raises(UnsupportedType, match=message) as caught:
        codec_for(tp)
    assert "Put them into dataclasses with different names" in caught.value.cure


def test_a_tag_is_no_unknown_field() -> None:
    """A type may have been one of several when the text was written."""
    assert Card("4") == codec_for(Card, unknown_fields="refuse").decode('{"$type":"Card","number":"4"}')


def test_the_tag_may_stand_anywhere() -> None:
    """Objects in JSON have no order."""
    assert Card("4") == codec_for(Card | Cash, unknown_fields="refuse").decode('{"number":"4","$type":"Card"}')
