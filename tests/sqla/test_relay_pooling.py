"""A pooler between a relay and PostgreSQL: one that gives each transaction another connection is refused by name."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from cqrs_core.errors import StorageUnusable
from cqrs_sqla.outbox import SqlAlchemyOutbox
from cqrs_sqla.signals import PostgresSignal
from cqrs_sqla.tables import Tables

DEADLINE_S = 20.0


@pytest.fixture(params=["asyncpg", "psycopg"])
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip(name)
    return name


async def test_a_pooler_is_refused_if_it_changes_connections(pooled_url: str, pool_mode: str, tables: Tables) -> None:
    """Before anything is set on them: they are the program's too. One that keeps them for a client will do."""
    # As a program has to connect that uses such a pooler.
    options = {"prepared_statement_cache_size": 0, "statement_cache_size": 0} if "asyncpg" in pooled_url else {}
    engine = create_async_engine(pooled_url, poolclass=NullPool, connect_args=options)
    lease = SqlAlchemyOutbox(engine, tables).lease("relay", ttl_s=30)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(tables.metadata.create_all)
        if pool_mode == "session":
            assert await lease.renew()
        else:
            with pytest.raises(StorageUnusable, match="pool_mode=transaction"):
                await lease.renew()
            async with engine.connect() as connection:
                assert "on" == (await connection.execute(sa.text("SHOW enable_seqscan"))).scalar_one()
    finally:
        await lease.release()
        await engine.dispose()


async def test_who_rings_through_a_pooler_leaves_its_connections_as_they_were(pooled_url: str, tables: Tables) -> None:
    """They are the program's too, whose commits have to reach the disk."""
    options = {"prepared_statement_cache_size": 0, "statement_cache_size": 0} if "asyncpg" in pooled_url else {}
    engine = create_async_engine(pooled_url, poolclass=NullPool, connect_args=options)
    signal = PostgresSignal(engine, tables, "the database", pause_s=0.0)
    heard = asyncio.Event()

    def hear(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "pg_notify" in statement:
            heard.set()

    sa.event.listen(sa.Engine, "after_cursor_execute", hear)
    try:
        signal.ring()
        await asyncio.wait_for(heard.wait(), DEADLINE_S)
        async with engine.connect() as connection:
            assert "on" == (await connection.execute(sa.text("SHOW synchronous_commit"))).scalar_one()
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", hear)
        await signal.stop()
        await engine.dispose()
