"""Which services a container has, what each needs, and what is wrong with that; nothing is built here."""

from __future__ import annotations

import inspect
import sys
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, get_origin

from cqrs_core.dependencies import Dependency, dependencies_of
from cqrs_core.errors import (
    CaptiveDependency,
    CqrsError,
    DependencyCycle,
    MissingDependency,
    NotProvided,
    UnresolvedAnnotation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

#: Packages whose classes are made by whoever registers them.
_NOT_BUILT = sys.stdlib_module_names | {__name__.partition(".")[0]}


class Lifetime(Enum):
    """How long an object is shared."""

    SINGLETON = "as long as the container"
    SCOPED = "as long as a scope"
    TRANSIENT = "not shared"


class Service(NamedTuple):
    """How one type is made."""

    lifetime: Lifetime
    #: What to call; ``None``: the object comes with the scope.
    factory: Callable[..., Any] | None

    @property
    def is_awaited(self) -> bool:
        """Whether making it takes an ``await``: its factory is asynchronous, or has something to clean up."""
        kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
        return any(is_kind(self.factory) for is_kind in kinds)

    @property
    def needs_scope(self) -> bool:
        """Whether it lives in a scope, or must be cleaned up when one is left."""
        if self.lifetime is Lifetime.TRANSIENT:
            return inspect.isgeneratorfunction(self.factory) or inspect.isasyncgenfunction(self.factory)
        return self.lifetime is Lifetime.SCOPED


class ServiceGraph:
    """The services of one container, and of the parent that it extends."""

    def __init__(self, parent: ServiceGraph | None = None) -> None:
        self._parent = parent
        self._registered: dict[Any, Service] = {}
        self._overrides: dict[Any, Service] = {}
        self._dependencies: dict[Any, tuple[Dependency, ...]] = {}

    def register(self, key: Any, service: Service) -> None:  # noqa: ANN401 - a type, or an alias such as Repo[Order]
        """Say how *key* is made; the last word counts."""
        self._registered[key] = service

    @property
    def own(self) -> Collection[Any]:
        """What was registered, or overridden, here and not in the parent."""
        return self._registered.keys() | self._overrides.keys()

    def override(self, key: Any, service: Service | None) -> Service | None:  # noqa: ANN401 - as above
        """Put *service* before what was registered, or with ``None`` end that; answer what stood there."""
        before = self._overrides.pop(key, None)
        if service is not None:
            self._overrides[key] = service
        return before

    def registered(self, key: Any) -> Service | None:  # noqa: ANN401 - as above
        """Find a service that was registered, here or in the parent."""
        found = self._overrides.get(key) or self._registered.get(key)
        return self._parent.registered(key) if found is None and self._parent is not None else found

    def comes_with_scope(self, key: Any) -> bool:  # noqa: ANN401 - as above
        """Tell whether *key* was announced as an object that comes with the scope, overridden or not."""
        service = self._registered.get(key)
        if service is None:
            return self._parent is not None and self._parent.comes_with_scope(key)
        return service.factory is None

    def find(self, key: Any) -> Service | None:  # noqa: ANN401 - as above
        """Find how *key* is made: as it was registered, or by its own constructor."""
        return self.registered(key) or (Service(Lifetime.TRANSIENT, key) if _is_buildable(key) else None)

    def dependencies(self, service: Service) -> tuple[Dependency, ...]:
        """
        Tell what the factory of *service* asks for.

        Raises:
            UnresolvedAnnotation: An annotation names what cannot be found at run time.
        """
        if service.factory is None:
            return ()
        try:
            return self._dependencies[service.factory]
        except KeyError:
            found = self._dependencies[service.factory] = dependencies_of(service.factory)
            return found

    def is_filled(self, dependency: Dependency) -> bool:
        """Tell whether the container gives an argument for *dependency*, or leaves it to its default (or ``None``)."""
        if self.registered(dependency.wanted) is not None:
            return True
        return not dependency.has_default and self.find(dependency.wanted) is not None

    def needs(self, key: Any) -> Iterator[Any]:  # noqa: ANN401 - as above
        """Iterate over *key* and everything that is made for it, each once."""
        seen: set[Any] = set()
        waiting = [key]
        while waiting:
            current = waiting.pop()
            service = self.find(current)
            if current in seen or service is None:
                continue
            seen.add(current)
            yield current
            waiting.extend(d.wanted for d in self._filled(service))

    def needs_any(self, key: Any, targets: Collection[Any]) -> bool:  # noqa: ANN401 - as above
        """Tell whether *key* is among *targets*, or something made for it is."""
        return any(needed in targets for needed in self.needs(key))

    def is_synchronous(self, key: Any) -> bool:  # noqa: ANN401 - as above
        """Tell whether *key* and all that it needs are made without ``await`` and without a scope."""
        services = (self.find(needed) for needed in self.needs(key))
        return not any(service.is_awaited or service.needs_scope for service in services if service is not None)

    def awaits(self, key: Any) -> bool:  # noqa: ANN401 - as above
        """Tell whether the factory of *key*, or of something that it needs, is asynchronous."""
        factories = [service.factory for needed in self.needs(key) if (service := self.find(needed)) is not None]
        return any(inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f) for f in factories)

    def problems(self, key: Any) -> list[CqrsError]:  # noqa: ANN401 - as above
        """Tell everything that stands in the way of making *key*: errors, none of them raised."""
        if self.find(key) is None:
            return [NotProvided(key)]
        found: list[CqrsError] = []
        self._inspect(key, [], found, set())
        return found

    def _inspect(self, key: Any, path: list[Any], found: list[CqrsError], done: set[Any]) -> None:  # noqa: ANN401 - as above
        service = self.find(key)
        if key in done or service is None:
            return
        done.add(key)
        try:
            dependencies = self.dependencies(service)
        except UnresolvedAnnotation as error:
            found.append(error)
            return
        path = [*path, key]
        for dependency in dependencies:
            if dependency.wanted in path:
                found.append(DependencyCycle([*path[path.index(dependency.wanted) :], dependency.wanted]))
            elif self.is_filled(dependency):
                self._inspect(dependency.wanted, path, found, done)
            elif not dependency.has_default and not dependency.is_optional:
                found.append(MissingDependency(key, dependency.name, dependency.wanted, path[:-1]))
        if service.lifetime is Lifetime.SINGLETON:
            found.extend(CaptiveDependency(key, captive) for captive in self._captives(key))

    def _filled(self, service: Service) -> list[Dependency]:
        """What the container gives to a factory; nothing if that cannot be told, which is a problem told elsewhere."""
        try:
            return [d for d in self.dependencies(service) if self.is_filled(d)]
        except UnresolvedAnnotation:
            return []

    def _captives(self, key: Any) -> Sequence[Any]:  # noqa: ANN401 - as above
        """Find what a singleton would keep beyond its scope. What another singleton keeps is that one's fault."""
        captives: list[Any] = []
        seen = {key}
        waiting = [key]
        while waiting:
            service = self.find(waiting.pop())
            for dependency in self._filled(service) if service is not None else ():
                wanted, needed = dependency.wanted, self.find(dependency.wanted)
                if wanted in seen or needed is None:
                    continue
                seen.add(wanted)
                if needed.needs_scope:
                    captives.append(wanted)
                elif needed.lifetime is Lifetime.TRANSIENT:
                    waiting.append(wanted)
        return captives


def _is_buildable(key: Any) -> bool:  # noqa: ANN401 - as above
    """Tell whether a class that nobody registered may be built by its constructor."""
    # On Python 3.10 some aliases say that they are types.
    if not isinstance(key, type) or get_origin(key) is not None:
        return False
    if inspect.isabstract(key) or getattr(key, "_is_protocol", False):
        return False
    # A Decimal or a Path that nobody registered is a forgotten setting, not a service; a new container or mediator of
    # this package is not the one that was meant.
    return key.__module__.partition(".")[0] not in _NOT_BUILT
