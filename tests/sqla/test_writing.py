"""A message is kept as it was given, or refused before anything is written."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from zlib import crc32

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_core import envelope as names
from cqrs_core.envelope import Envelope
from cqrs_core.errors import InvalidOption, UnpublishableEnvelope
from cqrs_sqla import SqlAlchemyStorage, ZlibCompressor
from cqrs_sqla.errors import UnknownCompression
from cqrs_sqla.slots import slot_of
from cqrs_sqla.tables import Tables

EVENT_ID = uuid.UUID("00000000-0000-4000-8000-0000000000ff")


async def write(storage: SqlAlchemyStorage, *envelopes: Envelope) -> None:
    unit = storage.unit_of_work()
    try:
        unit.enqueue(envelopes)
        await unit.commit()
    finally:
        await unit.close()


def test_a_key_has_one_slot_and_messages_without_one_are_spread() -> None:
    assert crc32(b"order-7") % 64 == slot_of("order-7", EVENT_ID)
    assert 0 == slot_of("", EVENT_ID)  # an empty key is a key: crc32(b"") = 0
    assert 0xFF % 64 == slot_of(None, EVENT_ID)


async def test_a_row_has_what_debezium_looks_for(
    engine: AsyncEngine, storage: SqlAlchemyStorage, tables: Tables, envelope: Callable[..., Envelope]
) -> None:
    await write(storage, envelope("body", "order-7", ce_id=str(EVENT_ID)))
    columns = ["id", "slot", "aggregatetype", "aggregateid", "type", "payload", "headers", "attempts"]
    async with engine.connect() as connection:
        row = (await connection.execute(sa.select(*(tables.outbox.c[name] for name in columns)))).one()

    headers = {"ce_id": str(EVENT_ID), "ce_type": "Happened"}
    slot = crc32(b"order-7") % 64
    assert (EVENT_ID, slot, "shop", "order-7", "Happened", b"body", headers, 0) == tuple(row)


@pytest.mark.parametrize("key", [None, "", "order-7", "naïve ключ 🚚", "k" * 255, " trailing "])
@pytest.mark.parametrize("alone", [True, False])
async def test_keys_are_kept_as_they_are(
    storage: SqlAlchemyStorage, envelope: Callable[..., Envelope], key: str | None, *, alone: bool
) -> None:
    """No key is not an empty one, alone in its statement or not."""
    given = [envelope("body", key)] if alone else [envelope("1", key), envelope("2", "other"), envelope("3", key)]
    await write(storage, *given)

    assert given == [record.envelope for record in await storage.outbox.pending()]


BODIES = [b"", b"\x00\xff\\'\"%s :x", bytes(range(256)) * 400]  # the last is longer than a BLOB of MariaDB's


async def test_bodies_and_headers_are_kept_as_they_are(storage: SqlAlchemyStorage) -> None:
    odd = {
        "": "",
        "quote": "'\"\\",
        "emoji": "🚚",
        "bytes": "\udc80\udcff",
        "\uf8ff\xff": "\uf8ff\uf8ff\x80",
        "control": "\n\t\x00\x1f",
        "%s": ":x",
    }
    facts = [{names.ID: str(uuid.uuid4()), names.TYPE: "Häppened", **odd} for _ in BODIES]
    given = [Envelope("shop", body, None, headers) for body, headers in zip(BODIES, facts, strict=True)]
    for one in given:
        await write(storage, one)
    await write(storage, *given)

    assert [*given, *given] == [record.envelope for record in await storage.outbox.pending()]


async def test_order_is_kept_over_several_statements(
    storage: SqlAlchemyStorage, envelope: Callable[..., Envelope], bodies: Callable[[], Awaitable[list[str]]]
) -> None:
    texts = [str(number) for number in range(2500)]
    await write(storage, *map(envelope, texts))

    assert texts == await bodies()


async def test_few_events_are_one_statement(
    engine: AsyncEngine, storage: SqlAlchemyStorage, envelope: Callable[..., Envelope]
) -> None:
    statements: list[str] = []
    sa.event.listen(engine.sync_engine, "before_cursor_execute", lambda *facts: statements.append(facts[2]))
    await write(storage, *map(envelope, "abc"))

    assert ["INSERT"] == [statement.split()[0] for statement in statements if not statement.startswith("BEGIN")]


async def test_large_events_are_written_in_several_statements(
    storage: SqlAlchemyStorage, envelope: Callable[..., Envelope]
) -> None:
    """A packet of MariaDB's has an end."""
    texts = [f"{number}" * 600_000 for number in range(4)]
    await write(storage, *map(envelope, texts))

    assert texts == [record.envelope.body.decode() for record in await storage.outbox.pending()]


async def test_positions_rise_and_pages_begin_behind_one(
    storage: SqlAlchemyStorage, envelope: Callable[..., Envelope]
) -> None:
    await write(storage, *map(envelope, "abc"))
    first, second, third = await storage.outbox.pending()

    assert first.position < second.position < third.position
    assert [second] == list(await storage.outbox.pending(limit=1, after=first.position))


async def test_a_message_is_as_old_as_the_database_says(
    storage: SqlAlchemyStorage, envelope: Callable[..., Envelope]
) -> None:
    """In UTC, whatever the database keeps of time zones; alone in its statement or not."""
    await write(storage, envelope("1"))
    await write(storage, envelope("2"), envelope("3"))
    for record in await storage.outbox.pending():
        assert timezone.utc == record.created_at.tzinfo
        assert abs(datetime.now(timezone.utc) - record.created_at) < timedelta(minutes=1)


MISFITS = {
    "topic is too long": {"topic": "t" * 256},
    "topic has NUL": {"topic": "a\0b"},
    "topic has surrogates": {"topic": "\udc80"},
    "key is too long": {"key": "k" * 256},
    "key has NUL": {"key": "\0"},
    "key has surrogates": {"key": "\udc80"},
    "name is too long": {"ce_type": "n" * 256},
    "name has NUL": {"ce_type": "\0"},
    "id is no UUID": {"ce_id": "7"},
    "header is no text": {"count": 7},
    "header is half a character": {"half": "\ud83d"},
}


@pytest.mark.parametrize("driver", ["aiosqlite"])
@pytest.mark.parametrize("misfit", MISFITS)
async def test_what_does_not_fit_is_refused_with_all_that_came_with_it(
    storage: SqlAlchemyStorage,
    envelope: Callable[..., Envelope],
    misfit: str,
    bodies: Callable[[], Awaitable[list[str]]],
) -> None:
    unit = storage.unit_of_work()
    with pytest.raises(UnpublishableEnvelope):
        unit.enqueue([envelope("fits"), envelope("does not", **MISFITS[misfit])])

    assert not unit.is_begun

    unit.enqueue([envelope("after")])
    await unit.commit()
    await unit.close()

    assert ["after"] == await bodies()


@pytest.mark.parametrize("driver", ["aiosqlite"])
@pytest.mark.parametrize("missing", [names.ID, names.TYPE])
async def test_a_message_says_what_it_is(storage: SqlAlchemyStorage, missing: str) -> None:
    headers = {names.ID: str(uuid.uuid4()), names.TYPE: "Happened"}
    del headers[missing]
    with pytest.raises(UnpublishableEnvelope, match=missing):
        storage.unit_of_work().enqueue([Envelope("shop", b"", None, headers)])


@pytest.mark.parametrize("driver", ["asyncmy"])
async def test_the_longest_message_that_is_taken_can_be_written(
    engine: AsyncEngine, storage: SqlAlchemyStorage
) -> None:
    """Each of its bytes is written as two; one byte more, and it is refused before the database would hang up."""
    async with engine.connect() as connection:
        packet_bytes: int = (await connection.execute(sa.text("SELECT @@max_allowed_packet"))).scalar_one()
    room = (packet_bytes - 2**16) // 2
    headers = {names.ID: str(EVENT_ID), names.TYPE: "Happened"}
    overhead = len('{"ce_id":"","ce_type":"Happened"}') + len(str(EVENT_ID))
    unit = storage.unit_of_work()
    with pytest.raises(UnpublishableEnvelope, match=f"{room} fit"):
        unit.enqueue([Envelope("shop", b"'" * (room - overhead + 1), None, headers)])
    await unit.close()
    await write(storage, Envelope("shop", b"'" * (room - overhead), None, headers))

    (record,) = await storage.outbox.pending()
    assert room - overhead == len(record.envelope.body)


async def test_an_event_that_could_not_be_written_is_not_left_out_of_the_next_commit(
    engine: AsyncEngine,
    storage: SqlAlchemyStorage,
    envelope: Callable[..., Envelope],
    bodies: Callable[[], Awaitable[list[str]]],
) -> None:
    """The error was caught, and the transaction went on."""
    faults = [RuntimeError("no answer")]

    def fail_once(*facts: object) -> None:
        if str(facts[2]).startswith("INSERT INTO outbox") and faults:
            raise faults.pop()

    sa.event.listen(engine.sync_engine, "before_cursor_execute", fail_once)
    unit = storage.unit_of_work()
    unit.enqueue([envelope("body")])
    with pytest.raises(RuntimeError, match="no answer"):
        await unit.commit()
    await unit.commit()
    await unit.close()

    assert ["body"] == await bodies()


class Reversal:
    """A compressor of the program's own: a poor one."""

    encoding = "reversal"

    def compress(self, value: bytes) -> bytes:
        return value[::-2]

    def decompress(self, value: bytes) -> bytes:
        return bytes(byte for byte in value[::-1] for _ in range(2))


class TestCompressed:
    async def test_a_long_body_is_kept_small_and_read_as_it_was(
        self, engine: AsyncEngine, tables: Tables, storage: SqlAlchemyStorage, envelope: Callable[..., Envelope]
    ) -> None:
        """Any storage undoes it; and who tails the table is told."""
        given = envelope("long " * 1000)
        await write(SqlAlchemyStorage(engine, tables=tables, compressor=ZlibCompressor()), given)
        async with engine.connect() as connection:
            payload, headers = (
                await connection.execute(sa.select(tables.outbox.c.payload, tables.outbox.c.headers))
            ).one()

        assert len(payload) < 500
        assert "deflate" == headers["content-encoding"]
        assert [given] == [record.envelope for record in await storage.outbox.pending()]

    @pytest.mark.parametrize("driver", ["aiosqlite"])
    async def test_a_short_body_stays_as_it_is(
        self, engine: AsyncEngine, tables: Tables, envelope: Callable[..., Envelope]
    ) -> None:
        storage = SqlAlchemyStorage(engine, tables=tables, compressor=ZlibCompressor())
        await write(storage, envelope("short"))
        async with engine.connect() as connection:
            payload = (await connection.execute(sa.select(tables.outbox.c.payload))).scalar_one()

        assert b"short" == payload

    @pytest.mark.parametrize("driver", ["aiosqlite"])
    @pytest.mark.parametrize("name", ["content-encoding", "Content-Encoding"])
    async def test_what_the_program_has_compressed_is_its_own(
        self, engine: AsyncEngine, tables: Tables, envelope: Callable[..., Envelope], name: str
    ) -> None:
        """It is neither compressed again, nor undone."""
        storage = SqlAlchemyStorage(engine, tables=tables, compressor=ZlibCompressor())
        given = envelope("not really " * 100, **{name: "deflate"})
        await write(storage, given)

        assert [given] == [record.envelope for record in await storage.outbox.pending()]

    @pytest.mark.parametrize("driver", ["aiosqlite"])
    async def test_a_compressor_of_the_programs_own_is_needed_to_read(
        self, engine: AsyncEngine, tables: Tables, storage: SqlAlchemyStorage, envelope: Callable[..., Envelope]
    ) -> None:
        own = SqlAlchemyStorage(engine, tables=tables, compressor=Reversal())
        given = envelope("aa" * 500)
        await write(own, given)

        assert [given] == [record.envelope for record in await own.outbox.pending()]
        with pytest.raises(UnknownCompression, match="reversal"):
            await storage.outbox.pending()

    @pytest.mark.parametrize("driver", ["aiosqlite"])
    async def test_a_compressor_says_what_it_makes(self, engine: AsyncEngine) -> None:
        with pytest.raises(InvalidOption, match="encoding"):
            SqlAlchemyStorage(engine, compressor=object())  # type: ignore[arg-type]  # what is refused

    def test_zlib_has_ten_levels(self) -> None:
        with pytest.raises(InvalidOption, match="level"):
            ZlibCompressor(10)
