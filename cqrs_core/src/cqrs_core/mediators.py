"""The objects that a program sends its messages to."""

from __future__ import annotations

import abc
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cqrs_core.attempts import attempt, chain_handling, dooming, handling, in_scope, in_unit, joining, with_events
from cqrs_core.errors import CqrsError, HandlerNotFound, name_of
from cqrs_core.messages import Event
from cqrs_core.pipeline import middleware_problems, wrap, wrap_stream
from cqrs_core.resilience.guards import Guards
from cqrs_core.streaming import stream_attempt, stream_in_unit
from cqrs_core.units import Units
from cqrs_core.wiring import wire

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable

    from cqrs_core.attempts import AttemptIn
    from cqrs_core.concurrency import Once
    from cqrs_core.emitter import Accepting, EventEmitter
    from cqrs_core.maps import RequestBinding, RequestMap, Target
    from cqrs_core.messages import Request
    from cqrs_core.pipeline import Handle, RequestMiddleware, Stream, StreamMiddleware
    from cqrs_core.resilience import Policies
    from cqrs_core.resilience.deadline import Deadline
    from cqrs_core.wiring import HandlerSource

Plan = TypeVar("Plan")
R = TypeVar("R")


class _RequestPlans(abc.ABC, Generic[Plan]):
    """One plan for each type of request, made before the first message; what both mediators of requests share."""

    def __init__(
        self,
        request_map: RequestMap,
        source: HandlerSource,
        emitter: EventEmitter,
        *,
        middlewares: Iterable[RequestMiddleware | StreamMiddleware] = (),
        startup: Once | None = None,
        guards: Guards | None = None,
        units: Units | None = None,
    ) -> None:
        """
        Put the mediator together; ``cqrs_core.bootstrap`` and ``App`` do it for you.

        Args:
            request_map: What serves which request. It is frozen by wiring.
            source: Makes the handlers, and offers them this mediator.
            emitter: Takes their events on.
            middlewares: Wrap all requests, outermost first.
            startup: What must have been done before the first message.
            guards: Puts the policies of bindings around their handlers.
            units: Gives each attempt its unit of work, if there is a storage.
        """
        self._request_map = request_map
        self._source = source
        self._emitter = emitter
        self._middlewares: tuple[Any, ...] = tuple(middlewares)  # the wiring checks that they are of the right kind
        self._startup = startup
        self._guards = guards or Guards()
        self._units = units or Units(source)
        #: What a message goes through. Until the start-up is done, that comes first.
        self._plans: dict[type, Plan] = {}
        self._plans_after_startup: dict[type, Plan] = {}
        source.offer_as_all(self, _RequestPlans)

    @abc.abstractmethod
    def _plan(self, binding: RequestBinding) -> Plan | None:
        """Put together how a request is served; ``None`` if that is the other mediator's affair."""

    @abc.abstractmethod
    def _after_startup(self, plan: Plan) -> Plan:
        """Put what must be done before the first message before *plan*."""

    def wire(self) -> list[CqrsError]:
        """Get ready, and tell everything that is wrong: errors, none of them raised."""
        problems = self._request_map.problems()
        for bound in self._request_map:
            kind = "stream" if bound.is_stream else "request"
            problems.extend(middleware_problems((*self._middlewares, *bound.middlewares), kind))
            if bound.policies.are_used:
                problems.extend(self._guards.problems(bound.policies))
        for handler in self._request_map.handlers():
            problems.extend(self._source.admit(handler))
        if not problems:
            plans = {bound.request_type: self._plan(bound) for bound in self._request_map}
            self._plans_after_startup = {request: plan for request, plan in plans.items() if plan is not None}
            self._plans = self._plans_after_startup
            if self._startup is not None and not self._startup.is_done:
                self._plans = {request: self._after_startup(plan) for request, plan in self._plans.items()}
        return problems

    def freeze(self) -> None:
        """Refuse changes of the map from now on."""
        self._request_map.freeze()

    async def _start(self) -> None:
        if self._startup is not None:
            await self._startup.run()
            if not self._startup.is_done:
                return  # a step of it sends this message: others still have to wait
        self._plans = self._plans_after_startup

    def _find(self, request_type: type) -> Plan:
        """Find the plan of a request that has none yet, or say why there is none."""
        if not self._plans and len(self._request_map):
            wire(self._emitter, self)
        plan = self._plans.get(request_type)
        if plan is None:
            raise HandlerNotFound(request_type, self._hint(request_type))
        return plan

    def _hint(self, request_type: type) -> str:
        name = name_of(request_type)
        if issubclass(request_type, type):
            return "A class was sent where one of its instances was meant: add the parentheses."
        if issubclass(request_type, Event):
            return f"{name} is an event, and events are published: EventMediator.send, or App.publish."
        bound = {binding.request_type: binding for binding in self._request_map}
        if request_type in bound:
            call = "stream" if bound[request_type].is_stream else "send"
            return f"It is served by {name_of(bound[request_type].primary.handlers[0])}: use {call}() instead."
        base = next((base for base in request_type.__mro__ if base in bound), None)
        if base is not None:
            return (
                f"Its base {name_of(base)} is bound, but only instances of exactly that class are served: bind {name}."
            )
        return ""


class RequestMediator(_RequestPlans["Handle"]):
    """Sends commands and queries to their handlers, and the events of those to theirs."""

    def send(self, request: Request[R]) -> Coroutine[Any, Any, R]:
        """
        Send *request* to its handler, and when that has succeeded, its events to theirs.

        Returns:
            What the handler answers, when awaited.

        Raises:
            HandlerNotFound: No handler is bound to this type. Raised by the call itself, before it is awaited.
            EventHandlersFailed: The request was handled; then handlers of its events failed. In a unit of work,
                everything was rolled back.
            Exception: What the handler raised. Its events are dropped.
        """
        try:
            plan = self._plans[type(request)]
        except KeyError:
            plan = self._find(type(request))
        return plan(request)  # type: ignore[return-value]  # of R, which the wiring has checked

    def _plan(self, binding: RequestBinding) -> Handle | None:
        if binding.is_stream:
            return None
        plans = [self._attempt(target, binding.policies) for target in binding.targets]
        plan = plans[0]
        if binding.policies.are_used:
            plan = self._guards.call(plan, plans[1] if len(plans) > 1 else None, binding.policies, binding.circuit)
        if self._units.are_used:
            # Inside a unit there is one attempt: another would begin with what the first has left behind.
            plan = joining(self._attempt_in(binding.primary, binding.policies), self._units, otherwise=plan)
            return dooming(wrap(plan, (*self._middlewares, *binding.middlewares)), self._units)
        return wrap(plan, (*self._middlewares, *binding.middlewares))

    def _attempt(self, target: Target, policies: Policies) -> Handle:
        if self._units.are_used:
            return in_unit(self._attempt_in(target, policies), self._units)
        deadline = self._guards.deadline(policies)
        if target.is_chain:
            return in_scope(chain_handling(target.handlers, deadline), self._source, self._emitter.emit)
        return attempt(target.handlers[0], self._source, self._emitter.emit, deadline)

    def _attempt_in(self, target: Target, policies: Policies) -> AttemptIn:
        first = target.handlers[0]
        handle_in = chain_handling(target.handlers) if target.is_chain else handling(first)
        return with_events(handle_in, self._emitter.emit, self._guards.deadline(policies), first)

    def _after_startup(self, plan: Handle) -> Handle:
        async def start_first(request: Request[Any]) -> Any:  # noqa: ANN401 - the response
            await self._start()
            return await plan(request)

        return start_first


class StreamingRequestMediator(_RequestPlans["Stream"]):
    """Sends requests to handlers that answer them by many items, one after the other."""

    def stream(self, request: Request[R]) -> AsyncGenerator[R, None]:
        """
        Iterate over the answers to *request*.

        The events that an answer brought are handled before it is handed out, and those after the last one at the end.
        Leaving early closes the handler; ``async with contextlib.aclosing(mediator.stream(...)) as answers`` does so
        at once, and with trio it is the only way that runs what the handler still awaits.

        Raises:
            HandlerNotFound: No streaming handler is bound to this type. Raised by the call itself.
            EventHandlersFailed: Handlers of events failed; ``response`` is the answer that was not handed out. In a
                unit of work, everything since the answer before it was rolled back.
            Exception: What the handler raised. Events that it had not handed out an answer for are dropped.
        """
        try:
            plan = self._plans[type(request)]
        except KeyError:
            plan = self._find(type(request))
        return plan(request)

    def _plan(self, binding: RequestBinding) -> Stream | None:
        if not binding.is_stream:
            return None
        deadline = self._guards.deadline(binding.policies)
        plans = [self._attempt(target.handlers[0], deadline) for target in binding.targets]
        plan = plans[0]
        if binding.policies.are_used:
            plan = self._guards.stream(plan, plans[1] if len(plans) > 1 else None, binding.policies, binding.circuit)
        return wrap_stream(plan, (*self._middlewares, *binding.middlewares))

    def _attempt(self, handler: type, deadline: Deadline | None) -> Stream:
        if self._units.are_used:
            return stream_in_unit(handler, self._units, self._emitter.emit, deadline)
        return stream_attempt(handler, self._source, self._emitter.emit, deadline)

    def _after_startup(self, plan: Stream) -> Stream:
        async def start_first(request: Request[Any]) -> AsyncGenerator[Any, None]:
            await self._start()
            async with aclosing(plan(request)) as answers:
                async for answer in answers:
                    yield answer

        return start_first


class EventMediator:
    """Sends events that came from outside to their handlers."""

    def __init__(self, source: HandlerSource, emitter: EventEmitter, *, startup: Once | None = None) -> None:
        """
        Put the mediator together; ``cqrs_core.bootstrap`` and ``App`` do it for you.

        Args:
            source: Makes the handlers, and offers them this mediator.
            emitter: Knows them.
            startup: What must have been done before the first message.
        """
        self._emitter = emitter
        #: What an event goes through. Until the start-up is done, that comes first.
        self._deliver: Callable[..., Coroutine[Any, Any, None]] = emitter.deliver
        if startup is not None and not startup.is_done:
            self._deliver = partial(self._start_and_deliver, startup)
        source.offer_as_all(self, EventMediator)

    def send(self, event: Event, *, message_id: uuid.UUID | None = None, group: str = "") -> Coroutine[Any, Any, None]:
        """
        Send *event* to its handlers, and what they emit on. An event that nobody handles is nobody's error.

        Args:
            event: It may have come from anywhere.
            message_id: What the message is known by, for a program that consumes by itself: if *group* has had it, and
                that was committed, nothing is done. It takes a storage, whose inbox remembers it.
            group: Who consumes; each group handles a message once.

        Raises:
            EventHandlersFailed: Some handlers failed. All others ran; in a unit of work, everything was rolled back.
            InvalidOption: There is no storage that could remember *message_id*.
        """
        if message_id is not None:
            return self._deliver(event, (group, (message_id,)))
        return self._deliver(event)

    def wire(self) -> list[CqrsError]:
        """Nothing of its own can be wrong."""
        return []

    def freeze(self) -> None:
        """There is nothing of its own to change."""

    async def _start_and_deliver(self, startup: Once, event: Event, accepting: Accepting | None = None) -> None:
        await startup.run()
        if startup.is_done:  # else a step of it sends this event: others still have to wait
            self._deliver = self._emitter.deliver
        await self._emitter.deliver(event, accepting)
