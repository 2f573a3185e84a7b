"""Puts a saga together with what watches it, and has it played again and again, each time in a new world."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from cqrs_core.emitter import EventEmitter
from cqrs_core.errors import InvalidOption, WiringError
from cqrs_core.maps import EventMap
from cqrs_core.resilience.guards import Guards
from cqrs_core.saga.runnable import RunnableSagas
from cqrs_core.testing.clock import VirtualClock
from cqrs_core.testing.exploring.effects import StageStorage
from cqrs_core.testing.exploring.ledger import SideId
from cqrs_core.testing.exploring.play import Play, transactional_sides
from cqrs_core.units import Units
from cqrs_core.wiring import HandlerSource, wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cqrs_core.clock import Clock
    from cqrs_core.envelope import Envelope
    from cqrs_core.messages import Event
    from cqrs_core.saga.definition import Definition, Side, StepDefinition
    from cqrs_core.saga.runnable import RunnableSaga, RunnableSide
    from cqrs_core.saga.steps import SagaContext
    from cqrs_core.testing.exploring.backstage import Backstage
    from cqrs_core.testing.exploring.effects import MortalUnit
    from cqrs_core.testing.exploring.schedule import Played, Schedule


class Stage:
    """Where a saga is played, again and again, each time from the beginning."""

    def __init__(
        self,
        definition: Definition,
        *,
        context: Callable[[], SagaContext],
        world: Callable[[], Any] | None,
        events: Callable[[EventMap], object] | None,
        check: Callable[[Any, Played], object] | None,
        refuses_late_acts: bool,
    ) -> None:
        """
        Take what :func:`explore` was given.

        Args:
            definition: Of the saga.
            context: As for :func:`explore`; so are the others.
        """
        self._definition = definition
        self._context = context
        self._world = world
        self._events = events
        self._check = check
        self._refuses_late_acts = refuses_late_acts
        #: Without a world to be made anew, it is put together once.
        self._saga = self._build(None) if world is None else None
        self._play: Play

    async def play(self, schedule: Schedule, make_backstage: Callable[[Clock], Backstage]) -> Played:
        """Play one schedule, where *make_backstage* has the saga kept."""
        world = None if self._world is None else self._world()
        saga = self._saga or self._build(container_of(world))
        play = self._play = Play(saga, schedule, make_backstage, refuses_late_acts=self._refuses_late_acts)
        await play.run(self._context())
        played = await play.judge()
        if self._check is not None and played.was_reached:
            try:
                answer = self._check(world, played)
                if inspect.isawaitable(answer):
                    await answer
            except AssertionError as error:
                played.violations.append(f"check: {error}")
        return played

    def _build(self, container: Any) -> RunnableSaga:  # noqa: ANN401 - of any kind
        """Put the saga together, with what watches it."""
        clock = VirtualClock(jumps=True)
        source = HandlerSource(container)
        event_map = EventMap()
        if self._events is not None:
            self._events(event_map)
        emitter = EventEmitter(event_map, source)
        wire(emitter)
        watched = _Watched(self._call, source, emitter, self._units(source), Guards(clock=clock))
        return watched.make(self._definition)

    def _units(self, source: HandlerSource) -> Units:
        """Give the attempts units of work if there is a step that needs them."""
        if not transactional_sides(self._definition):
            return Units(source)
        units = Units(source, storage=StageStorage(self._make_unit), write=self._write)
        problems = units.wire()
        if problems:
            raise WiringError(problems)
        return units

    # Of the play at hand, which there is only later.

    def _make_unit(self) -> MortalUnit:
        return self._play.unit_of_work()

    def _write(self, event: Event) -> Sequence[Envelope]:
        return self._play.written(event)

    async def _call(self, *given: Any) -> Any:  # noqa: ANN401 - as it is there
        return await self._play.call(*given)


def container_of(world: Any) -> Any:  # noqa: ANN401 - whatever the program has
    """
    Give the container of a world: itself, or what it has as such; of no world, none.

    Raises:
        InvalidOption: It neither is a container nor has one.
    """
    if world is None or callable(getattr(world, "resolve", None)):
        return world
    container = getattr(world, "container", None)
    if container is None:
        raise InvalidOption("world", world, "what makes a container, or an object with a container")
    return container


class _Watched(RunnableSagas):
    """Puts what watches around every step."""

    def __init__(self, call: Callable[..., Awaitable[Any]], *parts: Any) -> None:  # noqa: ANN401 - as there
        super().__init__(*parts)
        self._call = call

    def side(self, step: StepDefinition, side: Side) -> RunnableSide:
        """Put one side together, with what watches it."""
        made, known = super().side(step, side), SideId(step.id, side.branch)
        call = self._call
        return made._replace(act=partial(call, known, made.act), undo=partial(call, known, made.undo))
