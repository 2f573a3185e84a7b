"""The blocks that drain our outbox: by the relay; and, on PostgreSQL, by the same protocol on raw asyncpg."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING

import asyncpg
import sqlalchemy as sa
from database import Database
from draining import DRAINS, Drain, draining
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
        drains = AsyncExitStack()
        found = database.run(drains.enter_async_context(_drains(url, tables)))
        yield {
            name: database.block(draining(database, SqlAlchemyOutboxedEventRepository, order_placed, drain))
            for name, drain in found.items()
        }
        database.run(drains.aclose())


@asynccontextmanager
async def _drains(url: str, tables: Tables) -> AsyncIterator[dict[str, Draining]]:
    engine = make_engine(url)
    lease = KeptLease(engine, tables, "bench", ttl_s=_TTL_S)
    drains = {drain.key: _by_the_relay(lease, drain) for drain in DRAINS}
    raw: list[asyncpg.Connection] = []
    if engine.dialect.name == "postgresql":
        raw = [await asyncpg.connect(url, server_settings=_SETTINGS) for _ in range(2)]
        drains |= {f"{RAW}{drain.key}": _by_hand(raw[0], raw[1], drain) for drain in DRAINS}
    yield drains
    for connection in raw:
        await connection.close()
    await lease.close()
    await engine.dispose()


def _by_the_relay(lease: KeptLease, drain: Drain) -> Draining:
    async def work(_: int) -> int:
        return await OutboxRelay(lease, Sink(drain), options=RelayOptions(batch_size=drain.batch)).run_once()

    return work


# What the relay's statements come to, when it has all slots and nothing waits, and how it sets its connections.
_SETTINGS = dict.fromkeys(("enable_seqscan", "enable_bitmapscan", "enable_sort", "jit"), "off")
_SELECT = """
    SELECT seq, aggregatetype, aggregateid, payload, headers::text, created_at, attempts FROM outbox
    WHERE seq > $1 AND (available_at IS NULL OR available_at <= clock_timestamp()) ORDER BY seq LIMIT $2
"""
_DELETE = "DELETE FROM outbox WHERE seq = ANY($1)"


def _by_hand(reading: asyncpg.Connection, deleting: asyncpg.Connection, drain: Drain) -> Draining:
    """Read a batch while that before it is sent and deleted; of the rows, nothing is made."""

    async def work(_: int) -> int:
        sent = 0
        rows = await reading.fetch(_SELECT, 0, drain.batch)
        while rows:
            following = asyncio.ensure_future(reading.fetch(_SELECT, rows[-1]["seq"], drain.batch))
            await drain.answer()
            await deleting.execute(_DELETE, [row["seq"] for row in rows])
            sent += len(rows)
            rows = await following
        return sent

    return work
