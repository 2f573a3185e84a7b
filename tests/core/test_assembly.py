"""Services are made by calling their factories, at once where nothing is awaited; children share with parents."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from cqrs_core.assembly import Assembly
from cqrs_core.errors import MissingDependency, NotProvided, ScopeRequired, ScopeValueMissing, WiringError
from cqrs_core.lifetimes import SimpleScope
from cqrs_core.services import Lifetime, Service


class Port(ABC):
    @abstractmethod
    def read(self) -> str: ...


class Clock:
    pass


class Order:
    pass


class NeedsClock:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock


class NeedsPort:
    def __init__(self, port: Port) -> None:
        self.port = port


class NeedsNeedsPort:
    def __init__(self, needs_port: NeedsPort) -> None:
        self.needs_port = needs_port


class MayHavePort:
    def __init__(self, port: Port | None = None) -> None:
        self.port = port


class TakesPortOrNone:
    def __init__(self, port: Port | None) -> None:
        self.port = port


class NeedsMuch:
    def __init__(self, url: str, port: Port) -> None:
        pass


def singleton(factory: Any) -> Service:
    return Service(Lifetime.SINGLETON, factory)


def scoped(factory: Any) -> Service:
    return Service(Lifetime.SCOPED, factory)


def transient(factory: Any) -> Service:
    return Service(Lifetime.TRANSIENT, factory)


def scope_of(assembly: Assembly, values: dict[Any, Any] | None = None) -> SimpleScope:
    return SimpleScope(assembly.resolve, values or {})


async def make_later() -> str:
    return "made later"


def given(maker: Any) -> Any:
    assert maker is not None
    return maker


def test_a_maker_gives_each_parameter_what_it_asks_for() -> None:
    """By position where there is no other way, else by name."""

    def make(clock: Clock, /, order: Order, *rest: int, needs: NeedsClock) -> tuple[Any, ...]:
        return clock, order, rest, needs

    assembly = Assembly()
    assembly.register(Port, transient(make))

    made = given(assembly.give_maker(Port))()

    assert [Clock, Order, tuple, NeedsClock] == [type(one) for one in made]


async def test_the_default_of_a_positional_parameter_is_passed_if_a_later_one_is_filled() -> None:
    """Left out, it would get the argument of the later one."""

    def make(url: str = "default", clock: Clock | None = None, /) -> tuple[Any, ...]:
        return url, clock

    async def make_awaited(url: str = "default", clock: Clock | None = None, /) -> tuple[Any, ...]:
        return url, clock

    clock, assembly = Clock(), Assembly()
    assembly.register(Clock, transient(lambda: clock))
    assembly.register(Port, transient(make))
    assembly.register(Order, transient(make_awaited))

    assert [("default", clock)] * 2 == [await assembly.resolve(key, None) for key in (Port, Order)]


def test_no_maker_is_given_for_what_takes_awaiting_or_a_scope() -> None:
    """However deep."""
    for service in (singleton(make_later), transient(make_later), scoped(Clock), scoped(None)):
        assembly = Assembly()
        assembly.register(Port, service)

        assert None is assembly.give_maker(NeedsNeedsPort)


def test_no_maker_is_given_for_what_cannot_be_made() -> None:
    """Whoever resolves it is told why."""
    assert [None, None] == [Assembly().give_maker(key) for key in (Port, NeedsNeedsPort)]


def test_a_maker_follows_a_change_of_what_it_needs() -> None:
    """It was given away, and is not asked back."""
    assembly = Assembly()
    assembly.register(Port, transient(lambda: 1))
    make = given(assembly.give_maker(NeedsNeedsPort))
    before = make().needs_port.port

    assembly.register(Port, transient(lambda: 2))

    assert (1, 2) == (before, make().needs_port.port)


@pytest.mark.parametrize("wanted", [MayHavePort, TakesPortOrNone])
def test_a_maker_gives_what_could_be_left_out_as_soon_as_somebody_provides_it(wanted: type) -> None:
    """A mediator holds it by then."""
    assembly = Assembly()
    make = given(assembly.give_maker(wanted))
    before = make().port

    assembly.register(Port, transient(lambda: 2))

    assert (None, 2) == (before, make().port)


def test_a_maker_says_what_stands_in_its_way_since_a_change() -> None:
    """And not pass ``None`` for what is missing."""
    assembly = Assembly()
    assembly.register(Port, transient(lambda: 1))
    make = given(assembly.give_maker(NeedsNeedsPort))

    assembly.register(Port, transient(lambda url: url))

    with pytest.raises(MissingDependency) as caught:
        make()
    assert (Port, "url") == (caught.value.dependent, caught.value.parameter)


@pytest.mark.parametrize("service", [scoped(Clock), transient(make_later)])
def test_a_maker_refuses_what_it_can_no_longer_make_at_once(service: Service) -> None:
    """A change that makes the whole asynchronous came too late for whoever holds it."""
    assembly = Assembly()
    assembly.register(Port, transient(lambda: 1))
    make = given(assembly.give_maker(NeedsNeedsPort))

    assembly.register(Port, service)

    with pytest.raises(ScopeRequired):
        make()


def test_a_change_may_be_completed_by_another() -> None:
    """Between the two nobody asks for anything, so nothing is wrong yet."""
    assembly = Assembly()
    assembly.register(Clock, transient(lambda: 1))
    make = given(assembly.give_maker(NeedsClock))

    assembly.register(Clock, transient(lambda url: url))
    url: Any = Order
    assembly.graph.register(Clock, transient(lambda: url))
    assembly.refresh()

    assert Order is make().clock


async def test_what_was_made_at_once_is_awaited_after_a_change() -> None:
    """Resolving goes by the newest word, with a scope where one is needed."""
    assembly = Assembly()
    assembly.register(Port, transient(lambda: "made at once"))
    got = [(await assembly.resolve(NeedsPort, None)).port]

    assembly.register(Port, transient(make_later))
    got.append((await assembly.resolve(NeedsPort, None)).port)
    assembly.register(Port, scoped(make_later))
    got.append((await assembly.resolve(NeedsPort, scope_of(assembly))).port)

    assert ["made at once", "made later", "made later"] == got


async def test_a_service_can_be_withdrawn() -> None:
    """As at the end of an override: that somebody asked for it meanwhile is no reason to fail."""
    assembly = Assembly()
    assembly.graph.override(Port, transient(lambda: 1))
    assembly.refresh()
    await assembly.resolve(NeedsPort, None)

    assembly.graph.override(Port, None)
    assembly.refresh()

    with pytest.raises(MissingDependency):
        await assembly.resolve(NeedsPort, None)
    with pytest.raises(NotProvided):
        await assembly.resolve(Port, None)


async def test_registering_again_makes_singletons_anew() -> None:
    """Those too that hold the old one."""
    assembly = Assembly()
    assembly.register(Clock, singleton(Clock))
    assembly.register(NeedsClock, singleton(NeedsClock))
    old = await assembly.resolve(NeedsClock, None)

    assembly.register(Clock, singleton(Clock))

    new = await assembly.resolve(NeedsClock, None)
    assert old.clock is not new.clock
    assert new.clock is await assembly.resolve(Clock, None)


async def test_one_problem_is_raised_as_it_is_and_several_together() -> None:
    """Nobody has to cure them one by one."""
    with pytest.raises(MissingDependency):
        await Assembly().resolve(NeedsPort, None)
    with pytest.raises(WiringError) as caught:
        await Assembly().resolve(NeedsMuch, None)

    assert ["url", "port"] == [getattr(problem, "parameter", None) for problem in caught.value.problems]


async def test_what_lives_in_a_scope_needs_one() -> None:
    """The one that needs it is named, and not who asked for it."""
    assembly = Assembly()
    assembly.register(Port, scoped(lambda: 1))

    with pytest.raises(ScopeRequired) as caught:
        await assembly.resolve(NeedsNeedsPort, None)

    assert Port is caught.value.wanted


async def test_what_comes_with_the_scope_must_have_come() -> None:
    """An object from outside cannot be made here."""
    assembly = Assembly()
    assembly.register(Port, scoped(None))
    assert 5 == (await scope_of(assembly, {Port: 5}).resolve(NeedsPort)).port

    with pytest.raises(ScopeValueMissing) as caught:
        await scope_of(assembly).resolve(NeedsPort)

    assert Port is caught.value.wanted


async def test_a_generator_cleans_up_after_its_yield() -> None:
    """A singleton's with the container, the other's with their scope; the youngest first."""
    log: list[str] = []

    def generate() -> Iterator[str]:
        yield "one"
        log.append("singleton")

    async def generate_later(port: Port) -> AsyncIterator[Any]:
        yield port
        log.append("scoped")

    def generate_again(order: Order) -> Iterator[Any]:
        yield order
        log.append("transient")

    assembly = Assembly()
    assembly.register(Port, singleton(generate))
    assembly.register(Order, scoped(generate_later))
    assembly.register(Clock, transient(generate_again))

    async with scope_of(assembly) as scope:
        assert ["one", "one"] == [await scope.resolve(Clock), await scope.resolve(Clock)]
        log.append("handled")
    await assembly.aclose()

    assert ["handled", "transient", "transient", "scoped", "singleton"] == log


class Log:
    """Makes generators that write down how they ended."""

    def __init__(self, kind: str) -> None:
        self.ended: list[tuple[str, object]] = []
        self._kind = kind

    def generator(self, name: str, *, swallows: bool = False) -> Any:
        def generate() -> Iterator[str]:
            try:
                yield name
            except ConnectionError as error:
                self.ended.append((name, error))
                if not swallows:
                    raise
            else:
                self.ended.append((name, None))

        async def generate_later() -> AsyncIterator[str]:
            try:
                yield name
            except ConnectionError as error:
                self.ended.append((name, error))
                if not swallows:
                    raise
            else:
                self.ended.append((name, None))

        return generate if self._kind == "sync" else generate_later


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_error_of_the_attempt_is_seen_at_each_yield(kind: str) -> None:
    """Also by those that are older than one which holds it back: they would commit."""
    error, assembly, log = ConnectionError(), Assembly(), Log(kind)
    assembly.register(Port, scoped(log.generator("older")))
    assembly.register(Order, scoped(log.generator("younger", swallows=True)))
    scope = scope_of(assembly)
    await scope.resolve(Port)
    await scope.resolve(Order)

    await scope.aclose(error)

    assert [("younger", error), ("older", error)] == log.ended


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_clean_up_that_raises_does_not_prevent_the_others(kind: str) -> None:
    """Nor does one of a child prevent those of its parent."""

    def fail() -> Iterator[str]:
        yield "made"
        raise ConnectionError

    log, parent = Log(kind), Assembly()
    child = parent.child()
    parent.register(Port, singleton(log.generator("older")))
    parent.register(Order, singleton(fail))
    child.register(Clock, singleton(fail))
    for key in (Port, Order, Clock):
        await child.resolve(key, None)

    with pytest.raises(ConnectionError):
        await parent.aclose()

    assert [("older", None)] == log.ended


async def test_a_factory_that_fails_before_its_yield_leaves_nothing_behind() -> None:
    """Its dependencies are cleaned up, and it is tried again when it is asked for again."""
    log: list[str] = []

    async def generate() -> AsyncIterator[str]:
        log.append("begun")
        if log.count("begun") == 1:
            raise ConnectionError
        yield "made"
        log.append("ended")

    assembly = Assembly()
    assembly.register(Port, singleton(generate))
    with pytest.raises(ConnectionError):
        await assembly.resolve(Port, None)

    assert "made" == await assembly.resolve(Port, None)
    await assembly.aclose()
    assert ["begun", "begun", "ended"] == log


async def test_a_child_shares_the_singletons_that_need_nothing_of_its_own() -> None:
    """The parent makes and keeps them, whoever asks first."""
    parent = Assembly()
    for key in (Clock, NeedsClock):
        parent.register(key, singleton(key))
    child, sibling = parent.child(), parent.child()

    first = await child.resolve(NeedsClock, None)

    assert first is await sibling.resolve(NeedsClock, None)
    assert first is given(parent.give_maker(NeedsClock))()


async def test_a_child_makes_by_itself_what_needs_its_own() -> None:
    """The parent, which does not know that, cannot be handed it."""
    parent = Assembly()
    parent.register(NeedsPort, singleton(NeedsPort))
    children = [parent.child(), parent.child()]
    for number, child in enumerate(children):
        child.register(Port, transient(lambda number=number: number))

    assert [0, 1] == [(await child.resolve(NeedsPort, None)).port for child in children]
    with pytest.raises(MissingDependency):
        await parent.resolve(NeedsPort, None)


async def test_an_override_in_a_child_reaches_what_the_parent_would_make() -> None:
    """In that child alone."""
    parent = Assembly()
    child = parent.child()
    child.graph.override(Clock, transient(lambda: "fake"))
    child.refresh()

    assert "fake" == (await child.resolve(NeedsClock, None)).clock
    assert isinstance((await parent.resolve(NeedsClock, None)).clock, Clock)


async def test_what_is_scoped_is_shared_in_a_scope_by_those_of_parent_and_child() -> None:
    """A scope is of the container that opened it."""
    parent = Assembly()
    parent.register(Clock, scoped(Clock))
    child = parent.child()
    child.register(Port, transient(lambda clock: clock))
    child.graph.register(Port, transient(NeedsClock))
    child.refresh()

    async with scope_of(child) as scope:
        first = await scope.resolve(NeedsClock)
        second: Any = await scope.resolve(Port)

    assert first.clock is second.clock


async def test_a_child_learns_what_its_parent_learns_later() -> None:
    """Also through makers that it gave away; as often as it is asked."""
    parent = Assembly()
    parent.register(Port, transient(lambda: 1))
    child = parent.child()
    make = given(child.give_maker(NeedsNeedsPort))
    before = [make().needs_port.port, (await child.resolve(NeedsPort, None)).port]

    parent.register(Port, transient(lambda: 2))

    after = [*[(await child.resolve(NeedsPort, None)).port for _ in range(2)], make().needs_port.port]
    assert ([1, 1], [2, 2, 2]) == (before, after)


def test_what_a_child_gave_away_its_parent_knows() -> None:
    """An override there would have to reach it."""
    parent = Assembly()
    child = parent.child()
    child.give_maker(Clock)

    assert [True, False] == [parent.is_given_away(key) for key in (Clock, NeedsClock)]


async def test_singletons_that_need_something_are_set_aside_in_the_whole_family() -> None:
    """Others stay; all come back."""
    parent = Assembly()
    for key in (Clock, Order, NeedsClock):
        parent.register(key, singleton(key))
    child = parent.child()
    child.register(Port, singleton(NeedsClock))
    before = {key: await child.resolve(key, None) for key in (Clock, Order, NeedsClock, Port)}

    aside = parent.set_singletons_aside(Clock)
    meanwhile = {key: await child.resolve(key, None) for key in before}
    parent.restore_singletons(aside)
    after = {key: await child.resolve(key, None) for key in before}

    assert [Order] == [key for key in before if before[key] is meanwhile[key]]
    assert before == after


def test_a_child_lives_no_longer_than_its_user() -> None:
    """Mediators come and go; the container stays."""
    parent = Assembly()
    child = parent.child()
    child.give_maker(Clock)

    del child
    gc.collect()

    assert not parent.is_given_away(Clock)


def test_a_hundred_services_may_stand_on_each_other() -> None:
    """Each costs a few frames of the stack, of which Python allows a thousand."""
    assembly = Assembly()
    below: Any = Clock
    for number in range(100):
        below = type(f"Level{number}", (), {"__init__": _constructor(below)})
        assembly.register(below, singleton(below))

    assert below is type(given(assembly.give_maker(below))())


def _constructor(below: type) -> Any:
    def initialise(self: Any, below: Any) -> None:
        self.below = below

    initialise.__annotations__ = {"below": below}
    return initialise


async def test_fifty_services_that_are_awaited_may_stand_on_each_other() -> None:
    """The same where each level is awaited."""
    assembly = Assembly()
    assembly.register(Clock, transient(make_later))
    below: Any = Clock
    for number in range(50):
        below = type(f"Level{number}", (), {"__init__": _constructor(below)})
        assembly.register(below, singleton(below))

    assert below is type(await assembly.resolve(below, None))
