"""Lists, sets and tuples."""

from __future__ import annotations

import collections
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, FrozenSet, Generic, List, NamedTuple, Set, Tuple, TypeVar

import pytest

from cqrs_core.serialization import CodecError, UnsupportedType, codec_for

T = TypeVar("T")


class Point(NamedTuple):
    x: int
    y: float = 0.0


Pair = collections.namedtuple("Pair", ["left", "right"])


@dataclass(frozen=True)
class Tags:
    names: list[str]


@pytest.mark.parametrize(
    ("tp", "value", "text"),
    [
        (list[int], [1, 2], "[1,2]"),
        (List[str], ["a"], '["a"]'),
        (list, [1, "a", None], '[1,"a",null]'),
        (tuple[int, ...], (1, 2), "[1,2]"),
        (tuple, (1, "a"), '[1,"a"]'),
        (Tuple[int, str], (1, "a"), '[1,"a"]'),
        (tuple[int], (1,), "[1]"),
        (tuple[()], (), "[]"),
        (Tuple[()], (), "[]"),
        (tuple[int | None, str], (None, "a"), '[null,"a"]'),
        (set[int], {1}, "[1]"),
        (Set[str], {"a"}, '["a"]'),
        (FrozenSet[int], frozenset({1}), "[1]"),
        (list[list[str]], [["a"], []], '[["a"],[]]'),
        (abc.Sequence[int], [1], "[1]"),
        (abc.MutableSequence[int], [1], "[1]"),
        (abc.Collection[int], [1], "[1]"),
        (abc.Set[int], frozenset({1}), "[1]"),
        (abc.MutableSet[int], {1}, "[1]"),
        (Point, Point(1, 2.0), "[1,2.0]"),
        (list[Point], [Point(1)], "[[1,0.0]]"),
        (Pair, Pair(1, "a"), '[1,"a"]'),
    ],
    ids=str,
)
def test_arrays_come_back_as_what_they_were(
    tp: Any, value: Any, text: str, there_and_back: Callable[[Any, Any], Any]
) -> None:
    """The annotation says which class; an abstract one is read as list or frozenset."""
    assert text == codec_for(tp).encode(value).decode()
    result = there_and_back(tp, value)
    assert (value, type(value)) == (result, type(result))


@pytest.mark.parametrize(
    ("tp", "text", "message"),
    [
        (list[int], "{}", "expected list, got dict"),
        (list[int], '[1,"2"]', "[1]: expected int, got str"),
        (list[list[int]], '[[],[1,"2"]]', "[1][1]: expected int, got str"),
        (set[str], "[1]", "[0]: expected str, got int"),
        (tuple[int, str], "[1]", "expected list of 2, got list"),
        (tuple[int, str], '{"0":1}', "expected list of 2, got dict"),
        (tuple[int, str], "[1,2]", "[1]: expected str, got int"),
        (Point, "[1]", "expected list of 2, got list"),
        (Point, '["1",2]', "[0]: expected int, got str"),
    ],
)
def test_the_item_that_does_not_fit_is_named(tp: Any, text: str, message: str) -> None:
    """By its number."""
    with pytest.raises(CodecError) as caught:
        codec_for(tp).decode(text)
    assert message == str(caught.value)


@pytest.mark.parametrize(
    ("tp", "value", "message"),
    [
        (list[int], (1,), "expected list, got tuple"),
        (list[str], "ab", "expected list, got str"),
        (abc.Sequence[str], "ab", "expected list, got str"),
        (set[int], [1], "expected list, got list"),
        (tuple[int, str], (1,), "expected list of 2, got tuple"),
        (tuple[int, str], (1, 2), "[1]: expected str, got int"),
        (Point, (1, 2.0), "expected list of 2, got tuple"),
        (list[int], [1, None], "[1]: expected int, got NoneType"),
    ],
)
def test_another_collection_is_not_written(tp: Any, value: Any, message: str) -> None:
    """It would not come back as what it was."""
    with pytest.raises(CodecError) as caught:
        codec_for(tp).encode(value)
    assert message == str(caught.value)


def test_abstract_collections_take_what_they_promise() -> None:
    """A tuple for a Sequence, a set for a Set, any of them for a Collection."""
    assert b"[1]" == codec_for(abc.Sequence[int]).encode((1,))
    assert b"[1]" == codec_for(abc.Set[int]).encode({1})
    assert b"[1]" == codec_for(abc.Collection[int]).encode({1})


def test_sets_of_what_cannot_be_hashed_are_refused_when_compiled() -> None:
    """Where the class says so; else the text is refused."""
    with pytest.raises(UnsupportedType, match=r"its items are not hashable"):
        codec_for(set[list[int]])
    with pytest.raises(CodecError, match=r"the items cannot be hashed"):
        codec_for(set[Tags]).decode(b'[{"names":[]}]')


def test_the_items_of_generic_named_tuples_are_known() -> None:
    """From 3.11 on they can be written."""
    try:

        class Both(NamedTuple, Generic[T]):
            one: T
            other: list[T]

    except TypeError:
        pytest.skip("this Python has no generic named tuples")
    with pytest.raises(CodecError, match=r"\[1\]\[0\]: expected int, got str"):
        codec_for(Both[int]).decode(b'[1,["a"]]')
