"""Dataclasses and TypedDict."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Callable
from dataclasses import KW_ONLY, InitVar, dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Final, Generic, Optional, TypedDict, TypeVar
from uuid import UUID

import pytest

from cqrs_core.serialization import CodecError, codec_for

T = TypeVar("T")
U = TypeVar("U")


@dataclass
class Line:
    sku: str
    quantity: int = 1


@dataclass
class Order:
    id: UUID
    lines: list[Line]
    note: Optional[str] = None
    tags: dict[str, int] = field(default_factory=dict)


@dataclass
class Base:
    a: int


@dataclass
class Child(Base):
    b: str = "b"
    a: int = 5


@dataclass
class Box(Generic[T]):
    item: T
    more: list[T] = field(default_factory=list)


@dataclass
class IntBox(Box[int]):
    extra: bool = False


@dataclass
class Two(Box[U], Generic[T, U]):
    other: Optional[T] = None


@dataclass
class KeywordOnly:
    _: KW_ONLY
    größe: int  # noqa: PLC2401 - any identifier
    x0: int = 0
    v: int = 0
    at: int = 0
    error: int = 0


@dataclass
class Fixed:
    a: Final[int] = 1


class Wish(TypedDict):
    text: str
    priority: int


class Partial(TypedDict, total=False):
    a: int
    b: Optional[list[Line]]


Odd = TypedDict("Odd", {"it's": int, "{x}": str, "a\\b": int, '"': int})


def test_fields_are_written_in_order_and_read_in_any() -> None:
    """All of them, defaults included: a reader with other defaults must see the same."""
    order = Order(UUID(int=1), [Line("a")])

    text = codec_for(Order).encode(order).decode()

    assert f'{{"id":"{UUID(int=1)}","lines":[{{"sku":"a","quantity":1}}],"note":null,"tags":{{}}}}' == text
    assert order == codec_for(Order).decode(f'{{"lines":[{{"quantity":1,"sku":"a"}}],"id":"{UUID(int=1)}"}}')


@pytest.mark.parametrize(
    ("tp", "value", "text"),
    [
        (Child, Child(1, "x"), '{"a":1,"b":"x"}'),
        (Box[Box[int]], Box(Box(1), [Box(2)]), '{"item":{"item":1,"more":[]},"more":[{"item":2,"more":[]}]}'),
        (IntBox, IntBox(1, [2], True), '{"item":1,"more":[2],"extra":true}'),
        (Two[str, int], Two(1, [], "x"), '{"item":1,"more":[],"other":"x"}'),
        (Box, Box({"a": 1}), '{"item":{"a":1},"more":[]}'),
        (KeywordOnly, KeywordOnly(größe=1), '{"größe":1,"x0":0,"v":0,"at":0,"error":0}'),
        (Fixed, Fixed(2), '{"a":2}'),
        (Wish, {"text": "x", "priority": 1}, '{"text":"x","priority":1}'),
        (Partial, {}, "{}"),
        (Partial, {"b": [Line("a")]}, '{"b":[{"sku":"a","quantity":1}]}'),
        (Odd, {"it's": 1, "{x}": "y", "a\\b": 2, '"': 3}, '{"it\'s":1,"{x}":"y","a\\\\b":2,"\\"":3}'),
    ],
    ids=str,
)
def test_inherited_and_generic_fields_are_known(
    tp: Any, value: Any, text: str, there_and_back: Callable[[Any, Any], Any]
) -> None:
    """Type variables are filled in, from the alias or from the class line; any name can be a field's."""
    assert text == codec_for(tp).encode(value).decode()
    assert value == there_and_back(tp, value)


def test_a_generic_field_is_checked_by_what_it_stands_for() -> None:
    """Also in the fields of a child of a filled generic."""
    with pytest.raises(CodecError, match=r"^item: expected int, got str$"):
        codec_for(IntBox).decode('{"item":"1"}')
    with pytest.raises(CodecError, match=r"^more\[0\]: expected int, got str$"):
        codec_for(Two[str, int]).decode('{"item":1,"more":["1"]}')
    with pytest.raises(CodecError, match=r"^other: expected str or None, got int$"):
        codec_for(Two[str, int]).decode('{"item":1,"other":1}')


@pytest.mark.parametrize(
    ("tp", "text", "message"),
    [
        (Order, "[]", "expected Order, got list"),
        (Order, '{"id":1}', "id: expected UUID string, got int"),
        (Order, f'{{"id":"{UUID(int=1)}"}}', "lines: missing"),
        (Order, f'{{"id":"{UUID(int=1)}","lines":[{{"sku":"a"}},{{"sku":1}}]}}', "lines[1].sku: expected str, got int"),
        (Line, '{"sku":"a","quantity":null}', "quantity: expected int, got NoneType"),
        (Wish, '{"text":"x"}', "priority: missing"),
        (Wish, "[]", "expected Wish, got list"),
        (Partial, '{"a":"1"}', "a: expected int, got str"),
        (Partial, '{"b":[{}]}', "b[0].sku: missing"),
    ],
)
def test_the_field_that_does_not_fit_is_named(tp: Any, text: str, message: str) -> None:
    """With the way to it."""
    with pytest.raises(CodecError) as caught:
        codec_for(tp).decode(text)
    assert message == str(caught.value)


@pytest.mark.parametrize("name", ["id", "lines", "note", "tags"])
def test_the_field_that_is_wrong_is_named_when_written(name: str) -> None:
    """Not one that is written later."""
    wrong = dataclasses.replace(Order(UUID(int=1), []), **{name: object()})
    with pytest.raises(CodecError, match=rf"^{name}: expected .*, got object$"):
        codec_for(Order).encode(wrong)


def test_a_field_that_was_deleted_is_missing() -> None:
    """Python allows it."""
    line = Line("a")
    del line.sku
    with pytest.raises(CodecError, match=r"^sku: missing$"):
        codec_for(Line).encode(line)


def test_instances_of_subclasses_are_not_written() -> None:
    """They would come back without what is theirs."""
    with pytest.raises(CodecError, match=r"^expected Base, got Child$"):
        codec_for(Base).encode(Child())
    with pytest.raises(CodecError, match=r"^\[0\]: expected Base, got Child$"):
        codec_for(list[Base]).encode([Child()])


def test_a_mapping_with_names_of_its_own_is_not_written_as_typed_dict() -> None:
    """They would be lost."""
    wish: Any = {"text": "x", "priority": 1, "colour": "red"}
    with pytest.raises(CodecError, match=r"^colour: unknown field; there are text, priority$"):
        codec_for(Wish).encode(wish)
    assert {"text": "x", "priority": 1} == codec_for(Wish).decode('{"text":"x","priority":1,"colour":"red"}')
    with pytest.raises(CodecError, match=r"^colour: unknown field"):
        codec_for(Wish, unknown_fields="refuse").decode('{"text":"x","priority":1,"colour":"red"}')


def test_inherited_keys_of_a_generic_typed_dict_are_known() -> None:
    """The child has a copy of its parent's annotations, with the parent's type variables in them."""
    typing = pytest.importorskip("typing_extensions")

    class Item(typing.TypedDict, Generic[T]):  # type: ignore[misc, name-defined]  # imported by importorskip
        value: T

    class Many(Item[list[U]], Generic[U]):
        first: U

    codec = codec_for(Many[UUID])
    many: Any = {"value": [UUID(int=1)], "first": UUID(int=2)}
    assert many == codec.decode(codec.encode(many))
    with pytest.raises(CodecError, match=r"^value\[0\]: expected UUID string, got int$"):
        codec.decode('{"value":[1]}')


def test_inherited_keys_of_a_typed_dict_mean_what_they_meant_in_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name need not be known where the child is defined."""
    module = types.ModuleType("a_module_of_typed_dicts")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = """
from __future__ import annotations
from decimal import Decimal as Price
from typing import TypedDict
class Priced(TypedDict):
    price: Price
"""
    exec(source, vars(module))

    class Line(module.Priced):  # type: ignore[misc, name-defined]  # made above
        sku: str

    line: Any = {"price": Decimal("1.5"), "sku": "a"}
    assert line == codec_for(Line).decode(codec_for(Line).encode(line))


def test_keys_may_be_required_one_by_one() -> None:
    """Also where annotations are strings, as here."""
    typing = pytest.importorskip("typing_extensions" if not hasattr(__import__("typing"), "NotRequired") else "typing")
    globals()["NotRequired"] = typing.NotRequired

    class Movie(TypedDict):
        title: str
        year: NotRequired[int]  # type: ignore[name-defined]  # noqa: F821 - put there above

    assert b'{"title":"x"}' == codec_for(Movie).encode({"title": "x"})
    assert {"title": "x", "year": 1} == codec_for(Movie).decode('{"title":"x","year":1}')
    with pytest.raises(CodecError, match=r"^title: missing$"):
        codec_for(Movie).decode("{}")


def test_what_is_no_argument_of_the_constructor_is_not_sent() -> None:
    """It is made again when the object is."""

    @dataclass
    class Derived:
        a: int
        twice: int = field(init=False)
        version: ClassVar[int] = 2
        scale: InitVar[int] = 2

        def __post_init__(self, scale: int) -> None:
            self.twice = self.a * scale

    assert b'{"a":2}' == codec_for(Derived).encode(Derived(2, 7))
    assert 4 == codec_for(Derived).decode(b'{"a":2}').twice


def test_defaults_are_made_for_each_object() -> None:
    """One list for all would be a classic."""
    one, other = codec_for(list[Box[int]]).decode('[{"item":1},{"item":2}]')
    one.more.append(3)
    assert [] == other.more
