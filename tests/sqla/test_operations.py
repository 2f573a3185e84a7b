"""What the conformance suite does not see of the keeper: batches, kills, relays beside it, what cannot be decoded."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.concurrency import Gate
from cqrs_core.envelope import Envelope
from cqrs_core.errors import InvalidOption, StorageUnavailable, StorageUnusable
from cqrs_core.outbox_keeper import Selection
from cqrs_core.relay import OutboxRelay, RelayOptions
from cqrs_sqla import SqlAlchemyStorage, ZlibCompressor, make_engine
from cqrs_sqla.keeper import SqlAlchemyOutboxKeeper
from cqrs_sqla.tables import Tables

ALL = Selection()
Send = Callable[..., Awaitable[None]]


@pytest.fixture
def commit(storage: SqlAlchemyStorage) -> Send:
    """Enqueue messages in a unit of work."""

    async def send(*envelopes: Envelope, storage: SqlAlchemyStorage = storage) -> None:
        unit = storage.unit_of_work()
        unit.enqueue(envelopes)
        await unit.commit()
        await unit.close()

    return send


@pytest.fixture
def kill_off(
    storage: SqlAlchemyStorage, commit: Send, envelope: Callable[..., Envelope]
) -> Callable[..., Awaitable[Any]]:
    """Enqueue messages of these bodies, and bury them, the last first."""

    async def bury(*bodies: str) -> None:
        await commit(*[envelope(body, "a") for body in bodies])
        lease = storage.outbox.lease("relay", ttl_s=3600)
        for record in reversed(await storage.outbox.pending()):
            await lease.bury(record.position, reason="permanent", error="refused")
        await lease.release()

    return bury


def keeper_of(engine: AsyncEngine, tables: Tables, *, batch_size: int = 2) -> SqlAlchemyOutboxKeeper:
    return SqlAlchemyOutboxKeeper(engine, tables, "db", batch_size=batch_size)


async def rows(engine: AsyncEngine, table: sa.Table, *names: str) -> list[Any]:
    statement = sa.select(*[table.c[name] for name in names]).order_by(table.c.seq)
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        return [tuple(row) for row in (await connection.execute(statement)).all()]


# Batches --------------------------------------------------------------------------------------------------------------


async def test_what_is_requeued_in_batches_keeps_its_order(
    engine: AsyncEngine, tables: Tables, kill_off: Send, bodies: Callable[[], Awaitable[list[str]]]
) -> None:
    """That of the outbox, and not that in which they were given up."""
    await kill_off("1", "2", "3", "4", "5")

    assert 5 == await keeper_of(engine, tables).requeue(ALL)
    assert ["1", "2", "3", "4", "5"] == await bodies()


async def test_purge_and_let_go_work_in_batches(
    *, engine: AsyncEngine, tables: Tables, storage: SqlAlchemyStorage, commit: Send, kill_off: Send, envelope: Any
) -> None:
    """As long as there is something, and no longer."""
    keeper = keeper_of(engine, tables)
    await kill_off("1", "2", "3", "4", "5")
    await commit(*[envelope(f"{number}") for number in range(5)])
    lease = storage.outbox.lease("relay", ttl_s=3600)
    for record in await storage.outbox.pending():
        await lease.postpone(record.position, delay_s=None, error="refused")
    await lease.release()

    assert 5 == await keeper.let_go(ALL)
    assert 0 == await keeper.purge(timedelta(days=1), ALL)
    assert 5 == await keeper.purge(timedelta(seconds=-60), ALL)  # given up before a minute from now
    assert (5, 0) == ((await keeper.status()).waiting, (await keeper.status()).dead)


async def test_a_row_is_moved_as_it_is(
    engine: AsyncEngine, tables: Tables, commit: Send, envelope: Callable[..., Envelope]
) -> None:
    """Compressed stays compressed: whoever tails the table finds what was there."""
    storage = SqlAlchemyStorage(engine, tables=tables, compressor=ZlibCompressor())
    await commit(envelope("x" * 1000, "a", имя="значение"), storage=storage)
    content = ("id", "slot", "aggregatetype", "aggregateid", "type", "payload", "headers", "attempts", "available_at")
    before = await rows(engine, tables.outbox, *content)
    lease = storage.outbox.lease("relay", ttl_s=3600)
    (record,) = await storage.outbox.pending()
    await lease.postpone(record.position, delay_s=None, error="refused")
    await lease.bury(record.position, reason="permanent", error="refused")
    await lease.release()
    (shown,) = await storage.outbox_keeper.look(ALL, among_dead=True)
    await storage.outbox_keeper.requeue(ALL)

    assert b"x" * 1000 == shown.record.envelope.body
    assert len(before[0][5]) < 100
    assert before == await rows(engine, tables.outbox, *content)


@pytest.mark.parametrize("driver", ["aiosqlite"])
@pytest.mark.parametrize("batch_size", [0, -1])
async def test_a_batch_is_of_one_message_at_least(batch_size: int, empty_engine: AsyncEngine, tables: Tables) -> None:
    with pytest.raises(InvalidOption, match="batch_size"):
        keeper_of(empty_engine, tables, batch_size=batch_size)


# Killed, and beside others --------------------------------------------------------------------------------------------

REQUEUE = """
import asyncio, os, signal, sys

import sqlalchemy as sa

from cqrs_core.outbox_keeper import Selection
from cqrs_sqla import define_tables, make_engine
from cqrs_sqla.keeper import SqlAlchemyOutboxKeeper

deletions = 0

def die(connection, cursor, statement, *rest):
    global deletions
    deletions += statement.startswith("DELETE")
    if deletions == 2:  # of the second batch, whose messages are in both tables by now, if that were committed
        os.kill(os.getpid(), signal.SIGKILL)

sa.event.listen(sa.Engine, "before_cursor_execute", die)
engine = make_engine(sys.argv[1])
keeper = SqlAlchemyOutboxKeeper(engine, define_tables(sa.MetaData()), "db", batch_size=2)
asyncio.run(keeper.requeue(Selection()))
"""


async def test_who_is_killed_while_requeuing_loses_nothing(
    *,
    engine: AsyncEngine,
    tables: Tables,
    database_url: str,
    kill_off: Send,
    bodies: Callable[[], Awaitable[list[str]]],
    tmp_path: Path,
) -> None:
    """By -9, in the middle of the second batch: each message is in one of the two tables, and the next goes on."""
    await kill_off("1", "2", "3", "4", "5")
    script = tmp_path / "requeue.py"
    script.write_text(REQUEUE, encoding="utf-8")
    ran = await asyncio.to_thread(
        subprocess.run, [sys.executable, str(script), database_url], capture_output=True, text=True, check=False
    )

    assert -signal.SIGKILL == ran.returncode, ran.stderr
    assert ["1", "2"] == await bodies()
    assert [(b"3",), (b"4",), (b"5",)] == await rows(engine, tables.outbox_dead, "payload")

    assert 3 == await keeper_of(engine, tables).requeue(ALL)
    assert ["1", "2", "3", "4", "5"] == await bodies()


class Mended:
    """A broker that refuses everything for good until it is mended."""

    is_durable = True
    keeps_order_after_failure = True

    def __init__(self) -> None:
        self.is_mended = False
        self.bodies: list[str] = []

    async def send_many(self, envelopes: list[Envelope]) -> list[SendOutcome]:
        if not self.is_mended:
            return [SendOutcome(SendStatus.PERMANENT, ValueError("No."))] * len(envelopes)
        self.bodies += [envelope.body.decode() for envelope in envelopes]
        return [SendOutcome(SendStatus.DELIVERED)] * len(envelopes)


@pytest.mark.parametrize("driver", ["asyncpg", "asyncmy", "aiosqlite"])
async def test_requeuing_ends_though_a_relay_gives_everything_up_again(
    *,
    engine: AsyncEngine,
    tables: Tables,
    storage: SqlAlchemyStorage,
    kill_off: Send,
    commit: Send,
    envelope: Callable[..., Envelope],
) -> None:
    """Beside a relay, and a program that writes: nothing is lost, and when the broker takes it, all is sent."""
    numbers = [f"{number}" for number in range(20)]
    await kill_off(*numbers)
    broker: Any = Mended()
    options = RelayOptions(shortest_poll_s=0.001, longest_poll_s=0.001)
    relay = OutboxRelay(storage.outbox.lease("relay", ttl_s=options.lease_ttl_s), broker, options=options)
    keeper, stopping = keeper_of(engine, tables, batch_size=3), Gate()

    async def operate() -> None:
        assert 20 == await keeper.requeue(ALL)
        await commit(envelope("new", "a"))
        while (await keeper.status()).waiting:  # noqa: ASYNC110 - a relay tells nobody
            await asyncio.sleep(0)
        assert 21 == (await keeper.status()).dead
        broker.is_mended = True
        assert 21 == await keeper.requeue(ALL)
        while (await keeper.status()).waiting:  # noqa: ASYNC110 - a relay tells nobody
            await asyncio.sleep(0)
        stopping.open()

    await asyncio.gather(relay.run(stopping), operate())

    assert sorted([*numbers, "new"]) == sorted(set(broker.bodies))
    assert 0 == (await keeper.status()).dead


async def test_looking_waits_for_nobody(
    engine: AsyncEngine, tables: Tables, storage: SqlAlchemyStorage, books: Any, envelope: Callable[..., Envelope]
) -> None:
    """Nor sees what is not committed: on SQLite, too, where one transaction writes at a time."""
    unit = storage.unit_of_work()
    unit.get(AsyncSession).add(books("Emma"))
    unit.enqueue([envelope("1")])
    await unit.flush()
    keeper = keeper_of(engine, tables)

    assert 0 == (await keeper.status()).waiting
    assert [] == list(await keeper.look(ALL))

    await unit.rollback()
    await unit.close()


# What is wrong --------------------------------------------------------------------------------------------------------


class Rot13:
    encoding = "rot13"

    def compress(self, value: bytes) -> bytes:
        return value[:10]

    def decompress(self, value: bytes) -> bytes:
        return value


@pytest.mark.parametrize("driver", ["asyncpg", "asyncmy", "aiosqlite"])
async def test_what_cannot_be_decoded_is_shown_and_requeued_all_the_same(
    engine: AsyncEngine, tables: Tables, storage: SqlAlchemyStorage, commit: Send, envelope: Callable[..., Envelope]
) -> None:
    """As it is kept, under its id: somebody has to see it."""
    writer = SqlAlchemyStorage(engine, tables=tables, compressor=Rot13())  # type: ignore[arg-type]  # it has what is used
    sent = envelope("x" * 1000, "a")
    await commit(sent, storage=writer)
    lease = storage.outbox.lease("relay", ttl_s=3600)
    await lease.renew()
    await lease.rebalance()

    assert [] == list(await lease.fetch(after=0, limit=10, without=[]))

    await lease.release()
    (entry,) = await storage.outbox_keeper.look(ALL, among_dead=True)

    assert (b"x" * 10, "undecodable") == (entry.record.envelope.body, entry.reason)
    assert (sent.id, "a", "shop") == (entry.record.envelope.id, entry.record.envelope.key, entry.record.envelope.topic)
    assert "rot13" in str(entry.error)

    assert 1 == await storage.outbox_keeper.requeue(ALL)
    (found,) = await writer.outbox.pending()

    assert sent.id == found.envelope.id


async def test_missing_tables_are_told_with_the_cure(empty_engine: AsyncEngine, tables: Tables) -> None:
    """By every method: who asks has not started the storage."""
    keeper = SqlAlchemyStorage(empty_engine, tables=tables).outbox_keeper
    for ask in (keeper.status(), keeper.look(ALL), keeper.requeue(ALL), keeper.let_go(ALL)):
        with pytest.raises(StorageUnusable, match=r"There is no table outbox\w*\. Migrate, or run: CREATE TABLE"):
            await ask


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_postgresql_tells_what_keeps_it_from_sweeping(
    storage: SqlAlchemyStorage, engine: AsyncEngine, kill_off: Send
) -> None:
    """Rows that were removed and are still in its way, and how old the transaction is that needs them."""
    keeper = storage.outbox_keeper
    async with engine.connect() as old:
        await old.execution_options(isolation_level="REPEATABLE READ")
        await old.execute(sa.text("SELECT 1"))
        await kill_off("1", "2", "3")  # which leave the outbox for the dead, in a transaction each

        async def is_told() -> bool:
            figures = (await keeper.status()).figures
            return figures["dead_rows"] >= 3 and figures["horizon_age"] >= 3

        async def wait() -> None:
            while not await is_told():  # noqa: ASYNC110 - they are counted a little late
                await asyncio.sleep(0)

        await asyncio.wait_for(wait(), 30)


@pytest.mark.parametrize("driver", ["asyncmy", "aiosqlite"])
async def test_the_others_tell_nothing_more(storage: SqlAlchemyStorage) -> None:
    """They have no figures that everybody may see."""
    assert {} == (await storage.outbox_keeper.status()).figures


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_a_keeper_that_is_cancelled_while_it_connects_loses_no_connection(
    engine: AsyncEngine, tables: Tables
) -> None:
    """The engine's own fixture looks whether all have come back."""
    keeper = keeper_of(engine, tables)
    for steps in range(40):
        asking = asyncio.ensure_future(keeper.status())
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])

    assert 0 == (await keeper.status()).waiting


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+asyncpg://test:secret@127.0.0.1:1/x",
        "postgresql+psycopg://test:secret@127.0.0.1:1/x",
        "mysql+asyncmy://test:secret@127.0.0.1:1/x",
        "sqlite+aiosqlite:////nowhere/at/all.db",
    ],
)
async def test_a_database_that_is_not_there_is_unavailable(
    address: str, tables: Tables, threads_ended: Callable[[], Awaitable[None]]
) -> None:
    """And its password is nobody's business."""
    pytest.importorskip(sa.make_url(address).get_driver_name())
    storage = SqlAlchemyStorage(make_engine(address), tables=tables, owns_engine=True)
    with pytest.raises(StorageUnavailable) as caught:
        await storage.outbox_keeper.status()
    await storage.stop()
    await threads_ended()

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "asyncmy"])
async def test_a_connection_that_breaks_is_told_as_that(
    engine: AsyncEngine, tables: Tables, kill_off: Send, bodies: Callable[[], Awaitable[list[str]]]
) -> None:
    """The batch at hand is undone; called again, it goes on."""
    await kill_off("1", "2", "3")
    own = "connection_id()" if engine.dialect.name == "mysql" else "pg_backend_pid()"
    deletions = 0

    def break_it(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        nonlocal deletions
        if statement.startswith("DELETE"):
            deletions += 1
            if deletions == 2:
                number = connection.exec_driver_sql(f"SELECT {own}").scalar_one()
                kill = f"KILL {number}" if engine.dialect.name == "mysql" else f"SELECT pg_terminate_backend({number})"
                connection.exec_driver_sql(kill)

    sa.event.listen(engine.sync_engine, "before_cursor_execute", break_it)
    with pytest.raises(StorageUnavailable):
        await keeper_of(engine, tables).requeue(ALL)
    sa.event.remove(engine.sync_engine, "before_cursor_execute", break_it)

    assert ["1", "2"] == await bodies()
    assert 1 == await keeper_of(engine, tables).requeue(ALL)
    assert ["1", "2", "3"] == await bodies()
