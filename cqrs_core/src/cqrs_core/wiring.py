"""How mediators come by their handlers, and the check, before the first message, that they can."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from cqrs_core.container import KnowingContainer, ScopingContainer, SynchronousContainer
from cqrs_core.dependencies import dependencies_of
from cqrs_core.errors import CqrsError, MissingDependency, NotAContainer, UnresolvedAnnotation, WiringError
from cqrs_core.injection import SimpleContainer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from cqrs_core.container import Container, Scope
    from cqrs_core.dependencies import Dependency

    #: Makes a handler; bound to a container, or to a scope of one.
    Resolve = Callable[[type], Awaitable[Any]]
    #: Opens the scope of one attempt.
    OpenScope = Callable[[], Scope]


class Wired(Protocol):
    """Something that is put together from maps and a container: a mediator, or the emitter."""

    def wire(self) -> list[CqrsError]:
        """Prepare for the first message, and tell everything that is wrong: errors, none of them raised."""
        ...

    def freeze(self) -> None:
        """Refuse changes from now on; called when nothing is wrong with any part."""
        ...


def wire(*parts: Wired) -> None:
    """
    Prepare *parts* for their first message.

    Raises:
        WiringError: With everything that is wrong with all of them; the same fault of two is told once.
    """
    problems = {(type(problem), repr(vars(problem))): problem for part in parts for problem in part.wire()}
    if problems:
        raise WiringError(list(problems.values()))
    for part in parts:
        part.freeze()


class HandlerSource:
    """
    Makes handlers with whatever container there is.

    The container makes them, but for those that it says it does not know, and those that ask for a mediator or the App
    in their constructors: they are built here, from what the container does know.
    """

    def __init__(self, container: Container | None = None) -> None:
        """
        Take *container*, or a new :class:`SimpleContainer`.

        Raises:
            NotAContainer: It has no method ``resolve``, or is a class instead of an object.
        """
        self.container: Container = SimpleContainer() if container is None else container
        if isinstance(container, type) or not callable(getattr(self.container, "resolve", None)):
            raise NotAContainer(container)
        #: What handlers may ask for beside the container's own: mediators and the App, by their types.
        self._services: dict[type, object] = {}
        self._view: Container | None = None
        #: What handlers may ask for that comes with the scope, made from the object that the scope is opened for.
        self._of_scopes: Mapping[type, Callable[[Any], object]] = {}
        self._scope_owner: type = type(None)
        #: Handlers that are built here, with what their constructors ask for.
        self._built_here: dict[type, tuple[Dependency, ...]] = {}

    def offer(self, service_type: type, service: object) -> None:
        """Let handlers ask for *service* by its type; to be called before :meth:`admit`."""
        self._services[service_type] = service

    def offer_as_all(self, service: object, oldest: type) -> None:
        """Let handlers ask for *service* by its class, and by every base of that down from *oldest*."""
        for service_type in type(service).__mro__:
            if issubclass(service_type, oldest):
                self.offer(service_type, service)

    def offer_in_scopes(self, owner: type, makers: Mapping[type, Callable[[Any], object]]) -> None:
        """
        Let handlers ask for objects that belong to what a scope is opened for; to be called before :meth:`admit`.

        Args:
            owner: The class of what :meth:`open_scope_of` is given.
            makers: By the types that handlers ask for: each makes one from it, once in a scope.
        """
        self._scope_owner, self._of_scopes = owner, makers
        view = self._prepared()
        if isinstance(view, SimpleContainer):
            view.from_scope(owner)
            for provided, make in makers.items():
                view.scoped(provided, _asking_for(owner, make))

    def has_registered(self, wanted: type) -> bool:
        """Tell whether the program has told its container how to make *wanted*."""
        container = self.container
        if isinstance(container, SimpleContainer):
            return container.has_registered(wanted)
        return isinstance(container, KnowingContainer) and container.provides(wanted)

    def open_scope_of(self, owner: object) -> Scope:
        """Open a scope in which handlers can ask for the objects of *owner*; only if there are scopes."""
        view = self._prepared()
        if isinstance(view, SimpleContainer):
            return view.scope({self._scope_owner: owner})  # what is asked for is made then
        assert isinstance(view, ScopingContainer), "there are scopes"  # noqa: S101 - for type checkers
        return view.scope({provided: make(owner) for provided, make in self._of_scopes.items()})

    def admit(self, handler: type) -> list[CqrsError]:
        """Get ready to make *handler*, and tell what stands in the way: errors, none of them raised."""
        container = self._prepared()
        if isinstance(container, SimpleContainer):
            if not container.provides(handler):
                container.transient(handler)  # in the view only: the user's container stays as it is
            return list(container.problems(handler))
        knows = container.provides if isinstance(container, KnowingContainer) else _knows_everything
        try:
            asked = dependencies_of(handler)
        except UnresolvedAnnotation as error:
            # Only somebody who builds the handler by its annotations has to understand them.
            return [] if knows(handler) else [error]
        if any(dependency.wanted in self._services for dependency in asked) or not knows(handler):
            self._built_here[handler] = asked
            return [
                MissingDependency(handler, dependency.name, dependency.wanted)
                for dependency in asked
                if not (dependency.has_default or dependency.is_optional or self._can_fill(dependency, knows))
            ]
        return []

    def maker(self, handler: type) -> Callable[[], Any] | None:
        """Give a function that makes *handler* at once; ``None`` if it takes awaiting, or a scope."""
        container = self._prepared()
        if isinstance(container, SynchronousContainer) and handler not in self._built_here:
            return container.provider(handler)
        return None

    def builds(self, handler: type) -> bool:
        """Tell whether *handler*, which was admitted, is built here and not by the container."""
        return handler in self._built_here

    def resolver(self, scope: Container | None = None) -> Resolve:
        """Give a function that makes admitted handlers in *scope*, or outside any."""
        container = self._prepared() if scope is None else scope
        if not self._built_here:
            return container.resolve

        async def resolve(handler: type) -> Any:  # noqa: ANN401 - an object of the handler class
            asked = self._built_here.get(handler)
            if asked is None:
                return await container.resolve(handler)
            return await self._build(handler, asked, container)

        return resolve

    @asynccontextmanager
    async def resolving(self) -> AsyncIterator[Resolve]:
        """Open a scope, if the container has such, and give the resolver of it; for where time does not matter."""
        open_scope = self.open_scope
        if open_scope is None:
            yield self.resolver()
            return
        scope = open_scope()
        try:
            yield self.resolver(scope)
        except BaseException as error:
            await scope.aclose(error)
            raise
        await scope.aclose()

    @property
    def open_scope(self) -> OpenScope | None:
        """What opens the scope of one attempt; ``None`` if the container has no scopes."""
        container = self._prepared()
        return container.scope if isinstance(container, ScopingContainer) else None

    def _prepared(self) -> Container:
        """The container as handlers see it: with the services, where it can take them."""
        if self._view is None:
            container = self.container
            self._view = container.child(self._services) if isinstance(container, SimpleContainer) else container
        return self._view

    def _can_fill(self, dependency: Dependency, knows: Callable[[type], bool]) -> bool:
        if dependency.wanted is None:
            return False
        return dependency.wanted in self._services or dependency.wanted in self._of_scopes or knows(dependency.wanted)

    async def _build(self, handler: type, asked: tuple[Dependency, ...], container: Container) -> Any:  # noqa: ANN401 - ditto
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for dependency in asked:
            if dependency.wanted in self._services:
                value = self._services[dependency.wanted]
            elif dependency.wanted in self._of_scopes or self._is_asked_of(container, dependency):
                value = await container.resolve(dependency.wanted)
            else:
                value = dependency.fallback
            if dependency.is_positional:
                positional.append(value)
            else:
                named[dependency.name] = value
        return handler(*positional, **named)

    @staticmethod
    def _is_asked_of(container: Container, dependency: Dependency) -> bool:
        """Tell whether *container* is to make it: one that cannot say what it knows only if there is no other way."""
        if isinstance(container, KnowingContainer):
            return dependency.wanted is not None and container.provides(dependency.wanted)
        return not dependency.has_default


def _knows_everything(_: type) -> bool:
    return True


def _asking_for(owner: type, make: Callable[[Any], object]) -> Callable[[Any], object]:
    """Turn *make* into a factory of a container, which says by its annotation what it is to be called with."""

    def factory(of: Any) -> object:  # noqa: ANN401 - of the class *owner*
        return make(of)

    factory.__annotations__["of"] = owner
    return factory
