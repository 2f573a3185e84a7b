"""Errors of containers: who is to make what, and what that needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.errors.base import CqrsError, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class NotAContainer(CqrsError, TypeError):
    """
    What was given as container has no coroutine method ``resolve(type)``.

    Attributes:
        container: What was given.
    """

    def __init__(self, container: object) -> None:
        self.container = container
        super().__init__(
            f"{type(container).__qualname__} is not a container: it has no method `async def resolve(self, wanted)`. "
            "Give cqrs_core.SimpleContainer(), an object that follows cqrs_core.Container, or nothing."
        )


class MissingDependency(CqrsError, LookupError):
    """
    Nobody provides what a constructor or a factory asks for.

    Attributes:
        dependent: The class or factory that asks.
        parameter: The name of its parameter.
        annotation: The parameter's annotation; ``None`` if it has none.
        path: Who asked for the dependent, outermost first; empty if it was asked for itself.
    """

    def __init__(self, dependent: object, parameter: str, annotation: object, path: Sequence[object] = ()) -> None:
        self.dependent = dependent
        self.parameter = parameter
        self.annotation = annotation
        self.path = tuple(path)
        way = f" (needed by {' -> '.join(name_of(step) for step in self.path)})" if self.path else ""
        if annotation is None:
            problem, cure = f"parameter {parameter!r} has no annotation", "Annotate it with a class that is provided."
        else:
            problem = f"nobody provides {name_of(annotation)} for its parameter {parameter!r}"
            cure = (
                f"Register it: container.transient({name_of(annotation)}, a_factory), or give the parameter a default."
            )
        super().__init__(f"{name_of(dependent)} cannot be built{way}: {problem}. {cure}")


class NotProvided(CqrsError, LookupError):
    """
    A container was asked for something that it cannot make.

    Attributes:
        wanted: What it was asked for.
    """

    def __init__(self, wanted: object) -> None:
        self.wanted = wanted
        name = name_of(wanted)
        super().__init__(f"The container cannot make {name}. Register it: container.transient({name}, a_factory).")


class DependencyCycle(CqrsError, RecursionError):
    """
    Services need each other, so none can be built first.

    Attributes:
        path: The services in order, the first again at the end.
    """

    def __init__(self, path: Sequence[object]) -> None:
        self.path = tuple(path)
        super().__init__(
            f"Services need each other: {' -> '.join(name_of(step) for step in self.path)}. "
            "Break the circle: let one of them take a factory, or move what they share into a third."
        )


class CaptiveDependency(CqrsError, TypeError):
    """
    A singleton asks for a scoped service, and would keep it beyond its scope.

    Attributes:
        singleton: The service that lives as long as the container.
        scoped: The service that lives as long as one scope.
    """

    def __init__(self, singleton: object, scoped: object) -> None:
        self.singleton = singleton
        self.scoped = scoped
        super().__init__(
            f"The singleton {name_of(singleton)} asks for {name_of(scoped)}, which lives in one scope only. "
            f"Register {name_of(singleton)} as scoped or transient."
        )


class ScopeRequired(CqrsError, RuntimeError):
    """
    A scoped service was asked for outside any scope.

    Attributes:
        wanted: The service.
    """

    def __init__(self, wanted: object) -> None:
        self.wanted = wanted
        super().__init__(
            f"{name_of(wanted)} needs a scope. Resolve it inside one: "
            f"`async with container.scope() as scope: await scope.resolve({name_of(wanted)})`."
        )


class UnknownScopeValue(CqrsError, LookupError):
    """
    A scope was given an object whose type was not announced, so nobody would have got it.

    Attributes:
        provided: The type.
    """

    def __init__(self, provided: object) -> None:
        self.provided = provided
        super().__init__(
            f"The container does not expect {name_of(provided)} from its scopes. "
            f"Announce it: container.from_scope({name_of(provided)})."
        )


class ScopeValueMissing(CqrsError, LookupError):
    """
    A service was to come with the scope, and the scope was opened without it.

    Attributes:
        wanted: The service.
    """

    def __init__(self, wanted: object) -> None:
        self.wanted = wanted
        name = name_of(wanted)
        super().__init__(f"This scope was opened without {name}. Give it: container.scope({{{name}: the_object}}).")


class OverrideTooLate(CqrsError, RuntimeError):
    """
    A handler was to be overridden after a mediator had been built that makes it by itself.

    Attributes:
        provided: The handler class.
    """

    def __init__(self, provided: object) -> None:
        self.provided = provided
        super().__init__(
            f"{name_of(provided)} is made by a mediator that was built already, which an override cannot reach. "
            "Override what it depends on, or build the mediator inside the block."
        )
