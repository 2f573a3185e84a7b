"""Errors in what was bound, found when a mediator is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.errors.base import CqrsError, name_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class WiringError(CqrsError, TypeError):
    """
    What was bound cannot work. Raised once, when the mediator is built, with everything that is wrong.

    Attributes:
        problems: One error for each fault, in the order in which they were found; none of them was raised.
    """

    def __init__(self, problems: Sequence[CqrsError]) -> None:
        self.problems = tuple(problems)
        count = "1 wiring problem" if len(self.problems) == 1 else f"{len(self.problems)} wiring problems"
        lines = [f"{number}. {problem}" for number, problem in enumerate(self.problems, start=1)]
        super().__init__("\n".join([f"{count}:", *lines]))


class NotAMessage(CqrsError, TypeError):
    """
    Something was bound that is no class of messages, or emitted that is no event.

    Attributes:
        target: What was bound.
        expected: The message base that the map is for.
    """

    def __init__(self, target: object, expected: type) -> None:
        self.target = target
        self.expected = expected
        super().__init__(
            f"{name_of(target)} stands where a message should, but it is not a {expected.__name__}. "
            f"Use a class that derives from cqrs_core.{expected.__name__}, and its instances."
        )


class NotAHandler(CqrsError, TypeError):
    """
    A message was bound to something that cannot handle it.

    Attributes:
        handler: What was given.
        message_type: The message that it was bound to.
        expected: The names of what would do.
    """

    def __init__(
        self,
        handler: object,
        message_type: object,
        expected: Sequence[str],
        *,
        within: object = None,
        cure: str = "",
    ) -> None:
        self.handler = handler
        self.message_type = message_type
        self.expected = tuple(expected)
        place = "" if within is None else f" (in {within!r})"
        super().__init__(
            f"{name_of(message_type)} is bound to {name_of(handler)}{place}, which cannot handle it. "
            + (cure or f"Bind a class that derives from {' or '.join(self.expected)}.")
        )


class WrongHandler(CqrsError, TypeError):
    """
    A message was bound to a handler that says, by its type parameters, that it handles another one.

    Attributes:
        handler: The handler class.
        message_type: The message that it was bound to.
        declared_type: The message that it declares.
    """

    def __init__(self, handler: type, message_type: object, declared_type: object) -> None:
        self.handler = handler
        self.message_type = message_type
        self.declared_type = declared_type
        super().__init__(
            f"{name_of(message_type)} is bound to {name_of(handler)}, which handles {name_of(declared_type)}. "
            f"Bind a handler of {name_of(message_type)}, or correct the type parameters of {name_of(handler)}."
        )


class UndeclaredMessage(CqrsError, TypeError):
    """
    A handler was added without a message, and its type parameters do not name one.

    Attributes:
        handler: The handler class.
    """

    def __init__(self, handler: object) -> None:
        self.handler = handler
        super().__init__(
            f"{name_of(handler)} was added, but does not say which message it handles. Name it in its base "
            "(RequestHandler[YourRequest, YourResponse]), or use bind(YourRequest, YourHandler)."
        )


class WrongResponse(CqrsError, TypeError):
    """
    A handler answers with another type than its request promises to whoever sends it.

    Attributes:
        handler: The handler class.
        request_type: The request that it was bound to.
        promised_type: The parameter of ``Request``.
        declared_type: The handler's second type parameter.
    """

    def __init__(self, handler: type, request_type: type, promised_type: object, declared_type: object) -> None:
        self.handler = handler
        self.request_type = request_type
        self.promised_type = promised_type
        self.declared_type = declared_type
        super().__init__(
            f"{name_of(request_type)} promises {name_of(promised_type)}, but {name_of(handler)} answers with "
            f"{name_of(declared_type)}. Make the two type parameters agree."
        )


class HandlerNotAsync(CqrsError, TypeError):
    """
    ``handle`` is not the kind of function that the mediator can run.

    Attributes:
        handler: The handler class.
        expected: How its ``handle`` must be written.
    """

    def __init__(self, handler: type, expected: str) -> None:
        self.handler = handler
        self.expected = expected
        super().__init__(f"{name_of(handler)}.handle cannot be run: it must be {expected}.")


class HandlerIncomplete(CqrsError, TypeError):
    """
    A handler class leaves abstract methods open, so no object of it can be made.

    Attributes:
        handler: The handler class.
        methods: The names of the methods that are missing.
    """

    def __init__(self, handler: type, methods: Sequence[str]) -> None:
        self.handler = handler
        self.methods = tuple(methods)
        super().__init__(f"{name_of(handler)} does not define {', '.join(self.methods)}. Write it.")


class DuplicateHandler(CqrsError, KeyError):
    """
    A request was bound twice; only events may have several handlers.

    Attributes:
        request_type: The request.
        bound: What it was bound to first.
        refused: What it was bound to then.
    """

    def __init__(self, request_type: type, bound: object, refused: object) -> None:
        self.request_type = request_type
        self.bound = bound
        self.refused = refused
        name, first, second = name_of(request_type), _names(bound), _names(refused)
        super().__init__(
            f"{name} is bound to {first} twice. Remove one of the two."
            if first == second
            else f"{name} is bound to {first} and to {second}. A request has one handler: remove one of the two, or "
            "bind a list of CORRequestHandler classes to try them in turn."
        )


class ConflictingBindings(CqrsError, KeyError):
    """
    An event was bound to the same handler twice, with different options; the handler runs once for an event.

    Attributes:
        event_type: The event.
        handler: The handler class.
        bound: The options in which the two differ, as they were given first.
        refused: The same, as they were given then.
    """

    def __init__(
        self, event_type: object, handler: type, bound: Mapping[str, object], refused: Mapping[str, object]
    ) -> None:
        self.event_type = event_type
        self.handler = handler
        self.bound = dict(bound)
        self.refused = dict(refused)
        super().__init__(
            f"{name_of(event_type)} is bound to {name_of(handler)} twice: with {_options(bound)}, and then with "
            f"{_options(refused)}. It runs once for each event. Remove one of the two."
        )


class CircuitNotUnique(CqrsError, ValueError):
    """
    Two classes have one name, as those that a function makes, and the circuit breaker that both have knows them by it.

    Attributes:
        circuit: The name.
        message_types: What the two are bound to.
    """

    def __init__(self, circuit: str, message_types: tuple[object, object]) -> None:
        self.circuit = circuit
        self.message_types = message_types
        first, second = map(name_of, message_types)
        super().__init__(
            f"{first} and {second} are bound to two classes of one name, {circuit}, and to one circuit breaker, which "
            "would take the two for one. Give one of them another __qualname__, or another breaker."
        )


class EmptyChain(CqrsError, ValueError):
    """
    A request was bound to a chain without handlers.

    Attributes:
        request_type: The request.
    """

    def __init__(self, request_type: type) -> None:
        self.request_type = request_type
        super().__init__(
            f"{name_of(request_type)} is bound to an empty chain. Bind at least one CORRequestHandler class."
        )


class NotAChain(CqrsError, TypeError):
    """
    A chain of responsibility was to be drawn of something that is none.

    Attributes:
        strangers: What was given and is not a ``CORRequestHandler`` class; empty if nothing was given at all.
    """

    def __init__(self, strangers: Sequence[object]) -> None:
        self.strangers = tuple(strangers)
        found = ", ".join(map(name_of, self.strangers)) or "nothing"
        super().__init__(
            f"No chain can be drawn of {found}. Give a list of CORRequestHandler classes, as RequestMap.bind takes it."
        )


class MapFrozen(CqrsError, RuntimeError):
    """
    A map was changed after a mediator had been built from it; the mediator would not have seen the change.

    Attributes:
        map_name: The class of the map.
        message_type: What was to be bound.
    """

    def __init__(self, map_name: str, message_type: object) -> None:
        self.map_name = map_name
        self.message_type = message_type
        super().__init__(
            f"{name_of(message_type)} cannot be bound: this {map_name} is in use by a mediator. "
            "Bind everything first, then build the mediator (or start the App)."
        )


class MiddlewareUnusable(CqrsError, TypeError):
    """
    A middleware cannot wrap the kind of message that it is given for.

    Attributes:
        middleware: The middleware.
        kind: ``"request"``, ``"stream"`` or ``"event"``.
    """

    def __init__(self, middleware: object, kind: str, expected: str) -> None:
        self.middleware = middleware
        self.kind = kind
        super().__init__(f"The middleware {type(middleware).__qualname__} cannot wrap a {kind}: it needs {expected}.")


def _options(options: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={name_of(value)}" for name, value in options.items())


def _names(handlers: object) -> str:
    if isinstance(handlers, (list, tuple)):
        return f"[{', '.join(map(name_of, handlers))}]"
    return name_of(handlers)
