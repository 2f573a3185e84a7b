from __future__ import annotations

import asyncio
import importlib.util
import sys
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from cqrs_core.errors import CqrsError, InvalidOption
from cqrs_sqla.engines import make_engine
from cqrs_sqla.errors import DriverMissing, DriverRefused, UnknownDatabase
from cqrs_sqla.tables import Tables

# Which driver ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "driver"),
    [
        ("postgresql://u:p@host/shop", "postgresql+asyncpg"),
        ("postgresql+psycopg://u:p@host/shop", "postgresql+psycopg"),
        ("postgresql+psycopg_async://u:p@host/shop", "postgresql+psycopg"),
        ("mysql://u:p@host/shop", "mysql+asyncmy"),
        ("mariadb://u:p@host/shop", "mariadb+asyncmy"),
        ("sqlite:///shop.db", "sqlite+aiosqlite"),
    ],
)
def test_a_url_gets_an_asynchronous_driver(address: str, driver: str) -> None:
    """The one that it names, or the first that is installed."""
    pytest.importorskip(driver.partition("+")[2])

    engine = make_engine(address)

    assert driver == engine.url.drivername
    assert engine.dialect.is_async


def test_without_the_first_driver_the_second_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "asyncpg" else find_spec(name))

    assert "postgresql+psycopg" == make_engine("postgresql://u:p@host/shop").url.drivername


@pytest.mark.parametrize(
    ("address", "cure"),
    [
        ("postgresql+psycopg2://u:secret@host/shop", "Write postgresql+asyncpg:// or postgresql+psycopg://."),
        ("postgresql+pg8000://u:secret@host/shop", "Write postgresql+asyncpg:// or postgresql+psycopg://."),
        ("mysql+pymysql://u:secret@host/shop", "Write mysql+asyncmy://."),
        ("mysql+aiomysql://u:secret@host/shop", "Write mysql+asyncmy://."),
        ("mariadb+mysqldb://u:secret@host/shop", "Write mariadb+asyncmy://."),
        ("sqlite+pysqlite:///shop.db", "Write sqlite+aiosqlite://."),
    ],
)
def test_a_synchronous_driver_is_refused_with_the_name_of_the_asynchronous_one(address: str, cure: str) -> None:
    with pytest.raises(DriverRefused, match="leads to no asynchronous driver") as caught:
        make_engine(address)

    assert str(caught.value).endswith(cure)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ("postgresql://host/shop", 'pip install "cqrs-sqla[asyncpg]" or pip install "cqrs-sqla[psycopg]"'),
        ("mysql://host/shop", 'pip install "cqrs-sqla[mysql]"'),
        ("sqlite:///shop.db", 'pip install "cqrs-sqla[sqlite]"'),
    ],
)
def test_a_missing_driver_comes_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, address: str, command: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(DriverMissing) as caught:
        make_engine(address)

    assert f"{address.partition(':')[0]}:// needs a driver. Install it: {command}." == str(caught.value)


def test_a_driver_that_cannot_be_imported_is_missing_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)

    with pytest.raises(DriverMissing, match=r'pip install "cqrs-sqla\[asyncpg\]"') as caught:
        make_engine("postgresql+asyncpg://host/shop")

    assert isinstance(caught.value.__cause__, ImportError)


def test_another_database_is_refused_by_name() -> None:
    with pytest.raises(UnknownDatabase, match="'oracle' is no database that cqrs-sqla knows") as caught:
        make_engine("oracle://u:secret@host/shop")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["", "shop.db", "postgresql://u:secret@host:secret/shop", "postgresql"])
def test_what_is_no_url_is_refused_without_being_quoted(address: str) -> None:
    """A password that was not escaped may be anywhere in it."""
    with pytest.raises(InvalidOption, match="such as postgresql://user:password@host:5432/name") as caught:
        make_engine(address)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_sqlite_needs_a_file(address: str) -> None:
    """In memory each connection has a database to itself, or all share one connection: neither has transactions."""
    with pytest.raises(CqrsError, match="the path of a file, such as sqlite:///shop.db"):
        make_engine(address)


def test_sslmode_is_understood_whatever_the_driver() -> None:
    """Providers hand out URLs in the words of libpq, which asyncpg does not know as arguments."""
    assert {"ssl": "require"} == make_engine("postgresql+asyncpg://host/shop?sslmode=require").url.query
    assert {"sslmode": "require"} == make_engine("postgresql+psycopg://host/shop?sslmode=require").url.query


# What all have in common ----------------------------------------------------------------------------------------------


async def test_options_go_to_the_pool(database_url: str) -> None:
    engine = make_engine(database_url, pool_size=2, max_overflow=0, pool_timeout=0.01)

    async with engine.connect(), engine.connect():
        with pytest.raises(sa.exc.TimeoutError):
            await engine.connect()

    await engine.dispose()


@pytest.mark.parametrize("driver", ["asyncmy"], indirect=True)
async def test_a_mariadb_may_be_called_so(database_url: str, tables: Tables) -> None:
    engine = make_engine(database_url.replace("mysql+", "mariadb+"))
    async with engine.begin() as connection:
        await connection.run_sync(tables.metadata.create_all)
    await accept(engine, tables, uuid.UUID(int=1))

    async with engine.connect() as connection:
        assert [uuid.UUID(int=1)] == list(await connection.scalars(sa.select(tables.inbox.c.message_id)))

    await engine.dispose()


async def test_a_savepoint_undoes_its_own_changes_alone(engine: AsyncEngine, tables: Tables) -> None:
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(accepting(tables, uuid.UUID(int=1)))
        savepoint = await session.begin_nested()
        await session.execute(accepting(tables, uuid.UUID(int=2)))
        await savepoint.rollback()

    async with engine.connect() as connection:
        assert [uuid.UUID(int=1)] == list(await connection.scalars(sa.select(tables.inbox.c.message_id)))


async def test_what_was_rolled_back_is_gone(engine: AsyncEngine, tables: Tables) -> None:
    async with engine.connect() as connection:
        await connection.execute(accepting(tables, uuid.UUID(int=1)))
        await connection.rollback()
        assert 0 == await connection.scalar(sa.select(sa.func.count()).select_from(tables.inbox))


async def test_in_autocommit_each_statement_is_for_itself(engine: AsyncEngine, tables: Tables) -> None:
    """And the connection has transactions again when it is next used."""
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(accepting(tables, uuid.UUID(int=1)))
        await connection.rollback()
    async with engine.connect() as connection:
        await connection.execute(accepting(tables, uuid.UUID(int=2)))
        await connection.rollback()
        assert [uuid.UUID(int=1)] == list(await connection.scalars(sa.select(tables.inbox.c.message_id)))


async def test_transactions_that_read_and_then_write_wait_for_each_other(engine: AsyncEngine, tables: Tables) -> None:
    """On SQLite too, where a transaction that has read something old could not go on to write."""
    async with engine.begin() as connection:
        await connection.execute(sa.insert(tables.outbox_slot), [{"slot": 0, "owner": "0"}])

    async def count_one() -> None:
        async with engine.begin() as connection:
            row = sa.select(tables.outbox_slot.c.owner).where(tables.outbox_slot.c.slot == 0).with_for_update()
            owner = await connection.scalar(row)
            await asyncio.sleep(0)
            await connection.execute(sa.update(tables.outbox_slot).values(owner=str(int(owner) + 1)))

    await asyncio.gather(*(count_one() for _ in range(12)))

    async with engine.connect() as connection:
        assert "12" == await connection.scalar(sa.select(tables.outbox_slot.c.owner))


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "asyncmy"], indirect=True)
async def test_who_waited_for_a_duplicate_sees_what_the_first_one_did(engine: AsyncEngine, tables: Tables) -> None:
    """Read, wait, read again: as on PostgreSQL, so on MariaDB, whose own default would show what was there before."""
    slots = sa.select(sa.func.count()).select_from(tables.outbox_slot)
    is_written, is_read = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with engine.begin() as connection:
            await connection.execute(accepting(tables, uuid.UUID(int=1)))
            await connection.execute(sa.insert(tables.outbox_slot), [{"slot": 7}])
            is_written.set()
            await is_read.wait()

    async def second() -> list[int | None]:
        async with engine.connect() as connection:
            await is_written.wait()
            before = await connection.scalar(slots)
            is_read.set()
            savepoint = await connection.begin_nested()
            with pytest.raises(IntegrityError):
                await connection.execute(accepting(tables, uuid.UUID(int=1)))
            await savepoint.rollback()
            return [before, await connection.scalar(slots)]

    seen, _ = await asyncio.gather(second(), first())

    assert [0, 1] == seen


# SQLite ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["aiosqlite"], indirect=True)
async def test_connections_to_sqlite_keep_a_log_and_check_foreign_keys(empty_engine: AsyncEngine) -> None:
    async with empty_engine.connect() as connection:
        names = ("journal_mode", "foreign_keys", "busy_timeout")
        found = [await connection.scalar(sa.text(f"PRAGMA {name}")) for name in names]

    assert ["wal", 1, 30_000] == found


@pytest.mark.parametrize("driver", ["aiosqlite"], indirect=True)
async def test_how_long_sqlite_waits_can_be_said_in_the_url(database_url: str, tmp_path: Path) -> None:
    engine = make_engine(f"{database_url}?timeout=0.01")
    async with engine.connect() as writer:
        await writer.execute(sa.text("SELECT 1"))
        with pytest.raises(sa.exc.OperationalError, match="database is locked"):
            async with engine.begin():
                pass

    await engine.dispose()
    assert (tmp_path / "test.db").exists()


@pytest.mark.parametrize("driver", ["aiosqlite"], indirect=True)
async def test_in_autocommit_sqlite_can_be_read_while_somebody_writes(engine: AsyncEngine, tables: Tables) -> None:
    reading = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with engine.begin() as writer:
        await writer.execute(accepting(tables, uuid.UUID(int=1)))
        async with reading.connect() as reader:
            assert 0 == await reader.scalar(sa.select(sa.func.count()).select_from(tables.inbox))


def accepting(tables: Tables, message_id: uuid.UUID) -> sa.Insert:
    now = sa.literal_column("CURRENT_TIMESTAMP", sa.DateTime)
    return sa.insert(tables.inbox).values(consumer="books", message_id=message_id, received_at=now)


async def accept(engine: AsyncEngine, tables: Tables, message_id: uuid.UUID) -> None:
    async with engine.begin() as connection:
        await connection.execute(accepting(tables, message_id))
