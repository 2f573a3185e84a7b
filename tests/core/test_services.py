"""The graph of services knows what each needs, and what is wrong with that, without building anything."""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import pytest

from cqrs_core import EventEmitter, SimpleContainer
from cqrs_core.errors import (
    CaptiveDependency,
    DependencyCycle,
    MissingDependency,
    NotProvided,
    UnresolvedAnnotation,
)
from cqrs_core.services import Lifetime, Service, ServiceGraph

if TYPE_CHECKING:
    from uuid import UUID  # what type checkers alone see

T = TypeVar("T")


class Clock:
    pass


class Port(ABC):
    @abstractmethod
    def read(self) -> str: ...


class Shape(Protocol):
    def area(self) -> int: ...


class Repo(Generic[T]):
    pass


class Bag(dict[str, int]):
    pass


class Db:
    def __init__(self, url: str) -> None:
        pass


class Store:
    def __init__(self, db: Db) -> None:
        pass


class Handler:
    def __init__(self, store: Store, clock: Clock, port: Port) -> None:
        pass


class Chicken:
    def __init__(self, egg: Egg) -> None:
        pass


class Egg:
    def __init__(self, chicken: Chicken) -> None:
        pass


class Farm:
    def __init__(self, egg: Egg) -> None:
        pass


class Unresolved:
    def __init__(self, number: UUID) -> None:
        pass


class NeedsUnresolved:
    def __init__(self, unresolved: Unresolved) -> None:
        pass


class NeedsPort:
    def __init__(self, port: Port) -> None:
        pass


class NeedsNeedsPort:
    def __init__(self, needs_port: NeedsPort) -> None:
        pass


async def make_later() -> Any: ...


def generate() -> Iterator[Any]:
    yield None


async def generate_later() -> AsyncIterator[Any]:
    yield None


def graph_of(**services: Service) -> ServiceGraph:
    """Register services by the names of the classes above."""
    graph = ServiceGraph()
    for name, service in services.items():
        graph.register(globals()[name], service)
    return graph


def singleton(factory: Any) -> Service:
    return Service(Lifetime.SINGLETON, factory)


def scoped(factory: Any) -> Service:
    return Service(Lifetime.SCOPED, factory)


def transient(factory: Any) -> Service:
    return Service(Lifetime.TRANSIENT, factory)


@pytest.mark.parametrize(
    ("factory", "is_awaited", "needs_scope"),
    [
        (Clock, False, False),
        (generate, True, True),
        (make_later, True, False),
        (generate_later, True, True),
    ],
)
def test_the_kind_of_a_factory_says_what_making_it_takes(factory: Any, *, is_awaited: bool, needs_scope: bool) -> None:
    """What is to be cleaned up needs somewhere to be left: the container, or a scope."""
    service = transient(factory)

    assert (is_awaited, needs_scope) == (service.is_awaited, service.needs_scope)


@pytest.mark.parametrize("factory", [Clock, generate, make_later, generate_later])
def test_only_what_is_scoped_needs_a_scope_whatever_its_factory(factory: Any) -> None:
    """A singleton is left with its container."""
    assert (False, True) == (singleton(factory).needs_scope, scoped(factory).needs_scope)


@pytest.mark.parametrize("key", [Clock, Repo, Chicken, Bag], ids=str)
def test_a_class_that_nobody_registered_is_built(key: type) -> None:
    """By its own constructor, anew each time."""
    assert transient(key) == ServiceGraph().find(key)


@pytest.mark.parametrize(
    "key",
    [Port, Shape, Decimal, Path, int, str, list[int], Repo[int], Bag[int], types.GenericAlias(Clock, (int,)), None],  # type: ignore[misc]  # abstract classes are among them
    ids=str,
)
def test_what_is_no_concrete_class_of_the_program_is_not_built(key: Any) -> None:
    """Abstract classes and protocols cannot be, a ``Path`` is a forgotten setting, an alias means a certain one."""
    assert None is ServiceGraph().find(key)


@pytest.mark.parametrize("key", [SimpleContainer, EventEmitter])
def test_classes_of_this_package_are_not_built(key: type) -> None:
    """A new and empty container is not the one that a dependent means."""
    assert None is ServiceGraph().find(key)


def test_the_last_word_counts() -> None:
    """Registering again replaces."""
    graph = graph_of(Clock=singleton(Clock))

    graph.register(Clock, scoped(Clock))

    assert scoped(Clock) == graph.find(Clock)


def test_a_graph_extends_its_parent() -> None:
    """Its own word comes first; what the parent learns later is known too."""
    parent = graph_of(Clock=singleton(Clock))
    child = ServiceGraph(parent)
    parent.register(Port, transient(make_later))
    child.register(Clock, scoped(Clock))

    assert (scoped(Clock), transient(make_later)) == (child.find(Clock), child.find(Port))
    assert singleton(Clock) == parent.find(Clock)


def test_what_is_its_own_is_what_was_registered_or_overridden_here() -> None:
    """Whoever needs that is made here and not by the parent."""
    parent = graph_of(Clock=singleton(Clock))
    child = ServiceGraph(parent)
    child.register(Port, transient(make_later))
    child.override(Db, transient(Db))

    assert {Port, Db} == set(child.own)


def test_an_override_comes_before_what_was_registered() -> None:
    """Until it is ended; what stood there before is given back."""
    graph = graph_of(Clock=singleton(Clock))
    first, second = transient(lambda: 1), transient(lambda: 2)

    assert None is graph.override(Clock, first)
    assert first is graph.override(Clock, second)
    assert second is graph.find(Clock)
    assert second is graph.override(Clock, None)
    assert singleton(Clock) == graph.find(Clock)


def test_what_was_announced_comes_with_the_scope_though_it_is_overridden() -> None:
    """Whoever opens scopes need not know of the override."""
    graph = ServiceGraph(graph_of(Port=scoped(None), Clock=scoped(Clock)))
    graph.override(Port, transient(Clock))

    assert [True, False, False] == [graph.comes_with_scope(key) for key in (Port, Clock, Db)]


def test_needs_are_followed_to_the_end() -> None:
    """Each once, the one that was asked for first."""
    graph = graph_of(Port=transient(lambda: None), Db=transient(lambda: None))

    assert Handler is next(graph.needs(Handler))
    assert sorted(["Handler", "Store", "Db", "Clock", "Port"]) == sorted(n.__name__ for n in graph.needs(Handler))


def test_a_default_is_not_needed_until_somebody_registers_its_type() -> None:
    """A class that could be built stays unbuilt: its author gave a default."""

    def make(clock: Clock = Clock()) -> None:  # noqa: B008 - a default that is an object
        pass

    graph = graph_of(Port=transient(make))
    before = list(graph.needs(Port))
    graph.register(Clock, transient(Clock))

    assert ([Port], [Port, Clock]) == (before, list(graph.needs(Port)))


@pytest.mark.parametrize(
    ("service", "is_synchronous", "awaits"),
    [
        (transient(Clock), True, False),
        (singleton(Clock), True, False),
        (scoped(Clock), False, False),
        (scoped(None), False, False),
        (transient(generate), False, False),
        (singleton(generate), False, False),
        (singleton(make_later), False, True),
        (transient(generate_later), False, True),
    ],
)
def test_making_is_synchronous_if_all_of_it_is(service: Service, *, is_synchronous: bool, awaits: bool) -> None:
    """However deep the one is that is not."""
    graph = graph_of(Port=service)

    assert is_synchronous == graph.is_synchronous(NeedsNeedsPort)
    assert awaits == graph.awaits(NeedsNeedsPort)


def test_a_missing_dependency_is_named_with_its_way() -> None:
    """Who asks, by which parameter, for what, and who asked for them, outermost first."""
    (problem,) = ServiceGraph().problems(Store)

    assert isinstance(problem, MissingDependency)
    assert (Db, "url", str, (Store,)) == (problem.dependent, problem.parameter, problem.annotation, problem.path)


def test_everything_that_is_missing_is_told_at_once() -> None:
    """In the order in which it was found."""
    problems = ServiceGraph().problems(Handler)

    assert [(Db, "url", (Handler, Store)), (Handler, "port", ())] == [
        (p.dependent, p.parameter, p.path) for p in problems if isinstance(p, MissingDependency)
    ]
    assert 2 == len(problems)


def test_a_fault_that_is_reached_twice_is_told_once() -> None:
    """It has one cure."""

    def make(store: Store, other: Store, db: Db) -> None:
        pass

    assert 1 == len(graph_of(Port=transient(make)).problems(Port))


def test_what_nobody_can_make_is_a_problem_itself() -> None:
    """Not only if somebody depends on it."""
    (problem,) = ServiceGraph().problems(Port)

    assert isinstance(problem, NotProvided)
    assert Port is problem.wanted


def test_a_parameter_without_annotation_is_missing() -> None:
    """The error has no annotation then."""
    graph = graph_of(Port=transient(lambda anything: anything))

    (problem,) = graph.problems(Port)

    assert isinstance(problem, MissingDependency)
    assert (Port, "anything", None) == (problem.dependent, problem.parameter, problem.annotation)


@pytest.mark.parametrize("has_default", [True, False])
def test_what_can_be_left_out_is_not_missing(has_default: bool) -> None:  # noqa: FBT001 - a parameter
    """Neither a parameter with a default, nor one that takes ``None``."""

    def with_default(url: str = "") -> None:
        pass

    def optional(url: str | None) -> None:
        pass

    assert [] == graph_of(Port=transient(with_default if has_default else optional)).problems(Port)


def test_a_cycle_is_told_by_its_path() -> None:
    """The way into it is no part of it; the first comes again at the end."""
    (problem,) = ServiceGraph().problems(Farm)

    assert isinstance(problem, DependencyCycle)
    assert (Egg, Chicken, Egg) == problem.path


def test_a_service_that_needs_itself_is_a_cycle() -> None:
    """The shortest one."""

    def make(clock: Clock) -> Clock:
        return clock

    (problem,) = graph_of(Clock=singleton(make)).problems(Clock)

    assert isinstance(problem, DependencyCycle)
    assert (Clock, Clock) == problem.path


@pytest.mark.parametrize(
    "captive", [scoped(lambda: None), scoped(None), transient(generate), transient(generate_later)]
)
def test_a_singleton_must_not_keep_what_lives_in_a_scope(captive: Service) -> None:
    """Through transients either: they are kept by it."""
    graph = graph_of(NeedsNeedsPort=singleton(NeedsNeedsPort), Port=captive)

    (problem,) = graph.problems(NeedsNeedsPort)

    assert isinstance(problem, CaptiveDependency)
    assert (NeedsNeedsPort, Port) == (problem.singleton, problem.scoped)


def test_what_another_singleton_keeps_is_its_own_fault() -> None:
    """One fault is told of the one who can cure it."""
    graph = graph_of(
        NeedsNeedsPort=singleton(NeedsNeedsPort), NeedsPort=singleton(NeedsPort), Port=scoped(lambda: None)
    )

    (problem,) = graph.problems(NeedsNeedsPort)

    assert isinstance(problem, CaptiveDependency)
    assert NeedsPort is problem.singleton


@pytest.mark.parametrize("lifetime", [Lifetime.TRANSIENT, Lifetime.SCOPED])
def test_what_is_not_a_singleton_may_ask_for_what_is_scoped(lifetime: Lifetime) -> None:
    """It lives no longer."""
    graph = graph_of(NeedsPort=Service(lifetime, NeedsPort), Port=scoped(lambda: None))

    assert [] == graph.problems(NeedsPort)


@pytest.mark.parametrize("service", [transient(NeedsUnresolved), singleton(NeedsUnresolved)])
def test_an_annotation_that_means_nothing_is_a_problem_and_not_an_exception(service: Service) -> None:
    """Also where a singleton is searched for what it would keep."""
    (problem,) = graph_of(NeedsUnresolved=service).problems(NeedsUnresolved)

    assert isinstance(problem, UnresolvedAnnotation)
    assert (Unresolved, "UUID") == (problem.owner, problem.text)


def test_needs_that_cannot_be_told_are_left_out() -> None:
    """They are reported as a problem; following them is no place to raise."""
    assert [NeedsUnresolved, Unresolved] == list(ServiceGraph().needs(NeedsUnresolved))
