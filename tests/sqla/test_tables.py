from __future__ import annotations

import uuid
from datetime import datetime, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_sqla.errors import TableNameTaken
from cqrs_sqla.tables import OUTBOX_NAME, Tables, define_tables

NOW = datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=timezone.utc)


def message(**changed: object) -> dict[str, object]:
    """Make a row of the outbox."""
    row: dict[str, object] = {
        "id": uuid.uuid4(),
        "slot": 3,
        "aggregatetype": "orders",
        "type": "OrderPlaced",
        "payload": b"{}",
        "headers": {},
        "created_at": NOW,
    }
    return row | changed


def test_all_tables_are_put_on_the_metadata_of_the_program() -> None:
    """The companions of the outbox follow its name."""
    metadata = sa.MetaData()

    tables = define_tables(metadata)

    names = "outbox outbox_dead outbox_slot outbox_relay inbox saga saga_step saga_effect"
    assert names.split() == [table.name for table in tables]
    assert set(tables) == set(metadata.tables.values())
    assert metadata is tables.metadata


def test_a_prefix_and_a_schema_go_to_every_table() -> None:
    tables = define_tables(sa.MetaData(), prefix="cqrs_", schema="shop")

    assert [
        "shop.cqrs_outbox",
        "shop.cqrs_outbox_dead",
        "shop.cqrs_outbox_slot",
        "shop.cqrs_outbox_relay",
        "shop.cqrs_inbox",
        "shop.cqrs_saga",
        "shop.cqrs_saga_step",
        "shop.cqrs_saga_effect",
    ] == [table.key for table in tables]


def test_the_environment_names_the_outbox_when_the_tables_are_defined(monkeypatch: pytest.MonkeyPatch) -> None:
    """OUTBOX_SQLA_TABLE is the whole name, as in python-cqrs; the inbox is none of its business."""
    monkeypatch.setenv(OUTBOX_NAME, "events_to_send")

    tables = define_tables(sa.MetaData(), prefix="cqrs_")

    assert [
        "events_to_send",
        "events_to_send_dead",
        "events_to_send_slot",
        "events_to_send_relay",
        "cqrs_inbox",
        "cqrs_saga",
        "cqrs_saga_step",
        "cqrs_saga_effect",
    ] == [table.name for table in tables]


def test_defined_twice_they_are_the_same_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their names: another name, another table."""
    metadata = sa.MetaData()
    first = define_tables(metadata)

    assert define_tables(metadata) is first
    assert define_tables(metadata, prefix="other_") is not first
    monkeypatch.setenv(OUTBOX_NAME, "third")
    with pytest.raises(TableNameTaken, match="'inbox'"):
        define_tables(metadata)


def test_a_metadata_that_was_cleared_gets_them_anew() -> None:
    metadata = sa.MetaData()
    first = define_tables(metadata)
    metadata.clear()

    assert define_tables(metadata) is not first
    assert 8 == len(metadata.tables)


@pytest.mark.parametrize("schema", [None, "shop"])
def test_a_table_of_the_program_is_not_taken_for_ours(schema: str | None) -> None:
    """The error names it, and nothing is left half done."""
    metadata = sa.MetaData(schema=schema)
    own = sa.Table("inbox", metadata, sa.Column("mail", sa.String))

    with pytest.raises(TableNameTaken, match="prefix='cqrs_'") as caught:
        define_tables(metadata)

    assert own.key == caught.value.table
    assert [own] == list(metadata.tables.values())
    assert 9 == len([*define_tables(metadata, prefix="cqrs_"), own])


def test_the_naming_convention_of_the_program_names_keys_and_indexes() -> None:
    tables = define_tables(
        sa.MetaData(naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s__%(column_0_name)s"})
    )

    assert "pk_outbox" == str(tables.outbox.primary_key.name)
    assert ["ix_inbox__received_at"] == [index.name for index in tables.inbox.indexes]


def test_the_outbox_has_no_index_but_its_key() -> None:
    """Each further one costs every write; the relay reads by position."""
    tables = define_tables(sa.MetaData())

    assert ["seq"] == list(tables.outbox.primary_key.columns.keys())
    assert not tables.outbox.indexes


async def test_a_row_comes_back_as_it_was_written(engine: AsyncEngine, tables: Tables) -> None:
    """Capitals, blanks at the end, characters outside the first plane, bytes beyond 64 KiB, microseconds."""
    row = message(
        aggregateid="Käse 🧀 ",
        payload=bytes(range(256)) * 300,  # 76,800 bytes
        headers={"ce_id": "1", "trace": "ü\udc80".encode("utf-8", "surrogateescape").decode("latin-1")},
        last_error="x" * 20_000,
    )

    async with engine.begin() as connection:
        await connection.execute(sa.insert(tables.outbox), [row])
        (found,) = (await connection.execute(sa.select(tables.outbox))).mappings().all()

    created_at = found["created_at"].replace(tzinfo=timezone.utc)  # MariaDB and SQLite keep no zone
    expected = {"seq": 1, "available_at": None, "attempts": 0, **row}
    assert expected == {**found, "created_at": created_at}


async def test_a_row_is_found_by_its_id(engine: AsyncEngine, tables: Tables) -> None:
    row = message()

    async with engine.begin() as connection:
        await connection.execute(sa.insert(tables.outbox), [message(), row])
        found = await connection.scalars(sa.select(tables.outbox.c.seq).where(tables.outbox.c.id == row["id"]))

    assert [2] == list(found)


async def test_a_position_is_never_given_twice(engine: AsyncEngine, tables: Tables) -> None:
    """Also not when the outbox has been emptied: a relay that looks behind the last position would miss it."""
    async with engine.begin() as connection:
        await connection.execute(sa.insert(tables.outbox), [message(), message()])
        await connection.execute(sa.delete(tables.outbox))
        await connection.execute(sa.insert(tables.outbox), [message()])
        positions = await connection.scalars(sa.select(tables.outbox.c.seq))

    assert [3] == list(positions)


async def test_groups_that_differ_in_capitals_are_two(engine: AsyncEngine, tables: Tables) -> None:
    """By MariaDB's own collation they would be one, and the second would handle nothing."""
    rows = [{"consumer": group, "message_id": uuid.UUID(int=1), "received_at": NOW} for group in ("a", "A", "ä", "Ä")]

    async with engine.begin() as connection:
        await connection.execute(sa.insert(tables.inbox), rows)
        count = await connection.scalar(sa.select(sa.func.count()).select_from(tables.inbox))

    assert 4 == count


async def test_the_longest_names_fit_into_the_key_of_the_inbox(engine: AsyncEngine, tables: Tables) -> None:
    row = {"consumer": "🧀" * 255, "message_id": uuid.UUID(int=1), "received_at": NOW}

    async with engine.begin() as connection:
        await connection.execute(sa.insert(tables.inbox), [row])
        assert row["consumer"] == await connection.scalar(sa.select(tables.inbox.c.consumer))
