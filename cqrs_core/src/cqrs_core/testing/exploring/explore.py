"""Plays a saga under everything that can go wrong."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from cqrs_core.errors import InvalidOption
from cqrs_core.saga.definition import definition_of
from cqrs_core.saga.log import Branch
from cqrs_core.saga.plan import StepKind
from cqrs_core.testing.exploring.backstage import open_backstages
from cqrs_core.testing.exploring.ledger import SideId
from cqrs_core.testing.exploring.play import transactional_sides
from cqrs_core.testing.exploring.schedule import MODES, Exploration, ExplorationFailed, Played, Schedule
from cqrs_core.testing.exploring.stage import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence

    from cqrs_core.maps import EventMap
    from cqrs_core.saga.definition import Definition, Saga, StepDefinition
    from cqrs_core.saga.steps import SagaContext
    from cqrs_core.testing.exploring.backstage import ExploredStorage

    #: Plays one schedule.
    Play = Callable[[Schedule], Awaitable[Played]]
    from cqrs_core.testing.exploring.schedule import Fault, Mode

#: In every so-maniest point a second crash is tried, unless all of them are asked for.
_STRIDE = 4


def explore(
    saga: type[Saga[Any]],
    *,
    context: Callable[[], SagaContext],
    world: Callable[[], Any] | None = None,
    events: Callable[[EventMap], object] | None = None,
    check: Callable[[Any, Played], object] | None = None,
    modes: Collection[Mode] = MODES,
    faults: Sequence[dict[str, Fault]] | None = None,
    schedules: Sequence[Schedule] | None = None,
    is_thorough: bool = False,
    refuses_late_acts: bool = True,
    storage: ExploredStorage | None = None,
) -> Exploration:
    """
    Play *saga* again and again, with a crash, a pause or a cancellation at every point, and judge each play.

    What is judged are the promises of the engine, and that everything is done, or everything is undone, as services see
    it that know repetitions by their keys. Time is virtual: nothing is waited for. It runs an event loop of its own.

    Args:
        saga: The class.
        context: Makes the context, anew for each play.
        world: Makes what the steps work with, anew for each play: a container, or an object with a ``container``.
        events: Binds handlers of events.
        check: Is given the world and what came of a play, and raises ``AssertionError`` if something is wrong; it may
            be ``async``.
        modes: What is tried, at each point in turn: ``"crash"``, the process dies; ``"double_crash"``, so does the one
            that recovers; ``"zombie"``, it stands still until others have driven the saga to its end; ``"cancel"``, its
            driver is cancelled; ``"lost_answer"``, a write is made and its answer is lost. And of a whole play:
            ``"repeat"``, every call of a handler is made twice, but for acts that are ``transactional``, which are done
            once; ``"none"``, nothing but the faults.
        faults: Which calls fail, and how, each dict in plays of its own; every call, in every way, unless given. Calls
            are named as in a :class:`Schedule`; without any dict, nothing fails.
        schedules: Plays these, and nothing else.
        is_thorough: Whether a second crash is tried at every point of the recovery, or at one of four.
        refuses_late_acts: Whether services refuse an act whose undo they have seen. Without that, a worker that stood
            still in the middle of an act can still take effect when all is undone: no engine can call that back.
        storage: Where the sagas are kept, for authors of storages: an object of their class of checks, say. In memory
            unless given; there alone, steps may be ``transactional``.

    Returns:
        What was played. Of *schedules*, it tells whose points the saga does not come to: ``unreached``.

    Raises:
        InvalidOption: *modes* or *schedules* are empty or unknown, *faults* name what is no call of the saga,
            *world* makes something that neither is a container nor has one, or *storage* cannot play the steps.
        ExplorationFailed: A promise was broken. It tells the shortest schedule that does, as a test to paste.
        InvalidSaga: The saga cannot work as it is written.
        WiringError: It cannot be put together with this world.
    """
    definition = definition_of(saga)
    chosen = list(_each_fault(definition)) if faults is None else faults
    _refuse_what_says_nothing(modes, schedules)
    _refuse_what_cannot_play(storage, definition)
    for fault in chosen if schedules is None else [schedule.faults for schedule in schedules]:
        _refuse_unknown_calls(fault, definition)
    stage = Stage(
        definition,
        context=context,
        world=world,
        events=events,
        check=check,
        refuses_late_acts=refuses_late_acts,
    )
    exploration = Exploration()

    async def play_all(play: Play) -> None:
        if schedules is not None:
            for schedule in schedules:
                played = await play(schedule)
                _count(exploration, played)
                if not played.was_reached:
                    exploration.unreached.append(schedule)
            return
        stride = 1 if is_thorough else _STRIDE
        for fault in ({}, *chosen):
            async for played in _explore_with(play, fault, modes, stride):
                _count(exploration, played)

    async def open_and_play() -> None:
        async with open_backstages(storage) as make_backstage:
            await play_all(partial(stage.play, make_backstage=make_backstage))

    with _quiet():
        asyncio.run(open_and_play())
    if exploration.failed:
        raise ExplorationFailed(saga.__name__, exploration)
    return exploration


@contextmanager
def _quiet() -> Iterator[None]:
    """Let the engine not tell of every failure that is made here."""
    loggers = [logging.getLogger(f"cqrs_core.{name}") for name in _TALKATIVE]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, was_disabled in zip(loggers, before, strict=True):
            logger.disabled = was_disabled


_TALKATIVE = ("saga.engine", "saga.compensation", "saga.recovery", "saga.leases", "resilience.calls")


def _count(exploration: Exploration, played: Played) -> None:
    exploration.counts[played.schedule.mode] += 1
    status = "never started" if played.record is None else str(played.record.status)
    exploration.ends[status] += 1
    if played.violations:
        exploration.failed.append(played)


async def _explore_with(
    play: Play, faults: dict[str, Fault], modes: Collection[Mode], stride: int
) -> AsyncIterator[Played]:
    for mode in sorted(set(modes), key=MODES.index):
        if mode == "none" or mode == "repeat":  # noqa: PLR1714 - pyright narrows by these
            yield await play(Schedule(mode=mode, faults=faults))
        elif mode == "double_crash":
            async for played in _crash_twice(play, faults, stride):
                yield played
        else:
            for is_durable in (True, False) if mode == "cancel" else (True,):
                async for played in _at_every_point(play, mode, faults, is_durable=is_durable):
                    yield played


async def _at_every_point(
    play: Play, mode: Mode, faults: dict[str, Fault], *, is_durable: bool = True
) -> AsyncIterator[Played]:
    for at in count():
        played = await play(Schedule(mode=mode, at=at, faults=faults, is_durable=is_durable))
        if not played.was_reached:
            return
        yield played


async def _crash_twice(play: Play, faults: dict[str, Fault], stride: int) -> AsyncIterator[Played]:
    async for once in _at_every_point(play, "crash", faults):
        at = once.schedule.at
        for then in count(at % stride, stride):
            played = await play(Schedule(mode="double_crash", at=at, then=then, faults=faults))
            if not played.was_reached:
                break
            yield played


def faults_of(saga: type[Saga[Any]]) -> list[dict[str, Fault]]:
    """List what is to fail: every call alone; and every undo, with something that makes it necessary."""
    return list(_each_fault(definition_of(saga)))


def _refuse_what_says_nothing(modes: Collection[Mode], schedules: Sequence[Schedule] | None) -> None:
    if not modes or not set(modes) <= set(MODES):
        raise InvalidOption("modes", modes, f"some of {', '.join(MODES)}")
    if schedules is not None and not schedules:
        raise InvalidOption("schedules", schedules, "one at least, or None for all there are")


def _refuse_what_cannot_play(storage: ExploredStorage | None, definition: Definition) -> None:
    if storage is not None and transactional_sides(definition):
        raise InvalidOption("storage", storage, "left out: a saga with transactional steps is played in memory")


def _refuse_unknown_calls(faults: Mapping[str, Fault], definition: Definition) -> None:
    sides = [SideId(step.id, side.branch) for step in definition.steps for side in step.sides]
    calls = [f"{action} {side}" for side in sides for action in ("act", "undo")]
    for call in faults:
        if call not in calls:
            raise InvalidOption("faults", call, f"a call of the saga, one of {', '.join(map(repr, calls))}")


def _each_fault(definition: Definition) -> Iterator[dict[str, Fault]]:
    names = [str(SideId(step.id, Branch.PRIMARY)) for step in definition.steps]
    of_acts: tuple[Fault, ...] = ("refused", "lost", "refused_later")
    of_undos: tuple[Fault, ...] = ("fails_once", "fails")
    for step, name in zip(definition.steps, names, strict=True):
        for fault in of_acts:
            yield {f"act {name}": fault}
            if step.fallback is not None:
                yield {f"act {name}": "refused", f"act {name} fallback": fault}
                yield {f"act {name}": "lost", f"act {name} fallback": fault}
    turning = next((name for step, name in zip(definition.steps[::-1], names[::-1], strict=True) if _turns(step)), None)
    if turning is None:
        return
    for step, name in zip(definition.steps, names, strict=True):
        if step.kind is StepKind.COMPENSABLE:
            for fault in of_undos:
                yield {f"act {turning}": "lost", f"undo {name}": fault}


def _turns(step: StepDefinition) -> bool:
    return step.kind is StepKind.COMPENSABLE and step.fallback is None
