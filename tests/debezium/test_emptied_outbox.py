"""With ``sent_by="debezium"`` a transaction takes out of the outbox what it puts there: Debezium reads the log."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

import cqrs_core as cqrs
from cqrs_core.errors import StorageUnusable
from cqrs_core.outbox_keeper import Selection
from cqrs_core.relay import OutboxRelay
from cqrs_sqla import SqlAlchemyOutboxedEventRepository, ZlibCompressor

ROWS = "SELECT count(*) FROM outbox"


class OrderPlaced(cqrs.NotificationEvent[str]):
    event_name: str = "OrderPlaced"


@pytest.fixture(params=["asyncpg", "psycopg"])
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def test_what_was_committed_is_sent_and_nothing_is_left(
    *, shop: Any, topics: Any, topic: str, message: Any, driver: str
) -> None:
    """One message and many, by units and by hand, in order; of what was rolled back nobody hears."""
    await shop.connect()
    storage = shop.storage(driver, sent_by="debezium", compressor=ZlibCompressor())
    await storage.start()
    await shop.write(message("0", "a"), storage=storage)
    await shop.write(*(message(f"{number}", "a") for number in range(1, 1200)), storage=storage)
    unit = storage.unit_of_work()
    unit.enqueue([message("never", "a"), message("never", "a")])
    await unit.rollback()
    await unit.close()
    await shop.write(message("x" * 5000, "a"), storage=storage)

    assert 0 == await shop.execute(ROWS)
    records = await topics.read(topic, 1201)
    assert [*(b"%d" % number for number in range(1200)), b"x" * 5000] == [record.value for record in records]


async def test_those_that_are_written_by_hand_are_sent_too(shop: Any, topics: Any, topic: str, driver: str) -> None:
    """Through a session and through a connection, whose tables say who sends."""
    await shop.connect()
    storage = shop.storage(driver, sent_by="debezium")
    engine = shop.open_engine(driver)
    async with AsyncSession(engine) as session:
        repository = SqlAlchemyOutboxedEventRepository(session, tables=storage.tables)
        for number in "12":
            repository.add(OrderPlaced(payload=number, topic=topic, key="a"))
        await repository.commit()
    async with engine.begin() as connection:
        by_connection = SqlAlchemyOutboxedEventRepository(connection, tables=storage.tables)  # type: ignore[arg-type]  # a connection does what is used of a session
        by_connection.add(OrderPlaced(payload="3", topic=topic, key="a"))

    assert 0 == await shop.execute(ROWS)
    assert [b'"1"', b'"2"', b'"3"'] == [record.value for record in await topics.read(topic, 3)]


async def test_the_dead_are_sent_by_debezium_when_they_are_requeued(
    *, bare_shop: Any, topics: Any, topic: str, message: Any
) -> None:
    """Those that a relay had given up before."""
    await bare_shop.write(message("1", "a"), message("2", "a"))
    before = bare_shop.storage()
    lease = before.outbox.lease("relay", ttl_s=30)
    for record in await before.outbox.pending():
        await lease.bury(record.position, reason="permanent", error="refused")
    await lease.release()
    storage = bare_shop.storage(sent_by="debezium")
    await bare_shop.prepare()
    await bare_shop.connect()

    assert 2 == await storage.outbox_keeper.requeue(Selection())
    assert [b"1", b"2"] == [record.value for record in await topics.read(topic, 2)]
    assert 0 == await bare_shop.execute(ROWS)


async def test_moving_over_loses_nothing_and_keeps_the_order(
    *, bare_shop: Any, topics: Any, topic: str, message: Any, broker: Any
) -> None:
    """As docs/debezium.md has it; what the relay has sent since the log is kept comes again, under the same ids."""
    await bare_shop.write(message("0", "a"))
    await bare_shop.prepare()
    await bare_shop.write(message("1", "a"), message("2", "a"))
    storage = bare_shop.storage(sent_by="debezium")
    await storage.start()
    await bare_shop.write(message("3", "a"), storage=storage)
    before = bare_shop.storage()
    await OutboxRelay(before.outbox.lease("relay", ttl_s=30), broker).run_once()
    assert 0 == await bare_shop.execute(ROWS)

    await bare_shop.connect()

    assert [b"0", b"1", b"2", b"1", b"2", b"3"] == [record.value for record in await topics.read(topic, 6)]
    (reader,) = (await storage.outbox_keeper.status()).readers
    assert (bare_shop.name, True) == (reader.name, reader.is_connected)


@pytest.mark.parametrize("is_made_anew", [False, True])
async def test_a_slot_that_was_lost_is_told(
    *, shop: Any, topics: Any, topic: str, message: Any, is_made_anew: bool
) -> None:
    """And the connector does not go on: it would pass over what was written since it had read last."""
    await shop.connect(heartbeat_interval_ms="200")
    storage = shop.storage(sent_by="debezium")
    await shop.write(message("sent", "a"), storage=storage)
    await topics.read(topic, 1)
    await shop.has_read_until(await shop.execute("SELECT pg_current_wal_lsn()::text"))
    await shop.disconnect()
    await shop.drop_slot()
    with pytest.raises(StorageUnusable, match="no replication slot"):
        await storage.start()
    await shop.write(message("lost", "a"), storage=storage)  # by a program that runs already
    if is_made_anew:
        await shop.execute(storage.debezium_config().preparation[1])
    await shop.post(slot_max_retries="0")  # it would try for a minute

    async def has_stopped() -> bool:
        return "no longer available on the server" in await shop.failure()

    await shop.until(has_stopped, "it says that something is lost")
