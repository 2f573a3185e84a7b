"""What one process tells a server about a circuit, and what it takes over: with a server made of a dict."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from cqrs_breaker import AioBreakerAdapter, CircuitRedisStorage
from cqrs_breaker.circuit import Circuit, Rules, Statement
from cqrs_breaker.engine import Engine
from cqrs_breaker.link import Link, is_to_trip
from cqrs_breaker.round_trips import converse
from cqrs_breaker.sharing import BATCH, REFRESH_S, Server
from cqrs_breaker.storage import KEPT_S, Found, SharedState
from cqrs_core.clock import Clock
from cqrs_core.concurrency import open_task_group, sleep
from cqrs_core.errors import CircuitOpen
from cqrs_core.testing import VirtualClock
from cqrs_core.testing.conformance.breaker import CircuitBreakerConformance

OPEN_FOR_S = 10.0


class FakeServer:
    """
    What is used of a ``redis.Redis``, by the clock of a test.

    Attributes:
        is_away: Whether it answers nobody.
        refused: A part of the names of keys about which it answers with an error.
        trips: How many commands came at once, each time.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.keys: dict[str, tuple[str, float]] = {}
        self.is_away = False
        self.refused = "no such key"
        self.trips: list[int] = []

    def pipeline(self, *, transaction: bool) -> FakePipeline:
        assert not transaction
        return FakePipeline(self)

    def pttl(self, name: str) -> int:
        entry = self._entry(name)
        return -2 if entry is None else round((entry[1] - self.clock.monotonic()) * 1000)

    def get(self, name: str) -> str | None:
        entry = self._entry(name)
        return None if entry is None else entry[0]

    def set(self, name: str, value: str, *, px: int, nx: bool = False) -> bool | None:
        if nx and self._entry(name) is not None:
            return None
        self.keys[name] = (value, self.clock.monotonic() + px / 1000)
        return True

    def delete(self, name: str) -> None:
        self.keys.pop(name, None)

    def _entry(self, name: str) -> tuple[str, float] | None:
        entry = self.keys.get(name)
        return None if entry is None or entry[1] <= self.clock.monotonic() else entry


class WrongType(Exception):
    """What the server answers about a key that is of another type."""


class FakePipeline:
    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._commands: list[Callable[[], Any]] = []

    def __getattr__(self, command: str) -> Callable[..., None]:
        def put_in(name: str, *arguments: Any, **options: Any) -> None:
            def run() -> Any:
                if self._server.refused in name:
                    return WrongType(name)
                return getattr(self._server, command)(name, *arguments, **options)

            self._commands.append(run)

        return put_in

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        if self._server.is_away:
            raise ConnectionError("the server is away")
        self._server.trips.append(len(self._commands))
        return [command() for command in self._commands]


class Process:
    """A circuit and its link, as a process has them, without a thread: a test says when they exchange."""

    def __init__(self, server: FakeServer, *, name: str = "Pay.handle") -> None:
        engine = Engine(name, fail_max=1, open_for_s=OPEN_FOR_S, listeners=(), storage=None)
        rules = Rules(OPEN_FOR_S, (), server.clock.monotonic)
        self.circuit = Circuit(name, engine, rules, lambda: None)
        self.link = Link(self.circuit, SharedState(server, name, hang_up=lambda: None))

    def exchange(self) -> None:
        """Tell, look, and take over."""
        assert {} == self.talk()
        assert self.link.view is not None
        self.circuit.adopt(self.link.view)

    def talk(self) -> dict[Link, Exception]:
        """Tell, and look."""
        return converse(self.link.shared.client, {self.link: self.link.exchange()})

    async def fail(self) -> None:
        await (self.circuit.closed or self.circuit.probe()).failed(ConnectionError())

    async def succeed(self) -> None:
        await (self.circuit.closed or self.circuit.probe()).succeeded()

    def claim(self) -> float | None:
        """Ask for the probe."""
        answer = self.link.ask(for_probe=True)
        self.exchange()
        return answer.result(timeout=0)

    @property
    def retry_after_s(self) -> float | None:
        """For how long calls are refused; ``None`` if they pass, or a probe would."""
        left = self.circuit.until - self.circuit.rules.monotonic()
        return None if self.circuit.closed or left <= 0 else left


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def server(clock: VirtualClock) -> FakeServer:
    return FakeServer(clock)


@pytest.mark.parametrize(
    ("statement", "state", "is_new", "expected"),
    [
        # A server that knows nothing is told, and told again.
        (Statement(1, 5.0), "unknown", True, True),
        (Statement(1, 5.0), "unknown", False, True),
        (Statement(2, 5.0, is_newest=True, ends_probe=True), "unknown", False, True),
        # Too many failures open what is closed, and prolong nothing.
        (Statement(1, 5.0), "closed", True, True),
        (Statement(1, 5.0), "tripped", True, False),
        # A probe that failed begins the time anew.
        (Statement(2, 5.0, is_newest=True, ends_probe=True), "closed", True, True),
        (Statement(2, 5.0, is_newest=True, ends_probe=True), "tripped", True, True),
        # One that was cancelled says nothing.
        (Statement(2, 5.0, ends_probe=True), "closed", True, False),
        (Statement(2, 5.0, ends_probe=True), "tripped", True, False),
        # What was told before does not count against what is known.
        (Statement(1, 5.0), "closed", False, False),
        (Statement(2, 5.0, is_newest=True, ends_probe=True), "tripped", False, False),
    ],
)
def test_what_is_told_depends_on_what_is_known(statement: Statement, state: Any, is_new: bool, expected: bool) -> None:  # noqa: FBT001 - parameters
    assert expected == is_to_trip(statement, Found(state), is_new=is_new)


async def test_the_time_is_that_of_the_first_who_opened(clock: VirtualClock, server: FakeServer) -> None:
    """Who opens it three seconds later, not knowing, does not prolong it."""
    one, other = Process(server), Process(server)
    await one.fail()
    one.exchange()
    await clock.advance(3)
    await other.fail()
    other.exchange()
    third = Process(server)
    third.exchange()

    assert (7, 7) == (one.retry_after_s, third.retry_after_s)


async def test_a_probe_that_fails_elsewhere_opens_the_circuit_here(clock: VirtualClock, server: FakeServer) -> None:
    one, other = Process(server), Process(server)
    await one.fail()
    one.exchange()
    other.exchange()
    await clock.advance(OPEN_FOR_S)
    assert 0 == one.claim()
    await one.fail()
    one.exchange()
    other.exchange()

    assert (OPEN_FOR_S, OPEN_FOR_S) == (one.retry_after_s, other.retry_after_s)


async def test_a_probe_belongs_to_one_until_it_ends_or_lapses(clock: VirtualClock, server: FakeServer) -> None:
    """Who has it may ask again; a release by somebody else changes nothing."""
    one, other = Process(server), Process(server)
    await one.fail()
    one.exchange()
    other.exchange()
    await clock.advance(OPEN_FOR_S)
    answers = [one.claim(), one.claim(), other.claim()]
    other.circuit.released()
    answers.append(other.claim())
    await clock.advance(OPEN_FOR_S)
    answers.append(other.claim())

    assert [0, 0, 10, 10, 0] == answers


async def test_a_process_that_was_forked_has_not_its_parents_probe(clock: VirtualClock, server: FakeServer) -> None:
    """It is another one to the server, and whoever waits there waits for nothing here."""
    one = Process(server)
    await one.fail()
    one.exchange()
    await clock.advance(OPEN_FOR_S)
    assert 0 == one.claim()
    waiting = one.link.ask(for_probe=True)
    one.link.start_anew()

    assert None is one.link.view
    assert OPEN_FOR_S == one.claim()
    assert not waiting.done()


async def test_who_was_cancelled_does_not_get_the_probe(clock: VirtualClock, server: FakeServer) -> None:
    """It would be kept from the others, and never be made."""
    one, other = Process(server), Process(server)
    await one.fail()
    one.exchange()
    await clock.advance(OPEN_FOR_S)
    one.link.ask(for_probe=True).cancel()
    one.exchange()

    assert 0 == other.claim()


async def test_what_is_not_known_yet_is_not_undone(server: FakeServer) -> None:
    """A view from before this process opened the circuit does not close it."""
    one = Process(server)
    await one.fail()
    one.exchange()
    one.circuit.recovered()
    one.exchange()
    old = one.link.view
    assert old is not None
    await one.fail()
    one.circuit.adopt(old)

    assert OPEN_FOR_S == one.retry_after_s


async def test_a_server_that_forgot_is_told_again_by_whoever_knows(clock: VirtualClock, server: FakeServer) -> None:
    """Also by those who had only heard of it; the time that is left is told."""
    one, other = Process(server), Process(server)
    await one.fail()
    one.exchange()
    other.exchange()
    server.keys.clear()
    await clock.advance(4)
    other.exchange()
    third = Process(server)
    third.exchange()

    assert 6 == third.retry_after_s


async def test_an_old_opening_is_not_told_again_after_the_circuit_closed(
    clock: VirtualClock, server: FakeServer
) -> None:
    """Though a server forgets after a day that it closed."""
    one, other = Process(server), Process(server)
    await one.fail()
    one.exchange()
    other.exchange()
    await clock.advance(OPEN_FOR_S)
    assert 0 == other.claim()
    await other.succeed()
    other.exchange()
    one.exchange()
    await clock.advance(KEPT_S + 1)
    one.exchange()

    assert {} == {name: entry for name, entry in server.keys.items() if entry[1] > clock.monotonic()}


async def test_closing_while_the_server_was_away_is_told_when_it_is_back(
    clock: VirtualClock, server: FakeServer
) -> None:
    one, other = Process(server), Process(server)
    await one.fail()
    one.exchange()
    other.exchange()
    server.is_away = True
    with pytest.raises(ConnectionError):
        one.talk()
    one.link.lose()
    await clock.advance(OPEN_FOR_S)
    await one.succeed()
    server.is_away = False
    one.exchange()
    other.exchange()

    assert other.circuit.closed


async def test_whoever_waits_is_told_that_there_is_no_answer(server: FakeServer) -> None:
    """Whether it asked before the server went away, or after."""
    one = Process(server)
    server.is_away = True
    answers = [one.link.ask(for_probe=False)]
    with pytest.raises(ConnectionError):
        one.talk()
    answers.append(one.link.ask(for_probe=True))
    cancelled: Future[float | None] = one.link.ask(for_probe=True)
    cancelled.cancel()
    one.link.lose()

    assert [None, None] == [answer.result(timeout=0) for answer in answers]
    assert not one.link.is_urgent


# With the thread -----------------------------------------------------------------------------------------------------


def make(server: FakeServer, clock: VirtualClock) -> AioBreakerAdapter:
    storage = CircuitRedisStorage("closed", server)
    return AioBreakerAdapter(1, OPEN_FOR_S, storage_factory=lambda _name: storage, clock=clock)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for the thread."""
    for _ in range(1000):
        if await condition():
            return
        await sleep(0.01)
    raise AssertionError("it did not happen")


async def is_refused(breaker: AioBreakerAdapter) -> bool:
    try:
        (await breaker.acquire("Pay.handle")).abandoned()
    except CircuitOpen:
        return True
    return False


async def test_who_is_not_given_the_probe_is_refused_and_asks_again(clock: VirtualClock, server: FakeServer) -> None:
    """A second later, for the probe elsewhere may have been cancelled; long before that would have lapsed."""
    one, other = make(server, clock), make(server, clock)
    await (await one.acquire("Pay.handle")).failed(ConnectionError())

    async def other_is_refused() -> bool:
        return await is_refused(other)

    await until(other_is_refused)
    await clock.advance(OPEN_FOR_S)
    probe = await one.acquire("Pay.handle")
    with pytest.raises(CircuitOpen) as refused:
        await other.acquire("Pay.handle")
    probe.abandoned()

    async def is_free() -> bool:
        return not any(name.endswith(":probe") for name in server.keys)

    await until(is_free)
    await clock.advance(1)

    assert 1 == refused.value.retry_after_s
    assert not await is_refused(other)


async def test_a_call_that_is_cancelled_while_it_asks_gives_the_probe_back(
    clock: VirtualClock, server: FakeServer
) -> None:
    """The next call gets it, here or elsewhere."""
    breaker = make(server, clock)
    await (await breaker.acquire("Pay.handle")).failed(ConnectionError())
    await clock.advance(OPEN_FOR_S)

    async def ask() -> None:
        (await breaker.acquire("Pay.handle")).abandoned()

    async with open_task_group() as calls:
        calls.start(ask)
        await sleep(0)
        calls.cancel()

    async def passes() -> bool:
        return not await is_refused(breaker)

    await until(passes)


async def test_what_others_closed_is_found_when_the_probe_is_due(clock: VirtualClock, server: FakeServer) -> None:
    """Then all calls pass, and not a probe alone."""
    one, other = make(server, clock), Process(server)
    await (await one.acquire("Pay.handle")).failed(ConnectionError())

    async def is_told() -> bool:
        return bool(server.keys)

    await until(is_told)
    await clock.advance(OPEN_FOR_S)
    assert 0 == other.claim()
    await other.succeed()
    other.exchange()
    permits = [await one.acquire("Pay.handle") for _ in range(2)]

    assert permits[0] is permits[1]


async def test_without_a_server_each_process_makes_its_own_probe(clock: VirtualClock, server: FakeServer) -> None:
    """Once it is known to be away nobody waits for it."""
    breaker = make(server, clock)
    await (await breaker.acquire("Pay.handle")).failed(ConnectionError())
    server.is_away = True
    await clock.advance(OPEN_FOR_S)

    async def is_probed_and_open_again() -> bool:
        await (await breaker.acquire("Pay.handle")).failed(ConnectionError())
        await clock.advance(OPEN_FOR_S)
        return time.monotonic() > known_by

    known_by = time.monotonic() + 2 * REFRESH_S
    await until(is_probed_and_open_again)

    (await breaker.acquire("Pay.handle")).abandoned()


async def test_a_server_that_goes_away_between_two_questions_answers_nobody(
    clock: VirtualClock, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two who asked, the first was answered already, and the other decides alone."""
    one = Process(server)
    await one.fail()
    one.exchange()
    await clock.advance(OPEN_FOR_S)
    answers = [one.link.ask(for_probe=False), one.link.ask(for_probe=True)]

    def fail(*_arguments: object, **_options: object) -> None:
        raise ConnectionError("the server is away")

    monkeypatch.setattr(server, "set", fail)
    with pytest.raises(ConnectionError):
        one.talk()

    assert [0, None] == [answer.result(timeout=0) for answer in answers]


# Many circuits on one server -----------------------------------------------------------------------------------------


def processes(server: FakeServer, *names: str) -> tuple[Server, list[Process]]:
    """Make circuits that go to a server together."""
    made = [Process(server, name=name) for name in names]
    all_of_them = Server(server)
    for process in made:
        all_of_them.add(process.link)
    return all_of_them, made


async def test_all_circuits_go_in_one_round_trip(server: FakeServer) -> None:
    """And all that there is to tell in another one."""
    together, made = processes(server, *(f"Pay{number}.handle" for number in range(BATCH)))
    together.serve()
    for process in made[:3]:
        await process.fail()
    together.serve_urgent()

    assert [BATCH, 3, 3] == server.trips  # all look; the three look; the three tell
    assert all(process.link.view is not None for process in made)


async def test_whoever_waits_does_not_wait_for_all_others(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two batches, what became urgent meanwhile is done."""
    together, made = processes(server, *(f"Pay{number}.handle" for number in range(2 * BATCH)))
    answers: list[Any] = []
    look = server.get

    def look_and_ask(name: str) -> str | None:
        if "{Pay7." in name and not answers:
            answers.append(made[9].link.ask(for_probe=False))
        return look(name)

    monkeypatch.setattr(server, "get", look_and_ask)
    together.serve()

    assert [BATCH, 1, BATCH] == server.trips
    assert 0 == answers[0].result(timeout=0)


async def test_what_a_server_refuses_of_one_circuit_does_not_concern_the_others(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning tells of it; when it is mended, the circuit is shared."""
    together, (pay, ship, book) = processes(server, "Pay.handle", "Ship.handle", "Book.handle")
    server.refused = "{Pay."
    for process in (pay, ship, book):
        await process.fail()
    asked = pay.link.ask(for_probe=False)
    for _ in range(2):
        together.serve_urgent()
    others = [Process(server, name=name) for name in ("Ship.handle", "Book.handle")]
    for other in others:
        other.exchange()

    assert None is asked.result(timeout=0)
    assert [False, True, True] == [process.link.may_answer for process in (pay, ship, book)]
    assert [OPEN_FOR_S] * 2 == [other.retry_after_s for other in others]
    assert [
        (
            "Redis refuses to share Pay.handle (WrongType: cqrs_breaker:{Pay.handle}:state): until it does, what it "
            "refuses is kept in this process alone."
        )
    ] == [message for message in caplog.messages if "Redis" in message]
    server.refused = "nothing"
    together.serve()
    other = Process(server, name="Pay.handle")
    other.exchange()
    assert OPEN_FOR_S == other.retry_after_s


async def test_what_a_server_refuses_of_many_circuits_is_told_once(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """As a replica does, or a server without memory."""
    together, _ = processes(server, "Pay.handle", "Ship.handle", "Book.handle")
    server.refused = ".handle"
    together.serve()
    together.serve()

    (message,) = caplog.messages
    assert message.startswith("Redis refuses to share Pay.handle and 2 more circuits (WrongType: ")


async def test_a_server_that_is_away_is_not_asked_again_at_once(server: FakeServer) -> None:
    """Whoever asks is told so, and a new circuit does not wait either."""
    together, (pay,) = processes(server, "Pay.handle")
    server.is_away = True
    together.serve()
    server.is_away = False
    asked = pay.link.ask(for_probe=True)
    together.serve()
    new = Process(server, name="Ship.handle")
    together.add(new.link)

    assert [] == server.trips
    assert None is asked.result(timeout=0)
    assert not new.link.may_answer
    assert together.next_look_s > REFRESH_S


async def test_the_failure_of_one_server_does_not_concern_another(clock: VirtualClock, server: FakeServer) -> None:
    """Two circuits of one breaker may be on different ones."""
    other_server = FakeServer(clock)
    storages = {"Pay.handle": server, "Ship.handle": other_server}
    server.is_away = True
    breaker = AioBreakerAdapter(
        1, OPEN_FOR_S, storage_factory=lambda name: CircuitRedisStorage("closed", storages[name]), clock=clock
    )
    for name in storages:
        await (await breaker.acquire(name)).failed(ConnectionError())

    async def is_told() -> bool:
        return bool(other_server.keys)

    await until(is_told)
    assert {} == server.keys


async def test_where_no_thread_can_be_had_circuits_are_kept_in_this_process(
    clock: VirtualClock, server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There are too many, or the program ends: no call fails of it, or waits for it; later it is tried again."""

    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    breaker = make(server, clock)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        await (await breaker.acquire("Pay.handle")).failed(ConnectionError())
        assert await is_refused(breaker)
    assert [
        (
            "Redis does not answer (RuntimeError: can't start new thread): until it does, circuits are kept in this "
            "process alone."
        )
    ] == [message for message in caplog.messages if "Redis" in message]
    await (await breaker.acquire("Ship.handle")).failed(ConnectionError())

    async def is_told() -> bool:
        return 2 == len(server.keys)

    await until(is_told)


async def test_what_is_not_shared_has_no_thread() -> None:
    """Whatever happens in its circuits."""
    before = set(threading.enumerate())
    breaker = AioBreakerAdapter(1, OPEN_FOR_S)
    await (await breaker.acquire("Pay.handle")).failed(ConnectionError())

    assert not {thread for thread in threading.enumerate() if thread.name == "cqrs_breaker"} - before


class TestSharedCircuit(CircuitBreakerConformance):
    """A circuit that is shared does what every circuit does, whenever the thread gets to it."""

    backends = ("asyncio", "trio")

    def make_breaker(
        self, *, fail_max: int, open_for_s: float, exclude: Sequence[type[Exception]], clock: Clock
    ) -> AioBreakerAdapter:
        assert isinstance(clock, VirtualClock)
        storage = CircuitRedisStorage("closed", FakeServer(clock))
        return AioBreakerAdapter(fail_max, open_for_s, exclude, lambda _name: storage, clock=clock)
