"""Sagas through a pooler: what is written must not fall between two connections of the server."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import cqrs_core as cqrs
from cqrs_sqla import SqlAlchemyStorage
from cqrs_sqla.tables import Tables

SAGAS = 30


class Order(cqrs.SagaContext):
    number: int


class Reserve(cqrs.SagaStepHandler[Order, int]):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, int]:
        return self.result(context.number)


class Charge(Reserve):
    pass


class OrderSaga(cqrs.Saga[Order]):
    steps = [Reserve, Charge]


@pytest.fixture(params=["asyncpg", "psycopg"])
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip(name)
    return name


@pytest.fixture
def pool_mode() -> str:
    return "transaction"


@pytest.fixture
def pool_size() -> int:
    """Two for more who want one at once, so that what is not one transaction falls to both."""
    return 2


async def test_sagas_are_driven_through_a_pooler(pooled_url: str, tables: Tables) -> None:
    """Thirty at once, on whatever connection is free, statement by statement; each is left as it was found."""
    # As a program has to connect that uses such a pooler.
    is_asyncpg = "asyncpg" in pooled_url
    options = (
        {"prepared_statement_cache_size": 0, "statement_cache_size": 0} if is_asyncpg else {"prepare_threshold": None}
    )
    storage, *others = [
        SqlAlchemyStorage(
            create_async_engine(pooled_url, poolclass=NullPool, connect_args=options), tables=tables, owns_engine=True
        )
        for _ in range(5)
    ]
    await storage.create()
    app = cqrs.App("pooled", storage=storage)
    app.sagas.bind(Order, OrderSaga)

    async def drive(number: int) -> list[int]:
        return [result.response async for result in app.stream_saga(Order(number))]

    async def look(other: SqlAlchemyStorage) -> None:
        for number in range(SAGAS):
            assert await other.sagas.load(uuid.UUID(int=number)) is None

    async with app:
        for _ in range(3):
            results = await asyncio.gather(*map(drive, range(SAGAS)), *map(look, others))
            assert [[number] * 2 for number in range(SAGAS)] == results[:SAGAS]
    for other in others:
        await other.stop()
    async with create_async_engine(pooled_url, poolclass=NullPool, connect_args=options).connect() as connection:
        assert "on" == (await connection.exec_driver_sql("SHOW enable_seqscan")).scalar_one()
