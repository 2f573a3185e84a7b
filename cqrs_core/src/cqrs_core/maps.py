"""Which handler serves which message. Maps are filled at start, and frozen when a mediator is built from them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, TypeVar, get_args, get_origin

from cqrs_core.errors import (
    CqrsError,
    DuplicateHandler,
    EmptyChain,
    HandlerIncomplete,
    HandlerNotAsync,
    MapFrozen,
    NotAHandler,
    NotAMessage,
    UndeclaredMessage,
    WrongHandler,
    WrongResponse,
)
from cqrs_core.handlers import (
    CORRequestHandler,
    EventHandler,
    EventSource,
    RequestHandler,
    StreamingRequestHandler,
)
from cqrs_core.messages import Event, NotificationEvent, Request, response_type
from cqrs_core.resilience.policies import EventHandlerFallback, HandlerFallback, Policies, RequestHandlerFallback
from cqrs_core.type_arguments import MISSING, type_argument, union_members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cqrs_core.pipeline import EventMiddleware, RequestMiddleware, StreamMiddleware
    from cqrs_core.resilience import RetryPolicy

Q = TypeVar("Q", bound="Request[Any]")
E = TypeVar("E", bound=Event)

_REQUEST_KINDS = (RequestHandler, StreamingRequestHandler, CORRequestHandler)


class Target(NamedTuple):
    """What serves a request: one handler, or the links of a chain in order."""

    handlers: tuple[type, ...]
    is_chain: bool

    @property
    def is_stream(self) -> bool:
        """Whether it answers by a stream."""
        first = self.handlers[0] if self.handlers else None
        return not self.is_chain and is_class(first) and issubclass(first, StreamingRequestHandler)


class RequestBinding(NamedTuple):
    """One request and what serves it."""

    request_type: type[Request[Any]]
    primary: Target
    #: What takes over when that fails.
    fallback: Target | None
    policies: Policies
    middlewares: tuple[Any, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """What may serve it, the one that is tried first before the other."""
        return (self.primary,) if self.fallback is None else (self.primary, self.fallback)

    @property
    def is_stream(self) -> bool:
        """Whether it is answered by a stream."""
        return self.primary.is_stream

    @property
    def circuit(self) -> str:
        """What a circuit breaker knows the primary by: the handler; of a chain, the request."""
        named: type = self.request_type if self.primary.is_chain else self.primary.handlers[0]
        return f"{named.__module__}.{named.__qualname__}"


class EventBinding(NamedTuple):
    """One event and one of its handlers."""

    event_type: Any
    handler: type
    #: What takes over when that fails.
    fallback: type | None
    policies: Policies
    middlewares: tuple[Any, ...]

    @property
    def handlers(self) -> tuple[type, ...]:
        """The handler, and its fallback if it has one."""
        return (self.handler,) if self.fallback is None else (self.handler, self.fallback)

    @property
    def circuit(self) -> str:
        """What a circuit breaker knows the handler by."""
        return f"{self.handler.__module__}.{self.handler.__qualname__}"


class RequestMap:
    """Binds each request to its handler, or to the chain of handlers that are tried in turn."""

    def __init__(self) -> None:
        self._bindings: list[RequestBinding] = []
        self._problems: list[CqrsError] = []
        self._is_frozen = False

    def bind(
        self,
        request: type[Q],
        handler: type[RequestHandler[Q, Any] | StreamingRequestHandler[Q, Any]]
        | Sequence[type[CORRequestHandler[Q, Any]]]
        | RequestHandlerFallback,
        *,
        middlewares: Iterable[RequestMiddleware | StreamMiddleware] = (),
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """
        Bind *request* to *handler*. What is wrong with it is reported when the mediator is built, with all the rest.

        Args:
            request: A class of requests; only instances of exactly this class are served.
            handler: One handler class; or a list of ``CORRequestHandler`` classes, tried in this order; or a
                ``RequestHandlerFallback`` of two such.
            middlewares: For this request only, outermost first, inside those that wrap all requests. They run once for
                each ``send``, however many attempts there are.
            retry: When an attempt that failed is repeated, with a new handler in a new scope; never because of handlers
                of its events. A stream begins anew only as long as it has handed out nothing.
            timeout_s: Seconds that the handler has for one attempt, more than 0; a stream, for each item.

        Raises:
            MapFrozen: A mediator has been built from this map.
        """
        if self._is_frozen:
            raise MapFrozen(type(self).__name__, request)
        rules = handler if isinstance(handler, HandlerFallback) else None
        primary = _target_of(handler if rules is None else rules.primary)
        fallback = None if rules is None else _target_of(rules.fallback)
        request_type = get_origin(request) or request  # Page[User]() is an instance of Page
        policies = Policies(retry, timeout_s, rules)
        self._bindings.append(RequestBinding(request_type, primary, fallback, policies, tuple(middlewares or ())))

    def add(
        self,
        handler: type[RequestHandler[Any, Any] | StreamingRequestHandler[Any, Any]],
        *,
        middlewares: Iterable[RequestMiddleware | StreamMiddleware] = (),
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Bind *handler* to the request, or each of the union, that its type parameter names; else as :meth:`bind`."""
        for request in _declared_messages(handler, _REQUEST_KINDS, self._problems):
            self.bind(request, handler, middlewares=middlewares, retry=retry, timeout_s=timeout_s)

    def freeze(self) -> None:
        """Refuse changes from now on."""
        self._is_frozen = True

    def problems(self) -> list[CqrsError]:
        """Tell everything that is wrong with the bindings: errors, none of them raised."""
        found = list(self._problems)
        bound: dict[type, RequestBinding] = {}
        for binding in self._bindings:
            faults = _request_problems(binding)
            found.extend(faults)
            if any(isinstance(fault, NotAMessage) for fault in faults):
                continue
            first = bound.setdefault(binding.request_type, binding)
            if first is not binding:
                found.append(DuplicateHandler(binding.request_type, _shown(first), _shown(binding)))
        return found

    def handlers(self) -> list[type]:
        """List the handler classes that were bound, each once; what is none is left to :meth:`problems`."""
        targets = (target for binding in self._bindings for target in binding.targets)
        return _handler_classes(handler for target in targets for handler in target.handlers)

    def __iter__(self) -> Iterator[RequestBinding]:
        """Iterate over the bindings, in the order in which they were made."""
        return iter(tuple(self._bindings))

    def __len__(self) -> int:
        """Count the bindings."""
        return len(self._bindings)


class EventMap:
    """Binds events to their handlers; an event may have any number of them, and they run in the order of binding."""

    def __init__(self) -> None:
        self._bindings: list[EventBinding] = []
        self._problems: list[CqrsError] = []
        self._is_frozen = False

    def bind(
        self,
        event: type[E],
        handler: type[EventHandler[E]] | EventHandlerFallback,
        *,
        middlewares: Iterable[EventMiddleware] = (),
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """
        Add *handler* to those of *event*. What is wrong with it is reported when the mediator is built.

        Args:
            event: A class of events, or ``NotificationEvent[P]``: then the payload's type decides, so that
                ``NotificationEvent(payload=P(...))`` and a subclass with that payload are served as well.
            handler: A handler class; or an ``EventHandlerFallback`` of two such.
            middlewares: For this event only, outermost first, inside those that wrap all events.
            retry: When an attempt of this handler that failed is repeated, in the scope of its message.
            timeout_s: Seconds that the handler has for one attempt, more than 0.

        Raises:
            MapFrozen: A mediator has been built from this map.
        """
        if self._is_frozen:
            raise MapFrozen(type(self).__name__, event)
        rules = handler if isinstance(handler, HandlerFallback) else None
        primary: Any = handler if rules is None else rules.primary
        fallback = None if rules is None else rules.fallback
        policies = Policies(retry, timeout_s, rules)
        self._bindings.append(EventBinding(event, primary, fallback, policies, tuple(middlewares or ())))

    def add(
        self,
        handler: type[EventHandler[Any]],
        *,
        middlewares: Iterable[EventMiddleware] = (),
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Bind *handler* to the event, or each of the union, that its type parameter names; else as :meth:`bind`."""
        for event in _declared_messages(handler, (EventHandler,), self._problems):
            self.bind(event, handler, middlewares=middlewares, retry=retry, timeout_s=timeout_s)

    def freeze(self) -> None:
        """Refuse changes from now on."""
        self._is_frozen = True

    def problems(self) -> list[CqrsError]:
        """Tell everything that is wrong with the bindings: errors, none of them raised."""
        return [
            *self._problems,
            *(
                problem
                for binding in self._bindings
                for handler in binding.handlers
                for problem in event_handler_problems(binding.event_type, handler)
            ),
            *(problem for binding in self._bindings for problem in _fallback_problems(binding, EventHandlerFallback)),
        ]

    def handlers(self) -> list[type]:
        """List the handler classes that were bound, each once; what is none is left to :meth:`problems`."""
        return _handler_classes(handler for binding in self._bindings for handler in binding.handlers)

    def __iter__(self) -> Iterator[EventBinding]:
        """Iterate over the bindings, in the order in which they were made."""
        return iter(tuple(self._bindings))

    def __len__(self) -> int:
        """Count the bindings."""
        return len(self._bindings)


def binding_keys(target: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a class or an alias
    """
    Give the keys under which the handlers of *target* are kept.

    A class is its own key, and that of its aliases (``Changed[int]()`` is an instance of ``Changed``). Of
    ``NotificationEvent[P]`` it is the class with the payload's: one for each member of a union, ``Any`` for all.
    """
    origin = get_origin(target)
    if origin is None or not issubclass(origin, NotificationEvent):
        return (origin or target,)
    members = union_members(get_args(target)[0])
    return tuple((origin, Any if isinstance(member, TypeVar) else get_origin(member) or member) for member in members)


def is_class(thing: object) -> TypeGuard[type]:
    """Tell whether *thing* is a class; ``list[int]`` passes for one on Python 3.10, and is none."""
    return isinstance(thing, type) and get_origin(thing) is None


def is_coroutine_callable(function: Any) -> bool:  # noqa: ANN401 - anything that was given for a function
    """Tell whether calling *function* gives a coroutine, as far as it can be known without calling it."""
    unwrapped = inspect.unwrap(function) if callable(function) else function
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(unwrapped):
        return True
    return inspect.iscoroutinefunction(getattr(type(function), "__call__", None))  # noqa: B004 - to look at it, not to test


def _handler_classes(handlers: Iterable[object]) -> list[type]:
    classes = (handler for handler in handlers if is_class(handler) and issubclass(handler, EventSource))
    return list(dict.fromkeys(classes))


def _target_of(handler: Any) -> Target:  # noqa: ANN401 - what was bound may be anything
    # Not a str, which is a sequence too, and a mistake.
    if isinstance(handler, Sequence) and not isinstance(handler, str):
        links: tuple[Any, ...] = tuple(handler)
        return Target(links, is_chain=True)
    single: Any = handler  # the wiring looks at it
    return Target((single,), is_chain=False)


def _shown(binding: RequestBinding) -> object:
    if binding.policies.rules is not None:
        return binding.policies.rules
    return binding.primary.handlers if binding.primary.is_chain else binding.primary.handlers[0]


def _declared(handler: Any, kinds: Sequence[type], index: int) -> Any:  # noqa: ANN401 - see type_argument
    for kind in kinds:
        if is_class(handler) and issubclass(handler, kind):
            return type_argument(handler, kind, index)
    return MISSING


def _declared_messages(handler: Any, kinds: Sequence[type], problems: list[CqrsError]) -> tuple[Any, ...]:  # noqa: ANN401 - see type_argument
    """The messages that a handler names, for ``add``; none, and one more problem, if it names none."""
    try:
        declared = _declared(handler, kinds, 0)
    except CqrsError as error:
        problems.append(error)
        return ()
    if declared is MISSING or isinstance(declared, TypeVar):
        problems.append(UndeclaredMessage(handler))
        return ()
    return union_members(declared)


def _request_problems(binding: RequestBinding) -> list[CqrsError]:
    request_type: Any = binding.request_type  # what was bound may be anything
    if not (is_class(request_type) and issubclass(request_type, Request)):
        return [NotAMessage(request_type, Request)]
    found = _fallback_problems(binding, RequestHandlerFallback)
    for target in binding.targets:
        found.extend(_target_problems(request_type, target))
    if not found and binding.fallback is not None and binding.fallback.is_stream != binding.is_stream:
        wanted = StreamingRequestHandler if binding.is_stream else RequestHandler
        found.append(NotAHandler(binding.fallback.handlers[0], request_type, [wanted.__name__]))
    return found


def _target_problems(request_type: type[Request[Any]], target: Target) -> list[CqrsError]:
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
            found.append(NotAHandler(handler, request_type, [kind.__name__ for kind in kinds]))
    return found


def _fallback_problems(binding: RequestBinding | EventBinding, kind: type[HandlerFallback]) -> list[CqrsError]:
    """Check that a fallback is of the kind for this map."""
    rules = binding.policies.rules
    message: Any = binding[0]
    if rules is not None and not isinstance(rules, kind):
        return [NotAHandler(rules, message, [kind.__name__])]
    if isinstance(rules, EventHandlerFallback) and rules.fallback is None:
        return [NotAHandler(None, message, [EventHandler.__name__])]
    return []


def event_handler_problems(event_type: Any, handler: Any, kind: type = EventHandler) -> list[CqrsError]:  # noqa: ANN401 - what was bound may be anything
    """Check that *handler* is a handler of this *kind*, and one for *event_type*."""
    event_class = get_origin(event_type) or event_type
    if not (is_class(event_class) and issubclass(event_class, Event)):
        return [NotAMessage(event_type, Event)]
    if not (is_class(handler) and issubclass(handler, kind)):
        return [NotAHandler(handler, event_type, [kind.__name__])]
    found = _handler_problems(handler)
    try:
        declared = _declared(handler, (kind,), 0)
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
        declared, answer = _declared(handler, kinds, 0), _declared(handler, kinds, 1)
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
    return answer if isinstance(answer, type) and get_origin(answer) is None else None


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
