"""One codec per type: bytes, plain values, the policy for unknown fields, threads."""

from __future__ import annotations

import json
import pickle
import sys
import threading
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest

from cqrs_core.errors import CqrsError
from cqrs_core.serialization import CodecError, codec_for


class Status(Enum):
    NEW = "new"
    PAID = "paid"


@dataclass
class Line:
    sku: str
    quantity: int
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    id: UUID
    placed_at: datetime
    status: Status
    lines: list[Line]
    note: str | None = None
    tags: list[str] = field(default_factory=list)


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)
    index: dict[str, Tree] = field(default_factory=dict)


@dataclass
class Nothing:
    pass


ORDER = Order(
    id=UUID("12345678-1234-4234-8234-123456789abc"),
    placed_at=datetime(2026, 11, 24, 12, 30, 15, 123456, tzinfo=timezone.utc),
    status=Status.PAID,
    lines=[Line("a", 1, Decimal("1.50"))],
    note='é ☃ " \\ \n',
)
TEXT = (
    '{"id":"12345678-1234-4234-8234-123456789abc","placed_at":"2026-11-24T12:30:15.123456+00:00","status":"paid",'
    '"lines":[{"sku":"a","quantity":1,"price":"1.50"}],"note":"é ☃ \\" \\\\ \\n","tags":[]}'
)


def test_the_text_is_compact_utf_8_in_the_order_of_the_fields() -> None:
    """What other programs see is fixed to the byte."""
    assert TEXT.encode() == codec_for(Order).encode(ORDER)


@pytest.mark.parametrize("as_type", [bytes, bytearray, memoryview])
def test_any_buffer_is_read(as_type: Any) -> None:
    """Brokers and drivers hand out all three kinds."""
    assert ORDER == codec_for(Order).decode(as_type(TEXT.encode()))


def test_a_buffer_with_gaps_is_read_too() -> None:
    """A slice of a column of an array, for example; what is no buffer at all is the caller's mistake."""
    assert [1] == codec_for(list[int]).decode(memoryview(b"[-1-]")[::2])
    with pytest.raises(TypeError):
        codec_for(Any).decode(None)  # type: ignore[arg-type]  # that is the point


def test_the_last_of_two_members_with_one_name_wins() -> None:
    """As in every reader that Python has; RFC 8259, section 4, leaves it open."""
    assert {"a": 2} == codec_for(dict[str, int]).decode('{"a":1,"a":2}')


def test_text_and_white_space_around_it_are_read() -> None:
    """What a text column gives, and what people write by hand."""
    assert ORDER == codec_for(Order).decode(TEXT)
    assert 1 == codec_for(int).decode(b" \n1\t ")


def test_plain_values_are_what_json_loads_from_the_text() -> None:
    """For columns that hold JSON; nothing is shared with the value."""
    plain = codec_for(Order).to_plain(ORDER)

    assert json.loads(TEXT) == plain
    assert ORDER == codec_for(Order).from_plain(plain)


def test_plain_values_get_the_same_checks_as_text() -> None:
    """Whoever parsed it may have let NaN pass, or put in what no text holds."""
    plain = codec_for(Order).to_plain(ORDER)
    plain["lines"][0]["price"] = 1.5
    with pytest.raises(CodecError, match=r"^lines\[0\]\.price: expected decimal string, got float$"):
        codec_for(Order).from_plain(plain)
    for value, message in (
        ({"a": [1, float("nan")]}, r"a\[1\]: expected a finite number"),
        ([{"a": b"x"}], r"\[0\]\.a: expected JSON, got bytes"),
        ({1: 2}, r"\['1'\]: expected str as key, got int"),
        (["\ud800"], r"\[0\]: text that is not Unicode"),
        (7j, "expected JSON, got complex"),
    ):
        with pytest.raises(CodecError, match=message):
            codec_for(Any).from_plain(value)


def test_a_number_or_a_key_that_has_no_text_is_refused_like_any_other() -> None:
    """Python turns no int of more than 4,300 digits into text, not even for an error."""
    if not hasattr(sys, "get_int_max_str_digits"):
        pytest.skip("this Python has no limit on digits")
    with pytest.raises(CodecError, match=r"^\[0\]: expected one of 1, got int that is too large$"):
        codec_for(list[Literal[1]]).from_plain([10**5000])
    with pytest.raises(CodecError, match=r"^\[0\]: expected int, got int that is too large$"):
        codec_for(list[int]).encode([10**5000])
    with pytest.raises(CodecError, match=r"^int: expected int as key, got int that is too large$"):
        codec_for(dict[int, int]).encode({10**5000: 1})
    with pytest.raises(CodecError, match=r"^int: expected str as key, got int$"):
        codec_for(Any).from_plain({10**5000: 1})


def test_a_codec_is_compiled_once() -> None:
    """The second call costs a look-up."""
    assert codec_for(Order) is codec_for(Order)
    assert codec_for(list[Order]) is codec_for(list[Order])
    assert codec_for(Order) is not codec_for(Order, unknown_fields="refuse")


def test_types_that_cannot_be_hashed_have_codecs_too() -> None:
    """Metadata in Annotated is anybody's."""
    assert b"[5]" == codec_for(list[Annotated[int, ["positive"]]]).encode([5])
    assert 5 == codec_for(Annotated[int, ["positive"]]).decode(b"5")


def test_unknown_fields_are_ignored_unless_refused() -> None:
    """New fields need defaults to read old messages; old readers pass over new fields unless told otherwise."""
    data = b'{"name":"a","colour":"red"}'

    assert Tree("a") == codec_for(Tree).decode(data)
    with pytest.raises(CodecError, match=r"^colour: unknown field; there are name, children, index$"):
        codec_for(Tree, unknown_fields="refuse").decode(data)


def test_unknown_fields_are_found_by_count_whatever_is_missing() -> None:
    """As many names as fields, and still one too many; an object without fields; deep inside."""
    with pytest.raises(CodecError, match=r"colour: unknown field"):
        codec_for(Tree, unknown_fields="refuse").decode(b'{"name":"a","children":[],"colour":1}')
    with pytest.raises(CodecError, match=r"\[1\]\.x: unknown field; there are none"):
        codec_for(list[Nothing], unknown_fields="refuse").decode(b'[{},{"x":1}]')
    assert Tree("a") == codec_for(Tree, unknown_fields="refuse").decode(b'{"name":"a"}')


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"^not JSON: Expecting value: line 1 column 1 \(char 0\)$"),
        (b"1 2", r"^not JSON: Extra data: line 1 column 3 \(char 2\)$"),
        (b"{", "^not JSON: Expecting property name"),
        (b'"\xff"', "^not JSON: 'utf-8'"),
        (b"\xef\xbb\xbf1", "^not JSON"),
        (b"NaN", "^expected a finite number$"),
        (b' [{"a":-Infinity}]', r"^\[0\]\.a: expected a finite number$"),
        (b"[1,1e999]", r"^\[1\]: expected a finite number$"),
        (b"[NaN,", "^not JSON: Expecting value"),
        (b"[" * 100_000 + b"NaN", "^nested too deeply"),
        (b"1" * 5000, "^not JSON: Exceeds"),
        (b"[" * 100_000, "^nested too deeply"),
    ],
)
def test_what_is_no_json_is_refused_by_one_error(data: bytes, message: str) -> None:
    """Neither UnicodeDecodeError nor RecursionError nor the limit on digits gets out."""
    if b"1" * 5000 == data and not hasattr(__import__("sys"), "get_int_max_str_digits"):
        pytest.skip("this Python has no limit on digits")
    with pytest.raises(CodecError, match=message):
        codec_for(Any).decode(data)


def test_depth_and_circles_are_refused_both_ways() -> None:
    """One message must not end the process."""
    loop = Tree("a")
    loop.children.append(loop)

    with pytest.raises(CodecError, match=r"nested too deeply"):
        codec_for(Tree).decode(('{"name":"a","children":[' * 900 + "]}" * 900).encode())
    with pytest.raises(CodecError, match=r"contains itself"):
        codec_for(Tree).encode(loop)
    circle: list[Any] = []
    circle.append(circle)
    for refuse in (codec_for(Any).encode, codec_for(Any).from_plain):
        with pytest.raises(CodecError, match=r"contains itself"):
            refuse(circle)


def test_deep_text_with_escapes_is_refused_like_any_other() -> None:
    """The search for lone surrogates goes deeper in Python than the scanner of json does in C."""
    for depth in range(200, 1000, 100):
        text = "[" * depth + '"\\ud83d\\ude00"' + "]" * depth
        try:
            codec_for(Any).decode(text)
        except CodecError as error:
            assert "nested too deeply" in str(error)  # noqa: PT017 - either outcome is right


def test_lone_surrogates_are_refused_both_ways_with_their_place() -> None:
    """JSON can spell half a character, UTF-8 cannot carry it: accepted, it would fail when it is passed on."""
    with pytest.raises(CodecError, match=r"^children\[0\]\.name: text that is not Unicode"):
        codec_for(Tree).encode(Tree("a", [Tree("\ud800")]))
    with pytest.raises(CodecError, match=r"^children\[0\]\.name: text that is not Unicode"):
        codec_for(Tree).decode('{"name":"a","children":[{"name":"\\ud800"}]}')
    with pytest.raises(CodecError, match=r"^not JSON: 'utf-8' codec can't encode"):
        codec_for(str).decode('"\ud800"')
    assert "\U0001f600" == codec_for(str).decode('"\\uD83D\\uDE00"')


def test_the_error_is_of_the_family_and_of_the_kind_a_stranger_catches() -> None:
    """And it survives a process boundary."""
    with pytest.raises(CqrsError) as caught:
        codec_for(list[int]).decode(b'["1"]')

    assert isinstance(caught.value, ValueError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(caught.value), "[0]") == (str(copy), copy.path)


def test_many_threads_compile_at_once() -> None:
    """Each gets a whole function."""
    kinds = [dataclass(type(f"R{i}", (), {"__annotations__": {"a": int, "b": list[int]}})) for i in range(30)]
    results: list[bool] = []

    def work() -> None:
        results.extend(codec_for(list[kind]).decode(b'[{"a":1,"b":[2]}]')[0] == kind(1, [2]) for kind in kinds)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [True] * 120 == results


def test_a_codec_says_whose_it_is() -> None:
    """In debuggers and logs."""
    assert "<Codec of Order>" == repr(codec_for(Order))
