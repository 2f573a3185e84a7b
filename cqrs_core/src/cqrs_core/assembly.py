"""Makes services: calls their factories with what these ask for."""

from __future__ import annotations

import inspect
import weakref
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

from cqrs_core.errors import ScopeRequired, ScopeValueMissing, WiringError
from cqrs_core.lifetimes import Singletons, each_of
from cqrs_core.services import Lifetime, ServiceGraph

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from cqrs_core.dependencies import Dependency
    from cqrs_core.lifetimes import SimpleScope
    from cqrs_core.services import Service

    #: What puts singletons back that were set aside.
    Aside = list[Callable[[], None]]


class Assembly:
    """
    Makes the services of one graph.

    A child knows services of its own beside those of its parent. What needs none of them is made, and kept, by the
    parent, so that all children share it.
    """

    def __init__(self, parent: Assembly | None = None) -> None:
        self.graph: ServiceGraph = ServiceGraph(parent.graph if parent is not None else None)
        self.singletons = Singletons()
        self._parent = parent
        self._children: weakref.WeakSet[Assembly] = weakref.WeakSet()
        #: Functions that make a service at once: without awaiting, and outside any scope. They look up here what they
        #: need, so that a change of the graph reaches those that were given away.
        self._makers: dict[Any, Callable[[], Any]] = {}
        self._makers_given_away: set[Any] = set()
        #: The services that nothing stands in the way of, and whether they are made at once.
        self._is_at_once: dict[Any, bool] = {}
        #: Those of the others whose making may be interrupted by another task.
        self._is_interruptible: dict[Any, bool] = {}
        self._owners: dict[Any, Assembly] = {}

    def register(self, provided: Any, service: Service) -> None:  # noqa: ANN401 - a type, or an alias such as Repo[X]
        """Say how *provided* is made, from now on: singletons that need it are made anew."""
        self.graph.register(provided, service)
        self.set_singletons_aside(provided)
        self.refresh()

    def child(self) -> Assembly:
        """Extend this assembly."""
        child = Assembly(self)
        self._children.add(child)
        return child

    def give_maker(self, wanted: Any) -> Callable[[], Any] | None:  # noqa: ANN401 - as above
        """Give a function that makes *wanted* without awaiting and outside any scope; ``None`` if there is no such."""
        if self.graph.problems(wanted) or not self.graph.is_synchronous(wanted):
            return None
        self._makers_given_away.add(wanted)
        maker, makers = self.maker(wanted), self._makers
        asked = self.graph.dependencies(self._service(wanted))
        # One that leaves something out must be looked up anew each time: somebody may provide that later.
        return maker if all(self.graph.is_filled(d) for d in asked) else lambda: makers[wanted]()  # noqa: PLW0108 - not now

    def is_given_away(self, wanted: Any) -> bool:  # noqa: ANN401 - as above
        """Tell whether somebody makes *wanted* by a function that was given to them."""
        return any(wanted in assembly._makers_given_away for assembly in self._family())  # noqa: SLF001 - same class

    def refresh(self) -> None:
        """Follow a change of the graph."""
        self._is_at_once.clear()
        self._is_interruptible.clear()
        self._owners.clear()
        for wanted in self._makers:
            self._makers[wanted] = self._compile_later(wanted)
        for child in list(self._children):
            child.refresh()

    def set_singletons_aside(self, provided: Any) -> Aside:  # noqa: ANN401 - as above
        """Forget the singletons that need *provided*, and say how to have them back."""
        return [
            assembly.singletons.take([k for k in assembly.singletons.made if assembly.graph.needs_any(k, {provided})])
            for assembly in self._family()
        ]

    def restore_singletons(self, aside: Aside) -> None:
        """Have those back that were set aside."""
        for put_back in aside:
            put_back()

    async def aclose(self) -> None:
        """End the singletons, those of children first, and all of them even if one cannot be ended."""
        await each_of([*(child.aclose for child in self._children), self.singletons.aclose])

    async def resolve(self, wanted: Any, scope: SimpleScope | None) -> Any:  # noqa: ANN401 - as above
        """
        Make, or fetch, a *wanted*.

        Raises:
            NotProvided: Nobody knows how.
            WiringError: Several things stand in the way; one alone is raised as it is.
            ScopeRequired: It, or something that it needs, lives in a scope, and there is none.
            ScopeValueMissing: It, or something that it needs, was to come with the scope, and did not.
        """
        is_at_once = self._is_at_once.get(wanted)
        if is_at_once is None:
            is_at_once = self._check(wanted)
        return self.maker(wanted)() if is_at_once else await self._make(wanted, scope)

    def maker(self, wanted: Any) -> Callable[[], Any]:  # noqa: ANN401 - as above
        """Give the function that makes *wanted*, which must be synchronous."""
        if wanted not in self._makers:
            self._makers[wanted] = self._compile(wanted)
        return self._makers[wanted]

    def _family(self) -> list[Assembly]:
        return [self, *(member for child in self._children for member in child._family())]  # noqa: SLF001 - same class

    def _owner(self, wanted: Any) -> Assembly:  # noqa: ANN401 - as above
        """Tell who makes *wanted*: the parent, unless it needs what only this child knows."""
        if self._parent is None:
            return self
        if wanted not in self._owners:
            needs_own = self.graph.needs_any(wanted, self.graph.own)
            self._owners[wanted] = self if needs_own else self._parent
        return self._owners[wanted]

    def _compile_later(self, wanted: Any) -> Callable[[], Any]:  # noqa: ANN401 - as above
        """Compile it when it is called: what is being registered may not be complete yet."""

        def compile_and_make() -> Any:  # noqa: ANN401 - of any type
            if self._makers[wanted] is compile_and_make:
                self._makers[wanted] = self._compile(wanted)
            return self._makers[wanted]()

        return compile_and_make

    def _compile(self, wanted: Any) -> Callable[[], Any]:  # noqa: ANN401 - as above
        if not self._check(wanted):
            raise ScopeRequired(wanted)
        owner = self._owner(wanted)
        if owner is not self:
            return owner.maker(wanted)
        service = self._service(wanted)
        build = self._compile_call(service)
        if service.lifetime is not Lifetime.SINGLETON:
            return build
        singletons = self.singletons
        return lambda: singletons.get_or_make(wanted, build)

    def _compile_call(self, service: Service) -> Callable[[], Any]:
        """Write the call as one would by hand: no dictionary of arguments is made for each object."""
        factory = cast("Callable[..., Any]", service.factory)
        names: dict[str, Any] = {"factory": factory, "makers": self._makers}
        arguments: list[str] = []
        for number, dependency in enumerate(self._passed_to(service)):
            value, names[f"key{number}"] = f"key{number}", dependency.fallback
            if self.graph.is_filled(dependency):
                self.maker(dependency.wanted)
                value, names[f"key{number}"] = f"makers[key{number}]()", dependency.wanted
            arguments.append(value if dependency.is_positional else f"{dependency.name}={value}")
        if not arguments:
            return factory
        text = f"lambda: factory({', '.join(arguments)})"
        return cast("Callable[[], Any]", eval(text, names))  # noqa: S307 - of names that are parameters already

    def _passed_to(self, service: Service) -> list[Dependency]:
        """What a factory is called with; the rest is left to its defaults, which one without a name cannot be."""
        asked = self.graph.dependencies(service)
        return [d for d in asked if self.graph.is_filled(d) or not d.has_default or d.is_positional]

    def _service(self, wanted: Any) -> Service:  # noqa: ANN401 - as above
        return cast("Service", self.graph.find(wanted))  # there is one: nothing stands in the way of *wanted*

    def _check(self, wanted: Any) -> bool:  # noqa: ANN401 - as above
        """Tell whether *wanted* is made at once, or raise what stands in the way."""
        if wanted not in self._is_at_once:
            problems = self.graph.problems(wanted)
            if problems:
                raise problems[0] if len(problems) == 1 else WiringError(problems)
            self._is_at_once[wanted] = self.graph.is_synchronous(wanted)
        return self._is_at_once[wanted]

    async def _make(self, wanted: Any, scope: SimpleScope | None) -> Any:  # noqa: ANN401 - as above
        """Make, where awaiting or a scope is needed, what nothing stands in the way of."""
        owner = self._owner(wanted)
        if owner is not self:
            return await owner.resolve(wanted, scope)
        service = self._service(wanted)
        if service.lifetime is Lifetime.SINGLETON:
            return await self.singletons.get_or_await(wanted, lambda: self._call(service, None))
        if scope is None and service.needs_scope:
            raise ScopeRequired(wanted)
        if scope is None or service.lifetime is Lifetime.TRANSIENT:
            return await self._call(service, scope)
        if service.factory is None:
            raise ScopeValueMissing(wanted)
        if self._can_be_interrupted(wanted):
            return await scope.get_or_await(wanted, lambda: self._call(service, scope))
        made = await self._call(service, scope)
        scope.keep(wanted, made)
        return made

    def _can_be_interrupted(self, wanted: Any) -> bool:  # noqa: ANN401 - as above
        """Tell whether another task may ask for *wanted* while it is made; if not, nobody has to wait."""
        if wanted not in self._is_interruptible:
            self._is_interruptible[wanted] = self.graph.awaits(wanted)
        return self._is_interruptible[wanted]

    async def _call(self, service: Service, scope: SimpleScope | None) -> Any:  # noqa: ANN401 - as above
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for dependency in self._passed_to(service):
            value = dependency.fallback
            if self.graph.is_filled(dependency):
                wanted = dependency.wanted
                value = await (self.resolve(wanted, None) if scope is None else scope.resolve(wanted))
            if dependency.is_positional:
                positional.append(value)
            else:
                named[dependency.name] = value
        factory = cast("Callable[..., Any]", service.factory)
        home = self.singletons if scope is None else scope
        if inspect.isasyncgenfunction(factory):
            later = asynccontextmanager(factory)(*positional, **named)
            made = await later.__aenter__()
            home.leave(later.__aexit__)
            return made
        if inspect.isgeneratorfunction(factory):
            return _enter(contextmanager(factory)(*positional, **named), home)
        made = factory(*positional, **named)
        return await made if inspect.iscoroutinefunction(factory) else made


def _enter(manager: AbstractContextManager[Any], home: Singletons | SimpleScope) -> Any:  # noqa: ANN401 - as above
    async def end(*about: Any) -> None:  # noqa: ANN401 - what a scope tells, as to one that awaits
        manager.__exit__(*about)

    made = manager.__enter__()
    home.leave(end)
    return made
