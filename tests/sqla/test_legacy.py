"""The outbox of python-cqrs 5.3.0, as its model makes it, is taken over."""

from __future__ import annotations

import asyncio
import json
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_core import NotificationEvent
from cqrs_core.broker import Delivery
from cqrs_core.envelope import Envelope
from cqrs_core.incoming import IncomingEvents
from cqrs_core.storage import ImportReport
from cqrs_sqla.errors import ImportRefused
from cqrs_sqla.legacy import import_outbox
from cqrs_sqla.tables import Tables, define_tables

BINARY = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql")
THEIRS = sa.Table(
    "outbox",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("event_id", BINARY.with_variant(postgresql.UUID(), "postgresql"), nullable=False),
    sa.Column("event_id_bin", BINARY, nullable=False),
    sa.Column("event_status", sa.Enum("NEW", "PRODUCED", "NOT_PRODUCED", name="eventstatus"), nullable=False),
    sa.Column("flush_counter", sa.SmallInteger, nullable=False),
    sa.Column("event_name", sa.String(255), nullable=False),
    sa.Column("topic", sa.String(255), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False, server_default=sa.func.now()),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("event_id_bin", "event_name", name="event_id_unique_index"),
)


@dataclass(frozen=True)
class Loan:
    book: str


@pytest.fixture
def tables() -> Tables:
    """Ours, under names that leave theirs alone."""
    return define_tables(sa.MetaData(), prefix="cqrs_")


def whole_event(number: int) -> bytes:
    """Write an event as python-cqrs does."""
    whole = {
        "event_id": str(uuid.UUID(int=number)),
        "event_timestamp": "2026-02-03T04:05:06",
        "event_name": "BookLent",
        "topic": "library",
        "payload": {"book": f"book {number}"},
    }
    return json.dumps(whole).encode()


def row(number: int, **changed: object) -> dict[str, object]:
    """Make a row of theirs."""
    event_id = uuid.UUID(int=number)
    default: dict[str, object] = {
        "id": number,
        "event_id": event_id.bytes,
        "event_id_bin": event_id.bytes,
        "event_status": "NEW",
        "flush_counter": 0,
        "event_name": "BookLent",
        "topic": "library",
        "payload": whole_event(number),
    }
    return default | changed


async def fill(engine: AsyncEngine, *rows: Mapping[str, object]) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(THEIRS.metadata.create_all)
        if engine.dialect.name == "postgresql":
            rows = tuple({**row, "event_id": uuid.UUID(bytes=row["event_id_bin"])} for row in rows)  # type: ignore[arg-type]  # bytes
        if rows:
            await connection.execute(sa.insert(THEIRS), rows)


async def move(engine: AsyncEngine, tables: Tables, table: str = "outbox", *, batch_size: int = 500) -> ImportReport:
    async with engine.connect() as connection:
        return await import_outbox(connection, tables, table, batch_size=batch_size)


async def ours(engine: AsyncEngine, tables: Tables) -> list[int]:
    """List the ids in our outbox, as numbers."""
    async with engine.connect() as connection:
        ids = await connection.scalars(sa.select(tables.outbox.c.id).order_by(tables.outbox.c.seq))
        return [event_id.int for event_id in ids]


async def theirs(engine: AsyncEngine) -> list[int]:
    async with engine.connect() as connection:
        return list(await connection.scalars(sa.select(THEIRS.c.id).order_by(THEIRS.c.id)))


async def test_undelivered_rows_are_moved_in_their_order(engine: AsyncEngine, tables: Tables) -> None:
    """New ones, failed ones, and those that were given up; a delivered one stays where it is."""
    await fill(
        engine,
        row(3, event_status="NOT_PRODUCED", flush_counter=2),
        row(1),
        row(2, event_status="PRODUCED"),
        row(4, event_status="NOT_PRODUCED", flush_counter=5),
    )

    report = await move(engine, tables)

    assert ImportReport(moved=3, left=[]) == report
    assert [1, 3, 4] == await ours(engine, tables)
    assert [2] == await theirs(engine)


async def test_a_row_keeps_its_id_its_topic_its_name_and_its_body(engine: AsyncEngine, tables: Tables) -> None:
    await fill(engine, row(1))

    await move(engine, tables)

    async with engine.connect() as connection:
        (found,) = (await connection.execute(sa.select(tables.outbox))).all()
    assert (uuid.UUID(int=1), "library", "BookLent") == (found.id, found.aggregatetype, found.type)
    assert (None, whole_event(1)) == (found.aggregateid, found.payload)
    assert {"ce_id": str(uuid.UUID(int=1))} == found.headers


async def test_a_compressed_body_is_moved_as_it_was_before(engine: AsyncEngine, tables: Tables) -> None:
    """Whether it was compressed is said nowhere; consumers never see it compressed."""
    await fill(engine, row(1, payload=zlib.compress(whole_event(1))))

    await move(engine, tables)

    async with engine.connect() as connection:
        assert [whole_event(1)] == list(await connection.scalars(sa.select(tables.outbox.c.payload)))


@pytest.mark.parametrize("driver", ["aiosqlite"], indirect=True)
async def test_what_was_moved_is_understood_by_our_consumers(engine: AsyncEngine, tables: Tables) -> None:
    await fill(engine, row(1))
    await move(engine, tables)
    async with engine.connect() as connection:
        (found,) = (await connection.execute(sa.select(tables.outbox))).all()
    envelope = Envelope(found.aggregatetype, found.payload, found.aggregateid, found.headers)
    incoming = IncomingEvents("library", {"BookLent": NotificationEvent[Loan]}, max_body_bytes=1000)

    arrival = incoming.read(Delivery(envelope, partition="0", position="1"), group="books", attempt=1)

    assert uuid.UUID(int=1) == arrival.message.id
    assert isinstance(arrival.event, NotificationEvent)
    assert Loan("book 1") == arrival.event.payload


async def test_batches_do_not_matter(engine: AsyncEngine, tables: Tables) -> None:
    await fill(engine, *(row(number) for number in range(1, 8)))

    report = await move(engine, tables, batch_size=3)

    assert 7 == report.moved
    assert [1, 2, 3, 4, 5, 6, 7] == await ours(engine, tables)
    assert [] == await theirs(engine)


async def test_a_second_time_there_is_nothing_to_move(engine: AsyncEngine, tables: Tables) -> None:
    await fill(engine, row(1))
    await move(engine, tables)

    assert ImportReport(moved=0, left=[]) == await move(engine, tables)
    assert [1] == await ours(engine, tables)


@pytest.mark.parametrize("statement", ["INSERT INTO cqrs_outbox", "DELETE FROM outbox"])
async def test_interrupted_it_can_be_called_again(engine: AsyncEngine, tables: Tables, statement: str) -> None:
    """Whatever the moment, each message is in one of the two tables, and in the end all are in ours."""
    await fill(engine, *(row(number) for number in range(1, 8)))
    seen = 0

    def break_the_second(*arguments: object) -> None:
        nonlocal seen
        if str(arguments[2]).startswith(statement):
            seen += 1
            if seen == 2:
                raise KeyboardInterrupt

    sa.event.listen(engine.sync_engine, "after_cursor_execute", break_the_second)
    with pytest.raises(KeyboardInterrupt):
        await move(engine, tables, batch_size=3)
    sa.event.remove(engine.sync_engine, "after_cursor_execute", break_the_second)

    assert [1, 2, 3] == await ours(engine, tables)
    assert [4, 5, 6, 7] == await theirs(engine)
    await move(engine, tables, batch_size=3)
    assert [1, 2, 3, 4, 5, 6, 7] == await ours(engine, tables)
    assert [] == await theirs(engine)


async def test_two_at_once_move_each_row_once(engine: AsyncEngine, tables: Tables) -> None:
    await fill(engine, *(row(number) for number in range(1, 21)))

    reports = await asyncio.gather(*(move(engine, tables, batch_size=4) for _ in range(2)))

    assert 20 == sum(report.moved for report in reports)
    assert list(range(1, 21)) == sorted(await ours(engine, tables))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"payload": b"\x08\x01\x12\x04book"}, "Its payload is no JSON object"),
        ({"payload": zlib.compress(b"[1, 2]")}, "Its payload is no JSON object"),
        ({"payload": b'{"cut off'}, "Its payload is no JSON object"),
        ({"topic": ""}, "It has no topic."),
    ],
)
async def test_what_cannot_be_sent_as_it_is_stays_and_is_reported(
    engine: AsyncEngine, tables: Tables, changed: dict[str, object], why: str
) -> None:
    """A codec of python-cqrs's that is not JSON, say: the others are moved."""
    await fill(engine, row(1), row(2, **changed), row(3))

    report = await move(engine, tables, batch_size=1)

    assert 2 == report.moved
    assert [f"BookLent (id 2): {why}"] == [text[: len(why) + 17] for text in report.left]
    assert [2] == await theirs(engine)


@pytest.mark.parametrize(
    ("table", "problem"),
    [("nothing", "there is no such table"), ("cqrs_inbox", "it is not the outbox of python-cqrs")],
)
async def test_another_table_is_refused(engine: AsyncEngine, tables: Tables, table: str, problem: str) -> None:
    with pytest.raises(ImportRefused, match=f"'{table}' cannot be imported: {problem}"):
        await move(engine, tables, table)


async def test_our_outbox_has_to_be_another_table(empty_engine: AsyncEngine) -> None:
    await fill(empty_engine)

    with pytest.raises(ImportRefused, match=r"Name ours otherwise, such as by \?table_prefix=cqrs_ in the URL"):
        await move(empty_engine, define_tables(sa.MetaData()))


async def test_our_outbox_has_to_be_there(empty_engine: AsyncEngine, tables: Tables) -> None:
    await fill(empty_engine)

    with pytest.raises(ImportRefused, match="our own outbox, cqrs_outbox, is not there. Create it first"):
        await move(empty_engine, tables)
