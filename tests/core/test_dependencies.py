"""What a constructor or a factory asks for is read from its annotations."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Generic, List, NamedTuple, Optional, Protocol, TypeVar, Union

import pytest

from cqrs_core.dependencies import Dependency, as_function, dependencies_of
from cqrs_core.errors import UnresolvedAnnotation

if TYPE_CHECKING:
    from decimal import Decimal  # what type checkers alone see

T = TypeVar("T")

NOTHING = inspect.Parameter.empty


class Clock:
    pass


class Order:
    pass


class Repo(Generic[T]):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock


def asked(factory: Any) -> list[tuple[str, Any]]:
    return [(dependency.name, dependency.wanted) for dependency in dependencies_of(factory)]


def with_annotation(annotation: Any) -> Any:
    """Make a function with one parameter, annotated as in a module without ``from __future__ import annotations``."""

    def make(given: Any) -> None:
        pass

    make.__annotations__ = {"given": annotation}
    return make


def test_a_class_asks_for_what_its_constructor_takes() -> None:
    """All but ``self``; annotations that are strings are evaluated."""

    class Handler:
        def __init__(self, clock: Clock, repo: Repo[Order]) -> None:
            pass

    assert [("clock", Clock), ("repo", Repo[Order])] == asked(Handler)


def test_a_class_without_constructor_asks_for_nothing() -> None:
    """``object`` has one that takes no arguments."""
    assert () == dependencies_of(Clock)


def test_a_constructor_is_inherited() -> None:
    """With the annotations that its author wrote."""

    class Child(Repo[Order]):
        pass

    assert [("clock", Clock)] == asked(Child)


def test_an_alias_asks_for_what_its_class_does() -> None:
    """``Repo[Order]`` is built by ``Repo``."""
    assert [("clock", Clock)] == asked(Repo[Order])


def test_a_constructor_behind_a_protocol_is_found() -> None:
    """Typing gives protocols a constructor that takes anything and asks nothing: it is a placeholder."""

    class Port(Protocol):
        def read(self) -> str: ...

    class Stored:
        def __init__(self, clock: Clock) -> None:
            pass

    class Adapter(Port, Stored):
        def read(self) -> str:
            return ""

    assert [("clock", Clock)] == asked(Adapter)


def test_new_is_asked_where_there_is_no_init() -> None:
    """A class may take its arguments there."""

    class Made:
        def __new__(cls, clock: Clock) -> Made:  # noqa: ARG004 - asked for, and that is all
            return super().__new__(cls)

    assert [("clock", Clock)] == asked(Made)


class Settings(NamedTuple):
    clock: Clock


def test_a_named_tuple_is_understood() -> None:
    """Its constructor is generated, in a namespace of its own."""
    assert [("clock", Clock)] == asked(Settings)


@pytest.mark.parametrize("base", [dict, OrderedDict, int, Exception, type("Slotted", (), {"__slots__": ("a",)})])
def test_a_constructor_written_in_c_asks_for_nothing(base: type) -> None:
    """It takes anything by position, and says nothing about it."""
    assert () == dependencies_of(type("Child", (base,), {}))


def test_a_function_without_signature_asks_for_nothing() -> None:
    """Some that are written in C do not tell; they are called without arguments."""
    with pytest.raises(ValueError, match="signature"):
        inspect.signature(iter)

    assert () == dependencies_of(iter)


def test_a_dataclass_asks_for_its_fields() -> None:
    """But for those that are not of its constructor; what has a default, or a factory of one, can be left out."""

    @dataclass(kw_only=True, slots=True)
    class Handler:
        clock: Clock
        seen: list[str] = field(default_factory=list)
        count: int = field(default=0, init=False)

    assert [("clock", False), ("seen", True)] == [(d.name, d.has_default) for d in dependencies_of(Handler)]


def test_a_field_inherited_from_another_module_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """The constructor of a dataclass is generated where the child is; what a field means, its own module says."""
    elsewhere = types.ModuleType("elsewhere")
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)
    vars(elsewhere)["Watch"] = Clock
    parent: Any = dataclass(type("Parent", (), {"__module__": "elsewhere", "__annotations__": {"watch": "Watch"}}))

    @dataclass
    class Child(parent):
        order: Order

    assert [("watch", Clock), ("order", Order)] == asked(Child)


def make_repo(clock: Clock, *, order: Order) -> Repo[Order]:  # noqa: ARG001 - asked for, and that is all
    return Repo(clock)


class MakeRepo:
    def __call__(self, clock: Clock) -> Repo[Order]:
        return Repo(clock)

    def method(self, order: Order) -> None:
        pass

    @classmethod
    def of_class(cls, clock: Clock) -> None:
        pass


@functools.lru_cache
def cached(clock: Clock) -> None:
    pass


@functools.wraps(make_repo)
def decorated(*args: Any, **kwargs: Any) -> Any:
    return make_repo(*args, **kwargs)


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (make_repo, [("clock", Clock), ("order", Order)]),
        (decorated, [("clock", Clock), ("order", Order)]),
        (cached, [("clock", Clock)]),
        (MakeRepo(), [("clock", Clock)]),
        (MakeRepo().method, [("order", Order)]),
        (MakeRepo.of_class, [("clock", Clock)]),
        (functools.partial(make_repo), [("clock", Clock), ("order", Order)]),
        (functools.partial(Repo), [("clock", Clock)]),
        (functools.partial(MakeRepo()), [("clock", Clock)]),
        (lambda: None, []),
        (Clock, []),
    ],
)
def test_whatever_can_be_called_is_a_factory(factory: Any, expected: list[tuple[str, type]]) -> None:
    """Functions, decorated ones, methods, callable objects, partials of each."""
    assert expected == asked(factory)


def test_what_a_partial_gives_is_not_asked_for() -> None:
    """Its author has decided."""
    assert [("clock", Clock)] == asked(functools.partial(make_repo, order=Order()))
    assert [("order", Order)] == asked(functools.partial(make_repo, Clock()))


def test_variadic_parameters_ask_for_nothing() -> None:
    """Nothing is what they are content with."""

    class Handler:
        def __init__(self, *args: Clock, clock: Clock, **kwargs: Order) -> None:
            pass

    assert [("clock", Clock)] == asked(Handler)


def test_a_dependency_says_how_its_parameter_is_filled() -> None:
    """By position or by name, from a default or not."""

    def make(a: Clock, /, b: Clock, c: int = 3, *, d: Clock | None, e: Clock | None = None) -> None:
        pass

    expected = (
        Dependency("a", Clock, NOTHING, is_optional=False, is_positional=True),
        Dependency("b", Clock, NOTHING, is_optional=False, is_positional=False),
        Dependency("c", int, 3, is_optional=False, is_positional=False),
        Dependency("d", Clock, NOTHING, is_optional=True, is_positional=False),
        Dependency("e", Clock, None, is_optional=True, is_positional=False),
    )
    assert expected == dependencies_of(make)


def test_the_fallback_is_the_default_or_none() -> None:
    """What is passed when nobody provides the argument."""

    def make(a: int = 3, *, b: Clock | None) -> None:
        pass

    assert [3, None] == [dependency.fallback for dependency in dependencies_of(make)]


def test_a_parameter_without_annotation_wants_nothing_that_could_be_found() -> None:
    """It is there, so that it can be reported."""

    def make(anything, other=1):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - what has no annotation is told
        pass

    assert [("anything", None, False), ("other", None, True)] == [
        (d.name, d.wanted, d.has_default) for d in dependencies_of(make)
    ]


@pytest.mark.parametrize(
    ("annotation", "wanted", "is_optional"),
    [
        (Clock, Clock, False),
        ("Clock", Clock, False),
        (Optional[Clock], Clock, True),
        (Optional["Clock"], Clock, True),
        ("Clock | None", Clock, True),
        (Union[Clock, Order], Union[Clock, Order], False),
        (Union[Clock, Order, None], Union[Clock, Order, None], True),
        (Annotated[Clock, "any", {"mark": 1}], Clock, False),
        ("Annotated[Clock, 'any']", Clock, False),
        (Optional[Annotated[Clock, "any"]], Clock, True),
        (Annotated[Clock | None, "any"], Clock, True),
        (Repo["Order"], Repo[Order], False),
        (List["Order"], List[Order], False),
        (type[Clock], type[Clock], False),
    ],
    ids=str,
)
def test_an_annotation_names_one_thing(annotation: Any, wanted: Any, is_optional: bool) -> None:  # noqa: FBT001 - a parameter
    """Without its marks, without ``None``, with what is quoted in it evaluated; several things are one key."""
    (dependency,) = dependencies_of(with_annotation(annotation))

    assert (wanted, is_optional) == (dependency.wanted, dependency.is_optional)


def test_an_annotation_for_type_checkers_only_is_refused() -> None:
    """It names the owner and the text; the container could not know what is meant."""

    class Handler:
        def __init__(self, amount: Decimal) -> None:
            pass

    with pytest.raises(UnresolvedAnnotation) as caught:
        dependencies_of(Handler)

    assert (Handler, "Decimal") == (caught.value.owner, caught.value.text)
    assert isinstance(caught.value.__cause__, NameError)


@pytest.mark.parametrize("text", ["types.Missing", "'Order' | None", "Order[", "Order[int]"])
def test_an_annotation_that_fails_in_any_way_is_refused(text: str) -> None:
    """Evaluating it runs the program's own text, which may raise anything."""
    with pytest.raises(UnresolvedAnnotation) as caught:
        dependencies_of(with_annotation(text))

    assert text == caught.value.text


def test_an_annotation_that_cannot_be_understood_may_have_a_default() -> None:
    """The default will do, and the other parameters are as they were."""

    class Handler:
        def __init__(self, clock: Clock, amount: Decimal | None = None) -> None:
            pass

    assert [("clock", Clock), ("amount", None)] == asked(Handler)


def test_a_callable_object_becomes_its_method() -> None:
    """Which can be asked whether it is a coroutine function; an object cannot."""

    class Make:
        async def __call__(self) -> Clock:
            return Clock()

    assert not inspect.iscoroutinefunction(Make())
    assert inspect.iscoroutinefunction(as_function(Make()))


class Meta(type):
    def __call__(cls) -> Any:
        return super().__call__()


class WithMeta(metaclass=Meta):
    pass


class Abstract(ABC):
    @abstractmethod
    def read(self) -> str: ...


@pytest.mark.parametrize(
    "factory",
    [Clock, WithMeta, Abstract, Repo[Order], make_repo, cached, functools.partial(make_repo), MakeRepo().method, len],
    ids=str,
)
def test_other_factories_stay_as_they_are(factory: Any) -> None:
    """A class is not replaced by the method of its metaclass, nor an alias by that of its kind."""
    assert factory is as_function(factory)
