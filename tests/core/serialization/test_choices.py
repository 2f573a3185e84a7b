"""Enums, flags and Literal."""

from __future__ import annotations

import enum
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, Optional

import pytest

from cqrs_core.serialization import CodecError, UnsupportedType, codec_for


class Status(enum.Enum):
    NEW = "new"
    PAID = "paid"
    FRESH = "new"  # noqa: PIE796 - an alias


class Word(str, enum.Enum):
    A = "a"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    WORD = "1"
    NUMBER = 1
    NO = False
    NOTHING = None


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Lenient(enum.Enum):
    YES = "yes"

    @classmethod
    def _missing_(cls, value: object) -> Lenient | None:
        return cls.YES if value == "YES" else None


class LenientLevel(enum.Enum):
    LOW = 1

    @classmethod
    def _missing_(cls, value: object) -> LenientLevel | None:
        return cls.LOW if value == 0 else None


@pytest.mark.parametrize(
    ("tp", "value", "text"),
    [
        (Status, Status.NEW, '"new"'),
        (Word, Word.A, '"a"'),
        (Level, Level.HIGH, "2"),
        (Mixed, Mixed.WORD, '"1"'),
        (Mixed, Mixed.NUMBER, "1"),
        (Mixed, Mixed.NO, "false"),
        (Mixed, Mixed.NOTHING, "null"),
        (Mode, Mode.READ | Mode.WRITE, "3"),
        (Mode, Mode(0), "0"),
        (Literal["a", "b"], "b", '"b"'),
        (Literal["a", 1, None], 1, "1"),
        (Literal["a", 1, None], None, "null"),
        (Literal[1, True], True, "true"),
        (Literal[1, True], 1, "1"),
        (Literal[Status.PAID], Status.PAID, '"paid"'),
        (Optional[Literal["a", None]], None, "null"),
        (list[Status], [Status.NEW], '["new"]'),
        (Status | None, None, "null"),
        (Lenient, Lenient.YES, '"yes"'),
    ],
    ids=str,
)
def test_members_are_written_by_their_value(
    tp: Any, value: Any, text: str, there_and_back: Callable[[Any, Any], Any]
) -> None:
    """Not by their name, which is a matter of the program; and come back as the same object."""
    assert text == codec_for(tp).encode(value).decode()
    result = there_and_back(tp, value)
    assert (value, type(value)) == (result, type(result))


@pytest.mark.parametrize(
    ("tp", "text", "problem"),
    [
        (Status, '"lost"', "expected one of 'new', 'paid', got 'lost'"),
        (Status, "[]", "expected one of 'new', 'paid', got list"),
        (Status, "1", "expected one of 'new', 'paid', got 1"),
        (Level, "true", "expected one of 1, 2, got True"),
        (Level, "1.0", "expected one of 1, 2, got float"),
        (Literal[1, "a"], "true", "expected one of 1, 'a', got True"),
        (Mode, "8", "expected int of Mode, got int"),
        (Mode, "true", "expected int of Mode, got bool"),
        (LenientLevel, "true", "expected one of 1, got True"),
        (LenientLevel, "false", "expected one of 1, got False"),
    ],
)
def test_other_words_are_refused_and_shown(tp: Any, text: str, problem: str) -> None:
    """A word that was to be one of a few is no secret, and one wants to see it. True is not 1."""
    with pytest.raises(CodecError) as caught:
        codec_for(tp).decode(text)
    assert problem == caught.value.problem


@pytest.mark.parametrize(
    ("tp", "value", "problem"),
    [
        (Status, "new", "expected one of 'new', 'paid', got 'new'"),
        (Literal["a"], "b", "expected one of 'a', got 'b'"),
        (Literal[1], True, "expected one of 1, got True"),
        (Literal[Word.A], "a", "expected one of 'a', got 'a'"),
        (Mode, 1, "expected int of Mode, got int"),
    ],
)
def test_values_instead_of_members_are_not_written(tp: Any, value: Any, problem: str) -> None:
    """They would come back as members, unequal to what was written."""
    with pytest.raises(CodecError) as caught:
        codec_for(tp).encode(value)
    assert problem == caught.value.problem


def test_an_enum_of_its_own_mind_is_asked() -> None:
    """``_missing_`` sees words that no member has, but no other type of JSON."""
    assert Lenient.YES is codec_for(Lenient).decode(b'"YES"')
    assert LenientLevel.LOW is codec_for(LenientLevel).decode(b"0")
    with pytest.raises(CodecError, match=r"got 'no'"):
        codec_for(Lenient).decode(b'"no"')


def test_long_lists_of_words_are_cut() -> None:
    """The error is for people."""
    many: Any = enum.Enum("Many", {f"M{number}": number for number in range(30)})
    with pytest.raises(CodecError, match=r"18, 19 and 10 more, got -1"):
        codec_for(many).decode(b"-1")


@pytest.mark.parametrize(
    ("tp", "message"),
    [
        (enum.Enum("Shape", {"A": (1, 2)}), "Shape has values that are neither str nor int nor bool nor None"),
        (enum.Enum("Price", {"A": Decimal(1)}), "Price has values that are neither str nor int nor bool nor None"),
        (Literal[b"a"], "has values that are neither"),
        (Literal[Word.A, "a"], "has two members with one value"),
    ],
)
def test_members_that_could_not_be_read_back_are_refused_when_compiled(tp: Any, message: str) -> None:
    """At start, not with the first message."""
    with pytest.raises(UnsupportedType, match=message):
        codec_for(tp)
