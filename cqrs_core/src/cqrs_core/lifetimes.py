"""Objects that are shared: those that live as long as their container, and those that live as long as one scope."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cqrs_core.concurrency import Once
from cqrs_core.errors import DependencyCycle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    #: Cleans up; takes what ``__aexit__`` does.
    End = Callable[..., Awaitable[object]]

T = TypeVar("T")

_ABSENT: Any = object()


async def each_of(steps: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """
    Await every step, one after the other, whatever those before it raise.

    Raises:
        BaseException: What the last that failed raised, with what others raised as its context.
    """
    raised: BaseException | None = None
    for step in steps:
        try:
            await step()
        except BaseException as error:  # noqa: BLE001 - raised below
            if raised is not None:
                error.__context__ = raised
            raised = error
    if raised is not None:
        raise raised


class Singletons:
    """The objects that live as long as their container."""

    def __init__(self) -> None:
        self.made: dict[Any, Any] = {}
        self._ends: list[End] = []
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
        taken, ends = {key: self.made.pop(key) for key in keys}, self._ends

        def put_back() -> None:
            if self._ends is ends:
                self.made.update(taken)

        return put_back

    def leave(self, end: End) -> None:
        """Have *end* called when these objects are ended; that another could not be is no concern of it."""
        self._ends.append(end)

    async def aclose(self) -> None:
        """End them, the youngest first; they are made anew when they are asked for again."""
        self.made.clear()
        ends, self._ends = self._ends, []
        await each_of(partial(end, None, None, None) for end in reversed(ends))


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

    def leave(self, end: End) -> None:
        """
        Have *end* called when this scope is closed, with the error that there was.

        The error goes on to those that are older, whatever one makes of it: were it held back, they would take the
        attempt for a success, and commit.
        """

        async def tell(*about: Any) -> None:  # noqa: ANN401 - the error, in three parts
            await end(*about)

        if self._cleanup is None:  # most scopes have nothing to clean up
            self._cleanup = AsyncExitStack()
        self._cleanup.push_async_exit(tell)

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
        if once.is_entered:
            raise DependencyCycle([key, key])
        await once.run()
        if being_made.get(name) is once:
            del being_made[name]
    return made[key]
