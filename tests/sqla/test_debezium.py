"""An outbox that Debezium sends: what it is told, and what is refused; tests/debezium has the connector itself."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

import cqrs_core as cqrs
from cqrs_core.envelope import Envelope
from cqrs_core.errors import InvalidOption, RelayRefused, StorageUnusable
from cqrs_core.outbox_keeper import Selection
from cqrs_core.plugins import open_backend
from cqrs_sqla import SqlAlchemyOutboxedEventRepository, SqlAlchemyStorage, ZlibCompressor, define_tables, make_engine
from cqrs_sqla.debezium import readers_of
from cqrs_sqla.errors import DebeziumRefused
from cqrs_sqla.tables import OUTBOX_NAME, Tables


def config_of(url: str, name: str | None = None) -> Any:
    storage: Any = open_backend("storage", url)
    return storage.debezium_config(name)


# What it is told ------------------------------------------------------------------------------------------------------


def test_the_settings_name_the_database_and_never_its_password() -> None:
    """The worker reads it from its environment."""
    config = config_of("postgresql+asyncpg://me:s3cret@db.host:5433/shop?sslmode=require")

    assert "s3cret" not in json.dumps(config.settings)
    assert "${env:DEBEZIUM_PASSWORD}" == config.settings["database.password"]
    expected = {"hostname": "db.host", "port": "5433", "user": "me", "dbname": "shop", "sslmode": "require"}
    assert expected == {name: config.settings[f"database.{name}"] for name in expected}
    assert {"shop_outbox"} == {config.settings[of] for of in ("name", "slot.name", "publication.name", "topic.prefix")}


@pytest.mark.parametrize(
    ("query", "named", "name", "table", "pattern"),
    [
        ("", "", "shop_outbox", "public.outbox", r"public\.outbox"),
        ("?table_prefix=cqrs_&schema=mail", "", "shop_mail_cqrs_outbox", "mail.cqrs_outbox", r"mail\.cqrs_outbox"),
        ("?table_prefix=My,", "", "shop_my_outbox", 'public."My,outbox"', r"public\.My\,outbox"),
        ("?table_prefix=cqrs_", "post-box", "shop_post_box", 'public."post-box"', r"public\.post\-box"),
    ],
)
def test_the_table_is_the_one_that_define_tables_makes(  # noqa: PLR0917 - a table
    monkeypatch: pytest.MonkeyPatch, query: str, named: str, name: str, table: str, pattern: str
) -> None:
    """Of its prefix, schema and environment; written for Debezium's regular expressions, and for SQL."""
    monkeypatch.setenv(OUTBOX_NAME, named)

    config = config_of(f"postgresql+asyncpg://host/shop{query}")

    assert name == config.settings["name"]
    assert pattern == config.settings["table.include.list"]
    assert config.settings["column.include.list"].startswith(rf"{pattern}\.(seq|")
    assert (
        f"CREATE PUBLICATION {name} FOR TABLE {table} WITH (publish = 'insert');",
        f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput');",
    ) == config.preparation
    assert config.plugin.is_file()


def test_the_name_can_be_chosen_and_is_that_of_a_slot() -> None:
    """What a database would refuse is refused here; one that SQL knows otherwise is quoted."""
    assert 'CREATE PUBLICATION "user" ' in config_of("postgresql+asyncpg://host/shop", "user").preparation[0]
    for wrong in ("", "Mine", "my-name", "a" * 64, "x'; --"):
        with pytest.raises(InvalidOption, match="small letters"):
            config_of("postgresql+asyncpg://host/shop", wrong)


@pytest.mark.parametrize("url", ["sqlite:///shop.db", "mysql+asyncmy://host/shop", "mariadb+asyncmy://host/shop"])
def test_other_databases_are_refused_by_name(url: str) -> None:
    """With what does it there."""
    for refused in (lambda: config_of(url), lambda: open_backend("storage", f"{url}?sent_by=debezium")):
        with pytest.raises(DebeziumRefused, match="Let a relay send it") as caught:
            refused()
        assert caught.value.database in {"SQLite", "MySQL", "MariaDB"}


# What is refused where it sends ---------------------------------------------------------------------------------------


def test_the_url_says_who_sends() -> None:
    """An App takes it from the storage; the tables are those of any other."""
    by_debezium: Any = open_backend("storage", "postgresql+asyncpg://host/shop?sent_by=debezium")
    by_relay: Any = open_backend("storage", "postgresql+asyncpg://host/shop")

    assert ("Debezium", None) == (by_debezium.sent_by, by_relay.sent_by)
    assert by_relay.ddl() == by_debezium.ddl()
    with pytest.raises(InvalidOption, match="one of relay, debezium"):
        define_tables(sa.MetaData(), sent_by="kafka")  # type: ignore[arg-type]  # on purpose


def test_the_same_tables_may_be_written_for_either(tables: Tables) -> None:
    """A program that moves over has both for a while."""
    other = define_tables(tables.metadata, sent_by="debezium")

    assert "debezium" == other.sent_by
    assert tables is define_tables(tables.metadata)
    assert all(mine is theirs for mine, theirs in zip(tables, other, strict=True))


@pytest.fixture
def read_tables(tables: Tables) -> Tables:
    """Those of an outbox that Debezium sends."""
    return define_tables(tables.metadata, sent_by="debezium")


class Other(ZlibCompressor):
    encoding = "other"


async def test_a_compression_that_debezium_would_not_undo_is_refused(read_tables: Tables) -> None:
    engine = make_engine("postgresql+asyncpg://host/shop")
    with pytest.raises(InvalidOption, match="ZlibCompressor"):
        SqlAlchemyStorage(engine, tables=read_tables, compressor=Other())
    SqlAlchemyStorage(engine, tables=read_tables, compressor=ZlibCompressor())
    async with AsyncSession(engine) as session:
        repository = SqlAlchemyOutboxedEventRepository(session, Other(), tables=read_tables)
        with pytest.raises(InvalidOption, match="ZlibCompressor"):
            repository.add(cqrs.NotificationEvent(payload="1", topic="orders", event_name="Placed"))


async def test_one_transaction_writes_for_one_of_the_two(tables: Tables, read_tables: Tables) -> None:
    """Else what one of them has written would stay, or be lost."""
    event = cqrs.NotificationEvent(payload="1", topic="orders", event_name="Placed")
    async with AsyncSession(make_engine("postgresql+asyncpg://host/shop")) as session:
        SqlAlchemyOutboxedEventRepository(session, tables=tables).add(event)
        with pytest.raises(InvalidOption, match="sent by 'relay', into which the same transaction writes"):
            SqlAlchemyOutboxedEventRepository(session, tables=read_tables).add(event)


def test_there_are_no_relays_to_be_woken() -> None:
    """Each commit would pay for it."""
    with pytest.raises(InvalidOption, match="left out where Debezium sends"):
        open_backend("storage", "postgresql+asyncpg://host/shop?sent_by=debezium&notify=yes")


async def test_nobody_else_sends(read_tables: Tables) -> None:
    """Neither a relay nor a loop of a program's own, which would look into an empty table for ever."""
    engine = make_engine("postgresql+asyncpg://host/shop")
    with pytest.raises(RelayRefused):
        SqlAlchemyStorage(engine, tables=read_tables).outbox.lease("relay", ttl_s=30)
    async with AsyncSession(engine) as session:
        with pytest.raises(RelayRefused):
            await SqlAlchemyOutboxedEventRepository(session, tables=read_tables).get_many()


# The database ---------------------------------------------------------------------------------------------------------

on_postgresql = pytest.mark.parametrize("driver", ["asyncpg", "psycopg"], indirect=True)


@pytest.fixture
async def prepare(engine: AsyncEngine) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Run statements as an administrator would; the slots are dropped in the end."""

    async def run(*statements: str) -> None:
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)

    yield run
    await run(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()",
        "DROP PUBLICATION cqrs_test",
    )


@pytest.fixture
def read_storage(engine: AsyncEngine, read_tables: Tables) -> SqlAlchemyStorage:
    return SqlAlchemyStorage(engine, tables=read_tables)


@pytest.fixture
def config(read_storage: SqlAlchemyStorage) -> Any:
    found = read_storage.debezium_config("cqrs_test")
    # Databases have publications of their own, and share the names of slots.
    slot = f"cqrs_test_{uuid.uuid4().hex[:12]}"
    publish, keep = found.preparation
    return found._replace(preparation=(publish, keep.replace("'cqrs_test'", f"'{slot}'")), settings={"slot": slot})


@on_postgresql
async def test_a_storage_starts_when_nothing_can_be_lost(
    *, read_storage: SqlAlchemyStorage, config: Any, prepare: Callable[..., Awaitable[None]], storage: SqlAlchemyStorage
) -> None:
    """When a slot keeps the log, and the table is in a publication; where a relay sends, neither is needed."""
    await storage.start()
    with pytest.raises(StorageUnusable, match=r"no replication slot .*\n.* no publication has the table") as caught:
        await read_storage.start()
    assert 2 == len(caught.value.problems)
    await prepare(config.preparation[0])
    with pytest.raises(StorageUnusable, match="no replication slot"):
        await read_storage.start()
    await prepare(config.preparation[1])

    await read_storage.start()

    assert [] == list(await read_storage.check())
    await prepare("ALTER PUBLICATION cqrs_test SET (publish = 'delete')")
    (problem,) = await read_storage.check()
    assert "no publication has the table outbox" in problem


@on_postgresql
async def test_status_tells_how_far_the_readers_are(
    *, read_storage: SqlAlchemyStorage, config: Any, prepare: Callable[..., Awaitable[None]], engine: AsyncEngine
) -> None:
    """The age of the oldest message would be no news: nothing waits in the table."""
    assert (await read_storage.outbox_keeper.status()).needs_a_person
    await prepare(*config.preparation)
    before = (await read_storage.outbox_keeper.status()).readers
    unit = read_storage.unit_of_work()
    unit.enqueue([message(), message()])
    await unit.commit()
    await unit.close()

    status = await read_storage.outbox_keeper.status()

    (reader,) = status.readers
    assert (config.settings["slot"], False) == (reader.name, reader.is_connected)
    assert (reader.behind_bytes or 0) > (before[0].behind_bytes or 0) >= 0
    assert ("Debezium", 0, False) == (status.sent_by, status.waiting, status.needs_a_person)
    async with engine.connect() as connection:
        assert [reader.name] == [one.name for one in await connection.run_sync(readers_of)]


def message() -> Envelope:
    return Envelope("orders", b"{}", "a", {"ce_id": "00000000-0000-0000-0000-000000000001", "ce_type": "Happened"})


@on_postgresql
async def test_the_dead_are_requeued_only_if_somebody_reads(
    *,
    storage: SqlAlchemyStorage,
    read_storage: SqlAlchemyStorage,
    config: Any,
    prepare: Callable[..., Awaitable[None]],
) -> None:
    """They stay where they are, else. In the outbox, nothing is left of them."""
    unit = storage.unit_of_work()
    unit.enqueue([message()])
    await unit.commit()
    await unit.close()
    lease = storage.outbox.lease("relay", ttl_s=30)
    (record,) = await storage.outbox.pending()
    await lease.bury(record.position, reason="permanent", error="refused")
    await lease.release()

    with pytest.raises(StorageUnusable, match="no replication slot"):
        await read_storage.outbox_keeper.requeue(Selection())
    with pytest.raises(StorageUnusable, match="no replication slot"):
        await read_storage.import_outbox("old")

    assert 1 == (await read_storage.outbox_keeper.status()).dead
    await prepare(*config.preparation)
    assert 1 == await read_storage.outbox_keeper.requeue(Selection())
    status = await read_storage.outbox_keeper.status()
    assert (0, 0) == (status.dead, status.waiting)
