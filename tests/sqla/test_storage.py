"""A storage connects, looks whether it can work, and says what is missing; no password is shown."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from cqrs_core.envelope import Envelope
from cqrs_core.errors import InvalidOption, StorageUnavailable, StorageUnusable
from cqrs_sqla import EffectGuard, SqlAlchemyStorage, define_tables, make_engine
from cqrs_sqla.errors import UnknownDatabase
from cqrs_sqla.tables import Tables


async def test_it_says_which_tables_are_missing(empty_engine: AsyncEngine, tables: Tables) -> None:
    storage = SqlAlchemyStorage(empty_engine, tables=tables)
    with pytest.raises(StorageUnusable) as told:
        await storage.start()

    assert 8 == len(told.value.problems)
    assert "outbox_slot" in str(told.value)


async def test_it_makes_the_tables_that_are_missing(empty_engine: AsyncEngine, tables: Tables) -> None:
    storage = SqlAlchemyStorage(empty_engine, tables=tables)

    assert 8 == len(await storage.check())

    await storage.create()
    await storage.create()

    assert [] == list(await storage.check())

    await storage.start()


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_it_writes_down_what_makes_them(empty_engine: AsyncEngine) -> None:
    ddl = SqlAlchemyStorage(empty_engine, tables=define_tables(sa.MetaData(), prefix="shop_")).ddl()

    assert "CREATE TABLE shop_outbox (" in ddl


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql+psycopg", "mysql+asyncmy"])
async def test_a_server_that_is_not_there_is_named_without_secrets(scheme: str) -> None:
    pytest.importorskip(scheme.partition("+")[2])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    engine = make_engine(f"{scheme}://alice:sesame@127.0.0.1:{port}/shop")
    storage = SqlAlchemyStorage(engine, owns_engine=True)
    with pytest.raises(StorageUnavailable, match=f"127.0.0.1:{port}/shop") as told:
        await storage.start()
    await storage.stop()

    assert "sesame" not in str(told.value)
    assert "alice" not in told.value.storage


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "asyncmy"])
async def test_a_server_that_does_not_let_in_is_unavailable(database_url: str) -> None:
    nowhere = sa.make_url(database_url).set(database="not_there")
    storage = SqlAlchemyStorage(make_engine(nowhere.render_as_string(hide_password=False)), owns_engine=True)
    with pytest.raises(StorageUnavailable):
        await storage.start()
    await storage.stop()


async def test_a_file_that_cannot_be_opened_is_unavailable(
    tmp_path: Path, threads_ended: Callable[[], Awaitable[None]]
) -> None:
    pytest.importorskip("aiosqlite")
    storage = SqlAlchemyStorage(make_engine(f"sqlite:///{tmp_path}/nowhere/shop.db"), owns_engine=True)
    with pytest.raises(StorageUnavailable, match="unable to open database file") as caught:
        await storage.start()
    await storage.stop()
    await threads_ended()

    assert "sqlalche.me" not in str(caught.value)  # where SQLAlchemy leads people who use it by themselves


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_an_engine_that_begins_late_is_refused(database_url: str, tables: Tables) -> None:
    """Savepoints on it are no part of the transaction: what was rolled back would stay."""
    engine = create_async_engine(database_url)
    storage = SqlAlchemyStorage(engine, tables=tables, owns_engine=True)
    await storage.create()
    with pytest.raises(StorageUnusable, match="make_engine"):
        await storage.start()
    await storage.stop()


def test_a_storage_serves_one_loop_after_the_other(
    tmp_path: Path, tables: Tables, envelope: Callable[..., Envelope]
) -> None:
    pytest.importorskip("aiosqlite")
    storage = SqlAlchemyStorage(make_engine(f"sqlite:///{tmp_path}/shop.db"), tables=tables, owns_engine=True)

    async def use() -> int:
        await storage.create()
        await storage.start()
        unit = storage.unit_of_work()
        unit.enqueue([envelope("body")])
        await unit.commit()
        await unit.close()
        count = len(await storage.outbox.pending())
        await storage.stop()
        return count

    assert [1, 2] == [asyncio.run(use()), asyncio.run(use())]


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_an_engine_that_is_not_its_own_stays_open(engine: AsyncEngine, storage: SqlAlchemyStorage) -> None:
    async with engine.connect() as connection:
        await storage.stop()
        await connection.execute(sa.text("SELECT 1"))


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_handlers_may_ask_for_its_session_or_it_for_the_containers(engine: AsyncEngine) -> None:
    own, taken = SqlAlchemyStorage(engine), SqlAlchemyStorage(engine, session_from="container")

    assert ((AsyncSession, EffectGuard), None) == (own.provides, own.takes)
    assert ((), AsyncSession) == (taken.provides, taken.takes)


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_options_that_mean_nothing_are_refused(engine: AsyncEngine) -> None:
    with pytest.raises(InvalidOption, match="AsyncEngine"):
        SqlAlchemyStorage(engine.sync_engine)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(InvalidOption, match="session_from"):
        SqlAlchemyStorage(engine, session_from="anywhere")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(InvalidOption, match="notify.*only PostgreSQL"):
        SqlAlchemyStorage(engine, notify=True)


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_other_databases_are_refused(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.dialect, "name", "oracle")
    with pytest.raises(UnknownDatabase):
        SqlAlchemyStorage(engine)


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_the_last_one_that_stops_it_disposes_of_its_engine(
    empty_engine: AsyncEngine, tables: Tables, threads_ended: Callable[[], Awaitable[None]]
) -> None:
    """Two Apps over one storage: the other one works on, though one of its starts has failed."""
    disposed: list[sa.Engine] = []
    sa.event.listen(empty_engine.sync_engine, "engine_disposed", disposed.append)
    storage = SqlAlchemyStorage(empty_engine, tables=tables, owns_engine=True)
    with pytest.raises(StorageUnusable):
        await storage.start()
    await storage.create()
    await storage.start()
    await storage.stop()

    assert [] == disposed

    await storage.stop()

    assert [empty_engine.sync_engine] == disposed

    await threads_ended()
