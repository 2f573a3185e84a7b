"""Takes events to their handlers in this process, level by level, and notifications to other processes."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from cqrs_core.errors import EventCascadeTooDeep, EventHandlersFailed, InvalidOption, NoPublisher
from cqrs_core.event_plans import EventPlans
from cqrs_core.jobs import run_jobs, run_jobs_in_unit
from cqrs_core.messages import Event
from cqrs_core.pipeline import middleware_problems
from cqrs_core.reaction_map import ReactionMap
from cqrs_core.reactions import Reaction, chain_of
from cqrs_core.resilience.guards import Guards
from cqrs_core.units import Units

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Container, Coroutine, Iterable, Sequence

    from cqrs_core.broker import Publisher
    from cqrs_core.errors import CqrsError
    from cqrs_core.maps import EventBinding, EventMap
    from cqrs_core.open_unit import OpenUnit
    from cqrs_core.pipeline import EventMiddleware, Handle
    from cqrs_core.reactions import Outcome, Plan
    from cqrs_core.resilience.deadline import Deadline
    from cqrs_core.wiring import HandlerSource, Resolve

    #: A group, and the ids of the messages that it is about to handle.
    Accepting = tuple[str, Sequence[uuid.UUID]]

logger = logging.getLogger(__name__)


class EventEmitter:
    """
    Takes events to their handlers.

    Handlers of one event run in the order in which they were bound; events that they emit form the next level, which is
    handled when the whole level is done (breadth first). An error ends nothing: all handlers run, and then all errors
    are raised together, or logged. In a unit of work, where the first error rolls everything back, it ends the rest.
    """

    def __init__(
        self,
        event_map: EventMap,
        source: HandlerSource,
        *,
        publisher: Publisher | None = None,
        published: Container[type] = (),
        middlewares: Iterable[EventMiddleware] = (),
        max_concurrent_handlers: int = 1,
        max_event_depth: int = 32,
        on_error: Literal["raise", "log"] = "raise",
        is_polymorphic: bool = False,
        guards: Guards | None = None,
        units: Units | None = None,
    ) -> None:
        """
        Put the emitter together; :func:`cqrs_core.wiring.wire` makes it ready.

        Args:
            event_map: Which handlers an event has. It is frozen by wiring.
            source: Makes the handlers.
            publisher: Takes notifications to other processes, and events of the classes in *published*.
            published: Classes of events that go to other processes, and to their handlers here as well.
            middlewares: Wrap the handling of all events, outermost first, once for each handler.
            max_concurrent_handlers: How many handlers of one level may run at the same time; 1: one after the other.
            max_event_depth: How many levels of follow-ups there may be.
            on_error: ``"raise"``: one :class:`EventHandlersFailed` with all errors; ``"log"``: each is logged.
            is_polymorphic: Whether an event reaches the handlers of its base classes too, the most specific first,
                each handler once.
            guards: Puts the policies of bindings around their handlers.
            units: Gives events that come from outside their unit of work, if there is a storage; events of handlers
                are handled in that of the handler.
        """
        self._event_map = event_map
        self._source = source
        self._publisher = publisher
        self._published = published
        self._middlewares = tuple(middlewares)
        self._max_concurrent = max_concurrent_handlers
        self._max_depth = max_event_depth
        self._on_error = on_error
        self._guards = guards or Guards()
        self._units = units or Units(source)
        self._reactions = ReactionMap(is_polymorphic=is_polymorphic)
        #: Made by :meth:`wire`: what becomes of events, by their class. The dicts are looked at first, for each event.
        self._event_plans: EventPlans
        self._plans: dict[type, Plan] = {}
        self._arrival_plans: dict[Any, Plan] = {}
        #: For events that arrive: who acknowledges them has to know of every error, whatever the policy is.
        self._follow_up_arrival = partial(self._follow_up, is_arrival=True)
        self._needs_scope = False
        self._has_units = False
        self._resolve: Resolve

    @property
    def publisher(self) -> Publisher | None:
        """What takes events to other processes; ``None``: nothing does."""
        return self._publisher

    def wire(self) -> list[CqrsError]:
        """Get ready, and tell everything that is wrong: errors, none of them raised."""
        problems = [*self._limit_problems(), *self._event_map.problems()]
        problems.extend(middleware_problems(self._middlewares, "event"))
        for bound in self._event_map:
            problems.extend(middleware_problems(bound.middlewares, "event"))
            if bound.policies.are_used:
                problems.extend(self._guards.problems(bound.policies))
        for handler in self._event_map.handlers():
            problems.extend(self._source.admit(handler))
        if not problems:
            self._put_together()
        return problems

    def _limit_problems(self) -> list[CqrsError]:
        limits = {"max_concurrent_event_handlers": self._max_concurrent, "max_event_depth": self._max_depth}
        found: list[CqrsError] = [
            InvalidOption(name, limit, "a whole number, at least 1")
            for name, limit in limits.items()
            if not isinstance(limit, int) or limit < 1
        ]
        if self._publisher is not None and not callable(getattr(self._publisher, "publish", None)):
            found.append(
                InvalidOption(
                    "message_broker", self._publisher, "a broker, or an object with `async def publish(event)`"
                )
            )
        if self._on_error not in ("raise", "log"):
            found.append(InvalidOption("event_errors", self._on_error, "'raise' or 'log'"))
        return found

    def freeze(self) -> None:
        """Refuse changes of the map from now on."""
        self._event_map.freeze()

    def _put_together(self) -> None:
        self._reactions.clear()
        self._has_units = self._units.are_used
        for bound in self._event_map:
            guard = partial(self._guarded, bound) if bound.policies.are_used else None
            reaction = Reaction(bound.handler, (*self._middlewares, *bound.middlewares), guard)
            self._reactions.add(bound.event_type, reaction)
        has_scopes = self._source.open_scope is not None
        self._needs_scope = has_scopes and any(
            self._source.maker(handler) is None for handler in self._event_map.handlers()
        )
        self._resolve = self._source.resolver()
        # Handlers run as they come, if nothing is put around them. Not so if they may run side by side, or if the first
        # that fails ends the rest: then all wait for their turn.
        is_plain = self._max_concurrent == 1 and not self._has_units
        plans = EventPlans(self._reactions, self._source, published=self._published, is_plain=is_plain)
        self._event_plans, self._plans, self._arrival_plans = plans, plans.emitted, plans.arriving

    def _guarded(self, bound: EventBinding, attempt: Callable[[type], Handle]) -> Handle:
        """Put the policies of a binding around attempts with its handlers."""
        deadline = self._guards.deadline(bound.policies)
        attempts = [attempt(handler) for handler in bound.handlers]
        if deadline is not None:
            attempts = [
                partial(_call_within, deadline, handle, handler)
                for handle, handler in zip(attempts, bound.handlers, strict=True)
            ]
        fallback = attempts[1] if len(attempts) > 1 else None
        return self._guards.call(attempts[0], fallback, bound.policies, bound.circuit)

    def emit(
        self,
        events: Sequence[Event],
        resolve: Resolve | None = None,
        response: object = None,
    ) -> Coroutine[Any, Any, None]:
        """
        Take *events* that a handler emitted to their handlers, and notifications to the publisher.

        Args:
            events: In the order in which they were emitted.
            resolve: Makes handlers in the scope that is open; ``None`` if none is.
            response: What the handler answered, for the error.

        Raises:
            EventHandlersFailed: Some handlers, or the publisher, raised. Everything else was done; in a unit of work,
                everything is rolled back.
        """
        if resolve is None:
            if self._has_units:
                return self._emit_in_unit(events)
            if self._needs_scope:
                return self._emit_in_scope(events, response)
            resolve = self._resolve
        if len(events) != 1:
            return self._emit_all(events, resolve, response)
        (event,) = events
        plan = self._plans.get(type(event)) or self._event_plans.of_emitted(type(event))
        return plan(event, None, resolve, None, self._follow_up, response)  # type: ignore[return-value]  # None, then

    def deliver(self, event: Event, accepting: Accepting | None = None) -> Coroutine[Any, Any, None]:
        """
        Take one event that came from outside to its handlers, a notification too; what they emit is emitted.

        Args:
            event: What came.
            accepting: The group that handles it, and the ids of its message: a message that the group has had is
                passed over. Only with a storage.

        Raises:
            EventHandlersFailed: Some handlers, or the publisher, raised: always told, never only logged. Everything
                else was done; in a unit of work, everything was rolled back.
            InvalidOption: There is no storage, and so no inbox.
        """
        plan = self._arrival_plans.get(type(event)) or self._event_plans.of_arriving(event)
        if self._has_units or accepting is not None:
            return self._deliver_once(plan, event, accepting)
        if self._needs_scope:
            return self._deliver_in_scope(plan, event)
        return plan(event, None, self._resolve, None, self._follow_up_arrival, None)  # type: ignore[return-value]  # None

    def handles(self, target: Any) -> bool:  # noqa: ANN401 - a class, or an alias such as NotificationEvent[P]
        """Tell whether an event of *target* that arrives would reach any handler; to be asked after :meth:`wire`."""
        if not len(self._reactions) and len(self._event_map):
            return True  # something is wrong with the map, and told: nothing is known
        return self._reactions.has_any_for(target)

    async def _emit_in_scope(self, events: Sequence[Event], response: object) -> None:
        try:
            async with self._source.resolving() as resolve:
                await self.emit(events, resolve, response)
        except EventHandlersFailed:
            raise
        except Exception as error:
            # Of the scope, which is that of the event handlers: the command has taken effect, and must not be repeated.
            if self._on_error == "raise":
                raise EventHandlersFailed([error], response) from error
            logger.exception("The scope of event handlers failed; the policy is to go on.")

    async def _emit_in_unit(self, events: Sequence[Event]) -> None:
        unit = self._units.current(type(events[0]))
        if unit is not None:
            with unit.joined():
                await self.emit(events, unit.resolve)
            return
        await self._units.run(lambda unit: self.emit(events, unit.resolve))

    def _deliver_once(self, plan: Plan, event: Event, accepting: Accepting | None) -> Coroutine[Any, Any, None]:
        if accepting is not None and not self._has_units:
            raise InvalidOption("message_id", accepting[1][0], "left out: there is no storage that could remember it")
        return self._deliver_in_unit(plan, event, accepting)

    async def _deliver_in_unit(self, plan: Plan, event: Event, accepting: Accepting | None) -> None:
        unit = self._units.current(type(event))
        if unit is not None:
            with unit.joined():
                await self._deliver_by(plan, event, unit, accepting)
            return
        await self._units.run(lambda unit: self._deliver_by(plan, event, unit, accepting))

    async def _deliver_by(self, plan: Plan, event: Event, unit: OpenUnit, accepting: Accepting | None) -> None:
        if accepting is None or await unit.work.accept(*accepting):
            await plan(event, None, unit.resolve, None, self._follow_up_arrival, None)
        else:
            logger.debug("%s has had a message, and is spared its repetition.", accepting[0], extra=_ids(accepting))

    async def _deliver_in_scope(self, plan: Plan, event: Event) -> None:
        async with self._source.resolving() as resolve:
            await plan(event, None, resolve, None, self._follow_up_arrival, None)

    async def emit_of_arrivals(self, events: Sequence[Event], resolve: Resolve) -> None:
        """
        The same for what a handler of messages emitted: who acknowledges those has to know of every error.

        Raises:
            EventHandlersFailed: As for :meth:`deliver`.
        """
        await self._emit_all(events, resolve, None, is_arrival=True)

    async def handle_and_keep(self, events: Sequence[Event], resolve: Resolve | None = None) -> Sequence[Event]:
        """
        Take *events* that a step of a saga emitted to their handlers, and give back what is to leave the process.

        Nothing of that is published: whoever calls keeps it with the step.

        Raises:
            EventHandlersFailed: As for :meth:`emit`.
        """
        if resolve is None and self._needs_scope:
            async with self._source.resolving() as opened:
                return await self.handle_and_keep(events, opened)
        kept: list[Event] = []
        await self._emit_all(events, resolve or self._resolve, None, keep=kept)
        return kept

    async def _emit_all(
        self,
        events: Sequence[Event],
        resolve: Resolve,
        response: object,
        *,
        is_arrival: bool = False,
        keep: list[Event] | None = None,
    ) -> None:
        outcome: Outcome | None = None
        for event in events:
            plan = self._plans.get(type(event)) or self._event_plans.of_emitted(type(event))
            outcome = await plan(event, None, resolve, outcome, None, None)
        if outcome is not None:
            await self._follow_up(outcome, resolve, response, is_arrival=is_arrival, keep=keep)

    async def _follow_up(
        self,
        outcome: Outcome,
        resolve: Resolve,
        response: object,
        *,
        is_arrival: bool = False,
        keep: list[Event] | None = None,
    ) -> None:
        """Handle, level by level, what events have led to; then publish, and then tell what went wrong."""
        unit = self._units.current(Event) if self._has_units else None
        is_raising = self._on_error == "raise" or is_arrival
        await self._run(outcome, resolve, unit, is_raising=is_raising)
        for _ in range(self._max_depth):
            if not outcome.emitted:
                break
            for event, cause in outcome.take_level():
                plan = self._plans.get(type(event)) or self._event_plans.of_emitted(type(event))
                await plan(event, cause, resolve, outcome, None, None)
            await self._run(outcome, resolve, unit, is_raising=is_raising)
        if outcome.emitted:
            chain = chain_of(type(outcome.emitted[0]), outcome.causes[0])
            outcome.errors.append(EventCascadeTooDeep(chain, self._max_depth))
        # What arrived and failed comes again, and would be published again; nothing else is tried twice.
        if keep is not None:
            keep.extend(outcome.published)
        elif unit is not None or not (outcome.errors and is_arrival):
            await self._publish(outcome)
        if outcome.errors and unit is not None:
            # Nothing has been kept yet. What the policy puts up with was undone, and told, where it happened.
            raise EventHandlersFailed(outcome.errors, is_rolled_back=True)
        if outcome.errors and is_raising:
            raise EventHandlersFailed(outcome.errors, response)
        for error in outcome.errors:
            logger.error("An event handler failed; the policy is to go on.", exc_info=error)

    async def _run(self, outcome: Outcome, resolve: Resolve, unit: OpenUnit | None, *, is_raising: bool) -> None:
        """Do what was put off; what it brings is added in its own order."""
        jobs = outcome.take_jobs()
        if not jobs:
            return
        brought: list[list[Event]] = [[] for _ in jobs]
        if unit is not None:
            await run_jobs_in_unit(jobs, brought, outcome, unit, is_raising=is_raising)
        else:
            scopes = self._source if self._needs_scope else None
            await run_jobs(jobs, brought, outcome, resolve, limit=self._max_concurrent, scopes=scopes)
        for job, emitted in zip(jobs, brought, strict=True):
            outcome.add(emitted, job.event, job.cause)

    async def _publish(self, outcome: Outcome) -> None:
        for event in outcome.published:
            try:
                if self._publisher is None:
                    raise NoPublisher(type(event))
                await self._publisher.publish(event)
            except Exception as error:  # noqa: BLE001 - as in _run
                outcome.errors.append(error)


async def _call_within(deadline: Deadline, handle: Handle, handler: type, event: Event) -> None:
    await deadline.call(handle, event, lambda: handler)


def _ids(accepting: Accepting) -> dict[str, object]:
    """What tells messages apart, for log records."""
    group, ids = accepting
    return {"group": group, "message_ids": [str(message_id) for message_id in ids]}
