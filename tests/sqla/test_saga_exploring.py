"""No schedule breaks a promise of a saga that is kept in SQL: workers die, stand still, are cancelled, lose answers."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import new_class
from typing import Any

import pytest
import sqlalchemy as sa

import cqrs_core as cqrs
from cqrs_core.envelope import Envelope
from cqrs_core.resilience import RetryPolicy
from cqrs_core.saga.storage import SagaStorage
from cqrs_core.testing import Played, Schedule, explore
from cqrs_core.testing.exploring.explore import faults_of
from cqrs_sqla import SqlAlchemyStorage, define_tables, make_engine

#: All faults, and more double crashes: `SAGA_SCHEDULES=long`. By itself, two faults.
IS_LONG = os.environ.get("SAGA_SCHEDULES") == "long"
DOUBLE_CRASHES = 3000 if IS_LONG else 500


class Order(cqrs.SagaContext):
    order_id: str = "o-1"
    done: str = ""


def step(name: str) -> Any:
    async def act(self: Any, context: Order) -> Any:
        context.done += name
        self.events.append(cqrs.NotificationEvent(event_name=name, topic="shop", payload=name))
        return self.result()

    body = {"act": act, "compensation_retry": RetryPolicy(max_attempts=2, delay_s=0.1)}
    return new_class(name, (cqrs.SagaStepHandler[Order, None],), exec_body=lambda space: space.update(body))


class OrderSaga(cqrs.Saga[Order]):
    steps = [step("Reserve"), cqrs.Fallback(step("Charge"), step("Invoice")), step("Ship")]


class Explored:
    """A database to play in: one for all plays, whose outbox is read as a relay reads it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._tables = define_tables(sa.MetaData())

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[SagaStorage]:
        self._engine = make_engine(self._url)
        storage = SqlAlchemyStorage(self._engine, tables=self._tables, owns_engine=True)
        await storage.create()
        await storage.start()
        self._changing = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        try:
            yield storage.sagas
        finally:
            await storage.stop()

    async def sent(self, storage: SagaStorage) -> Sequence[Envelope]:
        outbox = self._tables.outbox
        async with self._engine.begin() as connection:
            columns = outbox.c.aggregatetype, outbox.c.payload, outbox.c.aggregateid, outbox.c.headers
            rows = (await connection.execute(sa.select(*columns).order_by(outbox.c.seq))).all()
            await connection.execute(sa.delete(outbox))
        return [Envelope(*row) for row in rows]

    async def pass_time(self, storage: SagaStorage, seconds: float) -> None:
        saga = self._tables.saga
        async with self._engine.begin() as connection:
            times = sa.select(saga.c.id, saga.c.wake_at).where(saga.c.wake_at.is_not(None))
            for saga_id, time in (await connection.execute(times)).all():
                earlier = {"wake_at": time - timedelta(seconds=seconds)}
                await connection.execute(sa.update(saga).where(saga.c.id == saga_id).values(earlier))


def schedules_of(modes: Sequence[Any], faults: Sequence[Any]) -> list[Schedule]:
    """List every schedule that the saga comes to: played in memory, it takes no time."""
    found: list[Schedule] = []

    def note(_: object, played: Played) -> None:
        found.append(played.schedule)

    explore(OrderSaga, context=Order, modes=modes, faults=faults, check=note, is_thorough=True)
    return found


@pytest.fixture
def explored(anyio_backend: str, database_url: str) -> Explored:
    """An empty database, for a loop that is not the one which has made it."""
    assert anyio_backend == "asyncio"
    return Explored(database_url)


@pytest.fixture
def faults() -> list[Any]:
    every = faults_of(OrderSaga)
    return every if IS_LONG else random.Random(10).sample(every, 2)  # noqa: S311 - of schedules


@pytest.mark.parametrize("driver", ["asyncpg", "aiosqlite"], indirect=True)
def test_no_single_fault_breaks_a_promise(explored: Explored, faults: list[Any]) -> None:
    """A crash, a pause, a cancellation, a lost answer, a person's decision, at every point."""
    modes = ["none", "crash", "zombie", "cancel", "repeat", "lost_answer", "undo"]
    schedules = schedules_of(modes, faults)

    found = explore(OrderSaga, context=Order, schedules=schedules, storage=explored)

    assert [] == found.unreached
    assert set(modes) == set(found.counts)
    assert {"completed", "failed"} <= set(found.ends)


@pytest.mark.parametrize("driver", ["asyncpg", "aiosqlite"], indirect=True)
def test_no_double_crash_breaks_a_promise(explored: Explored, faults: list[Any]) -> None:
    """Whoever recovers the saga dies as well, and another recovers it."""
    every = schedules_of(["double_crash"], faults)
    schedules = random.Random(9).sample(every, DOUBLE_CRASHES)  # noqa: S311 - of schedules

    found = explore(OrderSaga, context=Order, schedules=schedules, storage=explored)

    assert [] == found.unreached
    assert DOUBLE_CRASHES == found.total
