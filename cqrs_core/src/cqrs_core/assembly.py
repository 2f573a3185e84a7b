"""Makes services: calls their factories with what these ask for."""

from __future__ import annotations

import inspect
import weakref
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

from cqrs_core.errors import NotProvided, ScopeRequired, ScopeValueMissing, WiringError
from cqrs_core.lifetimes import Singletons
from cqrs_core.services import Lifetime, ServiceGraph

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from cqrs_core.dependencies import Dependency
    from cqrs_core.lifetimes import SimpleScope
    from cqrs_core.services import Service

    #: Singletons that were set aside, and where each belongs.
    Aside = list[tuple[Singletons, dict[Any, Any]]]


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
        #: Functions that make a service without awaiting. They look up here what they need, so that a change of the
        #: graph reaches those that were given away.
        self._makers: dict[Any, Callable[[], Any]] = {}
        self._makers_given_away: set[Any] = set()
        self._checked: set[Any] = set()
        self._owners: dict[Any, Assembly] = {}

    def child(self) -> Assembly:
        """Extend this assembly."""
        child = Assembly(self)
        self._children.add(child)
        return child

    def give_maker(self, wanted: Any) -> Callable[[], Any] | None:  # noqa: ANN401 - a type, or an alias such as Repo[X]
        """Give a function that makes *wanted* without awaiting and outside any scope; ``None`` if there is no such."""
        if not self.graph.is_synchronous(wanted):
            return None
        self._makers_given_away.add(wanted)
        return self.maker(wanted)

    def is_given_away(self, wanted: Any) -> bool:  # noqa: ANN401 - as above
        """Tell whether somebody makes *wanted* by a function that was given to them."""
        return any(wanted in assembly._makers_given_away for assembly in self._family())  # noqa: SLF001 - same class

    def refresh(self) -> None:
        """Follow a change of the graph."""
        self._checked.clear()
        self._owners.clear()
        for wanted in list(self._makers):
            is_synchronous = self.graph.is_synchronous(wanted)
            self._makers[wanted] = self._compile(wanted) if is_synchronous else _refusing(wanted)
        for child in self._children:
            child.refresh()

    def set_singletons_aside(self, provided: Any) -> Aside:  # noqa: ANN401 - as above
        """Forget the singletons that need *provided*, and give them back for :meth:`restore_singletons`."""
        aside: Aside = []
        for assembly in self._family():
            made = assembly.singletons.made
            affected = [key for key in made if assembly.graph.needs_any(key, {provided})]
            aside.append((assembly.singletons, {key: made.pop(key) for key in affected}))
        return aside

    def restore_singletons(self, aside: Aside) -> None:
        """Have those back that were set aside."""
        for singletons, made in aside:
            singletons.made.update(made)

    async def aclose(self) -> None:
        """End the singletons, those of children first."""
        for child in self._children:
            await child.aclose()
        await self.singletons.aclose()

    async def resolve(self, wanted: Any, scope: SimpleScope | None) -> Any:  # noqa: ANN401 - as above
        """
        Make, or fetch, a *wanted*.

        Raises:
            NotProvided: Nobody knows how.
            WiringError: Several things stand in the way; one alone is raised as it is.
            ScopeRequired: It, or something that it needs, lives in a scope, and there is none.
            ScopeValueMissing: It, or something that it needs, was to come with the scope, and did not.
        """
        maker = self._makers.get(wanted)
        if maker is not None:
            return maker()
        if wanted not in self._checked:
            self._check(wanted)
        if self.graph.is_synchronous(wanted):
            return self.maker(wanted)()
        return await self._make(wanted, scope)

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

    def _compile(self, wanted: Any) -> Callable[[], Any]:  # noqa: ANN401 - as above
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
            value = "None"
            if self.graph.is_filled(dependency):
                self.maker(dependency.wanted)
                names[f"key{number}"] = dependency.wanted
                value = f"makers[key{number}]()"
            arguments.append(value if dependency.is_positional else f"{dependency.name}={value}")
        if not arguments:
            return factory
        text = f"lambda: factory({', '.join(arguments)})"
        return cast("Callable[[], Any]", eval(text, names))  # noqa: S307 - of names that are parameters already

    def _passed_to(self, service: Service) -> list[Dependency]:
        """What a factory is called with; the rest is left to its defaults."""
        return [d for d in self.graph.dependencies(service) if self.graph.is_filled(d) or not d.has_default]

    def _service(self, wanted: Any) -> Service:  # noqa: ANN401 - as above
        service = self.graph.find(wanted)
        if service is None:
            raise NotProvided(wanted)
        return service

    def _check(self, wanted: Any) -> None:  # noqa: ANN401 - as above
        self._service(wanted)
        problems = self.graph.problems(wanted)
        if problems:
            raise problems[0] if len(problems) == 1 else WiringError(problems)
        self._checked.add(wanted)

    async def _make(self, wanted: Any, scope: SimpleScope | None) -> Any:  # noqa: ANN401 - as above
        """Make, where awaiting or a scope is needed, what nothing stands in the way of."""
        owner = self._owner(wanted)
        if owner is not self:
            return await owner.resolve(wanted, scope)
        service = self._service(wanted)
        if service.lifetime is Lifetime.SINGLETON:
            cleanup = self.singletons.cleanup
            return await self.singletons.get_or_await(wanted, lambda: self._call(service, None, cleanup))
        if scope is None:
            if service.needs_scope:
                raise ScopeRequired(wanted)
            return await self._call(service, None, self.singletons.cleanup)
        if service.factory is None:
            raise ScopeValueMissing(wanted)
        made = await self._call(service, scope, scope.cleanup)
        if service.lifetime is Lifetime.SCOPED:
            scope.keep(wanted, made)
        return made

    async def _call(self, service: Service, scope: SimpleScope | None, cleanup: AsyncExitStack) -> Any:  # noqa: ANN401 - as above
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for dependency in self._passed_to(service):
            value = None
            if self.graph.is_filled(dependency):
                wanted = dependency.wanted
                value = await (self.resolve(wanted, None) if scope is None else scope.resolve(wanted))
            if dependency.is_positional:
                positional.append(value)
            else:
                named[dependency.name] = value
        factory = cast("Callable[..., Any]", service.factory)
        if inspect.isasyncgenfunction(factory):
            return await cleanup.enter_async_context(asynccontextmanager(factory)(*positional, **named))
        if inspect.isgeneratorfunction(factory):
            return cleanup.enter_context(contextmanager(factory)(*positional, **named))
        made = factory(*positional, **named)
        return await made if inspect.iscoroutinefunction(factory) else made


def _refusing(wanted: Any) -> Callable[[], Any]:  # noqa: ANN401 - as above
    def refuse() -> Any:  # noqa: ANN401 - never returns
        raise ScopeRequired(wanted)

    return refuse
