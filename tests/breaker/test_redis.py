"""Processes share circuits through a real Redis, and go on without it."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiobreaker
import pytest

from cqrs_breaker import AioBreakerAdapter, CircuitRedisStorage
from cqrs_breaker.sharing import ANSWER_WITHIN_S
from cqrs_breaker.storage import SERVER_TIMEOUT_S
from cqrs_core.concurrency import open_task_group, sleep
from cqrs_core.errors import CircuitOpen

redis = pytest.importorskip("redis")

HERE = Path(__file__).parent
#: Nothing here takes so long; when it is over, something did not happen.
DEADLINE_S = 10.0
#: What a call may take, whatever the server does: whoever waits for a server that says nothing takes longer. That it is
#: twenty times as long as a call waits leaves room for a busy machine.
CALL_S = SERVER_TIMEOUT_S


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """What a breaker of one test notices does not stand in the log of the next."""
    yield
    gc.collect()
    for thread in threads():
        thread.join(DEADLINE_S)


def threads() -> list[threading.Thread]:
    """List the threads of breakers."""
    return [thread for thread in threading.enumerate() if thread.name == "cqrs_breaker"]


@pytest.fixture
def namespace() -> str:
    """One that nobody has used."""
    return uuid.uuid4().hex


def make(url: str, namespace: str, *, open_for_s: float = 60, decodes: bool = False) -> AioBreakerAdapter:
    """Make what stands for a process of its own: it shares nothing with others but the server."""

    def storage(name: str) -> CircuitRedisStorage:
        # As in the README of python-cqrs, but for the namespace: there it is the name alone.
        client = redis.from_url(url, encoding="utf-8", decode_responses=decodes)
        return CircuitRedisStorage(state="closed", redis_object=client, namespace=f"{namespace}:{name}")

    return AioBreakerAdapter(fail_max=1, timeout_duration=open_for_s, storage_factory=storage)


async def fail(breaker: AioBreakerAdapter) -> None:
    await (await breaker.acquire("Pay.handle")).failed(ConnectionError("refused"))


async def passes(breaker: AioBreakerAdapter) -> bool:
    """Tell whether a call passes; it proves nothing."""
    try:
        permit = await breaker.acquire("Pay.handle")
    except CircuitOpen:
        return False
    permit.abandoned()
    return True


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what takes the time of a server, or of another process."""
    deadline = time.monotonic() + DEADLINE_S
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen"
        await sleep(0.01)


async def until_refused(breaker: AioBreakerAdapter) -> None:
    async def is_refused() -> bool:
        return not await passes(breaker)

    await until(is_refused)


async def until_passes(breaker: AioBreakerAdapter) -> None:
    async def does_pass() -> bool:
        return await passes(breaker)

    await until(does_pass)


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    before = time.perf_counter()
    await call()
    return time.perf_counter() - before


# Sharing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decodes", [False, True])
async def test_what_one_opens_is_open_for_others(url: str, namespace: str, decodes: bool) -> None:  # noqa: FBT001 - a parameter
    """Whether the client decodes answers or not; for as long as it is open there."""
    one = make(url, namespace, decodes=decodes)
    await fail(one)
    other = make(url, namespace, decodes=decodes)
    await until_refused(other)

    with pytest.raises(CircuitOpen) as refused:
        await other.acquire("Pay.handle")
    assert 60 - DEADLINE_S < refused.value.retry_after_s <= 60


async def test_who_used_the_circuit_before_is_told_too(url: str, namespace: str) -> None:
    """Of each change: it opens, and it closes."""
    one, other = make(url, namespace, open_for_s=1), make(url, namespace, open_for_s=1)
    assert await passes(other)
    await fail(one)
    await until_refused(other)
    permits: list[Any] = []

    async def gets_the_probe() -> bool:
        try:
            permits.append(await one.acquire("Pay.handle"))
        except CircuitOpen:
            return False
        return True

    await until(gets_the_probe)
    await permits[0].succeeded()

    await until_passes(other)


async def test_circuits_and_namespaces_are_independent(url: str, namespace: str) -> None:
    await fail(make(url, namespace))
    other = make(url, namespace)
    await until_refused(other)

    await other.acquire("Ship.handle")
    await make(url, f"{namespace}-2").acquire("Pay.handle")


async def test_one_of_all_makes_the_probe(url: str, namespace: str) -> None:
    """Of however many that come at once, from however many processes."""
    breakers = [make(url, namespace, open_for_s=0.5) for _ in range(4)]
    await fail(breakers[0])
    for breaker in breakers[1:]:
        await until_refused(breaker)
    passed: list[Any] = []

    async def call(breaker: AioBreakerAdapter) -> None:
        with suppress(CircuitOpen):
            passed.append(await breaker.acquire("Pay.handle"))

    async def was_tried() -> bool:
        async with open_task_group() as calls:
            for breaker in breakers * 10:
                calls.start(partial(call, breaker))
        return bool(passed)

    await until(was_tried)

    assert 1 == len(passed)


async def test_a_probe_that_was_cancelled_is_free_for_another_process(url: str, namespace: str) -> None:
    """Long before it would have lapsed."""
    one, other = make(url, namespace, open_for_s=0.3), make(url, namespace, open_for_s=0.3)
    await fail(one)
    await until_refused(other)
    await until_passes(one)  # and is abandoned

    await until_passes(other)


class Caller:
    """A process of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, str(HERE / "caller.py"), *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, word: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate("end\n", timeout=DEADLINE_S)


@pytest.fixture
def callers(url: str, namespace: str) -> Iterator[tuple[Caller, Caller]]:
    both = (Caller(url, namespace, "1.0"), Caller(url, namespace, "1.0"))
    yield both
    for caller in both:
        caller.end()


async def test_two_processes_share_a_circuit(callers: tuple[Caller, Caller]) -> None:
    """One opens it, the other is refused; one makes the probe, and when it has succeeded both pass."""
    one, other = callers

    async def answers(caller: Caller, expected: str) -> None:
        async def does_answer() -> bool:
            answer = caller.tell("acquire")
            if answer == "passed" and expected == "refused":
                caller.tell("succeed")
            return answer == expected

        await until(does_answer)

    assert ("passed", "done") == (one.tell("acquire"), one.tell("fail"))
    await answers(other, "refused")
    await answers(one, "passed")
    assert "refused" == other.tell("acquire")
    one.tell("succeed")
    await answers(other, "passed")
    assert "passed" == one.tell("acquire")


async def test_the_thread_ends_with_the_breaker(url: str, namespace: str) -> None:
    """Nothing is left of a breaker that nobody has any more."""
    before = threads()  # of tests that have just ended
    breaker = make(url, namespace)
    await breaker.acquire("Pay.handle")
    (thread,) = set(threads()) - set(before)
    del breaker
    gc.collect()

    thread.join(DEADLINE_S)
    assert not thread.is_alive()


async def test_a_key_of_another_type_concerns_one_circuit_alone(url: str, namespace: str) -> None:
    """Others are shared, and calls of that one do not wait."""
    client = redis.Redis.from_url(url)
    client.lpush(f"cqrs_breaker:{{{namespace}:Pay.handle:Pay.handle}}:state", "a list")
    one, other = make(url, namespace), make(url, namespace)
    await fail(one)
    await (await one.acquire("Ship.handle")).failed(ConnectionError("refused"))

    async def is_shared() -> bool:
        try:
            (await other.acquire("Ship.handle")).abandoned()
        except CircuitOpen:
            return True
        return False

    await until(is_shared)
    assert [False, True] == [await passes(one), await passes(other)]
    client.delete(f"cqrs_breaker:{{{namespace}:Pay.handle:Pay.handle}}:state")
    await until_refused(other)


async def test_circuits_on_one_server_have_one_connection(url: str, namespace: str) -> None:
    """Also if there is a new client for each, as in the README of python-cqrs."""
    client = redis.Redis.from_url(url)
    breaker = make(f"{url}?client_name={namespace}", namespace)
    for number in range(20):
        (await breaker.acquire(f"Pay{number}.handle")).abandoned()

    assert 1 == [connection["name"] for connection in client.client_list()].count(namespace)


LAST_WORDS = """
import asyncio, atexit, redis, sys, time
from cqrs_breaker import AioBreakerAdapter, CircuitRedisStorage, sharing

url, namespace, slow_s, sharing.ANSWER_WITHIN_S = *sys.argv[1:4], float(sys.argv[4])
ended_at = 0.0
atexit.register(lambda: print(time.monotonic() - ended_at))
execute = redis.client.Pipeline.execute

def execute_slowly(*arguments, **options):
    if is_slow:
        time.sleep(float(slow_s))
    return execute(*arguments, **options)

async def main():
    global is_slow
    permit = await breaker.acquire("Pay.handle")
    is_slow = True
    await permit.failed(ConnectionError())

is_slow = False
redis.client.Pipeline.execute = execute_slowly
storage = CircuitRedisStorage("closed", redis.Redis.from_url(url), namespace)
breaker = AioBreakerAdapter(1, 60, storage_factory=lambda _name: storage)
asyncio.run(main())
ended_at = time.monotonic()
"""


@pytest.mark.parametrize(
    ("slow_s", "within_s", "is_told"),
    # In time is half a minute for the one that is to be told: to begin a thread may take a busy machine 50 ms.
    [(0.01, 30, True), (30, ANSWER_WITHIN_S, False)],
)
def test_the_last_failure_of_a_process_is_told_if_the_server_answers_in_time(
    url: str, namespace: str, slow_s: float, within_s: float, *, is_told: bool
) -> None:
    """The program ends soon afterwards, whatever the server does."""
    command = [sys.executable, "-c", LAST_WORDS, url, namespace, f"{slow_s}", f"{within_s}"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    client = redis.Redis.from_url(url)
    assert is_told == bool(client.exists(f"cqrs_breaker:{{{namespace}:Pay.handle}}:state"))
    assert float(run.stdout) < CALL_S


FORK = """
import asyncio, os, redis, sys
from cqrs_breaker import AioBreakerAdapter, CircuitRedisStorage
from cqrs_core.errors import CircuitOpen

url, namespace = sys.argv[1:]
storage = CircuitRedisStorage("closed", redis.Redis.from_url(url), namespace)
breaker = AioBreakerAdapter(1, 60, storage_factory=lambda _name: storage)

async def use():
    for name in ("child's", "parent's"):
        await (await breaker.acquire(name)).succeeded()

async def fail_and_hear(own, other):
    await (await breaker.acquire(own)).failed(ConnectionError())
    for _ in range(1000):
        try:
            (await breaker.acquire(other)).abandoned()
        except CircuitOpen:
            return
        await asyncio.sleep(0.01)
    raise SystemExit("nothing was heard")

asyncio.run(use())
child = os.fork()
asyncio.run(fail_and_hear("parent's", "child's") if child else fail_and_hear("child's", "parent's"))
if child:
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is none")
def test_a_process_that_was_forked_shares_the_circuits_too(url: str, namespace: str) -> None:
    """Each hears of what the other one opened, though threads do not survive a fork."""
    command = [sys.executable, "-W", "ignore", "-c", FORK, url, namespace]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert 0 == run.returncode, run.stderr


# Without the server --------------------------------------------------------------------------------------------------


async def test_a_server_that_is_frozen_delays_no_call_for_long(server: Any, namespace: str) -> None:
    """Nor does a call fail: the circuit opens, refuses and is probed in this process alone."""
    breaker = make(server.url, namespace, open_for_s=0.1)
    assert await passes(breaker)
    server.freeze()
    durations = [await timed(lambda: fail(breaker))]
    durations.append(await timed(lambda: passes(breaker)))

    async def is_probed() -> bool:
        try:
            permit = await breaker.acquire("Pay.handle")
        except CircuitOpen:
            return False
        await permit.succeeded()
        return True

    async def timed_probe() -> bool:
        answers: list[bool] = []

        async def call() -> None:
            answers.append(await is_probed())

        durations.append(await timed(call))
        return answers[0]

    await until(timed_probe)

    assert await passes(breaker)
    assert max(durations) < CALL_S


async def test_a_server_that_is_frozen_from_the_start_delays_no_call_for_long(server: Any, namespace: str) -> None:
    server.freeze()
    breaker = make(server.url, namespace)

    assert CALL_S > max([await timed(lambda: passes(breaker)) for _ in range(3)])


async def test_what_happened_meanwhile_is_shared_when_the_server_is_back(
    server: Any, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning tells that it is away; nobody has to do anything."""
    caplog.set_level(logging.INFO, "cqrs_breaker.sharing")
    breaker = make(server.url, namespace)
    assert await passes(breaker)
    server.freeze()
    await fail(breaker)

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "cqrs_breaker.sharing"]

    async def is_told_that_it_is_away() -> bool:
        return bool(told())

    async def is_told_that_it_is_back() -> bool:
        return len(told()) > 1

    await until(is_told_that_it_is_away)
    server.thaw()
    await until(is_told_that_it_is_back)
    await until_refused(make(server.url, namespace))

    away = "Redis does not answer (TimeoutError: Timeout reading from socket): until it does, circuits are kept in "
    assert [f"{away}this process alone.", "Redis answers again: circuits are shared."] == told()


async def test_a_server_that_forgot_everything_is_told_again(server: Any, namespace: str) -> None:
    """Killed, and started again with nothing: an open circuit stays open, for those who come then, too."""
    one = make(server.url, namespace)
    await fail(one)
    other = make(server.url, namespace)
    await until_refused(other)
    server.kill()
    during = [await timed(partial(passes, breaker)) for breaker in (one, other)]
    server.start()
    await until_refused(make(server.url, namespace))

    assert [False, False] == [await passes(one), await passes(other)]
    assert max(during) < CALL_S


async def test_without_a_server_a_circuit_is_kept_in_this_process(
    server: Any, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if there never was one: it opens and refuses, and the caller sees no error of Redis."""
    server.kill()
    breaker = make(server.url, namespace)
    durations = [await timed(lambda: fail(breaker))]

    assert not await passes(breaker)
    assert max(durations) < CALL_S
    assert ["The circuit of Pay.handle is open for 60 s: the last error was of type ConnectionError."] == [
        message for message in caplog.messages if "Redis" not in message
    ]


async def test_no_exception_of_aiobreaker_reaches_anybody(url: str, namespace: str) -> None:
    breaker = make(url, namespace)
    await fail(breaker)

    with pytest.raises(CircuitOpen) as refused:
        await breaker.acquire("Pay.handle")
    assert not isinstance(refused.value, aiobreaker.CircuitBreakerError)
    assert refused.value.__cause__ is None
