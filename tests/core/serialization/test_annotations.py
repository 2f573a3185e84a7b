"""Names in annotations: strings, aliases, recursion, type parameters."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Dict, Generic, List, NewType, Optional, TypeVar, Union

import pytest

from cqrs_core.serialization import CodecError, UnsupportedType, codec_for

T = TypeVar("T")
Bounded = TypeVar("Bounded", bound=int)
Count = NewType("Count", int)


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)
    parent: Optional["Tree"] = None
    index: "Dict[str, 'Tree']" = field(default_factory=dict)


@dataclass
class Limited(Generic[Bounded]):
    value: Bounded


@dataclass
class Named:
    count: Annotated[Count, "at least one"]
    date: date | None = None


@dataclass
class date:
    year: int


@dataclass
class Lost:
    other: list[Nowhere]  # type: ignore[name-defined]  # noqa: F821 - that is the point


@dataclass
class Growing(Generic[T]):
    inner: Growing[list[T]] | None = None


def test_types_may_recur(there_and_back: Callable[[Any, Any], Any]) -> None:
    """Through lists, options and mappings, in any spelling."""
    tree = Tree("a", [Tree("b", [], Tree("c"))], None, {"k": Tree("d")})
    assert tree == there_and_back(Tree, tree)


def test_classes_may_recur_through_each_other() -> None:
    """Whichever is compiled first."""
    module = types.ModuleType("recurring")
    sys.modules["recurring"] = module
    source = """
from __future__ import annotations
from dataclasses import dataclass
@dataclass
class A:
    b: B | None = None
@dataclass
class B:
    a: list[A] | None = None
"""
    exec(source, vars(module))
    value = module.B([module.A(module.B())])
    assert value == codec_for(module.B).decode(codec_for(module.B).encode(value))
    assert value.a[0] == codec_for(module.A).decode(codec_for(module.A).encode(value.a[0]))


def test_the_module_comes_before_the_class_body() -> None:
    """A field that is called like its type hides it only there."""
    assert Named(Count(1), date(2026)) == codec_for(Named).decode('{"count":1,"date":{"year":2026}}')


def test_classes_in_a_function_work_where_annotations_are_objects_or_name_the_class_itself() -> None:
    """Strings in them cannot mean other local classes: nobody knows their names any more."""

    @dataclass
    class Item:
        name: str

    @dataclass
    class Node:
        next: Node | None = None

    holder = dataclass(type("Holder", (), {"__annotations__": {"items": list[Item]}}))

    assert Node(Node()) == codec_for(Node).decode('{"next":{"next":null}}')
    assert [Item("a")] == codec_for(holder).decode('{"items":[{"name":"a"}]}').items  # type: ignore[attr-defined]  # the class is made when it runs


def test_a_name_that_means_nothing_is_refused_when_compiled_with_its_place() -> None:
    """It may be imported for type checkers only."""
    with pytest.raises(UnsupportedType, match=r"Lost speaks of .*Nowhere") as caught:
        codec_for(Tree | Lost | None)
    assert isinstance(caught.value.__cause__, NameError)


def test_type_variables_that_nobody_filled_in_stand_for_their_bound() -> None:
    """Or for anything."""
    with pytest.raises(CodecError, match=r"^value: expected int, got str$"):
        codec_for(Limited).decode('{"value":"1"}')
    assert [1, "a"] == codec_for(List[T]).decode('[1,"a"]')  # type: ignore[valid-type]  # nobody says what T is


def test_types_without_end_are_refused_when_compiled() -> None:
    """Each level wants a new type."""
    with pytest.raises(UnsupportedType, match=r"contains itself without end"):
        codec_for(Growing[int])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameter syntax")
@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_type_parameter_syntax(future: str) -> None:
    """``class Box[T]``, ``type Ids = ...``, generic aliases; also where annotations are strings."""
    module = types.ModuleType("pep695")
    sys.modules["pep695"] = module
    source = """
from dataclasses import dataclass
type Ids = list[int]
type Pair[T] = tuple[T, T]
@dataclass
class Box[T]:
    item: T
    ids: Ids
    pair: Pair[T]
"""
    exec(future + source, vars(module))
    box = module.Box("a", [1], ("b", "c"))
    codec = codec_for(module.Box[str])
    assert box == codec.decode(codec.encode(box))
    with pytest.raises(CodecError, match=r"^pair\[1\]: expected str, got int$"):
        codec.decode('{"item":"a","ids":[],"pair":["b",1]}')


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type statement")
def test_aliases_may_recur() -> None:
    """The type of JSON itself, and unions that are met again inside their own members."""
    names: dict[str, Any] = {}
    source = """
type Json = dict[str, Json] | list[Json] | str | int | float | bool | None
type Deep = list[Deep] | None
type Chain = tuple[int, Chain | None]
"""
    exec(source, names)
    for tp, value, text in (
        (names["Json"], {"a": [1, None, {"b": 2.5}]}, '{"a":[1,null,{"b":2.5}]}'),
        (names["Deep"], [None, [[None]]], "[null,[[null]]]"),
        (names["Chain"], (1, (2, None)), "[1,[2,null]]"),
    ):
        assert text == codec_for(tp).encode(value).decode()
        assert value == codec_for(tp).decode(text)
    with pytest.raises(CodecError, match=r"^\[1\]\[0\]: expected list or None, got int$"):
        codec_for(names["Deep"]).decode("[null,[1]]")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type statement")
@pytest.mark.parametrize("source", ["type Loop = Loop", "type Loop = Loop | None"])
def test_an_alias_of_itself_is_refused_when_compiled(source: str) -> None:
    """The search for what it stands for must end."""
    names: dict[str, Any] = {}
    exec(source, names)
    with pytest.raises(UnsupportedType, match=r"^Loop contains itself without end"):
        codec_for(names["Loop"])


@pytest.mark.skipif(sys.version_info < (3, 13), reason="defaults of type variables")
def test_type_variables_stand_for_their_default() -> None:
    """PEP 696."""
    names: dict[str, Any] = {"__name__": __name__}
    exec("from dataclasses import dataclass\n@dataclass\nclass Box[T = int]:\n    item: T\n", names)
    with pytest.raises(CodecError, match=r"^item: expected int, got str$"):
        codec_for(names["Box"]).decode('{"item":"1"}')


def test_a_union_of_alternatives_through_aliases_is_taken_apart() -> None:
    """Tags are the names of the dataclasses, however the union was put together."""
    inner = Union[Tree, Named]
    assert b'{"$type":"date","year":1}' == codec_for(Union[inner, date, None]).encode(date(1))
