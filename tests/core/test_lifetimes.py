"""Shared objects are made once, however many ask for them, and ended with the container or the scope."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from cqrs_core.lifetimes import SimpleScope, Singletons

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Maker:
    """Makes objects, counts them, and lets others run meanwhile."""

    def __init__(self, *, failures: int = 0) -> None:
        self.calls = 0
        self._failures = failures

    async def make(self) -> object:
        self.calls += 1
        call = self.calls
        await checkpoint()
        if call <= self._failures:
            raise ConnectionError
        return object()


class Log:
    """Makes clean-ups that write down what they were told."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, BaseException | None]] = []

    def end(self, name: str, *, fails: bool = False, answer: bool = False) -> Callable[..., Awaitable[bool]]:
        async def end(_type: object, error: BaseException | None, _traceback: object) -> bool:
            self.ended.append((name, error))
            await checkpoint()
            if fails:
                raise OSError(name)
            return answer

        return end


class ObservedKey:
    """Tells when a certain thread looks it up."""

    def __init__(self) -> None:
        self.looked_up = threading.Event()
        self.watched: threading.Thread | None = None

    def __hash__(self) -> int:
        if threading.current_thread() is self.watched:
            self.looked_up.set()
        return 0

    def __eq__(self, other: object) -> bool:
        return self is other


async def nothing_resolved(wanted: Any, scope: SimpleScope | None) -> tuple[Any, SimpleScope | None]:
    return wanted, scope


@pytest.fixture(params=["container", "scope"])
def get_or_await(request: pytest.FixtureRequest) -> Callable[..., Awaitable[Any]]:
    """Containers and scopes make their objects in the same way."""
    home = Singletons() if request.param == "container" else SimpleScope(nothing_resolved, {})
    return home.get_or_await


def test_an_object_is_made_once() -> None:
    """Whoever comes later gets the one that is there."""
    singletons = Singletons()

    first = singletons.get_or_make("key", object)

    assert first is singletons.get_or_make("key", object)


def test_none_is_an_object_too() -> None:
    """A factory may answer with nothing; it is not called again."""
    calls: list[int] = []
    singletons = Singletons()

    for _ in range(2):
        singletons.get_or_make("key", lambda: calls.append(1))

    assert [1] == calls


def test_two_threads_make_one_object() -> None:
    """The second has seen that there is none while the first makes it, and waits."""
    key, singletons = ObservedKey(), Singletons()
    made: list[object] = []

    def make() -> object:
        made.append(object())
        if len(made) == 1:
            second.start()
            assert key.looked_up.wait(timeout=30)
        return made[-1]

    second = key.watched = threading.Thread(target=lambda: got.append(singletons.get_or_make(key, make)))
    got: list[object] = []
    got.append(singletons.get_or_make(key, make))
    second.join(timeout=30)

    assert made * 2 == got


def test_a_singleton_may_need_another() -> None:
    """Its thread holds the lock already."""
    singletons = Singletons()

    inner = singletons.get_or_make("outer", lambda: [singletons.get_or_make("inner", object)])

    assert [singletons.made["inner"]] == inner


def test_the_error_of_a_factory_comes_alone() -> None:
    """And not as one that happened while another was handled; the next who asks tries again."""
    singletons = Singletons()

    def fail() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError) as caught:
        singletons.get_or_make("key", fail)

    assert caught.value.__context__ is None
    assert singletons.get_or_make("key", lambda: 1) == 1


async def test_tasks_that_ask_at_once_share_one_object(get_or_await: Callable[..., Awaitable[Any]]) -> None:
    """One makes it, the others wait."""
    maker, got = Maker(), []

    async def ask() -> None:
        got.append(await get_or_await("key", maker.make))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)

    assert (1, 5, 1) == (maker.calls, len(got), len(set(got)))


async def test_making_one_that_failed_is_tried_again_by_those_who_wait(
    get_or_await: Callable[..., Awaitable[Any]],
) -> None:
    """The error is seen by the one who tried."""
    maker, got = Maker(failures=2), []

    async def ask() -> None:
        try:
            got.append(await get_or_await("key", maker.make))
        except ConnectionError as error:
            got.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)

    errors = [one for one in got if isinstance(one, ConnectionError)]
    assert (3, 2, 1) == (maker.calls, len(errors), len(set(got) - set(errors)))


async def test_whoever_waits_takes_over_from_a_maker_that_is_cancelled(
    get_or_await: Callable[..., Awaitable[Any]],
) -> None:
    """It does not wait for ever, and is not cancelled with it."""
    begun, got, impatience = anyio.Event(), [], anyio.CancelScope()

    async def make() -> object:
        if begun.is_set():
            return "made by the second"
        begun.set()
        return await anyio.sleep_forever()

    async def ask(scope: anyio.CancelScope) -> None:
        with scope:
            got.append(await get_or_await("key", make))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, impatience)
        await begun.wait()
        tasks.start_soon(ask, anyio.CancelScope())
        await anyio.wait_all_tasks_blocked()
        impatience.cancel()

    assert ["made by the second"] == got


async def test_different_objects_are_made_side_by_side(get_or_await: Callable[..., Awaitable[Any]]) -> None:
    """Nobody waits for what he does not ask for."""
    inner = anyio.Event()

    async def outer() -> str:
        await inner.wait()
        return "outer"

    async def open_inner() -> str:
        inner.set()
        return "inner"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(get_or_await, "outer", outer)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(get_or_await, "inner", open_inner)

    assert inner.is_set()


def test_two_threads_with_a_loop_each_keep_the_first_that_was_made() -> None:
    """Neither loop can wait for the other, so both make one; from then on there is one."""
    singletons, both = Singletons(), threading.Barrier(2, timeout=30)
    got: list[object] = []

    async def make() -> object:
        both.wait()
        return object()

    def run() -> None:
        made = anyio.run(singletons.get_or_await, "key", make, backend="asyncio")
        got.append(made)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert [singletons.made["key"]] * 2 == got


async def test_singletons_are_ended_the_youngest_first() -> None:
    """And made anew afterwards."""
    singletons, log = Singletons(), Log()
    first = singletons.get_or_make("key", object)
    for name in ("older", "younger"):
        singletons.leave(log.end(name))

    await singletons.aclose()

    assert [("younger", None), ("older", None)] == log.ended
    assert first is not singletons.get_or_make("key", object)


async def test_singletons_are_ended_once() -> None:
    """A second closing finds nothing."""
    singletons, log = Singletons(), Log()
    singletons.leave(log.end("one"))

    await singletons.aclose()
    await singletons.aclose()

    assert [("one", None)] == log.ended


async def test_a_singleton_that_cannot_be_ended_is_no_concern_of_the_others() -> None:
    """They end as if nothing had happened; its error is raised when they have."""
    singletons, log = Singletons(), Log()
    for name, fails in (("older", False), ("younger", True), ("youngest", True)):
        singletons.leave(log.end(name, fails=fails))

    with pytest.raises(OSError, match="younger") as caught:
        await singletons.aclose()

    assert [("youngest", None), ("younger", None), ("older", None)] == log.ended
    assert "youngest" == str(caught.value.__context__)


async def test_what_was_taken_is_put_back() -> None:
    """The same object."""
    singletons = Singletons()
    first = singletons.get_or_make("key", object)

    put_back = singletons.take(["key"])
    second = singletons.get_or_make("key", object)
    put_back()

    assert first is singletons.get_or_make("key", object)
    assert first is not second


async def test_what_was_ended_meanwhile_is_not_put_back() -> None:
    """It would be used after its clean-up."""
    singletons = Singletons()
    singletons.get_or_make("key", object)

    put_back = singletons.take(["key"])
    await singletons.aclose()
    put_back()

    assert {} == singletons.made


async def test_a_scope_answers_with_what_it_holds() -> None:
    """What it does not hold it asks its container for, in its own name."""
    scope = SimpleScope(nothing_resolved, {int: 5})
    scope.keep(str, "kept")

    assert [5, "kept", (bytes, scope)] == [await scope.resolve(key) for key in (int, str, bytes)]


async def test_a_scope_ends_what_is_left_with_it_in_reverse() -> None:
    """As nested ``with`` statements would."""
    log = Log()

    async with SimpleScope(nothing_resolved, {}) as scope:
        for name in ("older", "younger"):
            scope.leave(log.end(name))

    assert [("younger", None), ("older", None)] == log.ended


async def test_what_is_left_with_a_scope_is_told_what_the_attempt_raised() -> None:
    """All of it, though one says that the error is dealt with; it goes on."""
    error, log = ConnectionError(), Log()

    scope = SimpleScope(nothing_resolved, {})
    for name in ("older", "younger"):
        scope.leave(log.end(name, answer=True))

    with pytest.raises(ConnectionError):
        async with scope:
            raise error

    assert [("younger", error), ("older", error)] == log.ended


async def test_what_is_left_with_a_scope_is_told_what_a_younger_raised() -> None:
    """What could not be flushed must not be committed."""
    log, scope = Log(), SimpleScope(nothing_resolved, {})
    for name, fails in (("older", False), ("younger", True)):
        scope.leave(log.end(name, fails=fails))

    with pytest.raises(OSError, match="younger") as caught:
        await scope.aclose()

    assert [("younger", None), ("older", caught.value)] == log.ended


async def test_a_scope_that_was_closed_is_no_scope() -> None:
    """What is asked of it is asked for outside any: nothing would clean it up."""
    scope = SimpleScope(nothing_resolved, {int: 5})

    await scope.aclose()

    assert (int, None) == await scope.resolve(int)


async def test_a_scope_is_closed_once() -> None:
    """A second closing finds nothing."""
    log, scope = Log(), SimpleScope(nothing_resolved, {})
    scope.leave(log.end("one"))

    await scope.aclose()
    await scope.aclose()

    assert [("one", None)] == log.ended
