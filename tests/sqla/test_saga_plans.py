"""That sagas stay quick on PostgreSQL: they are found by their indexes, and a checkpoint leaves those as they are."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_core.saga.log import Branch, LogRecord, SagaAction, SagaStatus, SagaStepStatus
from cqrs_core.saga.plan import Standing
from cqrs_core.saga.storage import NewSaga, SagaClaim, SagaWrite
from cqrs_sqla import SqlAlchemyStorage

LONG_S = 3600.0
#: A driver prepares what it was given five times, and PostgreSQL keeps a plan that it has made five times.
TIMES = 12

_ENDED = (
    "INSERT INTO saga (id, name, fingerprint, status, cursor_pos, branch, attempt, step_id, context, input_hash, "
    "version, fence, claims, created_at, updated_at, rested_at) SELECT gen_random_uuid(), 'Ended', 'f', 'completed', "
    "3, 0, 0, '', '{}', 'h', 4, 1, 0, now(), now(), now() FROM generate_series(1, 20000)"
)


@pytest.fixture(params=["asyncpg", "psycopg"])
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip(name)
    return name


async def live(storage: SqlAlchemyStorage, *, steps: int = 3) -> None:
    """Let one saga begin, be claimed, be looked at, and end."""
    sagas = storage.sagas
    new = NewSaga(uuid.uuid4(), "Living", "f" * 16, SagaStatus.PENDING, "A", b"{}", "h" * 16, f"{uuid.uuid4()}", LONG_S)
    await sagas.start(new)
    (record,) = await sagas.claim(SagaClaim("worker", LONG_S, names=["Living"]))
    assert new.id == record.id
    assert [] == list(await sagas.renew([(new.id, 2)], lease_s=LONG_S))
    log = [LogRecord("A", "A", Branch.PRIMARY, SagaAction.ACT, SagaStepStatus.COMPLETED)]
    for done in range(1, steps + 1):
        standing = Standing(SagaStatus.COMPLETED if done == steps else SagaStatus.RUNNING, done)
        await sagas.write(SagaWrite(new.id, 2, done + 1, standing, "A", 0, log, b"{}"))
    assert await sagas.load(new.id) is not None
    assert steps == len(await sagas.get_step_history(new.id))


async def counted(engine: AsyncEngine, columns: str, *, until: tuple[str, int]) -> tuple[int, ...]:
    """Read what the server has counted of the table of sagas, which it does a little late."""
    name, enough = until
    statement = sa.text(f"SELECT {name}, {columns} FROM pg_stat_user_tables WHERE relname = 'saga'")  # noqa: S608 - written here
    while True:
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            first, *others = (await connection.execute(statement)).one()
            await connection.invalidate()  # what it has read it would be told again
        if first >= enough:
            return tuple(others)


async def test_plans_of_an_empty_table_do_no_harm(engine: AsyncEngine, storage: SqlAlchemyStorage) -> None:
    """Made when there was nothing, they still find one saga among many without reading them all."""
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(sa.text("ALTER TABLE saga SET (autovacuum_enabled = false)"))
        await connection.execute(sa.text("VACUUM ANALYZE saga"))
    for _ in range(TIMES):
        await live(storage)
    async with engine.begin() as connection:
        await connection.execute(sa.text(_ENDED))
    for _ in range(TIMES):
        await live(storage)
    await storage.stop()

    inserted = 20_000 + 2 * TIMES
    assert (0,) == await counted(engine, "seq_tup_read", until=("n_tup_ins", inserted))


async def test_a_checkpoint_changes_no_index(engine: AsyncEngine, storage: SqlAlchemyStorage) -> None:
    """Of five steps, only the last, with which the saga is nobody's any more; and the claim, and the lease."""
    for _ in range(20):
        await live(storage, steps=5)
    await storage.stop()

    (hot,) = await counted(engine, "n_tup_hot_upd", until=("n_tup_upd", 20 * 7))
    assert 20 * 4 * 0.9 <= hot <= 20 * 4  # now and then, a page is full
