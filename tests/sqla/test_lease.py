"""What the conformance suite does not see of leases: broken rows, the dead, statements, connections of their own."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_core.envelope import Envelope
from cqrs_core.errors import InvalidOption, StorageUnavailable, StorageUnusable
from cqrs_sqla import SqlAlchemyStorage, ZlibCompressor, make_engine
from cqrs_sqla.relaying import SqlAlchemyOutboxLease
from cqrs_sqla.tables import Tables

TTL_S = 3600.0
TWO_LINES = 2

Send = Callable[..., Awaitable[None]]


@pytest.fixture
async def lease(storage: SqlAlchemyStorage) -> AsyncIterator[SqlAlchemyOutboxLease]:
    """One that holds everything."""
    lease = storage.outbox.lease("relay", ttl_s=TTL_S)
    await lease.renew()
    await lease.rebalance()
    yield lease
    await lease.release()


@pytest.fixture
def commit(storage: SqlAlchemyStorage) -> Send:
    """Enqueue messages in a unit of work."""

    async def send(*envelopes: Envelope, storage: SqlAlchemyStorage = storage) -> None:
        unit = storage.unit_of_work()
        unit.enqueue(envelopes)
        await unit.commit()
        await unit.close()

    return send


@contextmanager
def statements(about: sa.Table) -> Iterator[list[str]]:
    """Note the statements, on any connection, in which a table's name stands."""
    noted: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if f" {about.name} " in statement.replace("\n", " ") + " ":
            noted.append(statement.split(maxsplit=1)[0])

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield noted
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


async def execute(engine: AsyncEngine, statement: Any) -> None:
    async with engine.begin() as connection:
        await connection.execute(statement)


async def dead_rows(engine: AsyncEngine, tables: Tables) -> list[tuple[Any, ...]]:
    dead = tables.outbox_dead.c
    async with engine.connect() as connection:
        wanted: list[Any] = [dead.aggregateid, dead.payload, dead.attempts, dead.reason, dead.last_error]
        return [tuple(row) for row in (await connection.execute(sa.select(*wanted).order_by(dead.seq))).all()]


# Names and times ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["aiosqlite"])
@pytest.mark.parametrize("name", ["relay", "r" * 500, "й" * 40, "a\0b\ud800"])
async def test_every_name_will_do(storage: SqlAlchemyStorage, name: str) -> None:
    """It tells people who it is; what a database cannot keep of it is written in other characters."""
    leases = [storage.outbox.lease(name, ttl_s=TTL_S) for _ in range(2)]
    for lease in leases:
        await lease.renew()
        await lease.release()

    assert leases[0].node != leases[1].node
    assert all(len(lease.node) <= 64 and lease.node.startswith(ascii(name)[1:5]) for lease in leases)


@pytest.mark.parametrize("driver", ["aiosqlite"])
@pytest.mark.parametrize("ttl_s", [0, -1.0, float("nan")])
async def test_a_share_has_to_last(storage: SqlAlchemyStorage, ttl_s: float) -> None:
    """One that lapses at once would be nobody's."""
    with pytest.raises(InvalidOption, match="ttl_s"):
        storage.outbox.lease("relay", ttl_s=ttl_s)


# Statements -----------------------------------------------------------------------------------------------------------


async def test_a_batch_is_one_select_and_one_delete(
    lease: SqlAlchemyOutboxLease, tables: Tables, commit: Send, envelope: Callable[..., Envelope]
) -> None:
    """Nothing is done for each message, and nothing is locked."""
    await commit(*[envelope(f"{number}", f"key-{number}") for number in range(500)])
    with statements(tables.outbox) as noted:
        records = await lease.fetch(after=0, limit=500, without=["parked"])
        await lease.remove([record.position for record in records])

    assert 500 == len(records)
    assert ["SELECT", "DELETE"] == noted


@pytest.mark.parametrize("driver", ["asyncmy"])
async def test_mariadb_is_given_five_hundred_positions_at_a_time(
    lease: SqlAlchemyOutboxLease, tables: Tables, commit: Send, envelope: Callable[..., Envelope]
) -> None:
    """With a thousand it would read the whole table, whatever index it is told to use."""
    await commit(*[envelope(f"{number}") for number in range(1001)])
    records = await lease.fetch(after=0, limit=2000, without=[])
    with statements(tables.outbox) as noted:
        await lease.remove([record.position for record in records])

    assert ["DELETE"] * 3 == noted
    assert [] == await lease.fetch(after=0, limit=1, without=[])


# Rows of which no message can be made ---------------------------------------------------------------------------------


async def test_what_cannot_be_decoded_is_buried(
    lease: SqlAlchemyOutboxLease,
    engine: AsyncEngine,
    tables: Tables,
    commit: Send,
    envelope: Callable[..., Envelope],
) -> None:
    """With the reason, and as it was; it neither stops the relay nor makes a batch look like the last one."""
    outbox = tables.outbox
    await commit(*[envelope(f"{number}", f"{number}") for number in range(6)])
    broken = [{"cqrs_compressed": "deflate", "content-encoding": "deflate"}, ["no object"], {"ce_id": 5}]
    for number, headers in enumerate(broken, 1):
        await execute(engine, sa.update(outbox).where(outbox.c.aggregateid == f"{number}").values(headers=headers))
    records = await lease.fetch(after=0, limit=2, without=[])
    rest = await lease.fetch(after=records[-1].position, limit=10, without=[])
    dead = await dead_rows(engine, tables)

    assert ["0", "4"] == [record.envelope.key for record in records]
    assert ["5"] == [record.envelope.key for record in rest]
    assert [("1", b"1", 0, "undecodable"), ("2", b"2", 0, "undecodable"), ("3", b"3", 0, "undecodable")] == [
        row[:4] for row in dead
    ]
    assert "decompressing" in dead[0][4]
    assert "headers" in dead[1][4]
    assert "headers" in dead[2][4]


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_headers_that_are_no_json_are_buried(
    lease: SqlAlchemyOutboxLease,
    engine: AsyncEngine,
    commit: Send,
    envelope: Callable[..., Envelope],
) -> None:
    """SQLite keeps whatever is written; spaces around it do no harm."""
    await commit(envelope("1"), envelope("2"))
    headers = [record.envelope.headers for record in await lease.fetch(after=0, limit=2, without=[])]
    await execute(engine, sa.text("UPDATE outbox SET headers = '{' WHERE seq = 1"))
    await execute(engine, sa.text("UPDATE outbox SET headers = ' ' || headers || ' ' WHERE seq = 2"))
    records = await lease.fetch(after=0, limit=2, without=[])
    dead = await dead_rows_as_text(engine)

    assert [headers[1]] == [record.envelope.headers for record in records]
    assert ["undecodable"] == dead


@pytest.mark.parametrize("driver", ["aiosqlite"])
@pytest.mark.parametrize(
    "broken",
    [
        ('{"a": "1"', '"b": "2"}', '{"c": "3"}, {"d": "4"}'),
        ('{"a": "1', '2"}', '{"c": "3"}, {"d": "4"}'),
        ('[{"a": "1"}', '{"b": "2"}]', '{"c": "3"}, {"d": "4"}'),
        ('{"a": [0', "0]}", '{"c": "3"}, {"d": "4"}'),
        ('{"a": "1"}, 0, {"b": "2"}', "", '{"c": "3"}, 0, {"d": "4"}'),
    ],
)
async def test_what_broken_headers_make_together_is_no_message(
    *,
    lease: SqlAlchemyOutboxLease,
    engine: AsyncEngine,
    commit: Send,
    envelope: Callable[..., Envelope],
    broken: tuple[str, ...],
) -> None:
    """Those of a batch are read at once, and none is taken for another's."""
    await commit(*[envelope(f"{number}", f"{number}") for number in range(5)])
    for number, headers in enumerate(broken, 2):
        update = sa.text("UPDATE outbox SET headers = :headers WHERE seq = :number")
        await execute(engine, update.bindparams(headers=headers, number=number))
    records = await lease.fetch(after=0, limit=5, without=[])

    assert ["0", "4"] == [record.envelope.body.decode() for record in records]
    assert 2 == len({record.envelope.id for record in records})
    assert ["undecodable"] * 3 == await dead_rows_as_text(engine)


async def dead_rows_as_text(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return list(await connection.scalars(sa.text("SELECT reason FROM outbox_dead")))


async def test_compressed_bodies_are_given_as_they_were(
    engine: AsyncEngine, tables: Tables, commit: Send, envelope: Callable[..., Envelope]
) -> None:
    """And their headers without the marks; what a program has compressed itself stays so."""
    storage = SqlAlchemyStorage(engine, tables=tables, compressor=ZlibCompressor())
    own = Envelope("shop", zlib.compress(b"x" * 1000), None, {**envelope("").headers, "content-encoding": "deflate"})
    sent = [envelope("x" * 1000), envelope("short"), own]
    await commit(*sent, storage=storage)
    lease = storage.outbox.lease("relay", ttl_s=TTL_S)
    await lease.renew()
    await lease.rebalance()
    records = await lease.fetch(after=0, limit=10, without=[])
    await lease.release()

    assert sent == [record.envelope for record in records]
    assert list(await storage.outbox.pending()) == records


async def test_a_message_that_was_refused_too_often_is_kept(
    lease: SqlAlchemyOutboxLease,
    engine: AsyncEngine,
    tables: Tables,
    commit: Send,
    envelope: Callable[..., Envelope],
) -> None:
    """With how often it was, the last time included, and when it was given up."""
    message = envelope("1", "a", note="é")
    await commit(message)
    (record,) = await lease.fetch(after=0, limit=10, without=[])
    await lease.postpone(record.position, delay_s=0, error="first")
    await lease.bury(record.position, reason="attempts", error="second")
    dead = tables.outbox_dead
    async with engine.connect() as connection:
        row = (await connection.execute(sa.select(dead))).mappings().one()

    assert (record.position, 2, "attempts", "second") == tuple(
        row[name] for name in ("seq", "attempts", "reason", "last_error")
    )
    assert json.loads(json.dumps(row["headers"])) == message.headers
    assert row["failed_at"] >= row["created_at"]


# Connections ----------------------------------------------------------------------------------------------------------


async def test_a_lease_uses_none_of_the_programs_connections(
    database_url: str,
    tables: Tables,
    engine: AsyncEngine,  # noqa: ARG001 - has made the tables
) -> None:
    """Be the pool as small as it may: what is set on the relay's own does not become the program's."""
    small = make_engine(database_url, pool_size=1, max_overflow=0)
    async with small.connect() as connection:
        lease = SqlAlchemyOutboxLease(small, tables, "relay", ttl_s=TTL_S)
        await lease.renew()
        await lease.rebalance()
        await lease.fetch(after=0, limit=1, without=[])
        await lease.release()
        if connection.dialect.name == "postgresql":
            assert "on" == (await connection.execute(sa.text("SHOW enable_seqscan"))).scalar_one()
    await small.dispose()


async def test_connections_are_closed_with_the_engine(engine: AsyncEngine, tables: Tables) -> None:
    """Whoever forgets to release a share leaves nothing open; used again, the lease has to be rebalanced."""
    lease = SqlAlchemyOutboxLease(engine, tables, "relay", ttl_s=TTL_S)
    await lease.renew()
    await lease.rebalance()
    await engine.dispose()
    is_told = await lease.renew()
    has_grown = await lease.rebalance()
    await engine.dispose()

    assert is_told
    assert has_grown


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "asyncmy"])
async def test_a_connection_that_was_lost_is_made_anew(
    lease: SqlAlchemyOutboxLease, engine: AsyncEngine, commit: Send, envelope: Callable[..., Envelope]
) -> None:
    """Every method says in one way that the storage is not available, and works when it is called again."""
    await commit(envelope("1", "a"))
    (record,) = await lease.fetch(after=0, limit=1, without=[])
    calls: list[Callable[[], Awaitable[object]]] = [
        lease.renew,
        lease.rebalance,
        lambda: lease.fetch(after=0, limit=1, without=[]),
        lease.parked,
        lambda: lease.remove([0]),
        lambda: lease.postpone(record.position, delay_s=0, error=""),
        lambda: lease.bury(record.position, reason="attempts", error=""),
    ]
    for call in calls:
        for revive in (lease.parked, lambda: lease.remove([0])):
            with suppress(StorageUnavailable):
                await revive()
            await revive()
        assert TWO_LINES == await kill_others(engine)
        with pytest.raises(StorageUnavailable):
            await call()
        await call()
    with suppress(StorageUnavailable):
        await lease.parked()

    assert [] == await lease.fetch(after=0, limit=1, without=[])


async def kill_others(engine: AsyncEngine) -> int:
    """Let the server end all other connections to the database; tells how many it were."""
    async with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            text = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() "
                "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            killed: int = (await connection.execute(sa.text(text))).scalar_one()
            return killed
        text = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        ids = list(await connection.scalars(sa.text(text)))
        for number in ids:
            await connection.execute(sa.text(f"KILL {number}"))
        return len(ids)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "asyncmy"])
async def test_a_server_that_is_not_there_is_not_available(database_url: str, tables: Tables) -> None:
    """Whatever its driver says of it; and a share that was never held is released without it."""
    url = sa.make_url(database_url).set(host="127.0.0.1", port=1).render_as_string(hide_password=False)
    engine = make_engine(url)
    lease = SqlAlchemyOutboxLease(engine, tables, "relay", ttl_s=TTL_S)
    with pytest.raises(StorageUnavailable, match="127.0.0.1:1") as caught:
        await lease.renew()
    await lease.release()
    await engine.dispose()

    assert f"{sa.make_url(url).username}@" not in str(caught.value)


@pytest.mark.parametrize("driver", ["asyncmy"])
async def test_a_database_without_skip_locked_is_refused(
    engine: AsyncEngine, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name and version, with the one that would do."""
    monkeypatch.setattr(engine.dialect, "server_version_info", (10, 5, 29))
    lease = SqlAlchemyOutboxLease(engine, tables, "relay", ttl_s=TTL_S)
    with pytest.raises(StorageUnusable, match=r"MariaDB 10\.5\.29 is too old.*10\.6"):
        await lease.renew()
    await lease.release()


async def test_an_error_that_does_not_pass_is_not_hidden(engine: AsyncEngine, tables: Tables) -> None:
    """A table that is missing does not come back by waiting; the lease can be released all the same."""
    if engine.dialect.name == "sqlite" and sys.version_info < (3, 11):
        pytest.skip("Python 3.10 does not tell a file that is locked from a table that is missing")
    lease = SqlAlchemyOutboxLease(engine, tables, "relay", ttl_s=TTL_S)
    await lease.renew()
    await lease.rebalance()
    async with engine.begin() as connection:
        await connection.run_sync(tables.outbox.drop)
    with pytest.raises(sa.exc.DBAPIError):
        await lease.fetch(after=0, limit=1, without=[])
    await lease.release()
