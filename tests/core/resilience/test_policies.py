"""Policies of bindings: retries, deadlines, fallbacks and breakers around requests, chains, streams and events."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Any

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core import bootstrap, errors
from cqrs_core.concurrency import Gate, open_task_group
from cqrs_core.resilience.calls import with_fallback
from cqrs_core.resilience.streams import stream_with_fallback
from cqrs_core.testing import VirtualClock

NO_JITTER = cqrs.RetryPolicy(max_attempts=3, delay_s=1, backoff=2, jitter=0)


class Ask(cqrs.Request[str]):
    text: str = "?"


class Count(cqrs.Request[int]):
    upto: int = 3


class Asked(cqrs.DomainEvent):
    by: str


class Followed(cqrs.DomainEvent):
    by: str


class Script:
    """What handlers do, one after the other: raise an error, wait for ever, or answer; and what they have done."""

    def __init__(self) -> None:
        self.acts: dict[str, list[Any]] = {}
        self.log: list[str] = []
        self.scopes = 0

    async def act(self, name: str) -> str:
        acts = self.acts.get(name)
        act = acts.pop(0) if acts else f"{name} answers"
        self.log.append(name)
        if isinstance(act, BaseException):
            raise act
        if isinstance(act, Gate):
            await act.wait()
        return str(act)


class Scoped:
    def __init__(self, script: Script) -> None:
        script.scopes += 1


class Session:
    """What only a handler of events needs."""


class _Asking(cqrs.RequestHandler[Ask, str]):
    name = ""

    def __init__(self, script: Script, scoped: Scoped) -> None:
        self._script = script
        self._scoped = scoped

    async def handle(self, request: Ask) -> str:
        self.events.append(Asked(f"{self.name} {len(self._script.log)}"))
        return await self._script.act(self.name)


class Primary(_Asking):
    name = "primary"


class Second(_Asking):
    name = "second"


class SecondAlone(cqrs.RequestHandler[Ask, str]):
    async def handle(self, request: Ask) -> str:
        return "second answers"


class Spelling(cqrs.StreamingRequestHandler[Ask, str]):
    async def handle(self, request: Ask) -> AsyncIterator[str]:
        for letter in request.text:
            yield letter


class _Link(cqrs.CORRequestHandler[Ask, str]):
    name = ""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def handle(self, request: Ask) -> str | None:
        self.events.append(Asked(self.name))
        answer = await self._script.act(self.name)
        return answer if answer != "pass" else await self.next(request)


class FirstLink(_Link):
    name = "link 1"


class LastLink(_Link):
    name = "link 2"


class _Counting(cqrs.StreamingRequestHandler[Count, int]):
    name = ""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def handle(self, request: Count) -> AsyncIterator[int]:
        for number in range(request.upto):
            await self._script.act(f"{self.name} {number}")
            yield number


class Counting(_Counting):
    name = "primary"


class CountingToo(_Counting):
    name = "second"


class _OnAsked(cqrs.EventHandler[Asked]):
    name = ""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def handle(self, event: Asked) -> None:
        self.events.append(Followed(f"{self.name} {len(self._script.log)}"))
        await self._script.act(self.name)


class OnAsked(_OnAsked):
    name = "primary"


class OnAskedToo(_OnAsked):
    name = "second"


class OnFollowed(cqrs.EventHandler[Followed]):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def handle(self, event: Followed) -> None:
        self._script.log.append(f"followed {event.by}")


class Breaker:
    """A circuit breaker that notes what it is told, and is open when the test says so."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_open = False

    async def acquire(self, circuit: str) -> Breaker:
        if self.is_open:
            raise errors.CircuitOpen(circuit, 7)
        self.told.append(f"acquire {circuit.rpartition('.')[2]}")
        return self

    async def succeeded(self) -> None:
        self.told.append("succeeded")

    async def failed(self, error: Exception) -> None:
        self.told.append(f"failed {type(error).__name__}")

    def abandoned(self) -> None:
        self.told.append("abandoned")


@pytest.fixture
def script(anyio_backend: str) -> Script:  # noqa: ARG001 - it holds gates of that loop
    return Script()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def app(script: Script, clock: VirtualClock) -> cqrs.App:
    container = cqrs.SimpleContainer()
    container.instance(Script, script)
    container.scoped(Scoped)
    return cqrs.App("resilient", container=container, clock=clock)


async def pass_time(clock: VirtualClock, *seconds: float) -> None:
    """Let time pass in steps, each when somebody waits for it."""
    for step in seconds:
        await clock.until_asleep()
        await clock.advance(step)


# Retry ---------------------------------------------------------------------------------------------------------------


async def test_a_request_is_tried_again_with_a_new_handler_in_a_new_scope(
    app: cqrs.App, script: Script, clock: VirtualClock
) -> None:
    """DESIGN 4.1: each attempt has its own scope; events of an attempt that raised are dropped."""
    app.requests.bind(Ask, Primary, retry=NO_JITTER)
    app.events.bind(Asked, OnAsked)
    script.acts["primary"] = [ValueError(), ValueError()]
    async with app, open_task_group() as tasks:
        tasks.start(lambda: pass_time(clock, 1, 2))
        assert "primary answers" == await app.send(Ask())
    assert [1.0, 2.0] == clock.slept  # 1·2⁰, 1·2¹
    assert ["primary"] * 4 == script.log  # three attempts, and the one event, of the third
    assert 3 == script.scopes


async def test_when_all_attempts_failed_the_last_error_is_raised(
    app: cqrs.App, script: Script, clock: VirtualClock
) -> None:
    """As it was raised, and nothing waits after it."""
    app.requests.bind(Ask, Primary, retry=NO_JITTER)
    script.acts["primary"] = [ValueError("1"), ValueError("2"), ValueError("3")]
    async with app, open_task_group() as tasks:
        tasks.start(lambda: pass_time(clock, 1, 2))
        with pytest.raises(ValueError, match="3"):
            await app.send(Ask())
    assert [1.0, 2.0] == clock.slept


async def test_failing_event_handlers_are_no_reason_to_do_the_command_again(
    app: cqrs.App, script: Script, clock: VirtualClock
) -> None:
    """DESIGN 4.1: the command has taken effect."""
    breaker = Breaker()
    app.requests.bind(Ask, cqrs.RequestHandlerFallback(Primary, Second, circuit_breaker=breaker), retry=NO_JITTER)
    app.events.bind(Asked, OnAsked)
    script.acts["primary"] = ["done", KeyError("an event's")]
    async with app:
        with pytest.raises(cqrs.EventHandlersFailed) as caught:
            await app.send(Ask())
    assert "done" == caught.value.response
    assert ["primary", "primary"] == script.log
    assert ["acquire Primary", "succeeded"] == breaker.told
    assert [] == clock.slept


@pytest.mark.parametrize("is_stream", [False, True], ids=["call", "stream"])
async def test_failing_event_handlers_of_another_command_are_no_failure_of_the_one_that_sent_it(
    script: Script, *, is_stream: bool
) -> None:
    """That command has taken effect; for the breaker of its sender, the call was answered."""
    breaker = Breaker()
    app = cqrs.App("nested")

    class Sending(cqrs.RequestHandler[Ask, str]):
        async def handle(self, request: Ask) -> str:
            script.log.append("sends")
            return await app.send(Sent())

    class StreamingAndSending(cqrs.StreamingRequestHandler[Ask, str]):
        async def handle(self, request: Ask) -> AsyncIterator[str]:
            script.log.append("sends")
            yield await app.send(Sent())

    class Sent(cqrs.Request[str]):
        pass

    class SentHandler(cqrs.RequestHandler[Sent, str]):
        async def handle(self, request: Sent) -> str:
            self.events.append(Asked("sent"))
            return "done"

    class Failing(cqrs.EventHandler[Asked]):
        async def handle(self, event: Asked) -> None:
            raise KeyError("an event's")

    primary = StreamingAndSending if is_stream else Sending
    fallback = Spelling if is_stream else SecondAlone
    rules = cqrs.RequestHandlerFallback(primary, fallback, circuit_breaker=breaker)
    app.requests.bind(Ask, rules, retry=cqrs.RetryPolicy(delay_s=0))
    app.requests.bind(Sent, SentHandler)
    app.events.bind(Asked, Failing)
    async with app:
        with pytest.raises(cqrs.EventHandlersFailed) as caught:
            if is_stream:
                [answer async for answer in app.stream(Ask())]
            else:
                await app.send(Ask())
    assert "done" == caught.value.response
    assert ["sends"] == script.log
    assert [f"acquire {primary.__name__}", "succeeded"] == breaker.told


async def test_middlewares_run_once_however_many_attempts_there_are(
    app: cqrs.App, script: Script, clock: VirtualClock
) -> None:
    """DESIGN 4.1: middlewares( fallback( breaker( retry( ...; they run once per ``send``."""

    async def middleware(request: Any, handle: Any) -> Any:
        script.log.append("before")
        try:
            return await handle(request)
        finally:
            script.log.append("after")

    app.requests.bind(Ask, cqrs.RequestHandlerFallback(Primary, Second), retry=NO_JITTER, middlewares=[middleware])
    script.acts["primary"] = [ValueError()] * 3
    async with app, open_task_group() as tasks:
        tasks.start(lambda: pass_time(clock, 1, 2))
        await app.send(Ask())
    assert ["before", "primary", "primary", "primary", "second", "after"] == script.log


async def test_an_event_handler_is_tried_again_by_itself(app: cqrs.App, script: Script, clock: VirtualClock) -> None:
    """The command is done, other handlers run once, and what a failed attempt emitted is dropped."""
    app.requests.bind(Ask, Primary)
    app.events.bind(Asked, OnAsked, retry=NO_JITTER)
    app.events.bind(Asked, OnAskedToo)
    app.events.bind(Followed, OnFollowed)
    script.acts["primary"] = ["the command's", ValueError()]
    async with app, open_task_group() as tasks:
        tasks.start(lambda: pass_time(clock, 1))
        await app.send(Ask())
    assert ["primary", "primary", "primary", "second", "followed primary 2", "followed second 3"] == script.log


async def test_a_chain_is_tried_again_from_its_first_link(app: cqrs.App, script: Script, clock: VirtualClock) -> None:
    """Events of the attempt that failed are dropped, a chain's too."""
    app.requests.bind(Ask, [FirstLink, LastLink], retry=NO_JITTER)
    app.events.bind(Asked, OnAsked)
    script.acts = {"link 1": ["pass", "pass"], "link 2": [ValueError()]}
    async with app, open_task_group() as tasks:
        tasks.start(lambda: pass_time(clock, 1))
        assert "link 2 answers" == await app.send(Ask())
    assert ["link 1", "link 2", "link 1", "link 2", "primary", "primary"] == script.log


async def test_a_stream_begins_anew_only_before_its_first_item(
    app: cqrs.App, script: Script, clock: VirtualClock
) -> None:
    """What has been handed out cannot be taken back."""
    app.requests.bind(Count, Counting, retry=NO_JITTER)
    script.acts = {"primary 0": [ValueError()], "primary 1": [KeyError("late")]}
    got: list[int] = []
    async with app, open_task_group() as tasks:
        tasks.start(lambda: pass_time(clock, 1))
        with pytest.raises(KeyError, match="late"):
            async for number in app.stream(Count()):
                got.append(number)  # noqa: PERF401 - those before the error are wanted
    assert [0] == got
    assert ["primary 0", "primary 0", "primary 1"] == script.log


# Timeout -------------------------------------------------------------------------------------------------------------


async def test_a_handler_that_does_not_end_in_time_is_cancelled_and_may_be_tried_again(
    app: cqrs.App, script: Script, clock: VirtualClock
) -> None:
    """Each attempt has the whole time; its events did not happen."""
    app.requests.bind(Ask, Primary, timeout_s=5, retry=cqrs.RetryPolicy(max_attempts=2, delay_s=1, jitter=0))
    app.events.bind(Asked, OnAsked)
    script.acts["primary"] = [Gate(), Gate()]
    async with app, open_task_group() as tasks:
        tasks.start(lambda: pass_time(clock, 5, 1, 5))
        with pytest.raises(errors.HandlerTimedOut, match="Primary did not end within 5 s") as caught:
            await app.send(Ask())
    assert isinstance(caught.value, TimeoutError)
    assert (Primary, 5) == (caught.value.handler, caught.value.timeout_s)
    assert ["primary", "primary"] == script.log


async def test_of_a_chain_the_link_that_was_running_is_named(
    app: cqrs.App, script: Script, clock: VirtualClock
) -> None:
    """Who is told that the first link took too long would look in the wrong place."""
    app.requests.bind(Ask, [FirstLink, LastLink], timeout_s=5)
    script.acts = {"link 1": ["pass"], "link 2": [Gate()]}
    async with app, open_task_group() as tasks:
        tasks.start(lambda: pass_time(clock, 5))
        with pytest.raises(errors.HandlerTimedOut, match="LastLink did not end") as caught:
            await app.send(Ask())
    assert LastLink is caught.value.handler


async def test_time_is_that_of_the_machine_unless_another_clock_is_given(script: Script) -> None:
    """A timeout that has passed at once, and one that never does; an error comes as it is."""
    container = cqrs.SimpleContainer()
    container.instance(Script, script)
    container.scoped(Scoped)
    app = cqrs.App("in a hurry", container=container)
    app.requests.bind(Ask, Primary, timeout_s=1e-9)
    app.requests.bind(Count, Counting, timeout_s=1000)
    script.acts = {"primary": [Gate()], "primary 2": [ValueError("at the end")]}
    got: list[int] = []
    async with app:
        with pytest.raises(errors.HandlerTimedOut):
            await app.send(Ask())
        with pytest.raises(ValueError, match="at the end"):
            async for number in app.stream(Count()):
                got.append(number)  # noqa: PERF401 - those before the error are wanted
    assert [0, 1] == got


@pytest.mark.parametrize("target", [Primary, [FirstLink, LastLink]])
async def test_what_ends_in_time_is_not_touched(app: cqrs.App, script: Script, target: Any) -> None:
    """The answer comes as it is, and so does an error."""
    app.requests.bind(Ask, target, timeout_s=5)
    name = "primary" if target is Primary else "link 1"
    script.acts[name] = ["first", ValueError("second")]
    async with app:
        assert "first" == await app.send(Ask())
        with pytest.raises(ValueError, match="second"):
            await app.send(Ask())


async def test_a_cancelled_send_is_no_timeout(app: cqrs.App, script: Script) -> None:
    """Who cancels from outside gets the cancellation, and a breaker no verdict."""
    breaker = Breaker()
    app.requests.bind(Ask, cqrs.RequestHandlerFallback(Primary, Second, circuit_breaker=breaker), timeout_s=5)
    script.acts["primary"] = [Gate()]
    async with app, open_task_group() as tasks:

        async def send() -> None:
            await app.send(Ask())

        tasks.start(send)
        while not script.log:
            await anyio.lowlevel.checkpoint()
        tasks.cancel()
    assert ["primary"] == script.log
    assert ["acquire Primary", "abandoned"] == breaker.told


@pytest.mark.parametrize("make_clock", [lambda: None, VirtualClock], ids=["machine's clock", "another"])
@pytest.mark.parametrize("request_", [Ask(), Count()], ids=["call", "stream"])
def test_a_send_that_is_cancelled_while_a_handler_that_timed_out_cleans_up_has_ended(
    request_: Any, make_clock: Callable[[], VirtualClock | None]
) -> None:
    """asyncio: whoever cancels from outside has the last word; the next attempt would be against it."""
    log: list[str] = []

    async def main() -> None:
        clock = make_clock()
        app = cqrs.App("slow to end", clock=clock)
        cleans_up = asyncio.Event()

        async def act() -> None:
            log.append("begins")
            current = asyncio.current_task()
            try:
                await asyncio.Event().wait()
            finally:
                log.append("cleans up")
                cleans_up.set()
                assert current is task is asyncio.current_task()  # DESIGN 4.1: in the caller's task
                await asyncio.Event().wait()

        class Stubborn(cqrs.RequestHandler[Ask, str]):
            async def handle(self, request: Ask) -> str:
                await act()
                return ""

        class StubbornStream(cqrs.StreamingRequestHandler[Count, int]):
            async def handle(self, request: Count) -> AsyncIterator[int]:
                await act()
                yield 1

        policies: dict[str, Any] = {"timeout_s": 1e-9, "retry": cqrs.RetryPolicy(delay_s=0)}
        app.requests.bind(Ask, Stubborn, **policies)
        app.requests.bind(Count, StubbornStream, **policies)

        async def call() -> None:
            if isinstance(request_, Ask):
                await app.send(request_)
            else:
                await anext(app.stream(request_))

        async with app:
            task = asyncio.ensure_future(call())
            if clock is not None:
                await pass_time(clock, 1)
            await cleans_up.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert ["begins", "cleans up"] == log


def test_a_deadline_inside_another_is_told_from_it() -> None:
    """asyncio: each takes its own cancellation for its own, and no other's."""

    async def main() -> list[str]:
        app = cqrs.App("nested")
        log: list[str] = []

        class Inner(cqrs.RequestHandler[Count, int]):
            async def handle(self, request: Count) -> int:
                await asyncio.Event().wait()
                return 0

        class Outer(cqrs.RequestHandler[Ask, str]):
            async def handle(self, request: Ask) -> str:
                try:
                    await app.send(Count())
                except errors.HandlerTimedOut as error:
                    log.append(error.handler.__name__)
                await asyncio.Event().wait()
                return ""

        app.requests.bind(Count, Inner, timeout_s=1e-9)
        app.requests.bind(Ask, Outer, timeout_s=0.05)
        async with app:
            try:
                await app.send(Ask())
            except errors.HandlerTimedOut as error:
                log.append(error.handler.__name__)
        return log

    assert ["Inner", "Outer"] == asyncio.run(main())


async def test_each_item_of_a_stream_has_the_time_for_itself(
    app: cqrs.App, script: Script, clock: VirtualClock
) -> None:
    """What the consumer does with an item takes none of it; after the first item there is no other attempt."""
    app.requests.bind(Count, cqrs.RequestHandlerFallback(Counting, CountingToo), timeout_s=5, retry=NO_JITTER)
    script.acts["primary 2"] = [Gate()]
    got: list[int] = []
    async with app, open_task_group() as tasks:
        with pytest.raises(errors.HandlerTimedOut):
            async for number in app.stream(Count()):
                got.append(number)
                await clock.advance(100)
                if number == 1:
                    tasks.start(lambda: pass_time(clock, 5))
    assert [0, 1] == got


async def test_an_event_handler_has_its_own_time(app: cqrs.App, script: Script, clock: VirtualClock) -> None:
    """Its timeout is one of the errors of the command's event handlers."""
    app.requests.bind(Ask, Primary)
    app.events.bind(Asked, OnAskedToo, timeout_s=5)
    script.acts["second"] = [Gate()]
    async with app, open_task_group() as tasks:
        tasks.start(lambda: pass_time(clock, 5))
        with pytest.raises(cqrs.EventHandlersFailed) as caught:
            await app.send(Ask())
    assert [errors.HandlerTimedOut] == [type(error) for error in caught.value.errors]


# Fallback and breaker ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure_exceptions", "error", "falls_back"),
    [
        ((), ValueError(), True),
        ((ConnectionError,), ConnectionResetError(), True),
        ([ConnectionError, KeyError], KeyError(), True),
        ((ConnectionError,), ValueError(), False),
    ],
)
async def test_the_errors_that_were_named_call_for_the_fallback_or_any(
    app: cqrs.App, script: Script, failure_exceptions: Any, error: Exception, *, falls_back: bool
) -> None:
    """As python-cqrs's users know it: none named, any error."""
    app.requests.bind(Ask, cqrs.RequestHandlerFallback(Primary, Second, failure_exceptions=failure_exceptions))
    app.events.bind(Asked, OnAskedToo)
    script.acts["primary"] = [error]
    async with app:
        if falls_back:
            assert "second answers" == await app.send(Ask())
        else:
            with pytest.raises(type(error)):
                await app.send(Ask())
    assert (["primary", "second", "second"] if falls_back else ["primary"]) == script.log


async def test_a_fallback_that_fails_too_raises_its_own_error_with_the_first_as_cause(
    app: cqrs.App, script: Script
) -> None:
    """Both are told."""
    app.requests.bind(Ask, cqrs.RequestHandlerFallback(Primary, Second))
    script.acts = {"primary": [ValueError("first")], "second": [KeyError("second")]}
    async with app:
        with pytest.raises(KeyError, match="second") as caught:
            await app.send(Ask())
    assert "first" == str(caught.value.__cause__)


async def test_an_open_circuit_calls_for_the_fallback_whatever_errors_were_named(app: cqrs.App, script: Script) -> None:
    """The primary is not called, nor made."""
    breaker = Breaker()
    rules = cqrs.RequestHandlerFallback(Primary, Second, failure_exceptions=(KeyError,), circuit_breaker=breaker)
    app.requests.bind(Ask, rules)
    breaker.is_open = True
    async with app:
        assert "second answers" == await app.send(Ask())
    assert ["second"] == script.log
    assert 1 == script.scopes


async def test_a_breaker_judges_all_attempts_together(app: cqrs.App, script: Script, clock: VirtualClock) -> None:
    """DESIGN 4.1: breaker( retry( ...: what succeeds at the third attempt has succeeded."""
    breaker = Breaker()
    rules = cqrs.RequestHandlerFallback(Primary, Second, circuit_breaker=breaker)
    app.requests.bind(Ask, rules, retry=NO_JITTER)
    script.acts["primary"] = [ValueError(), ValueError(), "fine", *[ValueError()] * 3]
    async with app, open_task_group() as tasks:
        tasks.start(lambda: pass_time(clock, 1, 2, 1, 2))
        assert "fine" == await app.send(Ask())
        assert "second answers" == await app.send(Ask())
    assert ["acquire Primary", "succeeded", "acquire Primary", "failed ValueError"] == breaker.told


async def test_the_local_breaker_opens_after_so_many_failures_and_closes_after_a_probe(
    app: cqrs.App, script: Script, clock: VirtualClock
) -> None:
    """The real one, over the whole way of a message."""
    breaker = cqrs.LocalCircuitBreaker(fail_max=2, open_for_s=60, clock=clock)
    app.requests.bind(Ask, cqrs.RequestHandlerFallback(Primary, Second, circuit_breaker=breaker))
    script.acts["primary"] = [ValueError(), ValueError()]
    async with app:
        for _ in range(4):
            await app.send(Ask())
        assert ["primary", "second", "primary", "second", "second", "second"] == script.log
        await clock.advance(60)
        assert "primary answers" == await app.send(Ask())


@pytest.mark.parametrize(
    ("acts", "take", "told", "log"),
    [
        ({}, 3, "succeeded", ["primary 0", "primary 1", "primary 2"]),
        ({"primary 0": [ValueError()]}, 3, "failed ValueError", ["primary 0", "second 0", "second 1", "second 2"]),
        ({"primary 1": [ValueError("broken")]}, 3, "failed ValueError", ["primary 0", "primary 1"]),
        ({}, 1, "abandoned", ["primary 0"]),
    ],
    ids=["to the end", "before the first item", "after it", "left early"],
)
async def test_a_stream_is_judged_at_its_end(
    app: cqrs.App, script: Script, *, acts: dict[str, list[Any]], take: int, told: str, log: list[str]
) -> None:
    """A stream that switches does so before the first item; one that is left early proves nothing."""
    breaker = Breaker()
    app.requests.bind(Count, cqrs.RequestHandlerFallback(Counting, CountingToo, circuit_breaker=breaker))
    script.acts = {name: list(those) for name, those in acts.items()}
    fails = "primary 1" in acts
    got: list[int] = []

    async def consume() -> None:
        async with aclosing(app.stream(Count())) as numbers:
            async for number in numbers:
                got.append(number)
                if len(got) == take < 3:
                    break

    async with app:
        if fails:
            with pytest.raises(ValueError, match="broken"):
                await consume()
        else:
            await consume()
    assert ["acquire Counting", told] == breaker.told
    assert log == script.log
    assert list(range(1 if fails else take)) == got


async def test_an_event_handler_may_have_a_fallback_and_a_breaker(app: cqrs.App, script: Script) -> None:
    """What the primary emitted before it failed is dropped; the fallback's goes on."""
    breaker = Breaker()
    app.requests.bind(Ask, Second)
    app.events.bind(Asked, cqrs.EventHandlerFallback(OnAsked, OnAskedToo, circuit_breaker=breaker))
    app.events.bind(Followed, OnFollowed)
    script.acts = {"primary": [ValueError()]}
    async with app:
        await app.send(Ask())
    assert ["second", "primary", "second", "followed second 2"] == script.log
    assert ["acquire OnAsked", "failed ValueError"] == breaker.told


async def test_a_chain_may_be_the_fallback_of_a_handler(app: cqrs.App, script: Script) -> None:
    """And the other way round: each side is what could be bound by itself."""
    breaker = Breaker()
    app.requests.bind(Ask, cqrs.RequestHandlerFallback([FirstLink, LastLink], Primary, circuit_breaker=breaker))
    script.acts = {"link 1": [ValueError()]}
    async with app:
        assert "primary answers" == await app.send(Ask())
    assert ["acquire Ask", "failed ValueError"] == breaker.told


def test_policies_work_in_mediators_of_the_bootstrap_functions(script: Script) -> None:
    """With the machine's own clock; here no delay is waited for."""
    container = cqrs.SimpleContainer()
    container.instance(Script, script)
    container.scoped(Scoped)
    mediator = bootstrap.bootstrap(
        container,
        commands_mapper=lambda requests: requests.bind(
            Ask, cqrs.RequestHandlerFallback(Primary, Second), retry=cqrs.RetryPolicy(delay_s=0)
        ),
    )
    script.acts["primary"] = [ValueError()] * 4
    assert "primary answers" == anyio.run(mediator.send, Ask())


# Bad input -----------------------------------------------------------------------------------------------------------


class OtherRequest(cqrs.Request[str]):
    pass


class OtherHandler(cqrs.RequestHandler[OtherRequest, str]):
    async def handle(self, request: OtherRequest) -> str:
        return ""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"retry": 3}, "retry is 3. It must be a RetryPolicy."),
        ({"timeout_s": 0}, "timeout_s is 0. It must be a number of seconds, more than 0."),
        ({"timeout_s": -1.5}, "timeout_s is -1.5"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"timeout_s": float("inf")}, "timeout_s is inf"),
        ({"timeout_s": True}, "timeout_s is True"),
        ({"timeout_s": 10**400}, "timeout_s is 1000000"),
        ({"timeout_s": "5"}, "timeout_s is '5'"),
    ],
)
async def test_an_option_that_means_nothing_is_told_when_wired(
    app: cqrs.App, options: dict[str, Any], expected: str
) -> None:
    """For requests and events alike."""
    app.requests.bind(Ask, Primary, **options)
    app.events.bind(Asked, OnAsked, **options)
    with pytest.raises(cqrs.WiringError) as caught:
        await app.__aenter__()
    (problem,) = caught.value.problems  # the same fault of both is told once
    assert expected in str(problem)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (cqrs.RequestHandlerFallback(Primary, OtherHandler), "OtherHandler"),
        (
            cqrs.RequestHandlerFallback(Primary, Spelling),
            (
                "Ask is bound to Spelling (in RequestHandlerFallback(Primary, Spelling)), which cannot handle it. Its "
                "primary does not answer by a stream: give it a fallback that derives from RequestHandler."
            ),
        ),
        (
            cqrs.RequestHandlerFallback(Spelling, [FirstLink]),
            (
                "Ask is bound to FirstLink (in RequestHandlerFallback(Spelling, [FirstLink])), which cannot handle it. "
                "Its primary answers by a stream: give it a fallback that derives from StreamingRequestHandler."
            ),
        ),
        (
            cqrs.RequestHandlerFallback(Primary, None),
            (
                "Ask is bound to None (in RequestHandlerFallback(Primary, None)), which cannot handle it. Bind a class "
                "that derives from RequestHandler or StreamingRequestHandler."
            ),
        ),
        (cqrs.RequestHandlerFallback(Primary, []), "Ask"),
        (cqrs.RequestHandlerFallback(Primary, Second, failure_exceptions=ValueError), "failure_exceptions is"),  # type: ignore[arg-type]  # wrong on purpose
        (cqrs.RequestHandlerFallback(Primary, Second, failure_exceptions=(3,)), "failure_exceptions is (3,)"),  # type: ignore[arg-type]  # wrong on purpose
        (cqrs.RequestHandlerFallback(Primary, Second, failure_exceptions=(BaseException,)), "failure_exceptions"),  # type: ignore[arg-type]  # wrong on purpose
        (cqrs.RequestHandlerFallback(Primary, Second, circuit_breaker=object()), "circuit_breaker is <object"),  # type: ignore[arg-type]  # wrong on purpose
        (cqrs.RequestHandlerFallback(Primary, Second, circuit_breaker=Breaker), "circuit_breaker is <class"),  # type: ignore[arg-type]  # wrong on purpose
        (cqrs.RequestHandlerFallback(Primary, Second, circuit_breaker="braker"), "braker"),
        (cqrs.RequestHandlerFallback(Primary, Second, circuit_breaker=asyncio.Lock()), "circuit_breaker is <async"),  # type: ignore[arg-type]  # wrong on purpose
        (
            cqrs.EventHandlerFallback(Primary, Second),
            (
                "Ask is bound to EventHandlerFallback(Primary, Second), which cannot handle it. It is for other "
                "messages: bind a RequestHandlerFallback of the two."
            ),
        ),
    ],
)
async def test_a_fallback_that_cannot_work_is_told_when_wired(app: cqrs.App, rules: Any, expected: str) -> None:
    """Everything at once, with the cure; nothing is found out when the primary fails for the first time."""
    app.requests.bind(Ask, rules)
    with pytest.raises(cqrs.WiringError) as caught:
        await app.__aenter__()
    assert any(expected in str(problem) for problem in caught.value.problems), str(caught.value)


async def test_a_fallback_for_events_is_checked_as_well(app: cqrs.App) -> None:
    """Of another event, or of requests: it would never work."""
    app.events.bind(Asked, cqrs.EventHandlerFallback(OnAsked, OnFollowed))
    app.events.bind(Followed, cqrs.RequestHandlerFallback(OnFollowed, OnFollowed))  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(cqrs.WiringError) as caught:
        await app.__aenter__()
    assert [errors.WrongHandler, errors.NotAHandler] == [type(problem) for problem in caught.value.problems]


# What a review found -------------------------------------------------------------------------------------------------


async def test_a_scope_that_fails_for_event_handlers_is_no_reason_to_do_the_command_again(script: Script) -> None:
    """The command has taken effect: what happens after it is told as such."""

    async def session() -> AsyncIterator[Session]:
        yield Session()
        raise ConnectionError("at the end of the scope")

    class InSession(cqrs.EventHandler[Asked]):
        def __init__(self, session: Session) -> None:
            self._session = session

        async def handle(self, event: Asked) -> None:
            script.log.append("event")

    class Plain(cqrs.RequestHandler[Ask, str]):
        async def handle(self, request: Ask) -> str:
            script.log.append("command")
            self.events.append(Asked("plain"))
            return "done"

    container = cqrs.SimpleContainer()
    container.scoped(Session, session)
    app = cqrs.App("scoped", container=container)
    app.requests.bind(Ask, Plain, retry=cqrs.RetryPolicy(delay_s=0))
    app.events.bind(Asked, InSession)
    async with app:
        with pytest.raises(cqrs.EventHandlersFailed) as caught:
            await app.send(Ask())
    assert ["command", "event"] == script.log
    assert ("done", ["ConnectionError"]) == (
        caught.value.response,
        [type(error).__name__ for error in caught.value.errors],
    )


@pytest.mark.parametrize("request_", [Ask(), Count()], ids=["call", "stream"])
async def test_a_breaker_that_is_broken_does_not_keep_the_primary_from_being_called(
    app: cqrs.App, caplog: pytest.LogCaptureFixture, request_: Any
) -> None:
    """Its error is not the primary's; the log tells it."""

    class Broken:
        async def acquire(self, circuit: str) -> Any:
            raise LookupError("no storage")

    app.requests.bind(Ask, cqrs.RequestHandlerFallback(Primary, Second, circuit_breaker=Broken()))
    app.requests.bind(Count, cqrs.RequestHandlerFallback(Counting, CountingToo, circuit_breaker=Broken()))
    async with app:
        if isinstance(request_, Ask):
            assert "primary answers" == await app.send(request_)
        else:
            assert [0, 1, 2] == [number async for number in app.stream(request_)]
    assert "no storage" in caplog.text


async def test_the_open_circuit_of_another_is_an_error_like_any_other(app: cqrs.App, script: Script) -> None:
    """As of a command that the primary sent."""
    rules = cqrs.RequestHandlerFallback(Primary, Second, failure_exceptions=(KeyError,))
    app.requests.bind(Ask, rules)
    script.acts["primary"] = [errors.CircuitOpen("another", 3)]
    async with app:
        with pytest.raises(errors.CircuitOpen, match="another"):
            await app.send(Ask())


async def test_an_event_fallback_without_a_fallback_is_told_when_wired(app: cqrs.App) -> None:
    """It would be none, and its breaker would never be asked."""
    app.events.bind(Asked, cqrs.EventHandlerFallback(OnAsked, None, circuit_breaker=Breaker()))
    with pytest.raises(cqrs.WiringError) as caught:
        await app.__aenter__()
    (problem,) = caught.value.problems
    assert (
        "Asked is bound to None (in EventHandlerFallback(OnAsked, None)), which cannot handle it. Bind a class that "
        "derives from EventHandler."
    ) == str(problem)


async def test_the_same_error_of_both_is_not_its_own_cause(app: cqrs.App, script: Script) -> None:
    """Whoever walks along the causes comes to an end."""
    app.requests.bind(Ask, cqrs.RequestHandlerFallback(Primary, Second))
    error = ConnectionError("cached")
    script.acts = {"primary": [error], "second": [error]}
    async with app:
        with pytest.raises(ConnectionError) as caught:
            await app.send(Ask())
    assert caught.value.__cause__ is None


class Watched(Exception):
    """An error that can be watched, which built-in ones cannot."""


@pytest.mark.parametrize("fallback_fails", [False, True])
@pytest.mark.parametrize("is_stream", [False, True], ids=["call", "stream"])
async def test_an_error_is_freed_as_soon_as_it_was_dealt_with(
    caplog: pytest.LogCaptureFixture, *, is_stream: bool, fallback_fails: bool
) -> None:
    """Its traceback holds the frames of the call, with all that is in them; were it held by one, that would be long."""
    caplog.set_level(logging.ERROR, "cqrs_core.resilience.calls")  # records hold errors as well
    raised: list[weakref.ref[Watched]] = []

    def error() -> Watched:
        new = Watched()
        raised.append(weakref.ref(new))
        return new

    async def fail(_: Any) -> None:
        raise error()

    async def fail_to_stream(_: Any) -> AsyncIterator[int]:
        raise error()
        yield

    async def answer(_: Any) -> None:
        return None

    async def stream(_: Any) -> AsyncIterator[int]:
        yield 1

    rules = cqrs.RequestHandlerFallback(Primary, Second)
    gc.disable()
    try:
        with suppress(Watched):
            if is_stream:
                guarded = stream_with_fallback(fail_to_stream, fail_to_stream if fallback_fails else stream, rules, "")
                [number async for number in guarded(Ask())]
            else:
                await with_fallback(fail, fail if fallback_fails else answer, rules, "")(Ask())
        assert [None] * (1 + fallback_fails) == [watched() for watched in raised]
    finally:
        gc.enable()
