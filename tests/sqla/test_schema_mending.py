"""Tables that were made otherwise: each fault is named, and the statements that come with it mend it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_sqla import schema
from cqrs_sqla.storage import SqlAlchemyStorage
from cqrs_sqla.tables import Tables

POSTGRESQL, MARIADB, SQLITE = ["asyncpg", "psycopg"], ["asyncmy"], ["aiosqlite"]

#: The drivers, what somebody did to the tables, and what is said about it.
FAULTS = [
    (POSTGRESQL + MARIADB + SQLITE, "DROP TABLE inbox", "There is no table inbox. Migrate, or run: CREATE TABLE"),
    (POSTGRESQL + MARIADB + SQLITE, "ALTER TABLE outbox DROP COLUMN headers", "There is no column outbox.headers."),
    (POSTGRESQL + MARIADB, "ALTER TABLE outbox DROP COLUMN aggregateid", "There is no column outbox.aggregateid."),
    (POSTGRESQL, "ALTER TABLE outbox ALTER COLUMN seq TYPE INT", "outbox.seq is of the type INTEGER, not BIGINT."),
    (POSTGRESQL, "ALTER TABLE outbox ALTER COLUMN seq DROP DEFAULT", "outbox.seq is not numbered by the database."),
    (POSTGRESQL, "ALTER TABLE outbox ALTER COLUMN id TYPE TEXT", "outbox.id is of the type TEXT, not UUID."),
    (
        POSTGRESQL,
        "ALTER TABLE outbox ALTER COLUMN created_at TYPE TIMESTAMP",
        "outbox.created_at is of the type TIMESTAMP WITHOUT TIME ZONE, not TIMESTAMP WITH TIME ZONE.",
    ),
    (
        POSTGRESQL,
        "ALTER TABLE outbox ALTER COLUMN aggregatetype TYPE VARCHAR(50)",
        "outbox.aggregatetype is of the type VARCHAR(50), not VARCHAR(255).",
    ),
    (
        POSTGRESQL,
        "ALTER TABLE outbox ALTER COLUMN last_error TYPE XML USING NULL",
        "outbox.last_error is of the type that SQLAlchemy does not know, not TEXT.",
    ),
    (POSTGRESQL, "ALTER TABLE outbox ALTER COLUMN aggregateid SET NOT NULL", "outbox.aggregateid has to take NULL."),
    (POSTGRESQL, "ALTER TABLE outbox DROP CONSTRAINT outbox_pkey", "The primary key of outbox is not (seq)."),
    (
        POSTGRESQL,
        "ALTER TABLE inbox DROP CONSTRAINT inbox_pkey, ADD PRIMARY KEY (message_id)",
        "The primary key of inbox is not (consumer, message_id).",
    ),
    (MARIADB, "ALTER TABLE outbox MODIFY seq BIGINT NOT NULL", "outbox.seq is not numbered by the database."),
    (MARIADB, "ALTER TABLE outbox MODIFY payload BLOB NOT NULL", "outbox.payload is of the type BLOB, not LONGBLOB."),
    (
        MARIADB,
        "ALTER TABLE outbox MODIFY created_at DATETIME NOT NULL",
        "outbox.created_at is of the type DATETIME, not DATETIME(6).",
    ),
    (MARIADB, "ALTER TABLE outbox MODIFY id BINARY(16)", "outbox.id is of the type BINARY(16), not CHAR(32)."),
    (MARIADB, "ALTER TABLE outbox MODIFY id UUID", "outbox.id is of the type"),
    (MARIADB, "ALTER TABLE outbox MODIFY aggregateid VARCHAR(255) NOT NULL", "outbox.aggregateid has to take NULL."),
    (MARIADB, "ALTER TABLE outbox_dead DROP PRIMARY KEY", "The primary key of outbox_dead is not (seq)."),
    (MARIADB, "ALTER TABLE outbox ENGINE=MyISAM", "The table outbox is kept by MyISAM, without transactions."),
    (
        MARIADB,
        "ALTER TABLE inbox CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
        "Columns of inbox are not kept in utf8mb4_bin: consumer (utf8mb4_general_ci)",
    ),
    (
        MARIADB,
        "ALTER TABLE outbox MODIFY aggregateid VARCHAR(255) CHARACTER SET latin1",
        "Columns of outbox are not kept in utf8mb4_bin: aggregateid (latin1_swedish_ci)",
    ),
]
#: What SQLite's tables were made by, in place of what we would have written.
SQLITE_FAULTS = [
    (" AUTOINCREMENT", "", "outbox.seq is not numbered by the database."),
    ("PRIMARY KEY AUTOINCREMENT", "", "The primary key of outbox is not (seq). outbox.seq is not numbered"),
    ("payload BLOB", "payload TEXT", "The column outbox.payload is of the type TEXT, not BLOB."),
    ("aggregateid VARCHAR(255)", "aggregateid VARCHAR(255) NOT NULL", "outbox.aggregateid has to take NULL."),
    ("attempts INTEGER DEFAULT 0 NOT NULL,", "", "There is no column outbox.attempts."),
]


async def run(engine: AsyncEngine, statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements.split(";"):
            if statement.strip() and statement.strip() not in {"BEGIN", "COMMIT"}:
                await connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("driver", "damage", "said"),
    [(driver, damage, said) for drivers, damage, said in FAULTS for driver in drivers],
    indirect=["driver"],
)
async def test_what_was_made_otherwise_is_named_and_mended(
    engine: AsyncEngine, tables: Tables, damage: str, said: str
) -> None:
    await run(engine, damage)

    (problem,) = await SqlAlchemyStorage(engine, tables=tables).check()

    assert said in problem
    await run(engine, problem.partition("un: ")[2])
    assert [] == await SqlAlchemyStorage(engine, tables=tables).check()


@pytest.mark.parametrize(
    ("driver", "part", "damaged", "said"), [("aiosqlite", *fault) for fault in SQLITE_FAULTS], indirect=["driver"]
)
async def test_a_table_of_sqlite_is_made_anew_with_what_is_in_it(
    empty_engine: AsyncEngine, tables: Tables, part: str, damaged: str, said: str
) -> None:
    """SQLite changes neither columns nor keys."""
    made = schema.ddl("sqlite", tables)
    assert part in made
    await run(empty_engine, made.replace(part, damaged, 1))
    await run(
        empty_engine,
        "INSERT INTO outbox (seq, id, slot, aggregatetype, aggregateid, type, payload, headers, created_at) VALUES "
        "(7, '00000000000000000000000000000001', 1, 'orders', 'k', 'OrderPlaced', x'7B7D', '{}', '2026-01-01 00:00')",
    )

    (problem,) = await SqlAlchemyStorage(empty_engine, tables=tables).check()

    assert said in problem
    await run(empty_engine, problem.partition(" Run: ")[2])
    assert [] == await SqlAlchemyStorage(empty_engine, tables=tables).check()
    async with empty_engine.begin() as connection:
        assert [7] == list(await connection.scalars(sa.select(tables.outbox.c.seq)))


@pytest.mark.parametrize("driver", SQLITE, indirect=True)
async def test_columns_of_the_program_are_not_thrown_away(empty_engine: AsyncEngine, tables: Tables) -> None:
    """To make such a table anew is for somebody who knows what they are."""
    made = schema.ddl("sqlite", tables).replace("PRIMARY KEY AUTOINCREMENT", "PRIMARY KEY, tenant TEXT", 1)
    await run(empty_engine, made)

    (problem,) = await SqlAlchemyStorage(empty_engine, tables=tables).check()

    assert problem.endswith(" Make it anew by hand, for it has columns of yours: tenant.")


async def test_columns_and_indexes_of_the_program_are_no_problem(engine: AsyncEngine, tables: Tables) -> None:
    await run(engine, "ALTER TABLE outbox ADD COLUMN tenant VARCHAR(40); CREATE INDEX by_tenant ON outbox (tenant)")

    assert [] == await SqlAlchemyStorage(engine, tables=tables).check()


@pytest.mark.parametrize("driver", MARIADB, indirect=True)
async def test_longer_text_is_no_problem(engine: AsyncEngine, tables: Tables) -> None:
    await run(engine, "ALTER TABLE outbox MODIFY last_error LONGTEXT")

    assert [] == await SqlAlchemyStorage(engine, tables=tables).check()


@pytest.mark.parametrize("driver", POSTGRESQL, indirect=True)
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE outbox ALTER COLUMN headers TYPE JSONB",
        "ALTER TABLE outbox ALTER COLUMN type TYPE TEXT, ALTER COLUMN aggregatetype TYPE VARCHAR(1000)",
        (
            "ALTER TABLE outbox ALTER COLUMN seq DROP DEFAULT;"
            "ALTER TABLE outbox ALTER COLUMN seq ADD GENERATED BY DEFAULT AS IDENTITY"
        ),
    ],
)
async def test_what_holds_as_much_is_no_problem(engine: AsyncEngine, tables: Tables, change: str) -> None:
    await run(engine, change)

    assert [] == await SqlAlchemyStorage(engine, tables=tables).check()


async def test_python_cqrs_own_table_is_recognised(empty_engine: AsyncEngine, tables: Tables) -> None:
    """By its columns; it is not to be mended, but left alone."""
    columns = ["event_id", "event_id_bin", "event_status", "flush_counter", "event_name", "topic", "payload"]
    await run(empty_engine, f"CREATE TABLE outbox (id INTEGER, {', '.join(f'{name} VARCHAR(99)' for name in columns)})")
    await SqlAlchemyStorage(empty_engine, tables=tables).create()

    (problem,) = await SqlAlchemyStorage(empty_engine, tables=tables).check()

    assert problem.startswith(
        "The table outbox is python-cqrs's own. Name ours otherwise, by define_tables(prefix=...)"
    )
    assert "`cqrs outbox import`" in problem
