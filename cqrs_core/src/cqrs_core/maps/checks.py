"""What is wrong with bindings: errors, none of them raised, so that all are told at once."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from cqrs_core.errors import (
    CircuitNotUnique,
    ConflictingBindings,
    CqrsError,
    DuplicateHandler,
    EmptyChain,
    HandlerIncomplete,
    HandlerNotAsync,
    NotAHandler,
    NotAMessage,
    WrongHandler,
    WrongResponse,
)
from cqrs_core.handlers import CORRequestHandler, EventHandler, RequestHandler, StreamingRequestHandler
from cqrs_core.maps.bindings import binding_keys, declared_type, is_class
from cqrs_core.messages import Event, NotificationEvent, Request, response_type
from cqrs_core.resilience.policies import EventHandlerFallback, HandlerFallback, RequestHandlerFallback
from cqrs_core.type_arguments import MISSING, type_argument, union_members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cqrs_core.maps.bindings import EventBinding, RequestBinding, Target


def request_problems(bindings: Iterable[RequestBinding]) -> list[CqrsError]:
    """Tell everything that is wrong with the bindings of requests, each by itself and with the others."""
    found: list[CqrsError] = []
    bound: dict[type, RequestBinding] = {}
    sound: list[RequestBinding] = []
    for binding in bindings:
        faults = _binding_problems(binding)
        found.extend(faults)
        if any(isinstance(fault, NotAMessage) for fault in faults):
            continue
        first = bound.setdefault(binding.request_type, binding)
        if first is not binding:
            found.append(DuplicateHandler(binding.request_type, _shown(first), _shown(binding)))
        elif not faults:
            sound.append(binding)
    return [*found, *_circuit_problems(sound)]


def event_problems(bindings: Iterable[EventBinding]) -> list[CqrsError]:
    """Tell everything that is wrong with the bindings of events, each by itself and with the others."""
    found: list[CqrsError] = []
    sound: list[EventBinding] = []
    for binding in bindings:
        faults = [
            *(
                fault
                for handler in binding.handlers
                for fault in event_handler_problems(binding.event_type, handler, within=binding.policies.rules)
            ),
            *_fallback_problems(binding, EventHandlerFallback),
        ]
        found.extend(faults)
        if not faults:
            sound.append(binding)
    return [*found, *_repetition_problems(sound), *_circuit_problems(sound)]


def _repetition_problems(bindings: Iterable[EventBinding]) -> Iterator[CqrsError]:
    """Find handlers that were bound to an event again, and not alike: a handler runs once, as it was bound first."""
    bound: dict[tuple[Any, type], EventBinding] = {}
    for binding in bindings:
        for key in binding_keys(binding.event_type):
            first = bound.setdefault((key, binding.handler), binding)
            if first is binding:
                continue
            then, now = _options_of(first), _options_of(binding)
            differing = [option for option in then if then[option] != now[option]]
            if differing:
                bound_with, refused = ({option: those[option] for option in differing} for those in (then, now))
                yield ConflictingBindings(binding.event_type, binding.handler, bound_with, refused)
                break


def _options_of(binding: EventBinding) -> dict[str, object]:
    policies, rules = binding.policies, binding.policies.rules
    return {
        "retry": policies.retry,
        "timeout_s": policies.timeout_s,
        "middlewares": binding.middlewares,
        "fallback": binding.fallback,
        "failure_exceptions": rules and rules.failure_exceptions,
        "circuit_breaker": rules and rules.circuit_breaker,
    }


def _circuit_problems(bindings: Iterable[RequestBinding | EventBinding]) -> Iterator[CqrsError]:
    """Find classes of one name, as functions make them, that one breaker would take for one circuit."""
    guarded: dict[tuple[object, str], RequestBinding | EventBinding] = {}
    for binding in bindings:
        breaker = binding.policies.rules and binding.policies.rules.circuit_breaker
        if breaker is None:
            continue
        is_named = isinstance(breaker, str)  # then it is opened once for each name
        first = guarded.setdefault((breaker if is_named else id(breaker), binding.circuit), binding)
        if first.guarded is not binding.guarded:
            yield CircuitNotUnique(binding.circuit, (first[0], binding[0]))


def _binding_problems(binding: RequestBinding) -> list[CqrsError]:
    request_type: Any = binding.request_type  # what was bound may be anything
    if not (is_class(request_type) and issubclass(request_type, Request)):
        return [NotAMessage(request_type, Request)]
    found = _fallback_problems(binding, RequestHandlerFallback)
    for target in binding.targets:
        found.extend(_target_problems(request_type, target, binding.policies.rules))
    if not found and binding.fallback is not None and binding.fallback.is_stream != binding.is_stream:
        wanted = StreamingRequestHandler if binding.is_stream else RequestHandler
        answers = "answers by a stream" if binding.is_stream else "does not answer by a stream"
        cure = f"Its primary {answers}: give it a fallback that derives from {wanted.__name__}."
        rules, stranger = binding.policies.rules, binding.fallback.handlers[0]
        found.append(NotAHandler(stranger, request_type, [wanted.__name__], within=rules, cure=cure))
    return found


def _target_problems(request_type: type[Request[Any]], target: Target, within: object) -> list[CqrsError]:
    handlers, is_chain = target
    if not handlers:
        return [EmptyChain(request_type)]
    kinds = (CORRequestHandler,) if is_chain else (RequestHandler, StreamingRequestHandler)
    found: list[CqrsError] = []
    for handler in handlers:
        if is_class(handler) and issubclass(handler, kinds):
            found.extend(_handler_problems(handler))
            found.extend(_type_problems(handler, request_type, kinds))
        else:
            found.append(NotAHandler(handler, request_type, [kind.__name__ for kind in kinds], within=within))
    return found


def _fallback_problems(binding: RequestBinding | EventBinding, kind: type[HandlerFallback]) -> list[CqrsError]:
    """Check that a fallback is of the kind for this map."""
    rules = binding.policies.rules
    message: Any = binding[0]
    if rules is not None and not isinstance(rules, kind):
        cure = f"It is for other messages: bind a {kind.__name__} of the two."
        return [NotAHandler(rules, message, [kind.__name__], cure=cure)]
    if isinstance(rules, EventHandlerFallback) and rules.fallback is None:
        return [NotAHandler(None, message, [EventHandler.__name__], within=rules)]
    return []


def event_handler_problems(
    event_type: Any,  # noqa: ANN401 - what was bound may be anything
    handler: Any,  # noqa: ANN401 - as above
    kind: type = EventHandler,
    *,
    within: object = None,
) -> list[CqrsError]:
    """Check that *handler* is a handler of this *kind*, and one for *event_type*."""
    event_class = get_origin(event_type) or event_type
    if not (is_class(event_class) and issubclass(event_class, Event)):
        return [NotAMessage(event_type, Event)]
    if not (is_class(handler) and issubclass(handler, kind)):
        return [NotAHandler(handler, event_type, [kind.__name__], within=within)]
    found = _handler_problems(handler)
    try:
        declared = declared_type(handler, (kind,), 0)
    except CqrsError as error:
        return [*found, error]
    if not any(_accepts(member, event_type) for member in union_members(declared)):
        found.append(WrongHandler(handler, event_type, declared))
    return found


def _handler_problems(handler: type) -> list[CqrsError]:
    """Check that objects can be made of *handler*, and that its ``handle`` can be run."""
    if inspect.isabstract(handler):
        return [HandlerIncomplete(handler, sorted(getattr(handler, "__abstractmethods__", ())))]
    handle = handler.handle  # type: ignore[attr-defined]  # every base has it
    if issubclass(handler, StreamingRequestHandler):
        is_runnable = inspect.isasyncgenfunction(handle) or inspect.isasyncgenfunction(inspect.unwrap(handle))
        expected = "an `async def` with `yield`"
    else:
        is_runnable = is_coroutine_callable(handle)
        expected = "an `async def` without `yield`"
    return [] if is_runnable else [HandlerNotAsync(handler, expected)]


def _type_problems(handler: type, request_type: type[Request[Any]], kinds: Sequence[type]) -> list[CqrsError]:
    """Compare what *handler* declares with what the request promises, where both can be told."""
    try:
        declared, answer = declared_type(handler, kinds, 0), declared_type(handler, kinds, 1)
        promised = response_type(request_type)
    except CqrsError as error:
        return [error]
    if not any(_accepts(member, request_type) for member in union_members(declared)):
        return [WrongHandler(handler, request_type, declared)]
    promised_class, answer_class = _class_of(promised), _class_of(answer)
    if promised_class and answer_class and not issubclass(answer_class, promised_class):
        return [WrongResponse(handler, request_type, promised, answer)]
    return []


def _class_of(answer: Any) -> type | None:  # noqa: ANN401 - an annotation
    """The class of an answer where it is one, so that two can be compared; unions and the like are left alone."""
    answer = type(None) if answer is None else answer
    return answer if is_class(answer) and answer is not Any else None  # Any is a class from Python 3.11 on


def _accepts(declared: Any, message: Any) -> bool:  # noqa: ANN401 - annotations
    """Tell whether a handler of *declared* may serve *message*: the same, a base of it, or nothing was said."""
    if declared in (MISSING, Any) or isinstance(declared, TypeVar) or declared == message:
        return True
    declared_class, message_class = get_origin(declared) or declared, get_origin(message) or message
    if not (is_class(declared_class) and issubclass(message_class, declared_class)):
        return False
    if issubclass(message_class, NotificationEvent) and get_args(declared):
        return _same_payload(declared, message)
    return True


def _same_payload(declared: Any, message: Any) -> bool:  # noqa: ANN401 - as above
    wanted, offered = type_argument(declared, NotificationEvent), type_argument(message, NotificationEvent)
    if any(payload in (MISSING, Any) or isinstance(payload, TypeVar) for payload in (wanted, offered)):
        return True
    return set(union_members(offered)) <= set(union_members(wanted))


def _shown(binding: RequestBinding) -> object:
    if binding.policies.rules is not None:
        return binding.policies.rules
    return binding.primary.handlers if binding.primary.is_chain else binding.primary.handlers[0]


def is_coroutine_callable(function: Any) -> bool:  # noqa: ANN401 - anything that was given for a function
    """Tell whether calling *function* gives a coroutine, as far as it can be known without calling it."""
    unwrapped = inspect.unwrap(function) if callable(function) else function
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(unwrapped):
        return True
    return inspect.iscoroutinefunction(getattr(type(function), "__call__", None))  # noqa: B004 - to look at it, not to test
