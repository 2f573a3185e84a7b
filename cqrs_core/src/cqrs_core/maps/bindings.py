"""What is bound to what: facts, as they were given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, TypeVar, get_args, get_origin

from cqrs_core.errors import CqrsError, UndeclaredMessage
from cqrs_core.handlers import EventSource, StreamingRequestHandler
from cqrs_core.messages import NotificationEvent, Request
from cqrs_core.type_arguments import MISSING, type_argument, union_members

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cqrs_core.resilience.policies import Policies


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
    def guarded(self) -> type:
        """What a circuit breaker guards, and whose name it knows: the handler; of a chain, the request."""
        return self.request_type if self.primary.is_chain else self.primary.handlers[0]

    @property
    def circuit(self) -> str:
        """What a circuit breaker knows the primary by."""
        return circuit_of(self.guarded)


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
    def guarded(self) -> type:
        """What a circuit breaker guards, and whose name it knows."""
        return self.handler

    @property
    def circuit(self) -> str:
        """What a circuit breaker knows the handler by."""
        return circuit_of(self.guarded)


def circuit_of(guarded: type) -> str:
    """Name the circuit of a class, alike in all processes; :mod:`.checks` sees to it that no other has the name."""
    return f"{guarded.__module__}.{guarded.__qualname__}"


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


def target_of(handler: Any) -> Target:  # noqa: ANN401 - what was bound may be anything
    """Make a target of a handler, or of a chain of them."""
    # Not a str, which is a sequence too, and a mistake.
    if isinstance(handler, Sequence) and not isinstance(handler, str):
        links: tuple[Any, ...] = tuple(handler)
        return Target(links, is_chain=True)
    single: Any = handler  # the wiring looks at it
    return Target((single,), is_chain=False)


def handler_classes(handlers: Iterable[object]) -> list[type]:
    """Give those of *handlers* that are handler classes, each once."""
    classes = (handler for handler in handlers if is_class(handler) and issubclass(handler, EventSource))
    return list(dict.fromkeys(classes))


def declared_type(handler: Any, kinds: Sequence[type], index: int) -> Any:  # noqa: ANN401 - see type_argument
    """Give a type parameter of that of the base *kinds* which *handler* derives from."""
    for kind in kinds:
        if is_class(handler) and issubclass(handler, kind):
            return type_argument(handler, kind, index)
    return MISSING


def declared_messages(handler: Any, kinds: Sequence[type], problems: list[CqrsError]) -> tuple[Any, ...]:  # noqa: ANN401 - see type_argument
    """The messages that a handler names, for ``add``; none, and one more problem, if it names none."""
    try:
        declared = declared_type(handler, kinds, 0)
    except CqrsError as error:
        problems.append(error)
        return ()
    if declared is MISSING or isinstance(declared, TypeVar):
        problems.append(UndeclaredMessage(handler))
        return ()
    return union_members(declared)


def is_class(thing: object) -> TypeGuard[type]:
    """Tell whether *thing* is a class; ``list[int]`` passes for one on Python 3.10, and is none."""
    return isinstance(thing, type) and get_origin(thing) is None
