"""Relays that hear of what other processes commit, by PostgreSQL's NOTIFY."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

import cqrs_core as cqrs
from cqrs_core.concurrency import open_task_group
from cqrs_core.relay import RelayOptions
from cqrs_sqla import SqlAlchemyStorage, define_tables
from cqrs_sqla.signals import PostgresSignal
from cqrs_sqla.tables import Tables

DEADLINE_S = 30.0

pytestmark = pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])


class Rings:
    """Counts, and lets wait for a number."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._changed.set()

    async def reach(self, count: int) -> None:
        async def wait() -> None:
            while self.count < count:
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(wait(), DEADLINE_S)


@asynccontextmanager
async def listening(signal: PostgresSignal) -> AsyncIterator[Rings]:
    """Hear what is rung inside the block; the ring with which it begins has been heard."""
    rings = Rings()
    async with open_task_group() as tasks:
        tasks.start(partial(signal.listen, rings))
        try:
            await rings.reach(1)
            yield rings
        finally:
            tasks.cancel()


@pytest.fixture
async def make_signal(engine: AsyncEngine, tables: Tables) -> AsyncIterator[Callable[..., PostgresSignal]]:
    """Make signals as several processes would have them."""
    made: list[PostgresSignal] = []

    def make(tables: Tables = tables, *, pause_s: float = 0.01) -> PostgresSignal:
        made.append(PostgresSignal(engine, tables, "the database", pause_s=pause_s))
        return made[-1]

    yield make
    for signal in made:
        await signal.stop()


async def test_who_listens_hears_who_rings(make_signal: Callable[..., PostgresSignal]) -> None:
    """Again and again."""
    ringing = make_signal()
    async with listening(make_signal()) as rings:
        ringing.ring()
        await rings.reach(2)
        ringing.ring()
        await rings.reach(3)


async def test_rings_in_a_row_are_one(make_signal: Callable[..., PostgresSignal]) -> None:
    """A server that has to take one for each commit does a third of its work."""
    ringing, other = make_signal(pause_s=3600.0), make_signal()
    async with listening(make_signal()) as rings:
        ringing.ring()
        await rings.reach(2)
        for _ in range(100):
            ringing.ring()
            await asyncio.sleep(0)
        other.ring()
        await rings.reach(3)

    assert 3 == rings.count


async def test_outboxes_are_heard_apart(make_signal: Callable[..., PostgresSignal]) -> None:
    """Also those whose names are too long for a channel."""
    other, long = (define_tables(sa.MetaData(), prefix=prefix) for prefix in ("other_", "a" * 40 + '"b" '))
    async with listening(make_signal()) as rings, listening(make_signal(long)) as of_long:
        make_signal(other).ring()
        make_signal(long).ring()
        await of_long.reach(2)
        make_signal().ring()
        await rings.reach(2)

    assert 2 == rings.count == of_long.count


async def test_a_connection_that_is_lost_is_made_anew(
    make_signal: Callable[..., PostgresSignal], engine: AsyncEngine
) -> None:
    """On both sides; what is heard then may have been rung before, so it begins with a ring."""
    ringing = make_signal()
    async with listening(make_signal()) as rings:
        ringing.ring()
        await rings.reach(2)
        others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as killer:
            for pid in list(await killer.scalars(sa.text(others))):
                await killer.execute(sa.select(sa.func.pg_terminate_backend(pid)))
        await rings.reach(3)

        async def ring_until_heard() -> None:
            while rings.count < 4:  # the first finds its connection dead, and is lost
                ringing.ring()
                await asyncio.sleep(0)

        await asyncio.wait_for(ring_until_heard(), DEADLINE_S)


async def test_who_stops_while_it_connects_leaves_no_session(make_signal: Callable[..., PostgresSignal]) -> None:
    """At whichever step; the fixture of the database looks whether any is left at the server."""
    for steps in range(30):
        signal = make_signal()
        signal.ring()
        listening_too = asyncio.ensure_future(signal.listen(Rings()))
        for _ in range(steps):
            await asyncio.sleep(0)
        listening_too.cancel()
        await signal.stop()
        await asyncio.wait([listening_too])


async def test_without_a_signal_a_storage_wakes_nobody(engine: AsyncEngine, tables: Tables) -> None:
    """It costs two connections, so whoever wants it says so."""
    assert SqlAlchemyStorage(engine, tables=tables).outbox_signal is None


class Placed(cqrs.NotificationEvent[str]):
    event_name: str = "Placed"
    topic: str = "orders"


class Place(cqrs.Request[None]):
    order_id: str


class PlaceHandler(cqrs.RequestHandler[Place, None]):
    async def handle(self, request: Place) -> None:
        self.events.append(Placed(payload=request.order_id))


class Shelf:
    """What has arrived."""

    def __init__(self) -> None:
        self.orders: list[str] = []
        self.has_some = asyncio.Event()


class PutOnShelf(cqrs.EventHandler[cqrs.NotificationEvent[str]]):
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def handle(self, event: cqrs.NotificationEvent[str]) -> None:
        self._shelf.orders.append(event.payload)
        self._shelf.has_some.set()


async def test_the_relay_of_another_app_sends_at_once_what_one_has_committed(
    engine: AsyncEngine, database_url: str
) -> None:
    """Long before it would have looked again by itself."""
    del engine  # has made the tables
    url = f"{database_url}?notify=true"
    shelf = Shelf()
    container = cqrs.SimpleContainer()
    container.instance(Shelf, shelf)
    slow = RelayOptions(shortest_poll_s=3600.0, longest_poll_s=3600.0)
    relaying = cqrs.App("relaying", storage=url, relay=slow, container=container)
    relaying.events.bind(cqrs.NotificationEvent[str], PutOnShelf)
    relaying.consume("orders", {"Placed": cqrs.NotificationEvent[str]})
    shop = cqrs.App("shop", storage=url)
    shop.requests.bind(Place, PlaceHandler)
    async with relaying.running(), shop:
        await shop.send(Place(order_id="7"))
        await asyncio.wait_for(shelf.has_some.wait(), DEADLINE_S)

    assert ["7"] == shelf.orders
