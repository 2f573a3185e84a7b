"""Workers of sagas in processes of their own, which are killed and paused: no saga is ever left in between."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cqrs_core.saga.log import SagaStatus
from cqrs_core.saga.storage import SagaQuery, SagaRecord
from cqrs_sqla import SqlAlchemyStorage

from .saga_app import Trip, make_app

if sys.platform == "win32":
    pytest.skip("processes are killed and paused by signals of POSIX", allow_module_level=True)

IS_LONG = os.environ.get("SAGA_KILLS") == "long"
KILLS, SAGAS = (100, 500) if IS_LONG else (10, 50)
DEADLINE_S = 1200.0 if IS_LONG else 100.0  # of which most is taken by processes that start
LIVE = [status for status in SagaStatus if status.is_live]


class Services:
    """
    What the sagas ask: each service does what it is asked for once, and refuses what was called back before it came.

    Attributes:
        port: Where they listen.
        effects: By the number of the trip: what is in force.
        requests: How many there were.
        before: Called with each request; unless it gives ``False``, that takes effect.
        after: Called when it has; unless it gives ``False``, whoever asked is told.
    """

    def __init__(self) -> None:
        self.effects: dict[int, set[str]] = defaultdict(set)
        self.requests = 0
        self.before: Callable[[dict[str, object]], object] = lambda _: None
        self.after: Callable[[dict[str, object]], object] = lambda _: None
        self._called_back: set[str] = set()
        self._failed: set[str] = set()
        self.port = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Services]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if not line:
            writer.close()
            return  # who was about to ask is dead
        request = json.loads(line)
        self.requests += 1
        try:
            if await _told(self.before, request):
                answer = self._answer(**request)
                if await _told(self.after, request):
                    writer.write(f"{answer}\n".encode())
                    await writer.drain()
        except ConnectionError:
            pass  # who asked is dead
        finally:
            writer.close()

    def _answer(self, *, number: int, what: str, action: str, key: str, pid: int) -> str:
        effects = self.effects[number]
        if action == "compensate":
            if number % 10 == 3 and key not in self._failed:
                self._failed.add(key)
                return "not now"
            self._called_back.add(key)
            effects.discard(what)
            return "done"
        if key in self._called_back or not accepts(number, what):
            return "declined"
        effects.add(what)
        return "done"


async def _told(tell: Callable[[dict[str, object]], object], request: dict[str, object]) -> bool:
    """Tell of a request; whether it is to be answered."""
    told = tell(request)
    return (await told if asyncio.iscoroutine(told) else told) is not False


def accepts(number: int, what: str) -> bool:
    """Of five trips, there is no car for one, and no hotel for another."""
    return (what, number % 5) not in {("Car", 3), ("Hotel", 4)}


def outcome(number: int) -> tuple[SagaStatus, set[str]]:
    """How a trip has to end, and what is in force then."""
    if not accepts(number, "Car"):
        return SagaStatus.FAILED, set()
    return SagaStatus.COMPLETED, {"Flight", "Hotel" if accepts(number, "Hotel") else "Hostel", "Car"}


class Workers:
    """``cqrs run --only sagas``, several times."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._by_pid: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> int:
        command = [sys.executable, "-m", "cqrs_core", "run", "saga_app:make_app", "--only", "sagas"]
        process = subprocess.Popen(command, cwd=Path(__file__).parent, env=self._environment)
        self._by_pid[process.pid] = process
        return process.pid

    def kill(self, pid: int) -> None:
        self._by_pid[pid].kill()

    def kill_others(self, than: int) -> None:
        for pid in self._by_pid.keys() - {than}:
            self.kill(pid)

    def check(self) -> None:
        """Fail if one has ended that nobody has killed."""
        assert {None, -signal.SIGKILL} >= {process.poll() for process in self._by_pid.values()}

    def end(self) -> None:
        for process in self._by_pid.values():
            process.kill()
            process.wait()


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    async with Services().open() as services:
        yield services


@pytest.fixture
async def workers(monkeypatch: pytest.MonkeyPatch, database_url: str, services: Services) -> AsyncIterator[Workers]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("SERVICES_PORT", str(services.port))
    workers = Workers(dict(os.environ))
    yield workers
    workers.end()


async def start_sagas(count: int) -> list[uuid.UUID]:
    async with make_app() as app:
        return [await app.start_saga(Trip(number)) for number in range(count)]


async def all_ended(storage: SqlAlchemyStorage, workers: Workers) -> None:
    """Wait until no saga is under way."""

    async def ask() -> None:
        while await storage.sagas.find(SagaQuery(statuses=LIVE, limit=1)):
            workers.check()
            await asyncio.sleep(0.05)

    await asyncio.wait_for(ask(), DEADLINE_S)


async def records(storage: SqlAlchemyStorage, ids: list[uuid.UUID]) -> list[SagaRecord]:
    found = [await storage.sagas.load(saga_id) for saga_id in ids]
    return [record for record in found if record is not None]


async def test_workers_that_are_killed_leave_no_saga_in_between(
    storage: SqlAlchemyStorage, workers: Workers, services: Services
) -> None:
    """
    Each at a random request, before or after that took effect.

    Every trip is made, or wholly called back; who waits for a person says that it was claimed too often.
    """
    chance = random.Random(10)  # noqa: S311 - no secret
    moments = sorted(chance.sample(range(5, 3 * SAGAS), KILLS))
    killed = 0

    def kill(request: dict[str, object]) -> bool:
        nonlocal killed
        if not moments or services.requests < moments[0] or chance.random() < 0.5:
            return True
        moments.pop(0)
        killed += 1
        workers.kill(request["pid"])  # type: ignore[arg-type]  # a number
        workers.start()
        return False

    services.before = services.after = kill
    ids = await start_sagas(SAGAS)
    for _ in range(2):
        workers.start()
    await all_ended(storage, workers)
    found = await records(storage, ids)

    assert KILLS == killed
    suspended = [record for record in found if record.status is SagaStatus.SUSPENDED]
    assert all("claimed" in str(record.error) for record in suspended)
    ended = {
        number: (record.status, services.effects[number])
        for number, record in enumerate(found)
        if record not in suspended
    }
    assert {number: outcome(number) for number in ended} == ended
    assert len(suspended) < SAGAS // 5


async def test_a_worker_that_was_paused_changes_nothing_when_it_wakes(
    storage: SqlAlchemyStorage, workers: Workers, services: Services
) -> None:
    """Another has taken its sagas over; what it asks for is refused by those who know the keys."""
    paused: list[int] = []
    asleep = asyncio.Event()
    may_answer = asyncio.Event()

    async def pause(request: dict[str, object]) -> bool:
        pid = int(str(request["pid"]))
        if not paused:
            paused.append(pid)
            os.kill(pid, signal.SIGSTOP)
            asleep.set()
        if pid in paused:
            await may_answer.wait()
        return True

    services.before = pause
    ids = await start_sagas(10)
    workers.start()
    await asyncio.wait_for(asleep.wait(), DEADLINE_S)
    workers.start()
    await all_ended(storage, workers)
    before = [(record.status, record.version) for record in await records(storage, ids)]
    may_answer.set()
    os.kill(paused[0], signal.SIGCONT)
    # It works again: a saga that the other, stopped now, cannot have, is driven by it.
    workers.kill_others(paused[0])
    later = await start_sagas(1)
    await all_ended(storage, workers)

    assert before == [(record.status, record.version) for record in await records(storage, ids)]
    assert [outcome(number) for number in range(10)] == [
        (status, services.effects[number]) for number, (status, _) in enumerate(before)
    ]
    assert [SagaStatus.COMPLETED] == [record.status for record in await records(storage, later)]
