"""What becomes of one event: its plan, and what handling it brings."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from cqrs_core.errors import NotAMessage
from cqrs_core.messages import Event
from cqrs_core.pipeline import wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from cqrs_core.open_unit import OpenUnit
    from cqrs_core.pipeline import EventMiddleware, Handle
    from cqrs_core.wiring import Resolve

    FollowUp = Callable[["Outcome", Resolve, object], Coroutine[Any, Any, None]]
    #: What becomes of one event.
    Plan = Callable[
        [Event, "Cause | None", Resolve, "Outcome | None", "FollowUp | None", object],
        Coroutine[Any, Any, "Outcome | None"],
    ]


class Cause(NamedTuple):
    """Why an event is there: the event whose handler emitted it, and what that was there for."""

    event_type: type[Event]
    cause: Cause | None


class Reaction(NamedTuple):
    """One handler of an event type, and what is put around it."""

    handler: type
    middlewares: tuple[EventMiddleware, ...]
    #: Given what makes one attempt with a handler class: the handler, guarded by its policies. ``None``: it has none.
    guard: Callable[[Callable[[type], Handle]], Handle] | None = None


class Job(NamedTuple):
    """One event on its way to one handler."""

    event: Event
    cause: Cause | None
    reaction: Reaction


class Outcome:
    """What events have brought, other than success, and what is still to be done about them."""

    __slots__ = ("causes", "emitted", "errors", "jobs", "published")

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        #: What goes to other processes, when all handlers have run.
        self.published: list[Event] = []
        #: Handlers of this level that were put off, to run inside middlewares or side by side.
        self.jobs: list[Job] = []
        #: The next level, and why each of its events is there.
        self.emitted: list[Event] = []
        self.causes: list[Cause] = []

    def add(self, emitted: Sequence[Event], event: Event, cause: Cause | None) -> None:
        """Put what a handler of *event* emitted on the next level."""
        self.emitted.extend(emitted)
        self.causes.extend(repeat(Cause(type(event), cause), len(emitted)))

    def take_level(self) -> Iterable[tuple[Event, Cause]]:
        """Hand over the next level, and begin the one after it."""
        level = zip(self.emitted, self.causes, strict=True)
        self.emitted, self.causes = [], []
        return level

    def take_jobs(self) -> Sequence[Job]:
        """Hand over what was put off."""
        jobs, self.jobs = self.jobs, []
        return jobs


# A plan takes one event, and the outcome of the events before it on its level (none, as a rule), and gives the outcome
# with what this event brought. An event that stands alone is followed up by its plan itself, which saves a coroutine.


async def put_out(  # noqa: PLR0917 - the shape of all plans
    event: Event,
    cause: Cause | None,  # noqa: ARG001 - as above
    resolve: Resolve,
    outcome: Outcome | None,
    follow_up: FollowUp | None,
    response: object,
) -> Outcome | None:
    """The plan of notifications that are emitted: they go out, and nowhere else."""
    outcome = outcome or Outcome()
    outcome.published.append(event)
    if follow_up is not None:
        await follow_up(outcome, resolve, response)
        return None
    return outcome


def put_out_too(plan: Plan) -> Plan:
    """Make the plan of events that have handlers here, as *plan* has it, and go out as well."""

    async def put_out_and_plan(  # noqa: PLR0917 - the shape of all plans
        event: Event,
        cause: Cause | None,
        resolve: Resolve,
        outcome: Outcome | None,
        follow_up: FollowUp | None,
        response: object,
    ) -> Outcome | None:
        outcome = outcome or Outcome()
        outcome.published.append(event)
        await plan(event, cause, resolve, outcome, None, None)
        if follow_up is not None:
            await follow_up(outcome, resolve, response)
            return None
        return outcome

    return put_out_and_plan


def put_off(reactions: Sequence[Reaction]) -> Plan:
    """Make the plan for handlers that run inside middlewares, or side by side with those of the whole level."""

    async def plan(  # noqa: PLR0917 - the shape of all plans
        event: Event,
        cause: Cause | None,
        resolve: Resolve,
        outcome: Outcome | None,
        follow_up: FollowUp | None,
        response: object,
    ) -> Outcome | None:
        outcome = outcome or Outcome()
        outcome.jobs.extend(Job(event, cause, reaction) for reaction in reactions)
        if follow_up is not None:
            await follow_up(outcome, resolve, response)
            return None
        return outcome

    return plan


def wait_behind(outcome: Outcome, event: Event, cause: Cause | None, reactions: Sequence[Reaction]) -> Outcome:
    """Let handlers wait for their turn. Not in the plan itself: a comprehension makes its names dearer there."""
    outcome.jobs.extend([Job(event, cause, reaction) for reaction in reactions])
    return outcome


def one_after_the_other(reactions: Sequence[Reaction], makers: Sequence[Callable[[], Any] | None]) -> Plan:
    """
    Make the plan for handlers without anything around them: the usual case, and so with as few calls as can be.

    Args:
        reactions: In the order in which their handlers are to run.
        makers: For each what makes its handler without awaiting, if there is such.
    """
    pairs = tuple((reaction.handler, make) for reaction, make in zip(reactions, makers, strict=True))

    async def plan(  # noqa: PLR0917 - the shape of all plans
        event: Event,
        cause: Cause | None,
        resolve: Resolve,
        outcome: Outcome | None,
        follow_up: FollowUp | None,
        response: object,
    ) -> Outcome | None:
        if outcome is not None and outcome.jobs:
            # Handlers of an earlier event wait for their turn: these come after them.
            return wait_behind(outcome, event, cause, reactions)
        for handler_class, make in pairs:
            handler: Any = None
            try:
                handler = make() if make is not None else await resolve(handler_class)
                await handler.handle(event)
            except BaseException as error:
                if handler is not None:
                    handler.take_events()  # it failed, so they did not happen
                if not isinstance(error, Exception):
                    raise
                outcome = outcome or Outcome()
                outcome.errors.append(error)  # the policy decides what becomes of it
            else:
                if handler.pending_events:
                    outcome = outcome or Outcome()
                    outcome.add(handler.take_events(), event, cause)
        if follow_up is not None and outcome is not None:
            await follow_up(outcome, resolve, response)
            return None
        return outcome

    return plan


async def refuse(  # noqa: PLR0917 - the shape of all plans
    event: Event,
    cause: Cause | None,  # noqa: ARG001 - as above
    resolve: Resolve,
    outcome: Outcome | None,
    follow_up: FollowUp | None,
    response: object,
) -> Outcome | None:
    """The plan of what is no event, such as a class of events where one of them was meant."""
    outcome = outcome or Outcome()
    outcome.errors.append(NotAMessage(event, Event))
    if follow_up is not None:
        await follow_up(outcome, resolve, response)
        return None
    return outcome


async def react(
    event: Event, reaction: Reaction, resolve: Resolve, emitted: list[Event], unit: OpenUnit | None = None
) -> None:
    """
    Let one handler handle *event* inside its middlewares; the events that it emitted are added to *emitted*.

    In a *unit*, each attempt of a handler that has policies can be undone: the next begins with what it found.
    """

    def attempt(handler_class: type) -> Handle:
        async def handle(event: Any) -> None:  # noqa: ANN401 - a middleware may pass another one on
            handler = await resolve(handler_class)
            try:
                await handler.handle(event)
            except BaseException:
                handler.take_events()
                raise
            emitted.extend(handler.take_events())

        return handle if unit is None or reaction.guard is None else undoable(handle, unit, emitted)

    handle = attempt(reaction.handler) if reaction.guard is None else reaction.guard(attempt)
    await wrap(handle, reaction.middlewares)(event)


def undoable(handle: Handle, unit: OpenUnit, emitted: list[Event]) -> Handle:
    """Let a call of *handle* that raises, or cannot be kept, leave nothing behind, its events neither."""

    async def handle_in_savepoint(event: Any) -> None:  # noqa: ANN401 - as above
        before = len(emitted)
        try:
            async with unit.savepoint():
                await handle(event)
        except BaseException:
            del emitted[before:]
            raise

    return handle_in_savepoint


def chain_of(event_type: type[Event], cause: Cause | None) -> list[type[Event]]:
    """The classes of the events that led to one of *event_type*, and it, the first one first."""
    chain = [event_type]
    while cause is not None:
        chain.append(cause.event_type)
        cause = cause.cause
    return chain[::-1]
