"""The built-in container: constructors and factories are called with what their annotations ask for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cqrs_core.assembly import Assembly
from cqrs_core.dependencies import as_function
from cqrs_core.errors import OverrideTooLate, UnknownScopeValue
from cqrs_core.lifetimes import SimpleScope
from cqrs_core.services import Lifetime, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cqrs_core.errors import CqrsError

T = TypeVar("T")


class SimpleContainer:
    """
    Builds objects by the annotations of their constructors.

    A class that nobody registered is built too, anew each time, unless it is abstract, a protocol, or of the standard
    library. A parameter with a default is filled only if its type was registered.

    A *factory* is a class, a function or a coroutine function; or a generator function, or an asynchronous one, that
    yields the object and cleans up after its ``yield``: of a singleton when the container is closed, of others when
    their scope is left.
    """

    def __init__(self, *, parent: Assembly | None = None) -> None:
        """Make an empty container; *parent* is for :meth:`child`."""
        self._assembly = Assembly() if parent is None else parent.child()

    def singleton(self, provided: type[T], factory: Callable[..., Any] | None = None) -> None:
        """
        Make one *provided*, at its first use, for as long as the container lives.

        Args:
            provided: The type that dependents ask for.
            factory: What makes it; *provided* itself unless given. Its own parameters are filled in the same way.
        """
        self._register(provided, factory, Lifetime.SINGLETON)

    def scoped(self, provided: type[T], factory: Callable[..., Any] | None = None) -> None:
        """Make one *provided* for each scope, that is for each message; arguments as for :meth:`singleton`."""
        self._register(provided, factory, Lifetime.SCOPED)

    def transient(self, provided: type[T], factory: Callable[..., Any] | None = None) -> None:
        """Make a new *provided* whenever it is asked for; arguments as for :meth:`singleton`."""
        self._register(provided, factory, Lifetime.TRANSIENT)

    def instance(self, provided: type[T], value: T) -> None:
        """Answer with *value* whenever *provided* is asked for. It is the caller's, and not cleaned up."""
        self._register(provided, _Instance(value), Lifetime.TRANSIENT)

    def from_scope(self, provided: type) -> None:
        """Say that *provided* comes with the values that :meth:`scope` is given."""
        self._assembly.register(provided, Service(Lifetime.SCOPED, None))

    def provides(self, wanted: type) -> bool:
        """Tell whether *wanted* was registered, or can be built by its constructor."""
        return self._assembly.graph.find(wanted) is not None

    def has_registered(self, wanted: type) -> bool:
        """Tell whether it was said how *wanted* is made."""
        return self._assembly.graph.registered(wanted) is not None

    def problems(self, wanted: type) -> Sequence[CqrsError]:
        """
        Tell everything that stands in the way of making *wanted*, without making anything.

        Returns:
            Errors, none of them raised: ``NotProvided``, ``MissingDependency``, ``DependencyCycle``,
            ``CaptiveDependency``, ``UnresolvedAnnotation``.
        """
        return self._assembly.graph.problems(wanted)

    def provider(self, wanted: type[T]) -> Callable[[], T] | None:
        """Give a function that makes *wanted* without awaiting and outside any scope; ``None`` if there is no such."""
        return cast("Callable[[], T] | None", self._assembly.give_maker(wanted))

    async def resolve(self, wanted: type[T]) -> T:
        """
        Make, or fetch, a *wanted*.

        Raises:
            NotProvided: It is not registered, and cannot be built by its constructor.
            MissingDependency: Something that it needs is neither registered nor can be built.
            ScopeRequired: It, or something that it needs, lives in a scope.
        """
        return cast("T", await self._assembly.resolve(wanted, None))

    def scope(self, values: Mapping[type, Any] | None = None) -> SimpleScope:
        """
        Open a scope: what is scoped is made once in it, and cleaned up, in reverse, when it is left.

        Args:
            values: Objects from outside, each of a type that was announced with :meth:`from_scope`.

        Raises:
            UnknownScopeValue: A value's type was not announced, so no dependent would get it.
        """
        if not values:
            return SimpleScope(self._assembly.resolve, {})
        return SimpleScope(self._assembly.resolve, self._expected(values))

    def child(self, values: Mapping[type, Any]) -> SimpleContainer:
        """
        Make a container that knows *values* as well. What needs none of them is made, and kept, by this one.

        Args:
            values: Objects by their type. The mapping itself is kept, and looked into whenever one is asked for.
        """
        child = SimpleContainer(parent=self._assembly)
        for provided in values:
            child.transient(provided, _Late(values, provided))
        return child

    @contextmanager
    def override(self, provided: type[T], value: T) -> Iterator[None]:
        """
        Answer with *value* whenever *provided* is asked for, until the block is left. For tests.

        It reaches mediators that were built before, and singletons: those that need *provided* are set aside, and made
        anew inside the block.

        Raises:
            OverrideTooLate: *provided* is a handler that a mediator makes by itself already.
        """
        assembly = self._assembly
        if assembly.is_given_away(provided):
            raise OverrideTooLate(provided)
        before = assembly.graph.override(provided, Service(Lifetime.TRANSIENT, _Instance(value)))
        # Only now do those need it that have a default instead as long as nobody provides it.
        aside = assembly.set_singletons_aside(provided)
        assembly.refresh()
        try:
            yield
        finally:
            assembly.set_singletons_aside(provided)
            assembly.graph.override(provided, before)
            assembly.refresh()
            assembly.restore_singletons(aside)

    async def aclose(self) -> None:
        """Clean up the singletons, the youngest first. The container can be used again: they are made anew."""
        await self._assembly.aclose()

    def _register(self, provided: Any, factory: Callable[..., Any] | None, lifetime: Lifetime) -> None:  # noqa: ANN401 - a type, or an alias such as Repo[X]
        self._assembly.register(provided, Service(lifetime, as_function(provided if factory is None else factory)))

    def _expected(self, values: Mapping[type, Any]) -> dict[Any, Any]:
        """Take what a scope is given, but for what is overridden."""
        graph = self._assembly.graph
        for provided in values:
            if not graph.comes_with_scope(provided):
                raise UnknownScopeValue(provided)
        found = {provided: graph.registered(provided) for provided in values}
        return {key: values[key] for key, service in found.items() if service is not None and service.factory is None}


class _Instance:
    """A factory for an object that is there already. It asks for nothing."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __call__(self) -> object:
        """Answer with the object."""
        return self._value


class _Late:
    """A factory for an object that somebody puts into a mapping before it is asked for."""

    __slots__ = ("_key", "_values")

    def __init__(self, values: Mapping[type, Any], key: type) -> None:
        self._values = values
        self._key = key

    def __call__(self) -> object:
        """Answer with the object."""
        return self._values[self._key]
