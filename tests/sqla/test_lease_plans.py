"""That a relay stays quick: when the outbox was empty while its plans were made, and when nothing can be swept."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_sqla.relaying.lines import Line
from cqrs_sqla.relaying.messages import Messages
from cqrs_sqla.relaying.preparing import prepare
from cqrs_sqla.slots import SLOTS
from cqrs_sqla.tables import Tables

ALL = range(SLOTS)
MOST = range(SLOTS - 1)
BATCH = 500
#: A driver prepares what it was given five times, and PostgreSQL keeps a plan that it has made five times.
TIMES = 12
#: On the empty outbox and on the full one, each time one that reads and one that removes.
STATEMENTS = 2 * (4 * TIMES + TIMES)
BACKLOG = 100_000

_FILLING = {
    "postgresql": (
        "INSERT INTO outbox (id, slot, aggregatetype, aggregateid, type, payload, headers, created_at) "
        "SELECT gen_random_uuid(), g % 63, 'shop', 'key-' || g % 1000, 'Happened', 'body', '{}', now() "
        "FROM generate_series(1, :count) AS g"
    ),
    "mysql": (
        "INSERT INTO outbox (id, slot, aggregatetype, aggregateid, type, payload, headers, created_at) "
        "SELECT REPLACE(UUID(), '-', ''), seq % 63, 'shop', 'key', 'Happened', 'body', '{}', UTC_TIMESTAMP(6) "
        "FROM seq_1_to_100000 LIMIT :count"
    ),
}


async def fill(engine: AsyncEngine, count: int) -> None:
    async with engine.begin() as connection:
        await connection.execute(sa.text(_FILLING[connection.dialect.name]), {"count": count})


async def work(line: Line, messages: Messages, *, times: int) -> None:
    """Read and remove batches, with and without keys left out, of all slots and of most."""
    for number in range(times):
        slots = ALL if number % 2 else MOST
        without = ["parked"] if number % 4 > 1 else []
        rows = await line.run(lambda c: messages.fetch(c, slots, after=0, limit=BATCH, without=without))  # noqa: B023 - awaited at once
        await line.run(lambda c: messages.remove(c, [row[0] for row in rows] or [0]))  # noqa: B023 - as above


async def whole_reads(engine: AsyncEngine, line: Line) -> int:
    """How often the outbox was read as a whole, for all that was done on *line*, which ends."""
    await line.close()
    reads = "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'outbox'"
    while True:
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            sequential, by_index = (await connection.execute(sa.text(reads))).one()
            await connection.invalidate()  # what it has read it would be told again
        if sequential + by_index >= STATEMENTS:  # they are counted a little late
            return int(sequential)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("is_prepared", [True, False])
async def test_plans_of_an_empty_outbox_do_no_harm(engine: AsyncEngine, tables: Tables, is_prepared: bool) -> None:  # noqa: FBT001 - a parameter
    """On PostgreSQL, the relay's own connections never read it as a whole; set otherwise, they would."""
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(sa.text("ALTER TABLE outbox SET (autovacuum_enabled = false)"))
        await connection.execute(sa.text("VACUUM ANALYZE outbox"))
    line = Line(engine, "test", prepare if is_prepared else lambda _: None)
    messages = Messages(tables, engine.dialect)
    await work(line, messages, times=4 * TIMES)
    await fill(engine, 20_000)
    await work(line, messages, times=TIMES)

    assert is_prepared == (await whole_reads(engine, line) == 0)


@pytest.mark.parametrize("driver", ["asyncmy"])
async def test_mariadb_reads_what_it_is_asked_for(engine: AsyncEngine, tables: Tables) -> None:
    """Though it believes that the outbox is empty."""
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(sa.text("ANALYZE TABLE outbox"))
    await fill(engine, 20_000)
    line = Line(engine, "test", prepare)
    await work(line, Messages(tables, engine.dialect), times=TIMES)
    rows = await line.run(lambda c: c.execute(sa.text("SHOW SESSION STATUS LIKE 'Handler_read%'")).all())
    read = {name: int(count) for name, count in rows}
    await line.close()

    assert read["Handler_read_rnd_next"] < BATCH
    assert read["Handler_read_next"] + read["Handler_read_key"] < 4 * TIMES * BATCH


@pytest.mark.parametrize("driver", ["asyncpg"])
async def test_an_old_snapshot_does_not_slow_the_relay_down(engine: AsyncEngine, tables: Tables) -> None:
    """With 100,000 messages that cannot be swept away: it goes on behind what it has read."""
    line, messages = Line(engine, "test", prepare), Messages(tables, engine.dialect)
    times: list[float] = []
    last = 0
    async with engine.connect() as old:
        await old.execution_options(isolation_level="REPEATABLE READ")
        await old.execute(sa.select(sa.func.count()).select_from(tables.outbox))
        for _ in range(BACKLOG // 5000):
            await fill(engine, 5000)
            for _ in range(5000 // BATCH):
                began = perf_counter()
                rows = await line.run(lambda c: messages.fetch(c, ALL, after=last, limit=BATCH, without=[]))  # noqa: B023 - awaited at once
                times.append(perf_counter() - began)
                last = rows[-1][0]
                await line.run(lambda c: messages.remove(c, [row[0] for row in rows]))  # noqa: B023 - as above
        dead = (await old.execute(sa.select(sa.func.count()).select_from(tables.outbox))).scalar_one()
    await line.close()
    quarter = len(times) // 4

    assert 0 == dead
    assert BACKLOG == len(times) * BATCH
    assert median(times[-quarter:]) <= 2 * median(times[:quarter])
