"""A database server that goes down and comes back, while events are committed and relayed: nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import anyio
import pytest
import sqlalchemy as sa

from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import Gate, open_task_group
from cqrs_core.envelope import Envelope
from cqrs_core.relay import OutboxRelay, RelayOptions
from cqrs_sqla import SqlAlchemyStorage, define_tables, make_engine

if sys.platform != "linux":
    pytest.skip("scripts/servers starts servers on Linux only", allow_module_level=True)

from servers.control import Control, free_port
from servers.mariadb import MARIADB
from servers.postgres import POSTGRES
from servers.processes import Patience, end

SERVICES = {"asyncpg": POSTGRES, "psycopg": POSTGRES, "asyncmy": MARIADB}
WRITERS = 4
MESSAGES = 200
DEADLINE_S = 40.0
DELIVERED = SendOutcome(SendStatus.DELIVERED)


class OwnServer:
    """
    A server that a test may take down.

    Attributes:
        url: How the driver reaches it, also when it has come back.
    """

    def __init__(self, driver: str, folder: Path) -> None:
        port = free_port()
        self._service = SERVICES[driver]
        self._control = Control(folder, ports=lambda: port, ready_within_s=60)
        self._server = self._control.start(self._service)
        url = sa.make_url(self._service.url(self._server.port))
        self.url = url.set(drivername=f"{url.drivername}+{driver}").render_as_string(hide_password=False)

    def restart(self) -> None:
        """End it as an administrator does, whoever is connected, and start it."""
        end(self._server, politely=self._service.ends_on, within_s=60, patience=Patience())
        self._server = self._control.start(self._service)

    def crash(self) -> None:
        """Kill it, and start it, which then recovers."""
        os.kill(self._server.pid, signal.SIGKILL)
        self._server = self._control.start(self._service)

    def stop(self) -> None:
        self._control.stop(self._service)


@pytest.fixture(scope="module", params=SERVICES)
def own_server(
    request: pytest.FixtureRequest, servers_folder: Path, without: Callable[[str], NoReturn]
) -> Iterator[OwnServer]:
    """One for each driver, and no other test's."""
    pytest.importorskip(request.param)
    variable = SERVICES[request.param].variable
    if not os.environ.get(variable):
        without(f"{variable} is not set, so nobody says that there may be servers here")
    server = OwnServer(request.param, servers_folder / request.param)
    yield server
    server.stop()


@pytest.fixture
async def storage(own_server: OwnServer) -> AsyncIterator[SqlAlchemyStorage]:
    """With new tables."""
    tables = define_tables(sa.MetaData())
    engine = make_engine(own_server.url)
    async with engine.begin() as connection:
        await connection.run_sync(tables.metadata.drop_all)
        await connection.run_sync(tables.metadata.create_all)
    yield SqlAlchemyStorage(engine, tables=tables)
    await engine.dispose()


class Recorder:
    """A broker that keeps what it is sent, by key, without what it has had."""

    is_durable = keeps_order_after_failure = True

    def __init__(self) -> None:
        self.sent: dict[str | None, dict[str, None]] = defaultdict(dict)

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        for envelope in envelopes:
            self.sent[envelope.key].setdefault(envelope.body.decode())
        return [DELIVERED] * len(envelopes)


class HastyClock(SystemClock):
    """For which the pauses of a relay are short."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.1))


class Writer:
    """
    Commits numbers, one after the other; what is in doubt it commits again.

    Attributes:
        count: How many it has committed.
        failures: How often it was told that one was not.
        last: What it was told then.
    """

    def __init__(self, storage: SqlAlchemyStorage, envelope: Callable[[str], Envelope]) -> None:
        self.count = self.failures = 0
        self.last: Exception | None = None
        self._storage = storage
        self._envelope = envelope

    async def run(self) -> None:
        while self.count < MESSAGES:
            unit = self._storage.unit_of_work()
            try:
                unit.enqueue([self._envelope(f"{self.count}")])
                await unit.commit()
            except Exception as error:  # noqa: BLE001 - each driver has errors of its own
                self.failures += 1
                self.last = error
                await asyncio.sleep(0)
            else:
                self.count += 1
            await unit.close()

    def __repr__(self) -> str:
        return f"{self.count} of {MESSAGES} written, {self.failures} failures, the last: {self.last!r}"


async def has_written(writers: Sequence[Writer], count: int) -> bool:
    return sum(writer.count for writer in writers) >= count


async def until(condition: Callable[[], Awaitable[bool]], writers: Sequence[Writer]) -> None:
    with anyio.move_on_after(DEADLINE_S) as waiting:
        while not await condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    assert not waiting.cancelled_caught, f"It has not come about within {DEADLINE_S:g} s: {writers}"


@pytest.mark.parametrize("way", ["restart", "crash"])
async def test_a_server_that_is_restarted_under_load_loses_nothing(
    own_server: OwnServer, storage: SqlAlchemyStorage, envelope: Callable[..., Envelope], way: str
) -> None:
    """What a writer was told is committed is sent, in the order of its key; and the relay goes on by itself."""
    broker = Recorder()
    writers = [Writer(storage, partial(envelope, key=f"writer {number}")) for number in range(WRITERS)]
    options = RelayOptions(batch_size=20, lease_ttl_s=5.0)
    lease = storage.outbox.lease("relay", ttl_s=options.lease_ttl_s)
    relay = OutboxRelay(lease, broker, options=options, clock=HastyClock())  # type: ignore[arg-type]  # a part of one

    async def is_all_sent() -> bool:
        return all(writer.count == MESSAGES for writer in writers) and not await storage.outbox.pending(limit=1)

    stopping = Gate()
    async with open_task_group() as tasks:
        tasks.start(partial(relay.run, stopping))
        for writer in writers:
            tasks.start(writer.run)
        for at in (MESSAGES, 2 * MESSAGES):
            await until(partial(has_written, writers, at), writers)
            await asyncio.to_thread(getattr(own_server, way))
        await until(is_all_sent, writers)
        stopping.open()

    assert sum(writer.failures for writer in writers)  # else it was not under load
    assert {f"writer {number}": [f"{index}" for index in range(MESSAGES)] for number in range(WRITERS)} == {
        key: list(bodies) for key, bodies in broker.sent.items()
    }
