"""What a class gives to its generic base, and what the annotations of a class mean."""

from __future__ import annotations

import collections.abc
import sys
import types
import typing
from typing import Annotated, Any, ClassVar, Final, ForwardRef, Generic, List, Literal, Optional, TypeVar, Union

import pytest

from cqrs_core.errors import CqrsError, UnresolvedAnnotation
from cqrs_core.type_arguments import MISSING, resolve_annotation, type_argument, union_members

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


class Pair(Generic[A, B]):
    pass


class Direct(Pair[int, str]):
    pass


class Child(Direct):
    pass


class Bare(Pair):  # type: ignore[type-arg]  # nothing is given
    pass


class Swapped(Pair[B, A], Generic[A, B]):
    pass


class ListOf(Pair[list[A], dict[str, B]], Generic[A, B]):
    pass


class Filled(ListOf[int, bytes]):
    pass


class ChildOfFilled(Filled):
    pass


class HalfFilled(ListOf[int, C], Generic[C]):
    pass


class Mixin(Generic[C]):
    pass


class Mixed(Mixin[bytes], Pair[int, str]):
    pass


class Sibling(Bare, Direct):
    pass


class Late(Pair["Later", list["Later"]]):
    pass


class LateAsText(Pair["list[A]", "Optional[B]"], Generic[A, B]):
    pass


class FilledLate(ListOf["Later", "Later | None"]):
    pass


class Later:
    pass


class Itself(Pair["Itself", "list[Itself]"]):
    pass


class Lost(Pair["Nowhere", "types.Nowhere"]):  # type: ignore[name-defined]  # that is the point
    pass


class Body(Pair["Inner", "Later"]):  # type: ignore[name-defined]  # Inner is in the body
    class Inner:
        pass

    Later = "hides the module's name"


# type_argument -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tp", "expected"),
    [
        (Pair[int, str], (int, str)),
        (Direct, (int, str)),
        (Child, (int, str)),
        (Swapped[int, str], (str, int)),
        (ListOf[int, bytes], (list[int], dict[str, bytes])),
        (Filled, (list[int], dict[str, bytes])),
        (ChildOfFilled, (list[int], dict[str, bytes])),
        (HalfFilled[bytes], (list[int], dict[str, bytes])),
        (Mixed, (int, str)),
        (Sibling, (int, str)),
        (Pair[None, Any], (type(None), Any)),
        (Pair[Annotated[int, "m"], Literal["a"]], (Annotated[int, "m"], Literal["a"])),
    ],
    ids=str,
)
def test_the_argument_is_found_through_the_classes_between(tp: Any, expected: tuple[Any, Any]) -> None:
    """By position, however many classes lie between, and whatever else they inherit from."""
    assert expected == (type_argument(tp, Pair), type_argument(tp, Pair, 1))


@pytest.mark.parametrize("tp", [Pair, Bare, Mixin, int], ids=str)
def test_without_an_argument_it_is_missing(tp: Any) -> None:
    """Not ``None``, which is an argument as good as any."""
    assert MISSING is type_argument(tp, Pair)


def test_an_alias_with_fewer_arguments_leaves_the_others_missing() -> None:
    """``types.GenericAlias`` does not count."""
    assert MISSING is type_argument(types.GenericAlias(Pair, (int,)), Pair, 1)


@pytest.mark.parametrize(("tp", "expected"), [(ListOf, list[A]), (HalfFilled, list[int]), (Swapped, B)], ids=str)
def test_a_variable_that_nobody_filled_in_stays(tp: Any, expected: Any) -> None:
    """It says that the class is generic still."""
    assert expected == type_argument(tp, Pair)


def test_a_child_of_an_alias_does_not_look_like_its_parent() -> None:
    """``__orig_bases__`` is inherited, so it must come from the class's own ``__dict__``."""

    class Parent(Pair[C, int], Mixin[str], Generic[C]):
        pass

    class Between(Parent[bytes]):
        pass

    class Last(Between):
        pass

    assert Between.__orig_bases__ == Last.__orig_bases__  # type: ignore[attr-defined]  # the trap
    assert bytes is type_argument(Last, Pair)


@pytest.mark.parametrize(
    ("tp", "expected"),
    [
        (Late, (Later, list[Later])),
        (Itself, (Itself, list[Itself])),
        (LateAsText[int, str], (list[int], Optional[str])),
        (FilledLate, (list[Later], dict[str, Optional[Later]])),
    ],
    ids=str,
)
def test_forward_references_are_evaluated_where_they_stand(tp: Any, expected: tuple[Any, Any]) -> None:
    """In the module of the class that wrote them, inside other types too, then filled in."""
    assert expected == (type_argument(tp, Pair), type_argument(tp, Pair, 1))


def test_a_forward_reference_means_what_it_means_in_its_own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that was imported from elsewhere brings its names along."""
    elsewhere = module(monkeypatch, "elsewhere", "class Page(Pair['Later', A], Generic[A]): ...\nclass Later: ...")

    class Here(elsewhere.Page["Later"]):  # type: ignore[name-defined]  # made below
        pass

    assert (elsewhere.Later, Later) == (type_argument(Here, Pair), type_argument(Here, Pair, 1))


def module(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> Any:
    """Run a text as a module of that name."""
    made = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    vars(made).update(Pair=Pair, Generic=Generic, A=A)
    exec(text, vars(made))
    return made


@pytest.mark.parametrize(
    ("index", "text", "reason"),
    [(0, "Nowhere", "name 'Nowhere' is not defined"), (1, "types.Nowhere", "has no attribute 'Nowhere'")],
)
def test_a_name_that_means_nothing_is_refused_with_the_place_and_the_cure(index: int, text: str, reason: str) -> None:
    """Names imported for type checkers only are the usual cause."""
    with pytest.raises(UnresolvedAnnotation, match=reason) as caught:
        type_argument(Lost, Pair, index)

    assert (Lost, text) == (caught.value.owner, caught.value.text)
    assert (True, True) == (isinstance(caught.value, CqrsError), isinstance(caught.value, NameError))
    assert str(caught.value).startswith(f"Lost speaks of {text!r}, which means nothing at run time")
    assert f"Import or define it in {__name__} itself" in str(caught.value)


def test_a_name_that_is_local_to_a_function_cannot_be_found() -> None:
    """As for ``typing.get_type_hints``."""

    class Local:
        pass

    class Speaks(Pair["Local", int]):
        pass

    with pytest.raises(UnresolvedAnnotation, match="'Local'"):
        type_argument(Speaks, Pair)


def test_a_class_may_speak_of_itself_wherever_it_is() -> None:
    """Its own name is known even inside a function."""

    class Local(Pair["list[Local]", int]):
        pass

    assert list[Local] == type_argument(Local, Pair)


def test_a_module_that_is_gone_leaves_the_names_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """``runpy`` takes the module away when it has run; what can be known is known, the rest is refused as usual."""
    gone = module(monkeypatch, "gone", "class M(Pair['M', 'Later']): ...\nclass Later: ...")
    monkeypatch.delitem(sys.modules, "gone")

    assert gone.M is type_argument(gone.M, Pair)
    with pytest.raises(UnresolvedAnnotation, match="'Later'"):
        type_argument(gone.M, Pair, 1)


def test_the_module_says_first_what_a_name_means_and_the_body_second() -> None:
    """A field ``date: date | None = None`` must not hide the class."""
    assert (Body.Inner, Later) == (type_argument(Body, Pair), type_argument(Body, Pair, 1))


def test_classes_of_pydantic_are_read_by_what_they_say_of_themselves() -> None:
    """Its ``Page[User]`` is a class of its own, without ``__orig_bases__``; told here without pydantic."""
    made = type(
        "ListOf[int, str]", (ListOf,), {"__pydantic_generic_metadata__": {"origin": ListOf, "args": (int, str)}}
    )
    plain = type("Plain", (Direct,), {"__pydantic_generic_metadata__": {"origin": None, "args": ()}})

    assert (list[int], int) == (type_argument(made, Pair), type_argument(plain, Pair))


if sys.version_info >= (3, 12):

    @pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"], ids=["", "future"])
    def test_type_parameters_are_variables_as_others_are(monkeypatch: pytest.MonkeyPatch, future: str) -> None:
        """PEP 695: they are on the class, not in the module; also when they are spoken of in text."""
        text = """
class Page[X, Y](Pair[list[X], "dict[X, Y]"]): ...
class Ints(Page[int, "Later"]): ...
class Bounded[X: int](Page[X, str]): ...
type Alias = list[Later]
class Aliased(Pair[Alias, int]): ...
class Later: ...
"""
        made = module(monkeypatch, "parametric", future + text)

        assert (list[int], dict[int, str]) == arguments(made.Page[int, str])
        assert (list[int], dict[int, made.Later]) == arguments(made.Ints)
        assert (list[bool], dict[bool, str]) == arguments(made.Bounded[bool])
        assert (made.Alias, int) == arguments(made.Aliased)
        assert list[made.Page.__type_params__[0]] == type_argument(made.Page, Pair)

    def arguments(tp: Any) -> tuple[Any, Any]:
        return type_argument(tp, Pair), type_argument(tp, Pair, 1)


# resolve_annotation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, int),
        (None, None),
        ("int", int),
        ("None", None),
        ("Later", Later),
        ("'Later'", Later),
        (ForwardRef("Later"), Later),
        (A, bytes),
        (B, B),
        (list["Later"], list[Later]),
        (List["Later"], list[Later]),
        ("dict[str, list[Later]]", dict[str, list[Later]]),
        (list[list["A"]], list[list[bytes]]),
        (tuple[A, ...], tuple[bytes, ...]),
        (tuple[()], tuple[()]),
        (type[A], type[bytes]),
        (Pair[A, "Later"], Pair[bytes, Later]),
        (Optional["Later"], Optional[Later]),
        (Union[A, "Later", None], Union[bytes, Later, None]),
        ("Later | A | None", Union[Later, bytes, None]),
        (A | None, Optional[bytes]),
        (int | str, int | str),
        (Annotated[list[A], "unhashable", []], list[bytes]),
        (list[Annotated[A, "m"]], list[bytes]),
        (ClassVar["A"], ClassVar[bytes]),
        (Final[A], Final[bytes]),
        (Literal["Later", 1], Literal["Later", 1]),
        (list[Literal["A"]], list[Literal["A"]]),
        (collections.abc.Callable[[A], int], collections.abc.Callable[[A], int]),
        (typing.Callable[[A], int], typing.Callable[[A], int]),
        (collections.abc.Mapping[str, A], collections.abc.Mapping[str, bytes]),
    ],
    ids=str,
)
def test_an_annotation_is_evaluated_and_filled_in(annotation: Any, expected: Any) -> None:
    """All the way down; ``Literal`` and ``Callable`` stay as they are, ``Annotated`` is taken off."""
    assert expected == resolve_annotation(annotation, Late, {A: bytes})


def test_builtins_are_known_behind_everything_else() -> None:
    """Neither the module nor the class need define ``list``."""
    assert list[dict[str, int]] == resolve_annotation("list[dict[str, int]]", Late, {})


def test_evaluating_leaves_no_trace_in_the_module() -> None:
    """``eval`` puts ``__builtins__`` into the namespace that it is given."""
    before = set(vars(sys.modules[__name__]))
    body_before = set(vars(Late))

    resolve_annotation("list[Later]", Late, {})

    assert (before, body_before) == (set(vars(sys.modules[__name__])), set(vars(Late)))


# union_members -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tp", "expected"),
    [
        (int, (int,)),
        (None, (None,)),
        (list[int], (list[int],)),
        (int | str, (int, str)),
        (Union[int, str], (int, str)),
        (Optional[int], (int, type(None))),
        (Annotated[int | str, "m"], (Annotated[int | str, "m"],)),
    ],
    ids=str,
)
def test_a_union_is_taken_apart_in_both_spellings(tp: Any, expected: tuple[Any, ...]) -> None:
    """Anything else is its only member."""
    assert expected == union_members(tp)
