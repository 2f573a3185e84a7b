"""What python-cqrs writes of dataclasses, in the form that is read here."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Generic, Literal, NewType, Optional, TypedDict, TypeVar, Union
from uuid import UUID

import pytest

from cqrs_core.serialization import codec_for
from cqrs_core.serialization.camel_case import camel_case, in_our_form

T = TypeVar("T")
ArticleId = NewType("ArticleId", UUID)

BARE = "0f8fad5bd9cb469fa16570867728950e"
DASHED = "0f8fad5b-d9cb-469f-a165-70867728950e"


@dataclass
class Line:
    article_id: int
    gift_note: str = ""


@dataclass
class Other:
    other_field: int = 0


@dataclass
class Page(Generic[T]):
    page_items: list[T]


@dataclass
class Tree:
    node_name: str
    sub_trees: list["Tree"] = field(default_factory=list)


@dataclass
class Mixed:
    orderId: int  # noqa: N815 - a class may be in camelCase here, too
    line_id: int


class Keys(TypedDict, total=False):
    some_key: UUID
    lines_of: list[Line]


class Colour(enum.Enum):
    DARK_RED = "darkRed"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("order_id", "orderId"),
        ("order", "order"),
        ("x_y_z", "xYZ"),
        ("line_2", "line2"),
        ("item1_no", "item1No"),
        ("double__under", "doubleUnder"),
        ("trailing_", "trailing_"),
        ("_private", "_private"),
        ("already_ID", "alreadyID"),
        ("Upper_case", "upperCase"),
        ("orderId", "orderId"),
        ("", ""),
    ],
)
def test_names_are_written_as_python_cqrs_writes_them(name: str, written: str) -> None:
    """Each was written by python-cqrs 5.3."""
    assert written == camel_case(name)


LINE = {"articleId": 1, "giftNote": "x"}
OURS = {"article_id": 1, "gift_note": "x"}


@pytest.mark.parametrize(
    ("tp", "value", "expected"),
    [
        (Line, LINE, OURS),
        (Optional[Line], LINE, OURS),
        (Optional[Line], None, None),
        (list[Line], [LINE, LINE], [OURS, OURS]),
        (list[Line], [LINE], [OURS]),
        (list[Line], [], []),
        (Sequence[Line], [LINE], [OURS]),
        (frozenset[Line], [LINE], [OURS]),
        (Optional[list[Line]], [LINE], [OURS]),
        (list[Optional[Line]], [None, LINE], [None, OURS]),
        (Union[Line, list[Line], None], [LINE], [OURS]),
        (Union[Line, list[Line], None], LINE, OURS),
        (Union[int, dict[str, Line]], {"a_b": LINE}, {"a_b": OURS}),
        (dict[str, Line], {"giftNote": LINE}, {"giftNote": OURS}),
        (dict[str, list[Line]], {"a": [LINE]}, {"a": [OURS]}),
        (Mapping[str, Line], {"a": LINE}, {"a": OURS}),
        (tuple[int, Line], [1, LINE], [1, OURS]),
        (tuple[Line, ...], [LINE, LINE], [OURS, OURS]),
        (Page[Line], {"pageItems": [LINE]}, {"page_items": [OURS]}),
        (Page[ArticleId], {"pageItems": [BARE]}, {"page_items": [DASHED]}),
        (Page, {"pageItems": [LINE]}, {"page_items": [LINE]}),
        (Annotated[Line, "a"], LINE, OURS),
        (
            Tree,
            {"nodeName": "a", "subTrees": [{"nodeName": "b"}]},
            {"node_name": "a", "sub_trees": [{"node_name": "b"}]},
        ),
        (Mixed, {"orderId": 1, "lineId": 2}, {"orderId": 1, "line_id": 2}),
        (Keys, {"some_key": BARE, "lines_of": [LINE]}, {"some_key": DASHED, "lines_of": [OURS]}),
    ],
)
def test_names_are_renamed_where_the_type_says_that_there_is_a_dataclass(tp: Any, value: Any, expected: Any) -> None:
    """However deep, whatever is around it; the keys of dicts are data."""
    assert expected == in_our_form(tp, value)


@pytest.mark.parametrize(
    ("tp", "value", "expected"),
    [
        (UUID, BARE, DASHED),
        (UUID, DASHED, DASHED),
        (Optional[UUID], BARE, DASHED),
        (ArticleId, BARE, DASHED),
        (list[UUID], [BARE], [DASHED]),
        (set[UUID], [BARE, BARE], [DASHED, DASHED]),
        (dict[UUID, int], {BARE: 1}, {DASHED: 1}),
        (dict[str, UUID], {BARE: BARE}, {BARE: DASHED}),
        (str, BARE, BARE),
        (Any, BARE, BARE),
        (timedelta, "0:00:00", "P0DT0H0M0S"),
        (timedelta, "1 day, 2:00:03.000004", "P1DT2H0M3.000004S"),
        (timedelta, "P1DT2H", "P1DT2H"),
        (Optional[timedelta], "2 days, 0:00:00", "P2DT0H0M0S"),
        (str, "0:00:00", "0:00:00"),
    ],
)
def test_words_that_look_different_there_are_rewritten_where_the_type_says_what_they_are(
    tp: Any, value: Any, expected: Any
) -> None:
    """UUIDs without dashes, durations as Python shows them; a text that looks like one stays."""
    assert expected == in_our_form(tp, value)


@pytest.mark.parametrize(
    "duration",
    [
        timedelta(0),
        timedelta(microseconds=-1),
        timedelta(days=-1, seconds=86399),
        timedelta(days=400, hours=23, minutes=59, seconds=59, microseconds=999_999),
        timedelta.min,
        timedelta.max,
    ],
)
def test_every_duration_that_python_shows_is_understood(duration: timedelta) -> None:
    """str(timedelta) is what python-cqrs writes."""
    assert duration == codec_for(timedelta).from_plain(in_our_form(timedelta, str(duration)))


@pytest.mark.parametrize(
    ("tp", "value"),
    [
        (Line, [LINE]),
        (Line, "articleId"),
        (Line, None),
        (list[Line], LINE),
        (list[Line], "x"),
        (dict[str, Line], [LINE]),
        (dict[str, Line], {"a": 5}),
        (tuple[int, Line], [LINE, 1]),
        (tuple[()], [LINE]),
        (Union[Line, Other], LINE),
        (Literal["a"], LINE),
        (Literal["a", "b"], [LINE, LINE]),
        (Optional[Literal["a"]], LINE),
        (Any, LINE),
        (object, [LINE]),
        (dict, {"a": LINE}),
        (list, [LINE]),
        (int, LINE),
        (Colour, "darkRed"),
        (UUID, LINE),
        (UUID, "0F8FAD5BD9CB469FA16570867728950E"),
        (UUID, "x" * 32),
        (UUID, 5),
        (timedelta, "1 day"),
        (timedelta, "9" * 400 + " days, 0:00:00"),
        (timedelta, [1]),
        (TypeVar("U"), LINE),
        (None, LINE),
    ],
)
def test_what_does_not_fit_or_says_nothing_stays(tp: Any, value: Any) -> None:
    """Whoever reads it says what is wrong with it; nothing is raised here."""
    assert value == in_our_form(tp, value)


def test_what_was_given_is_left_alone() -> None:
    """A copy is renamed."""
    value = {"a": dict(LINE)}

    in_our_form(dict[str, Line], value)

    assert {"a": LINE} == value


def test_unknown_names_stay() -> None:
    """They are ignored, or told, by whoever reads."""
    assert {"article_id": 1, "newField": 2} == in_our_form(Line, {"articleId": 1, "newField": 2})
