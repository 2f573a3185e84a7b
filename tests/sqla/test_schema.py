from __future__ import annotations

from datetime import datetime, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_sqla import schema
from cqrs_sqla.databases import DATABASES, database_of
from cqrs_sqla.errors import UnknownDatabase
from cqrs_sqla.storage import SqlAlchemyStorage
from cqrs_sqla.tables import Tables, define_tables

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=timezone.utc)


async def test_tables_that_were_created_have_no_problems(empty_engine: AsyncEngine, tables: Tables) -> None:
    await SqlAlchemyStorage(empty_engine, tables=tables).create()

    assert [] == await SqlAlchemyStorage(empty_engine, tables=tables).check()


async def test_tables_are_created_beside_those_that_are_there(empty_engine: AsyncEngine, tables: Tables) -> None:
    """A second time, nothing happens, and nothing is lost."""
    sa.Table("books", tables.metadata, sa.Column("id", sa.Integer, primary_key=True))
    await SqlAlchemyStorage(empty_engine, tables=tables).create()
    async with empty_engine.begin() as connection:
        await connection.execute(sa.insert(tables.outbox_relay), [{"node": "a", "until": NOW}])

    await SqlAlchemyStorage(empty_engine, tables=tables).create()

    async with empty_engine.connect() as connection:
        assert ["a"] == list(await connection.scalars(sa.select(tables.outbox_relay.c.node)))
        names = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
    assert {table.name for table in tables} == set(names)  # the program's own are not for us to make


async def test_the_ddl_makes_the_same_tables(empty_engine: AsyncEngine, tables: Tables) -> None:
    """Every statement of it runs as it is."""
    statements = schema.ddl(empty_engine.dialect.name, tables).split(";\n")
    async with empty_engine.begin() as connection:
        for statement in filter(None, statements):
            await connection.exec_driver_sql(statement)

    assert [] == await SqlAlchemyStorage(empty_engine, tables=tables).check()


@pytest.mark.parametrize("dialect", list(DATABASES))
def test_the_ddl_needs_no_driver_and_no_server(dialect: str) -> None:
    tables = define_tables(sa.MetaData(), prefix="cqrs_", schema="shop")

    written = schema.ddl(dialect, tables)

    assert 8 == written.count("CREATE TABLE shop.cqrs_")
    assert 4 == written.count("CREATE INDEX ")
    for setting in ("autovacuum_vacuum_threshold", "fillfactor"):
        assert (setting in written) is (dialect == "postgresql")
    assert ("ENGINE=InnoDB" in written) is (dialect in {"mysql", "mariadb"})


def test_the_ddl_of_the_same_tables_is_the_same() -> None:
    """Each time it is written, though the indexes of a table have no order."""
    written = {schema.ddl("postgresql", define_tables(sa.MetaData())) for _ in range(50)}

    assert 1 == len(written)


def test_there_is_no_ddl_for_an_unknown_database(tables: Tables) -> None:
    with pytest.raises(UnknownDatabase, match="'oracle'.* postgresql, mysql, mariadb, sqlite"):
        schema.ddl("oracle", tables)


def test_an_engine_for_an_unknown_database_is_refused() -> None:
    dialect = sa.create_mock_engine("oracle://", print).dialect

    with pytest.raises(UnknownDatabase, match="'oracle'"):
        database_of(dialect)


@pytest.mark.parametrize("driver", ["asyncpg"], indirect=True)
async def test_the_outbox_is_swept_by_number_on_postgresql(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        options = await connection.scalar(sa.text("SELECT reloptions FROM pg_class WHERE relname = 'outbox'"))

    assert "autovacuum_vacuum_threshold=5000" in options


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"], indirect=True)
async def test_tables_may_stand_in_a_schema_of_their_own(empty_engine: AsyncEngine) -> None:
    tables = define_tables(sa.MetaData(), schema="Shop")
    async with empty_engine.begin() as connection:
        await connection.execute(sa.schema.CreateSchema("Shop"))
    await SqlAlchemyStorage(empty_engine, tables=tables).create()

    assert [] == await SqlAlchemyStorage(empty_engine, tables=tables).check()


@pytest.mark.parametrize(
    ("driver", "version", "said"),
    [
        ("asyncpg", (12, 4), "PostgreSQL 12.4 is too old. Upgrade it to 13 or later."),
        ("asyncmy", (10, 5, 9), "MariaDB 10.5.9 is too old. Upgrade it to 10.6 or later."),
        ("aiosqlite", (3, 34, 1), "SQLite 3.34.1 is too old. Upgrade it to 3.35 or later."),
    ],
    indirect=["driver"],
)
async def test_an_old_database_is_told_to_be_upgraded(
    empty_engine: AsyncEngine, tables: Tables, version: tuple[int, ...], said: str
) -> None:
    """Without a look at the tables, which it might not even describe."""
    async with empty_engine.connect():
        empty_engine.dialect.server_version_info = version  # type: ignore[attr-defined]  # known since it has connected

    assert [said] == await SqlAlchemyStorage(empty_engine, tables=tables).check()
