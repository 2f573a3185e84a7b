"""The built-in container: what users register, ask for, override in tests, and close."""

from __future__ import annotations

import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, NewType, TypeVar

import anyio
import pytest
from anyio.lowlevel import checkpoint

from cqrs_core import Container, SimpleContainer
from cqrs_core.container import KnowingContainer, Scope, ScopingContainer, SynchronousContainer
from cqrs_core.errors import (
    CaptiveDependency,
    DependencyCycle,
    MissingDependency,
    NotProvided,
    OverrideTooLate,
    ScopeRequired,
    ScopeValueMissing,
    UnknownScopeValue,
    UnresolvedAnnotation,
    WiringError,
)

T = TypeVar("T")
Url = NewType("Url", str)


class Port(ABC):
    @abstractmethod
    def read(self) -> str: ...


class Memory(Port):
    def read(self) -> str:
        return "memory"


class Clock:
    pass


class Order:
    pass


class Repo(Generic[T]):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock


class Session:
    pass


class Handler:
    def __init__(self, repo: Repo[Order], port: Port) -> None:
        self.repo = repo
        self.port = port


class NeedsClock:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock


class NeedsPort:
    def __init__(self, port: Port) -> None:
        self.port = port


class NeedsSession:
    def __init__(self, session: Session) -> None:
        self.session = session


class MayHavePort:
    def __init__(self, port: Port | None = None) -> None:
        self.port = port


@dataclass
class MakeUrl:
    """A callable object, which as a dataclass cannot be hashed."""

    scheme: str

    async def __call__(self, clock: Clock) -> str:
        return f"{self.scheme}://{type(clock).__name__}"


class Chicken:
    def __init__(self, egg: Egg) -> None:
        pass


class Egg:
    def __init__(self, chicken: Chicken) -> None:
        pass


class Faulty:
    def __init__(self, egg: Egg, url: Url, keeper: NeedsSession, nothing, missing: Missing) -> None:  # type: ignore[no-untyped-def, name-defined] # noqa: ANN001, F821 - what has no annotation is told
        pass


class FaultyParts:
    def __init__(self, egg: Egg, url: Url, keeper: NeedsSession, nothing) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - what has no annotation is told
        pass


def given(maker: Callable[[], T] | None) -> Callable[[], T]:
    assert maker is not None
    return maker


def test_the_container_offers_every_ability() -> None:
    """So that mediators take the cheapest way."""
    container = SimpleContainer()

    for ability in (Container, ScopingContainer, SynchronousContainer, KnowingContainer):
        assert isinstance(container, ability)
    assert isinstance(container.scope(), Scope)


async def test_an_object_is_built_by_the_annotations_of_its_constructor() -> None:
    """An alias is a key of its own; an abstract class stands for what was registered for it."""
    container = SimpleContainer()
    container.transient(Repo[Order])
    container.transient(Port, Memory)

    made = await container.resolve(Handler)

    assert [Handler, Repo, Clock, Memory] == [type(one) for one in (made, made.repo, made.repo.clock, made.port)]


async def test_a_singleton_is_made_once_and_a_transient_anew() -> None:
    """A class that nobody registered is transient too."""
    container = SimpleContainer()
    container.singleton(Clock)
    container.transient(Order)

    pairs = [(await container.resolve(key), await container.resolve(key)) for key in (Clock, Order, Memory)]

    assert [True, False, False] == [first is second for first, second in pairs]


async def test_what_is_scoped_is_made_once_for_each_scope() -> None:
    """All that is made in one shares it."""
    container = SimpleContainer()
    container.scoped(Session)

    async with container.scope() as first, container.scope() as second:
        sessions = [(await scope.resolve(NeedsSession)).session for scope in (first, first, second)]
        direct = await first.resolve(Session)

    assert sessions[0] is sessions[1] is direct
    assert sessions[0] is not sessions[2]


async def test_a_scope_gives_singletons_and_transients_too() -> None:
    """As its container does."""
    container = SimpleContainer()
    container.singleton(Clock)

    async with container.scope() as scope:
        assert await container.resolve(Clock) is await scope.resolve(Clock)
        assert await scope.resolve(Order) is not await scope.resolve(Order)


@pytest.mark.parametrize("value", [5, 0, None, "text"])
async def test_an_instance_is_given_as_it_is(value: Any) -> None:
    """Also one that is false; a ``NewType`` is a key as any."""
    container = SimpleContainer()
    container.instance(Url, value)  # type: ignore[arg-type, type-var]  # no class, and a key all the same

    assert value is await container.resolve(Url)  # type: ignore[arg-type]  # no class, and a key all the same


async def test_an_object_comes_with_its_scope() -> None:
    """Its type was announced."""
    container, session = SimpleContainer(), Session()
    container.from_scope(Session)

    async with container.scope({Session: session}) as scope:
        assert session is (await scope.resolve(NeedsSession)).session


async def test_an_object_that_should_have_come_with_the_scope_is_missed() -> None:
    """It is not built, though it could be."""
    container = SimpleContainer()
    container.from_scope(Session)

    async with container.scope() as scope:
        with pytest.raises(ScopeValueMissing) as caught:
            await scope.resolve(NeedsSession)

    assert Session is caught.value.wanted
    assert "container.scope({Session: the_object})" in str(caught.value)


@pytest.mark.parametrize("register", [lambda _: None, lambda container: container.scoped(Session)])
def test_a_scope_refuses_what_was_not_announced(register: Callable[[SimpleContainer], None]) -> None:
    """No dependent would get it."""
    container = SimpleContainer()
    register(container)

    with pytest.raises(UnknownScopeValue) as caught:
        container.scope({Session: Session()})

    assert Session is caught.value.provided
    assert "container.from_scope(Session)" in str(caught.value)


async def make_awaited(clock: Clock) -> tuple[str, Clock]:
    await checkpoint()
    return "made", clock


class Factories:
    def make(self, clock: Clock) -> tuple[str, Clock]:
        return "made", clock

    async def __call__(self, clock: Clock) -> tuple[str, Clock]:
        return "made", clock

    def __len__(self) -> int:
        return 0  # which makes it false


def generate(clock: Clock) -> Iterator[tuple[str, Clock]]:
    yield "made", clock


async def generate_later(clock: Clock) -> AsyncIterator[tuple[str, Clock]]:
    yield "made", clock


def made_of(word: str, clock: Clock) -> tuple[str, Clock]:
    return word, clock


@pytest.mark.parametrize(
    "factory",
    [
        Factories().make,
        Factories(),
        make_awaited,
        generate,
        generate_later,
        functools.partial(made_of, "made"),
        functools.partial(made_of, word="made"),
        functools.partial(make_awaited),
        functools.partial(generate_later),
    ],
)
@pytest.mark.parametrize("lifetime", ["singleton", "scoped", "transient"])
async def test_whatever_can_be_called_is_a_factory(factory: Any, lifetime: str) -> None:
    """Its own parameters are filled in the same way, by annotation."""
    container, clock = SimpleContainer(), Clock()
    container.instance(Clock, clock)
    getattr(container, lifetime)(Port, factory)

    async with container.scope() as scope:
        made: Any = (await scope.resolve(NeedsPort)).port
    await container.aclose()

    assert ("made", clock) == made


async def test_a_factory_written_in_c_is_called_without_arguments() -> None:
    """If Python cannot tell what it takes."""
    container = SimpleContainer()
    container.transient(list, dir)

    assert isinstance(await container.resolve(list), list)


async def test_a_callable_object_need_not_be_hashable() -> None:
    """A dataclass with a method ``__call__`` is a factory with settings."""
    container = SimpleContainer()
    container.singleton(str, MakeUrl("https"))

    assert "https://Clock" == await container.resolve(str)


async def test_a_default_is_used_unless_the_type_was_registered() -> None:
    """Its author knows what to do without."""
    container, port = SimpleContainer(), Memory()
    before = await container.resolve(MayHavePort)

    container.instance(Port, port)

    assert (None, port) == (before.port, (await container.resolve(MayHavePort)).port)


def test_a_missing_dependency_names_who_asks_and_how_to_cure_it() -> None:
    """The way to it, the parameter and its annotation are attributes."""
    (problem,) = SimpleContainer().problems(Handler)[1:]

    assert isinstance(problem, MissingDependency)
    assert (Handler, "port", Port, ()) == (problem.dependent, problem.parameter, problem.annotation, problem.path)
    assert "container.transient(Port, a_factory)" in str(problem)


def test_everything_that_stands_in_the_way_is_told_at_once_and_nothing_is_built() -> None:
    """A cycle, something missing, a captive, a parameter without annotation."""
    container = SimpleContainer()
    built: list[str] = []
    container.scoped(Session, lambda: built.append("session"))
    container.singleton(NeedsSession)
    container.transient(Clock, lambda: built.append("clock"))

    problems = container.problems(FaultyParts)

    expected = [DependencyCycle, MissingDependency, CaptiveDependency, MissingDependency]
    assert expected == [type(problem) for problem in problems]
    assert [] == built


def test_a_class_with_an_annotation_that_means_nothing_is_told_by_that_alone() -> None:
    """What it asks for besides cannot be told."""
    (problem,) = SimpleContainer().problems(Faulty)

    assert isinstance(problem, UnresolvedAnnotation)
    assert (Faulty, "Missing") == (problem.owner, problem.text)


async def test_what_cannot_be_made_is_refused_with_the_reason() -> None:
    """One as it is, several together."""
    container = SimpleContainer()

    with pytest.raises(NotProvided) as not_provided:
        await container.resolve(Port)
    with pytest.raises(DependencyCycle) as cycle:
        await container.resolve(Chicken)
    with pytest.raises(WiringError) as several:
        await container.resolve(Handler)

    assert Port is not_provided.value.wanted
    assert (Chicken, Egg, Chicken) == cycle.value.path
    assert tuple(map(str, container.problems(Handler))) == tuple(map(str, several.value.problems))


async def test_a_singleton_must_not_keep_what_is_scoped() -> None:
    """It would use the session of the first message for all others."""
    container = SimpleContainer()
    container.scoped(Session)
    container.singleton(NeedsSession)

    async with container.scope() as scope:
        with pytest.raises(CaptiveDependency) as caught:
            await scope.resolve(NeedsSession)

    assert (NeedsSession, Session) == (caught.value.singleton, caught.value.scoped)


async def test_what_is_scoped_is_refused_outside_any_scope() -> None:
    """And after it, when nothing would clean it up."""
    container = SimpleContainer()
    container.scoped(Session)
    scope = container.scope()
    await scope.aclose()

    for place in (container, scope):
        with pytest.raises(ScopeRequired) as caught:
            await place.resolve(NeedsSession)
        assert Session is caught.value.wanted


@pytest.mark.parametrize("wanted", [Clock, NeedsClock, Repo, MayHavePort])
def test_a_provider_is_given_for_what_is_made_at_once(wanted: type) -> None:
    """Transients and singletons of plain factories."""
    container = SimpleContainer()
    container.singleton(Clock)

    assert wanted is type(given(container.provider(wanted))())


@pytest.mark.parametrize("wanted", [Port, NeedsPort, MayHavePort, Session, NeedsSession])
def test_no_provider_is_given_for_what_takes_awaiting_or_a_scope(wanted: type) -> None:
    """However deep; also for what could be left out, but is provided."""
    container = SimpleContainer()
    container.singleton(Port, make_awaited)
    container.scoped(Session)

    assert None is container.provider(wanted)


@pytest.mark.parametrize("wanted", [Port, Chicken, Handler])
def test_no_provider_is_given_for_what_cannot_be_made(wanted: type) -> None:
    """It would have to pass ``None`` for what is missing; ``problems`` says why."""
    assert None is SimpleContainer().provider(wanted)


def test_a_provider_makes_what_resolving_would() -> None:
    """Any number of times, without a loop."""
    container = SimpleContainer()
    container.singleton(Clock)

    make = given(container.provider(NeedsClock))

    first, second = make(), make()
    assert first is not second
    assert first.clock is second.clock


def test_the_container_says_what_it_provides() -> None:
    """What was registered, and what can be built; that what that needs is missing, is told by ``problems``."""
    container = SimpleContainer()
    before = [container.provides(key) for key in (Handler, Clock, Port, str)]
    container.transient(Port, Memory)

    assert ([True, True, False, False], True) == (before, container.provides(Port))


def test_two_threads_share_a_singleton_made_at_once() -> None:
    """Each has the same, though both ask at the same time."""
    container, both = SimpleContainer(), threading.Barrier(8, timeout=30)
    calls: list[int] = []
    container.singleton(Port, lambda: calls.append(1) or Memory())
    make, got = given(container.provider(NeedsPort)), list[Any]()

    def ask() -> None:
        both.wait()
        got.append(make().port)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert (8, 1, [1]) == (len(got), len(set(got)), calls)


@pytest.mark.parametrize("lifetime", ["singleton", "scoped"])
async def test_tasks_that_ask_at_once_share_what_is_shared(lifetime: str) -> None:
    """Whoever comes while it is made waits: directly, or for what needs it."""
    container, made, got = SimpleContainer(), list[Any](), list[Any]()

    async def make_port() -> Port:
        made.append(Memory())
        await checkpoint()
        return made[-1]  # type: ignore[no-any-return]  # it was just made

    getattr(container, lifetime)(Port, make_port)
    getattr(container, lifetime)(NeedsPort)

    async def ask() -> None:
        got.append(await scope.resolve(NeedsPort))

    async with container.scope() as scope, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)

    assert (1, 5, 1) == (len(made), len(got), len(set(got)))


async def test_a_singleton_that_could_not_be_made_is_tried_again() -> None:
    """By the next who asks."""
    container, attempts = SimpleContainer(), list[int]()

    async def connect() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError
        return "connected"

    container.singleton(Port, connect)
    with pytest.raises(ConnectionError):
        await container.resolve(Port)

    assert "connected" == await container.resolve(Port)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_container_is_used_again_after_it_was_closed(backend: str) -> None:
    """In another event loop: its singletons are made anew."""
    container, log = SimpleContainer(), list[str]()

    async def connect() -> AsyncIterator[str]:
        log.append("begun")
        yield "connected"
        log.append("ended")

    async def use() -> None:
        log.append(await container.resolve(Port))
        await container.aclose()

    container.singleton(Port, connect)
    for _ in range(2):
        anyio.run(use, backend=backend)

    assert ["begun", "connected", "ended"] * 2 == log


async def test_an_override_reaches_what_was_given_away_before() -> None:
    """Mediators hold makers; they make with the override until the block is left."""
    container = SimpleContainer()
    container.singleton(Port, Memory)
    make, make_other = given(container.provider(NeedsPort)), given(container.provider(MayHavePort))
    fake = Memory()

    with container.override(Port, fake):
        inside = [make().port, make_other().port, (await container.resolve(NeedsPort)).port]

    assert [fake] * 3 == inside
    assert fake not in [make().port, make_other().port, (await container.resolve(NeedsPort)).port]


def test_an_override_reaches_a_parameter_that_has_a_default() -> None:
    """Nobody had registered its type when the maker was given away."""
    container, fake = SimpleContainer(), Memory()
    make = given(container.provider(MayHavePort))

    with container.override(Port, fake):
        inside = make().port

    assert (fake, None) == (inside, make().port)


async def test_singletons_that_need_what_is_overridden_are_set_aside() -> None:
    """Through others, and through a default that is filled now; they come back when the block is left."""
    container = SimpleContainer()
    for key in (NeedsPort, MayHavePort, Clock):
        container.singleton(key)
    container.transient(Port, Memory)
    before = [await container.resolve(key) for key in (NeedsPort, Clock)]
    fake = Memory()

    with container.override(Port, fake):
        inside = [await container.resolve(NeedsPort), await container.resolve(Clock)]
        assert fake is inside[0].port

    assert before == [await container.resolve(key) for key in (NeedsPort, Clock)]
    assert inside[1] is before[1]


async def test_a_singleton_with_a_default_is_made_anew_with_the_override() -> None:
    """It had been made without."""
    container, fake = SimpleContainer(), Memory()
    container.singleton(MayHavePort)
    before = await container.resolve(MayHavePort)

    with container.override(Port, fake):
        inside = await container.resolve(MayHavePort)

    assert (None, fake) == (before.port, inside.port)
    assert before is await container.resolve(MayHavePort)


async def test_overrides_may_be_nested() -> None:
    """The innermost counts; when it is left, the one around it."""
    container = SimpleContainer()
    container.singleton(NeedsPort)
    container.transient(Port, Memory)
    first, second = Memory(), Memory()

    with container.override(Port, first):
        outer = await container.resolve(NeedsPort)
        with container.override(Port, second):
            inner = await container.resolve(NeedsPort)
        again = await container.resolve(NeedsPort)

    assert [first, second] == [outer.port, inner.port]
    assert outer is again


async def test_an_override_replaces_what_is_awaited_or_scoped() -> None:
    """In a test nothing of it is made."""
    container, fake = SimpleContainer(), Memory()

    async def connect() -> Port:
        raise ConnectionError

    container.singleton(Port, connect)
    container.scoped(Session, connect)
    with container.override(Port, fake), container.override(Session, Session()):
        inside = await container.resolve(NeedsPort)
        assert isinstance((await container.resolve(NeedsSession)).session, Session)

    assert fake is inside.port
    with pytest.raises(ConnectionError):
        await container.resolve(NeedsPort)


async def test_an_override_comes_before_what_comes_with_the_scope() -> None:
    """Whoever opens the scope need not know of it."""
    container, fake = SimpleContainer(), Session()
    container.from_scope(Session)

    with container.override(Session, fake):
        async with container.scope({Session: Session()}) as scope:
            assert fake is (await scope.resolve(NeedsSession)).session


async def test_an_override_ends_with_an_error_too() -> None:
    """A failed test leaves nothing to the next."""
    container = SimpleContainer()
    container.singleton(Port, Memory)
    before, fake = await container.resolve(Port), Memory()

    with suppress(ConnectionError), container.override(Port, fake):
        inside = await container.resolve(Port)
        raise ConnectionError

    assert (fake, before) == (inside, await container.resolve(Port))


async def test_an_override_of_what_nobody_provides_is_withdrawn() -> None:
    """What needs it is refused again, as before."""
    container = SimpleContainer()
    with container.override(Port, Memory()):
        await container.resolve(NeedsPort)
        given(container.provider(NeedsPort))

    with pytest.raises(MissingDependency):
        await container.resolve(NeedsPort)


async def test_a_container_closed_inside_an_override_gives_no_closed_singleton_back() -> None:
    """An App that is stopped inside the block closes its container."""
    container = SimpleContainer()
    container.singleton(NeedsPort)
    container.transient(Port, Memory)
    before = await container.resolve(NeedsPort)

    with container.override(Port, Memory()):
        await container.aclose()

    assert before is not await container.resolve(NeedsPort)


def test_an_override_of_what_was_given_away_comes_too_late() -> None:
    """A mediator makes its handlers by itself; so does one of a child."""
    container = SimpleContainer()
    child = container.child({})
    child.provider(Clock)

    with pytest.raises(OverrideTooLate) as caught, container.override(Clock, Clock()):
        pass

    assert Clock is caught.value.provided


async def test_a_child_knows_values_as_they_are_when_they_are_asked_for() -> None:
    """A mediator is put in before it is complete."""
    container = SimpleContainer()
    values: dict[type, Any] = {Port: None}
    child = container.child(values)
    make = given(child.provider(NeedsPort))

    values[Port] = Memory()

    assert values[Port] is make().port
    assert values[Port] is (await child.resolve(NeedsPort)).port
    assert not container.provides(Port)


async def test_a_child_shares_the_singletons_that_need_no_value() -> None:
    """Children have others of those that do."""
    container = SimpleContainer()
    container.singleton(Clock)
    container.singleton(NeedsPort)
    children = [container.child({Port: Memory()}) for _ in range(2)]

    clocks = {await place.resolve(Clock) for place in (container, *children)}
    needing = {await child.resolve(NeedsPort) for child in children}

    assert (1, 2) == (len(clocks), len(needing))


async def test_what_is_registered_later_reaches_children() -> None:
    """Mediators are built early."""
    container = SimpleContainer()
    child = container.child({})
    container.scoped(Session)

    with pytest.raises(ScopeRequired):
        await child.resolve(NeedsSession)
    async with child.scope() as scope:
        assert isinstance((await scope.resolve(NeedsSession)).session, Session)


async def test_a_container_closes_its_children_first() -> None:
    """What they made may need what it made."""
    container, log = SimpleContainer(), list[str]()

    def parent_made() -> Iterator[Clock]:
        yield Clock()
        log.append("parent")

    def child_made(port: Port, clock: Clock) -> Iterator[Order]:  # noqa: ARG001 - asked for, and that is all
        yield Order()
        log.append("child")

    container.singleton(Clock, parent_made)
    container.singleton(Order, child_made)
    child = container.child({Port: Memory()})
    await child.resolve(Order)

    await container.aclose()

    assert ["child", "parent"] == log
