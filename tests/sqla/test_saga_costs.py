"""What a saga costs on PostgreSQL, counted on the wire by a proxy that reads what the server answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import new_class
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

import cqrs_core as cqrs
from cqrs_sqla import SqlAlchemyStorage, make_engine
from cqrs_sqla.tables import Tables


class Order(cqrs.SagaContext):
    title: str = "Emma"


class Noted(cqrs.NotificationEvent[str]):
    pass


@pytest.fixture(params=["asyncpg", "psycopg"])
def driver(request: pytest.FixtureRequest) -> str:
    """Of PostgreSQL: what it costs elsewhere is a transaction each."""
    name: str = request.param
    pytest.importorskip(name)
    return name


class Meter:
    """
    Counts what a server says while it is passed on.

    Attributes:
        round_trips: How often it was ready for the next: each time, somebody had waited for it.
        transactions: How often no transaction was open then: each time, one had ended.
        errors: How often it said that something was wrong.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.round_trips = self.transactions = self.errors = 0

    async def serve(self, host: str, port: int) -> asyncio.Server:
        async def connected(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
            server, to_server = await asyncio.open_connection(host, port)
            await asyncio.gather(_pass_on(client, to_server), self._read_along(server, to_client))

        return await asyncio.start_server(connected, "127.0.0.1", 0)

    async def _read_along(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await server.readexactly(5)
                body = await server.readexactly(int.from_bytes(head[1:], "big") - 4)
                self._count(head[:1], body)
                to_client.write(head + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            to_client.close()

    def _count(self, kind: bytes, body: bytes) -> None:
        if kind == b"Z":  # ReadyForQuery: idle, or in a transaction
            self.round_trips += 1
            self.transactions += body == b"I"
        elif kind == b"E":
            self.errors += 1

    @property
    def cost(self) -> tuple[int, int, int]:
        return self.round_trips, self.transactions, self.errors


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(2**16):
            writer.write(data)
    except ConnectionError:
        pass
    writer.close()


@asynccontextmanager
async def metered(url: str, tables: Tables, saga: Any) -> AsyncIterator[tuple[cqrs.App, Meter]]:
    """An App over the database, through a meter; its connections and statements are there already."""
    meter = Meter()
    address = sa.make_url(url)
    server = await meter.serve(address.host or "", address.port or 5432)
    port = server.sockets[0].getsockname()[1]
    through = address.set(host="127.0.0.1", port=port, query={"sslmode": "disable"})
    engine = make_engine(through.render_as_string(hide_password=False))
    app = cqrs.App("costs", storage=SqlAlchemyStorage(engine, tables=tables, owns_engine=True))
    app.sagas.bind(Order, saga)
    async with app:
        for _ in range(8):  # psycopg prepares what it has sent five times
            await drive(app)
        meter.reset()
        yield app, meter
    server.close()
    await server.wait_closed()


async def drive(app: cqrs.App) -> list[Any]:
    try:
        return [result.response async for result in app.stream_saga(Order())]
    except ValueError:
        return ["undone"]


def step(name: str, *, fails: bool = False, writes: bool = False, **attributes: Any) -> Any:
    """Write a step; one that *writes* puts something into a table of the program's."""

    def init(self: Any, session: AsyncSession) -> None:
        self.session = session

    async def act(self: Any, _: Order) -> Any:
        if writes:
            await self.session.execute(sa.text("INSERT INTO books (title) VALUES (NULL)"))
        if fails:
            raise ValueError(name)
        if attributes.get("tells"):
            self.events.append(Noted(event_name="Noted", topic="shop", payload=name))
        return self.result(name)

    async def compensate(*_: Any) -> None:
        """Nothing was done."""

    init.__annotations__ = {"session": AsyncSession, "return": None}
    body: dict[str, Any] = {"act": act, "compensate": compensate, **attributes}
    if writes:
        body["__init__"] = init
    return new_class(name, (cqrs.SagaStepHandler[Order, str],), exec_body=lambda namespace: namespace.update(body))


def saga_of(*steps: Any) -> Any:
    return new_class("CostlySaga", (cqrs.Saga[Order],), exec_body=lambda namespace: namespace.update(steps=list(steps)))


@pytest.mark.usefixtures("engine")
async def test_a_saga_of_three_steps_costs_four_round_trips_and_four_commits(database_url: str, tables: Tables) -> None:
    """The start, and one for each step: that it is done, the context, and what comes next."""
    async with metered(database_url, tables, saga_of(step("A"), step("B"), step("C"))) as (app, meter):
        for _ in range(10):
            assert ["A", "B", "C"] == await drive(app)

        assert (40, 40, 0) == meter.cost


async def test_messages_of_steps_cost_nothing_more(database_url: str, engine: AsyncEngine, tables: Tables) -> None:
    """They are in the statement that says that the step is done."""
    steps = [step(name, tells=True) for name in "ABC"]
    async with metered(database_url, tables, saga_of(*steps)) as (app, meter):
        await drive(app)

        assert (4, 4, 0) == meter.cost
    assert 9 * 3 == len(await SqlAlchemyStorage(engine, tables=tables).outbox.pending(limit=100))


@pytest.mark.usefixtures("engine")
async def test_a_saga_that_is_undone_costs_one_for_the_turn_and_one_for_each_undo(
    database_url: str, tables: Tables
) -> None:
    """Start, A, B; C fails, which is durable before the first undo; B, A."""
    async with metered(database_url, tables, saga_of(step("A"), step("B"), step("C", fails=True))) as (app, meter):
        assert ["undone"] == await drive(app)

        assert (6, 6, 0) == meter.cost


@pytest.mark.usefixtures("books")
async def test_a_transactional_step_and_its_record_are_one_commit(database_url: str, tables: Tables) -> None:
    """The start, and one commit for each step, with what it has written; else two each."""
    joined = saga_of(*(step(name, writes=True, transactional=True) for name in "ABC"))
    async with metered(database_url, tables, joined) as (app, meter):
        await drive(app)
        of_joined = meter.transactions, meter.errors
    apart = saga_of(*(step(name, writes=True) for name in "ABC"))
    async with metered(database_url, tables, apart) as (app, meter):
        await drive(app)
        of_apart = meter.transactions, meter.errors

    assert ((4, 0), (7, 0)) == (of_joined, of_apart)


@pytest.mark.usefixtures("engine")
async def test_fifty_sagas_at_once_share_their_round_trips(database_url: str, tables: Tables) -> None:
    """Each waits for its own record, and pays for a small part of a statement: alone they would have cost 200."""
    async with metered(database_url, tables, saga_of(step("A"), step("B"), step("C"))) as (app, meter):
        assert [["A", "B", "C"]] * 50 == await asyncio.gather(*(drive(app) for _ in range(50)))

        assert meter.transactions <= 40
        assert 0 == meter.errors
