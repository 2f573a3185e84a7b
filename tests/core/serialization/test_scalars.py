"""One word in JSON: numbers, text, identifiers, bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any, NewType
from uuid import UUID

import pytest

from cqrs_core.serialization import CodecError, codec_for

ID = UUID("12345678-1234-4234-8234-123456789abc")
UserId = NewType("UserId", int)


class Level(IntEnum):
    HIGH = 2


@pytest.mark.parametrize(
    ("tp", "value", "text"),
    [
        (str, "", '""'),
        (int, -7, "-7"),
        (int, 10**30, "1" + "0" * 30),
        (float, 1.0, "1.0"),
        (float, 1e-300, "1e-300"),
        (float, -0.0, "-0.0"),
        (bool, True, "true"),
        (bool, False, "false"),
        (None, None, "null"),
        (UUID, ID, f'"{ID}"'),
        (Decimal, Decimal("-1E+5"), '"-1E+5"'),
        (Decimal, Decimal("1.50"), '"1.50"'),
        (Decimal, Decimal("0E-7"), '"0E-7"'),
        (bytes, b"\x00\xff", '"AP8="'),
        (UserId, 5, "5"),
        (Annotated[int, "positive"], 5, "5"),
    ],
    ids=str,
)
def test_each_type_has_one_form(tp: Any, value: Any, text: str, there_and_back: Callable[[Any, Any], Any]) -> None:
    """And is read back exactly: the same class, the same digits."""
    assert text == codec_for(tp).encode(value).decode()
    result = there_and_back(tp, value)
    assert (type(value), repr(value)) == (type(result), repr(result))


@pytest.mark.parametrize(
    ("tp", "text", "problem"),
    [
        (int, '"7"', "expected int, got str"),
        (int, "7.0", "expected int, got float"),
        (int, "true", "expected int, got bool"),
        (bool, "1", "expected bool, got int"),
        (str, "7", "expected str, got int"),
        (str, "null", "expected str, got NoneType"),
        (None, "0", "expected None, got int"),
        (float, '"1"', "expected float, got str"),
        (float, "true", "expected float, got bool"),
        (float, "1e999", "expected a finite number"),
        (float, "1" + "0" * 400, "expected float, got int that is too large"),
        (Decimal, "1.5", "expected decimal string, got float"),
        (Decimal, "true", "expected decimal string, got bool"),
        (Decimal, '"NaN"', "expected decimal string, got str"),
        (Decimal, '"Infinity"', "expected decimal string, got str"),
        (Decimal, '"1_0"', "expected decimal string, got str"),
        (Decimal, '" 1"', "expected decimal string, got str"),
        (Decimal, '"1.2.3"', "expected decimal string, got str"),
        (Decimal, '""', "expected decimal string, got str"),
        (Decimal, '"٣"', "expected decimal string, got str"),
        (UUID, '"{12345678-1234-4234-8234-123456789abc}"', "expected UUID string, got str"),
        (UUID, '"12345678123442348234123456789abc"', "expected UUID string, got str"),
        (UUID, '"12345678 1234 4234 8234 123456789abc"', "expected UUID string, got str"),
        (UUID, '"-1234567812344234-8234-123456789abc-"', "expected UUID string, got str"),
        (UUID, '"+2345678-1234-4234-8234-123456789abc"', "expected UUID string, got str"),
        (bytes, '"a"', "expected base64 string, got str"),
        (bytes, '"AP8=\\n"', "expected base64 string, got str"),
        (bytes, '"="', "expected base64 string, got str"),  # until 3.10, Python reads nothing from this
        (bytes, '"AAAA="', "expected base64 string, got str"),  # and three bytes from this
        (bytes, '"AP9="', "expected base64 string, got str"),  # a second spelling of AP8=
    ],
)
def test_nothing_is_coerced_when_read(tp: Any, text: str, problem: str) -> None:
    """Types are named, values, which may be secrets, are not."""
    with pytest.raises(CodecError) as caught:
        codec_for(tp).decode(text)
    assert ("", problem) == (caught.value.path, caught.value.problem)


@pytest.mark.parametrize(
    ("tp", "value", "problem"),
    [
        (int, "7", "expected int, got str"),
        (int, True, "expected int, got bool"),
        (int, 7.0, "expected int, got float"),
        (bool, 1, "expected bool, got int"),
        (str, 7, "expected str, got int"),
        (float, math.nan, "expected float, got float that is not finite"),
        (float, -math.inf, "expected float, got float that is not finite"),
        (float, 10**400, "expected float, got int that is too large"),
        (float, True, "expected float, got bool"),
        (Decimal, Decimal("NaN"), "expected decimal string, got Decimal that is not finite"),
        (Decimal, 1.5, "expected decimal string, got float"),
        (UUID, str(ID), "expected UUID string, got str"),
        (bytes, "x", "expected base64 string, got str"),
        (None, 0, "expected None, got int"),
    ],
)
def test_what_the_reader_would_refuse_is_not_written(tp: Any, value: Any, problem: str) -> None:
    """Dataclasses do not check what is put into them; alone and as an item the same."""
    for codec, whole, path in ((codec_for(tp), value, ""), (codec_for(list[tp]), [value], "[0]")):
        with pytest.raises(CodecError) as caught:
            codec.encode(whole)
        assert (path, problem) == (caught.value.path, caught.value.problem)


def test_instances_of_subclasses_pass_for_what_they_are() -> None:
    """An IntEnum where an int is expected, subclasses of str and Decimal."""
    assert b"2" == codec_for(int).encode(Level.HIGH)
    assert b'"a"' == codec_for(str).encode(type("Shout", (str,), {})("a"))
    assert b'"1.5"' == codec_for(Decimal).encode(type("Money", (Decimal,), {})("1.5"))
    assert b"1.5" == codec_for(float).encode(type("Ratio", (float,), {})(1.5))


def test_an_int_passes_where_a_fraction_may_stand() -> None:
    """Other writers leave out what is zero."""
    assert "(5.0, Decimal('5'))" == repr(codec_for(tuple[float, Decimal]).decode(b"[5,5]"))
    assert b"2.0" == codec_for(float).encode(2)


def test_decimals_are_read_with_exponents_and_bare_points() -> None:
    """All that Decimal takes for a number, whether with a sign or without."""
    assert [Decimal(s) for s in ("1E+5", "-.5", ".5", "5.")] == codec_for(list[Decimal]).decode(
        '["1E+5","-.5",".5","5."]'
    )


def test_a_decimal_with_a_huge_exponent_stays_small() -> None:
    """It is kept as it was written, never spelt out; what no Decimal can hold is refused."""
    numbers = ["1E+999999999", "1E-999999999"]

    assert (
        f'["{numbers[0]}","{numbers[1]}"]'
        == codec_for(list[Decimal]).encode(codec_for(list[Decimal]).decode(f'["{numbers[0]}","{numbers[1]}"]')).decode()
    )
    assert {Decimal(numbers[0]): 1} == codec_for(dict[Decimal, int]).decode(f'{{"{numbers[0]}":1}}')
    with pytest.raises(CodecError, match=r"^expected decimal string, got str$"):
        codec_for(Decimal).decode('"1e99999999999999999999"')


def test_zero_keeps_its_sign() -> None:
    """As IEEE 754 and Decimal have it; an int has none."""
    assert b'[-0.0,"-0.00"]' == codec_for(tuple[float, Decimal]).encode(
        codec_for(tuple[float, Decimal]).decode('[-0.0,"-0.00"]')
    )
    assert "0" == repr(codec_for(int).decode("-0"))


def test_upper_case_uuids_are_read() -> None:
    """RFC 9562, section 4: output lower case, input either."""
    assert ID == codec_for(UUID).decode(f'"{str(ID).upper()}"')


def test_a_uuid_that_was_read_is_like_one_that_was_made() -> None:
    """Its slots are filled without the constructor."""
    read = codec_for(UUID).decode(f'"{ID}"')
    assert (hash(ID), repr(ID), ID.is_safe, ID.version) == (hash(read), repr(read), read.is_safe, read.version)
