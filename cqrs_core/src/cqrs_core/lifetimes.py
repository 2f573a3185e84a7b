"""Objects that are shared: those that live as long as their container, and those that live as long as one scope."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cqrs_core.concurrency import Once

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")

_ABSENT: Any = object()


class Singletons:
    """The objects that live as long as their container."""

    def __init__(self) -> None:
        self.made: dict[Any, Any] = {}
        #: Ends them; those who make one with something to clean up put it here.
        self.cleanup = AsyncExitStack()
        self._being_made: dict[Any, Once] = {}
        # Reentrant: a singleton may need another. Two threads may run an event loop each over one container.
        self._lock = threading.RLock()

    def get_or_make(self, key: Any, make: Callable[[], Any]) -> Any:  # noqa: ANN401 - of any type
        """Fetch it, or make it in whichever thread comes first."""
        made = self.made.get(key, _ABSENT)
        if made is _ABSENT:
            with self._lock:
                made = self.made.get(key, _ABSENT)
                if made is _ABSENT:
                    made = self.made[key] = make()
        return made

    async def get_or_await(self, key: Any, make: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - as above
        """
        Fetch it, or make it while whoever comes meanwhile waits for it.

        Of two threads with an event loop each, neither can wait for the other: both may make one, and the first to
        have done so is kept.
        """
        thread = threading.get_ident()
        return await _made_once((thread, key), self._being_made, key, self.made, make)

    def take(self, keys: Iterable[Any]) -> Callable[[], None]:
        """Set objects aside; what is answered puts them back, unless they have been ended meanwhile."""
        taken, cleanup = {key: self.made.pop(key) for key in keys}, self.cleanup

        def put_back() -> None:
            if self.cleanup is cleanup:
                self.made.update(taken)

        return put_back

    async def aclose(self) -> None:
        """End them, the youngest first; they are made anew when they are asked for again."""
        self.made.clear()
        cleanup, self.cleanup = self.cleanup, AsyncExitStack()
        await cleanup.aclose()


class SimpleScope:
    """The objects of one message. Made by ``SimpleContainer.scope``; by hand, best used with ``async with``."""

    __slots__ = ("_being_made", "_cleanup", "_is_closed", "_made", "_resolve")

    def __init__(self, resolve: Callable[[Any, SimpleScope | None], Awaitable[Any]], made: dict[Any, Any]) -> None:
        self._resolve = resolve
        self._made = made
        self._being_made: dict[Any, Once] | None = None
        self._cleanup: AsyncExitStack | None = None
        self._is_closed = False

    async def __aenter__(self) -> SimpleScope:
        return self

    async def __aexit__(self, error_type: object, error: BaseException | None, traceback: object) -> None:
        await self.aclose(error)

    async def resolve(self, wanted: type[T]) -> T:
        """
        Make, or fetch, a *wanted* for this scope.

        Raises:
            NotProvided: It is not registered, and cannot be built by its constructor.
            MissingDependency: Something that it needs is neither registered nor can be built.
            ScopeValueMissing: It, or something that it needs, was to come with the scope, and did not.
            ScopeRequired: It, or something that it needs, lives in a scope, and this one was closed.
        """
        if wanted in self._made:
            return cast("T", self._made[wanted])
        return cast("T", await self._resolve(wanted, None if self._is_closed else self))

    async def aclose(self, error: BaseException | None = None) -> None:
        """End what was made here, the youngest first; factories that are generators see *error* at their ``yield``."""
        self._is_closed = True
        self._made.clear()
        if self._cleanup is not None:
            about = (None, None, None) if error is None else (type(error), error, error.__traceback__)
            await self._cleanup.__aexit__(*about)

    @property
    def cleanup(self) -> AsyncExitStack:
        """What is left with this scope, in reverse; made at its first use, because most scopes have nothing."""
        if self._cleanup is None:
            self._cleanup = AsyncExitStack()
        return self._cleanup

    def keep(self, wanted: Any, made: object) -> None:  # noqa: ANN401 - a type, or an alias such as Repo[X]
        """Answer with *made* when *wanted* is asked for again."""
        self._made[wanted] = made

    async def get_or_await(self, wanted: Any, make: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - as above
        """Fetch it, or make it while whoever else asks in this scope at the same time waits for it."""
        if self._being_made is None:
            self._being_made = {}
        return await _made_once(wanted, self._being_made, wanted, self._made, make)


async def _made_once(
    name: Any,  # noqa: ANN401 - as above
    being_made: dict[Any, Once],
    key: Any,  # noqa: ANN401 - as above
    made: dict[Any, Any],
    make: Callable[[], Awaitable[Any]],
) -> Any:  # noqa: ANN401 - as above
    """Fetch *key* from *made*, or make it while whoever finds its *name* among those *being_made* waits for it."""

    async def step() -> None:
        found = await make()
        made.setdefault(key, found)

    while key not in made:
        once = being_made.setdefault(name, Once([step]))
        await once.run()
        if being_made.get(name) is once:
            del being_made[name]
    return made[key]
