"""Rings from process to process through PostgreSQL, so that relays need not wait for their next look at the outbox."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from zlib import crc32

import sqlalchemy as sa

from cqrs_core.concurrency import run_shielded
from cqrs_core.errors import StorageUnavailable
from cqrs_core.resilience import RetryPolicy
from cqrs_sqla.connecting import open_connection
from cqrs_sqla.failures import told_by
from cqrs_sqla.relaying.lines import Line, own_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from cqrs_sqla.tables import Tables

logger = logging.getLogger(__name__)

#: Between two rings of one process. Who commits a NOTIFY holds a lock that all others need who do so, until the disk
#: has it: with one for each commit, a server that did 7,035 transactions a second did 2,677.
PAUSE_S = 0.05
_AGAIN = RetryPolicy(delay_s=0.1, max_delay_s=30.0)
# What needs no quotes, and is no longer than names are.
_PLAIN = re.compile(r"[A-Za-z0-9_.:]{1,63}")


class PostgresSignal:
    """
    NOTIFY and LISTEN, each on a connection of its own; see :class:`cqrs_core.outbox_signal.OutboxSignal`.

    Rings within *pause_s* are one. They are sent outside the program's transactions, and not waited for.

    Args:
        engine: The program's; it is only asked how to connect.
        tables: Whose outbox it is.
        name: What the database is called in logs.
        pause_s: Seconds between two rings.
    """

    def __init__(self, engine: AsyncEngine, tables: Tables, name: str, *, pause_s: float = PAUSE_S) -> None:
        self.channel = _channel(tables.outbox)
        self._engine = engine
        self._name = name
        self._pause_s = pause_s
        self._line = self._new_line()
        self._is_rung = False
        self._ringing: asyncio.Task[None] | None = None

    def ring(self) -> None:
        """Let relays know, soon; what cannot be told is found by them all the same."""
        self._is_rung = True
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.get_running_loop().create_task(self._ring_and_pause())

    async def stop(self) -> None:
        """Give the connection up, after a ring that is under way; the next one makes another."""
        self._is_rung = False
        ringing, self._ringing = self._ringing, None
        if ringing is not None:
            ringing.cancel()
            await asyncio.wait([ringing])
        line, self._line = self._line, self._new_line()
        await line.close()

    async def listen(self, on_ring: Callable[[], None]) -> None:
        """Call *on_ring* whenever somebody has rung, and when it begins to hear; until cancelled."""
        failures = 0
        while True:
            try:
                async with self._listening(on_ring) as is_lost:
                    failures = 0
                    on_ring()  # for what was rung before
                    await is_lost.wait()
            except Exception as error:  # noqa: BLE001 - each driver has errors of its own
                level = logging.DEBUG if failures else logging.WARNING
                logger.log(level, "Rings of other processes are not heard at %s: %s", self._name, told_by(error))
            failures += 1
            await asyncio.sleep(_AGAIN.delay_after(failures))

    def _new_line(self) -> Line:
        return Line(self._engine, self._name, _prepare_nothing)

    async def _ring_and_pause(self) -> None:
        while self._is_rung:
            self._is_rung = False
            try:
                await self._line.run(self._notify)
            except StorageUnavailable as error:
                logger.debug("A ring was lost: %s", error)
            await asyncio.sleep(self._pause_s)

    def _notify(self, connection: sa.Connection) -> None:
        # A ring that is lost with the server is no loss, so nobody waits for the disk: in this one transaction.
        is_local = True
        unhurried = sa.func.set_config("synchronous_commit", "off", is_local)
        connection.execute(sa.select(unhurried, sa.func.pg_notify(self.channel, "")))

    @asynccontextmanager
    async def _listening(self, on_ring: Callable[[], None]) -> AsyncIterator[asyncio.Event]:
        own = own_engine(self._engine)
        is_lost = asyncio.Event()
        connection: AsyncConnection | None = None
        try:
            connection = await open_connection(own)
            # Any: each driver has its own.
            driver: Any = (await connection.get_raw_connection()).driver_connection
            async with _WITH[connection.dialect.driver](driver, self.channel, on_ring, is_lost):
                yield is_lost
        finally:
            await run_shielded(partial(_give_up, own, connection))


async def _give_up(own: AsyncEngine, connection: AsyncConnection | None) -> None:
    if connection is not None:
        await connection.invalidate()  # it listens, so it is of no use to others
        await connection.close()
    await own.dispose()


def _prepare_nothing(_: sa.Connection) -> None:
    """Leave it as it is: behind a pooler, it may be the program's own the next moment."""


def _channel(outbox: sa.Table) -> str:
    name = f"cqrs:{outbox.fullname}"
    return name if _PLAIN.fullmatch(name) else f"cqrs:{crc32(name.encode()):08x}"


@asynccontextmanager
async def _with_asyncpg(
    driver: Any,  # noqa: ANN401 - its own class
    channel: str,
    on_ring: Callable[[], None],
    is_lost: asyncio.Event,
) -> AsyncIterator[None]:
    driver.add_termination_listener(lambda _: is_lost.set())
    await driver.add_listener(channel, lambda *_: on_ring())
    yield


@asynccontextmanager
async def _with_psycopg(
    driver: Any,  # noqa: ANN401 - its own class
    channel: str,
    on_ring: Callable[[], None],
    is_lost: asyncio.Event,
) -> AsyncIterator[None]:
    async def receive() -> None:
        try:
            async for _ in driver.notifies():
                on_ring()
        finally:
            is_lost.set()

    await driver.set_autocommit(True)
    await driver.execute(f'LISTEN "{channel}"')
    receiving = asyncio.ensure_future(receive())
    try:
        yield
    finally:
        receiving.cancel()
        await asyncio.wait([receiving])
        if not receiving.cancelled():
            receiving.exception()  # told by is_lost


_WITH = {"asyncpg": _with_asyncpg, "psycopg": _with_psycopg}
