"""The blocks that drain our outbox: by the relay; and, on PostgreSQL, by the same protocol on raw asyncpg."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING

import asyncpg
import sqlalchemy as sa
from database import Database
from draining import Drain, draining, drains
from environment import KAFKA_SERVER
from orders import TOPIC
from outbox_ours import order_placed

import cqrs_core as cqrs
from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.relay import OutboxRelay, RelayOptions
from cqrs_sqla import SqlAlchemyOutboxedEventRepository, define_tables, make_engine
from cqrs_sqla.relaying import SqlAlchemyOutboxLease

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from blocks import Block

    from cqrs_core.envelope import Envelope
    from cqrs_sqla.tables import Tables

    Draining = Callable[[int], Awaitable[int]]
    Sending = Callable[[Sequence[asyncpg.Record]], Awaitable[None]]

#: Goes before the names of the blocks on raw asyncpg.
RAW = "raw "
#: How long the share is kept: for longer than all of it takes.
_TTL_S = 24 * 3600.0
_DELIVERED = SendOutcome(SendStatus.DELIVERED)


class Sink(cqrs.MemoryBroker):
    """Takes a batch as a broker does to which it is pipelined, and forgets it."""

    def __init__(self, drain: Drain) -> None:
        super().__init__()
        self._drain = drain

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        await self._drain.answer()
        return [_DELIVERED] * len(envelopes)


class KeptLease(SqlAlchemyOutboxLease):
    """Keeps its connections between the blocks, as that of a relay does that goes on: to connect is not measured."""

    async def release(self) -> None:
        """Asked for by each ``run_once()``."""

    async def close(self) -> None:
        await super().release()


@contextmanager
def open_relays(url: str) -> Iterator[dict[str, Block]]:
    """Make the blocks, named by the keys of their drains, on an empty database."""
    tables = define_tables(sa.MetaData())
    # Who has which share is not forgotten between the blocks.
    kept = {tables.outbox_slot.fullname, tables.outbox_relay.fullname}
    with closing(Database(url, tables.metadata, kept=kept)) as database:
        stack = AsyncExitStack()
        found = database.run(stack.enter_async_context(_drains(url, tables)))
        yield {
            name: database.block(draining(database, SqlAlchemyOutboxedEventRepository, order_placed, drain))
            for name, drain in found.items()
        }
        database.run(stack.aclose())


@asynccontextmanager
async def _drains(url: str, tables: Tables) -> AsyncIterator[dict[str, Draining]]:
    async with AsyncExitStack() as stack:
        engine = make_engine(url)
        stack.push_async_callback(engine.dispose)
        lease = KeptLease(engine, tables, "bench", ttl_s=_TTL_S)
        stack.push_async_callback(lease.close)
        brokers = {drain: await _open_broker(stack, drain) for drain in drains()}
        works = {drain.key: _by_the_relay(lease, broker, drain) for drain, broker in brokers.items()}
        if engine.dialect.name == "postgresql":
            raw = [await asyncpg.connect(url, server_settings=_SETTINGS) for _ in range(2)]
            for connection in raw:
                stack.push_async_callback(connection.close)
            for drain in drains():
                works[f"{RAW}{drain.key}"] = _by_hand(raw[0], raw[1], drain, await _open_sending(stack, drain))
        yield works


async def _open_broker(stack: AsyncExitStack, drain: Drain) -> cqrs.Broker:
    if not drain.is_kafka:
        return Sink(drain)
    from topics import make_topic  # noqa: PLC0415 - where there is a Kafka

    from cqrs_kafka import KafkaBroker  # noqa: PLC0415 - as above

    await make_topic(os.environ[KAFKA_SERVER], TOPIC, partitions=1)
    broker = KafkaBroker(os.environ[KAFKA_SERVER])
    stack.push_async_callback(broker.stop)
    await broker.start()
    return broker


async def _open_sending(stack: AsyncExitStack, drain: Drain) -> Sending:
    """Make what takes a batch of rows to the broker, by hand: to a Kafka, in turn, and confirmed together."""
    if not drain.is_kafka:
        return lambda _: drain.answer()
    from aiokafka import AIOKafkaProducer  # noqa: PLC0415 - as above

    producer = AIOKafkaProducer(bootstrap_servers=os.environ[KAFKA_SERVER], enable_idempotence=True)
    stack.push_async_callback(producer.stop)
    await producer.start()

    async def send(rows: Sequence[asyncpg.Record]) -> None:
        confirmed = []
        for row in rows:
            key = None if row["aggregateid"] is None else row["aggregateid"].encode()
            headers = [(name, value.encode()) for name, value in json.loads(row["headers"]).items()]
            confirmed.append(await producer.send(row["aggregatetype"], row["payload"], key=key, headers=headers))
        await asyncio.gather(*confirmed)

    return send


def _by_the_relay(lease: KeptLease, broker: cqrs.Broker, drain: Drain) -> Draining:
    async def work(_: int) -> int:
        return await OutboxRelay(lease, broker, options=RelayOptions(batch_size=drain.batch)).run_once()

    return work


# What the relay's statements come to, when it has all slots and nothing waits, and how it sets its connections.
_SETTINGS = dict.fromkeys(("enable_seqscan", "enable_bitmapscan", "enable_sort", "jit"), "off")
_SELECT = """
    SELECT seq, aggregatetype, aggregateid, payload, headers::text AS headers, created_at, attempts FROM outbox
    WHERE seq > $1 AND (available_at IS NULL OR available_at <= clock_timestamp()) ORDER BY seq LIMIT $2
"""
_DELETE = "DELETE FROM outbox WHERE seq = ANY($1)"


def _by_hand(reading: asyncpg.Connection, deleting: asyncpg.Connection, drain: Drain, send: Sending) -> Draining:
    """Read a batch while that before it is sent and deleted; of the rows, no more is made than the broker needs."""

    async def work(_: int) -> int:
        sent = 0
        rows = await reading.fetch(_SELECT, 0, drain.batch)
        while rows:
            following = asyncio.ensure_future(reading.fetch(_SELECT, rows[-1]["seq"], drain.batch))
            await send(rows)
            await deleting.execute(_DELETE, [row["seq"] for row in rows])
            sent += len(rows)
            rows = await following
        return sent

    return work
