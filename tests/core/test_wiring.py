"""Mediators get their handlers from whatever container there is; what stands in the way is told before a message."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import pytest

from cqrs_core import SimpleContainer
from cqrs_core.errors import CqrsError, MissingDependency, NotAContainer, UnresolvedAnnotation, WiringError
from cqrs_core.wiring import HandlerSource, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal  # what type checkers alone see


class Port(ABC):
    @abstractmethod
    def read(self) -> str: ...


class Clock:
    pass


class Mediator:
    """What the source offers beside the container's own."""


class Plain:
    pass


class NeedsPort:
    def __init__(self, port: Port) -> None:
        self.port = port


class Sends:
    def __init__(self, mediator: Mediator, clock: Clock) -> None:
        self.mediator = mediator
        self.clock = clock


class SendsAtWill:
    """Every way to ask: by position, with a default, for nothing in particular."""

    def __init__(
        self,
        url: str = "default",
        mediator: Mediator | None = None,
        /,
        *,
        port: Port | None,
        clock: Clock | None = None,
    ) -> None:
        self.asked = (url, mediator, port, clock)


class SendsUnannotated:
    def __init__(self, mediator: Mediator, anything) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - what has no annotation is told
        pass


class Unresolved:
    def __init__(self, amount: Decimal) -> None:
        pass


class Minimal:
    """All that a container must offer."""

    def __init__(self, objects: Mapping[type, Any] | None = None) -> None:
        self.objects = objects or {}

    async def resolve(self, wanted: type) -> Any:
        return self.objects[wanted]


class Knowing(Minimal):
    def provides(self, wanted: type) -> bool:
        return wanted in self.objects


class Synchronous(Minimal):
    def provider(self, wanted: type) -> Callable[[], Any] | None:
        return (lambda: self.objects[wanted]) if wanted in self.objects else None


class Scoping(Minimal):
    """One scope, which writes down how it ended."""

    def __init__(self, objects: Mapping[type, Any] | None = None) -> None:
        super().__init__(objects)
        self.ended: list[BaseException | None] = []

    def scope(self, values: Mapping[type, Any] | None = None) -> ForeignScope:
        return ForeignScope(self, values)


class ForeignScope(Minimal):
    def __init__(self, container: Scoping, values: Mapping[type, Any] | None) -> None:
        super().__init__({key: ("in scope", value) for key, value in container.objects.items()} | dict(values or {}))
        self._ended = container.ended

    async def aclose(self, error: BaseException | None = None) -> None:
        self._ended.append(error)


def source_of(container: Any, *handlers: type, mediator: object = None) -> HandlerSource:
    source = HandlerSource(container)
    if mediator is not None:
        source.offer(Mediator, mediator)
    assert [] == [problem for handler in handlers for problem in source.admit(handler)]
    return source


class Part:
    def __init__(self, *problems: CqrsError) -> None:
        self.problems = list(problems)
        self.is_frozen = False

    def wire(self) -> list[CqrsError]:
        return self.problems

    def freeze(self) -> None:
        self.is_frozen = True


def test_parts_without_problems_are_wired() -> None:
    """Every one of them is asked."""
    wired: list[str] = []

    class Noted(Part):
        def wire(self) -> list[CqrsError]:
            wired.append("part")
            return super().wire()

    parts = [Noted(), Noted()]
    wire(*parts)

    assert ["part", "part"] == wired
    assert [True, True] == [part.is_frozen for part in parts]


def test_parts_are_frozen_only_if_nothing_is_wrong_with_any() -> None:
    """What is wrong with one may be mended in another."""
    sound, faulty = Part(), Part(MissingDependency(NeedsPort, "port", Port))

    with pytest.raises(WiringError):
        wire(sound, faulty)

    assert [False, False] == [sound.is_frozen, faulty.is_frozen]


def test_the_problems_of_all_parts_are_raised_at_once() -> None:
    """A fault that two parts share is told once."""
    shared = [MissingDependency(NeedsPort, "port", Port) for _ in range(2)]
    other = MissingDependency(Sends, "mediator", Mediator)

    with pytest.raises(WiringError) as caught:
        wire(Part(shared[0]), Part(shared[1], other), Part())

    assert [str(shared[0]), str(other)] == [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("container", [object(), {}, Plain, SimpleContainer, 5])
def test_what_is_no_container_is_refused(container: Any) -> None:
    """Nor is the class of one, which is easily given by mistake."""
    with pytest.raises(NotAContainer) as caught:
        HandlerSource(container)

    assert container is caught.value.container
    assert "async def resolve" in str(caught.value)


async def test_there_is_a_container_though_none_was_given() -> None:
    """It builds classes."""
    source = source_of(None, Plain)

    assert isinstance(source.container, SimpleContainer)
    assert isinstance(await source.resolver()(Plain), Plain)


def test_a_container_that_is_false_is_a_container() -> None:
    """One that is empty may have a length."""
    container = type("Empty", (Minimal,), {"__len__": lambda _: 0})()

    assert container is HandlerSource(container).container


async def test_the_built_in_container_gives_services_as_its_own() -> None:
    """Handlers that ask for them are made at once, and by no other way than others."""
    container, mediator = SimpleContainer(), Mediator()
    source = source_of(container, Sends, mediator=mediator)

    made = [source.maker(Sends)(), await source.resolver()(Sends)]  # type: ignore[misc]  # both are there

    assert [mediator, mediator] == [one.mediator for one in made]
    assert not source.builds(Sends)


def test_the_container_that_was_given_stays_as_it_is() -> None:
    """What is offered to handlers of this source is not for others."""
    container, mediator = SimpleContainer(), Mediator()
    container.singleton(Mediator)

    source = source_of(container, Sends, mediator=mediator)

    make, make_outside = source.maker(Sends), container.provider(Sends)
    assert make is not None
    assert make_outside is not None
    assert [True, False] == [made.mediator is mediator for made in (make(), make_outside())]


def test_the_built_in_container_tells_what_is_missing() -> None:
    """Each with the way to it; nothing is raised."""
    source = HandlerSource()

    assert [(NeedsPort, "port", Port)] == [
        (p.dependent, p.parameter, p.annotation) for p in source.admit(NeedsPort) if isinstance(p, MissingDependency)
    ]


def test_an_abstract_handler_is_no_error_here() -> None:
    """What is wrong with a handler itself, the map says; the view of the container has it, the container has not."""
    source = HandlerSource()

    assert [] == source.admit(Port)
    assert not source.container.provides(Port)  # type: ignore[attr-defined]  # its own view, which tells that


async def test_a_minimal_container_is_trusted() -> None:
    """It cannot say what it knows; it will when it is asked."""
    handler = Plain()
    source = source_of(Minimal({Plain: handler}), Plain)

    assert handler is await source.resolver()(Plain)
    assert (None, None, False) == (source.maker(Plain), source.open_scope, source.builds(Plain))


async def test_its_error_reaches_whoever_asks() -> None:
    """As it is."""
    source = source_of(Minimal(), Plain)

    with pytest.raises(KeyError):
        await source.resolver()(Plain)


@pytest.mark.parametrize("container_type", [Minimal, Knowing, Synchronous])
async def test_a_handler_that_asks_for_a_service_is_built_from_the_container(container_type: type[Minimal]) -> None:
    """The service from here, the rest from there."""
    clock, mediator = Clock(), Mediator()
    source = source_of(container_type({Clock: clock}), Sends, mediator=mediator)

    made = await source.resolver()(Sends)

    assert (mediator, clock) == (made.mediator, made.clock)
    assert (True, None) == (source.builds(Sends), source.maker(Sends))


async def test_other_handlers_still_come_from_the_container() -> None:
    """One that is built here changes nothing for them."""
    handler = Plain()
    source = source_of(Minimal({Clock: Clock(), Plain: handler}), Sends, Plain, mediator=Mediator())

    assert handler is await source.resolver()(Plain)


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (Knowing(), ("default", None, None)),
        (Knowing({str: "given", Port: 1, Clock: 2}), ("given", 1, 2)),
        (Minimal({Port: 1, Clock: 2, str: "given"}), ("default", 1, None)),
    ],
)
async def test_what_can_be_left_out_is_asked_for_if_the_container_knows_it(
    container: Minimal, expected: tuple[Any, ...]
) -> None:
    """One that cannot say so is asked only where there is no default."""
    mediator = Mediator()
    source = source_of(container, SendsAtWill, mediator=mediator)

    url, got, port, clock = (await source.resolver()(SendsAtWill)).asked

    assert (expected, mediator) == ((url, port, clock), got)


async def test_a_handler_that_a_container_does_not_know_is_built_from_what_it_does() -> None:
    """Nobody has to register handlers."""
    source = source_of(Knowing({Port: 5}), NeedsPort)

    assert 5 == (await source.resolver()(NeedsPort)).port


def test_what_neither_knows_is_missing() -> None:
    """Told with handler, parameter and annotation."""
    source = HandlerSource(Knowing())

    (problem,) = source.admit(NeedsPort)

    assert isinstance(problem, MissingDependency)
    assert (NeedsPort, "port", Port) == (problem.dependent, problem.parameter, problem.annotation)


def test_a_parameter_without_annotation_cannot_be_filled_here() -> None:
    """No container can be asked for it."""
    source = HandlerSource(Minimal())
    source.offer(Mediator, Mediator())

    (problem,) = source.admit(SendsUnannotated)

    assert isinstance(problem, MissingDependency)
    assert (SendsUnannotated, "anything", None) == (problem.dependent, problem.parameter, problem.annotation)


def test_a_handler_that_the_container_knows_need_not_be_understood() -> None:
    """Its annotations are the container's affair, as long as it builds the handler."""
    assert [] == HandlerSource(Minimal()).admit(Unresolved)
    assert [] == HandlerSource(Knowing({Unresolved: 1})).admit(Unresolved)


def test_a_handler_that_is_built_here_must_be_understood() -> None:
    """Told, not raised."""
    (problem,) = HandlerSource(Knowing()).admit(Unresolved)

    assert isinstance(problem, UnresolvedAnnotation)
    assert (Unresolved, "Decimal") == (problem.owner, problem.text)


def test_a_container_may_make_handlers_at_once() -> None:
    """Its provider is handed on; ``None`` says that there is none."""
    handler = Plain()
    source = source_of(Synchronous({Plain: handler}), Plain, Clock)

    make = source.maker(Plain)

    assert make is not None
    assert handler is make()
    assert None is source.maker(Clock)


async def test_a_scope_makes_the_handlers_of_one_attempt() -> None:
    """Those too that are built here, from what the scope gives."""
    mediator = Mediator()
    container = Scoping({Clock: 1, Plain: 2})
    source = source_of(container, Sends, Plain, mediator=mediator)

    async with source.resolving() as resolve:
        sends, plain = await resolve(Sends), await resolve(Plain)

    assert (mediator, ("in scope", 1), ("in scope", 2)) == (sends.mediator, sends.clock, plain)
    assert [None] == container.ended


async def test_a_scope_is_told_what_the_attempt_raised() -> None:
    """And is closed once; the error goes on."""
    container, error = Scoping(), ConnectionError()

    with pytest.raises(ConnectionError):
        async with source_of(container).resolving():
            raise error

    assert [error] == container.ended


async def test_without_scopes_handlers_come_from_the_container_itself() -> None:
    """It is not closed: it belongs to whoever made it."""
    handler = Plain()

    async with source_of(Minimal({Plain: handler}), Plain).resolving() as resolve:
        assert handler is await resolve(Plain)


async def test_a_scope_of_the_built_in_container_is_one_of_its_view() -> None:
    """Services and what is scoped meet in one handler."""
    container, mediator = SimpleContainer(), Mediator()
    container.scoped(Clock)
    source = source_of(container, Sends, mediator=mediator)

    async with source.resolving() as resolve:
        made = [await resolve(Sends) for _ in range(2)]

    assert [mediator, mediator] == [one.mediator for one in made]
    assert made[0].clock is made[1].clock
    assert source.maker(Sends) is None
