"""What a saga asks a service for is done once, and not when it was undone before it came."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

import cqrs_core as cqrs
from cqrs_core import errors
from cqrs_sqla import EffectGuard, SqlAlchemyStorage
from cqrs_sqla.errors import EffectUndone
from cqrs_sqla.tables import Tables

KEY = uuid.UUID(int=7)
Ask = Callable[..., Awaitable[bool]]


@pytest.fixture
def ask(storage: SqlAlchemyStorage) -> Ask:
    """Ask in a unit of work of its own, which is committed."""

    async def ask_for(what: str, key: uuid.UUID = KEY) -> bool:
        unit = storage.unit_of_work()
        try:
            answer: bool = await getattr(unit.get(EffectGuard), what)(key)
            await unit.commit()
        finally:
            await unit.close()
        return answer

    return ask_for


async def test_an_effect_is_had_once(ask: Ask) -> None:
    """A request that comes again finds it done."""
    assert [True, False, False] == [await ask("do") for _ in range(3)]
    assert await ask("do", uuid.UUID(int=8))


async def test_an_effect_is_undone_once(ask: Ask) -> None:
    await ask("do")

    assert [True, False, False] == [await ask("undo") for _ in range(3)]


async def test_what_comes_after_its_undo_is_refused(ask: Ask) -> None:
    """From a worker that stood still; there was nothing to undo, and there never is."""
    assert not await ask("undo")
    with pytest.raises(EffectUndone, match=f"by the key {KEY} was undone: the request comes late") as caught:
        await ask("do")

    assert KEY == caught.value.key
    assert not await ask("undo")


async def test_what_was_had_and_undone_is_not_had_again(ask: Ask) -> None:
    await ask("do")
    await ask("undo")

    with pytest.raises(EffectUndone):
        await ask("do")


async def test_what_is_rolled_back_was_not_had(storage: SqlAlchemyStorage, ask: Ask) -> None:
    """The mark is committed with the effect, or not at all."""
    unit = storage.unit_of_work()
    assert await unit.get(EffectGuard).do(KEY)
    await unit.rollback()
    await unit.close()

    assert await ask("do")


async def test_a_unit_gives_one_guard_and_works_without_one_too(
    storage: SqlAlchemyStorage, engine: AsyncEngine, tables: Tables
) -> None:
    """A program that makes its sessions by itself makes the guard of them."""
    unit = storage.unit_of_work()
    assert unit.get(EffectGuard) is unit.get(EffectGuard)
    await unit.close()

    async with async_sessionmaker(engine)() as session, session.begin():
        assert await EffectGuard(session, tables).do(KEY)
    async with async_sessionmaker(engine)() as session, session.begin():
        assert not await EffectGuard(session, tables).do(KEY)


SERVERS = ["asyncpg", "psycopg", "asyncmy"]  # on SQLite, one transaction at a time is open


@pytest.mark.parametrize("driver", SERVERS, indirect=True)
@pytest.mark.parametrize(
    ("first", "second", "is_kept", "answer"),
    [
        ("do", "do", True, False),
        ("do", "do", False, True),
        ("do", "undo", True, True),
        ("do", "undo", False, False),
        ("undo", "do", True, EffectUndone),
        ("undo", "do", False, True),
    ],
)
async def test_of_two_at_once_the_second_hears_what_became_of_the_first(
    storage: SqlAlchemyStorage, ask: Ask, first: str, second: str, *, is_kept: bool, answer: Any
) -> None:
    """It waits: committed, the first was before it; rolled back, it never was."""
    unit = storage.unit_of_work()
    await getattr(unit.get(EffectGuard), first)(KEY)
    asking = asyncio.ensure_future(ask(second))
    await asyncio.wait([asking], timeout=0.1)
    assert not asking.done()

    await (unit.commit() if is_kept else unit.rollback())
    await unit.close()
    (outcome,) = await asyncio.gather(asking, return_exceptions=True)
    assert outcome is answer or type(outcome) is answer


async def test_effects_are_forgotten_when_they_are_old(
    storage: SqlAlchemyStorage, ask: Ask, engine: AsyncEngine, tables: Tables
) -> None:
    """By the clock of the database, in batches; then a request is taken for the first."""
    keys = [uuid.uuid4() for _ in range(5)]
    for key in keys:
        await ask("do", key)
    early = await storage.effects.purge(timedelta(hours=1))
    effect = tables.saga_effect
    async with engine.begin() as connection:
        noted = await connection.scalars(sa.select(effect.c.noted_at).where(effect.c.key == keys[0]))
        earlier = noted.one() - timedelta(hours=2)
        await connection.execute(sa.update(effect).where(effect.c.key != keys[0]).values(noted_at=earlier))

    assert 0 == early
    assert 4 == await storage.effects.purge(timedelta(hours=1), batch_size=3)
    assert [False, True] == [await ask("do", key) for key in keys[:2]]
    with pytest.raises(errors.InvalidOption, match="at least 1"):
        await storage.effects.purge(timedelta(0), batch_size=0)


class Order(cqrs.SagaContext):
    title: str = "Emma"


class Reserve(cqrs.SagaStepHandler[Order, bool]):
    def __init__(self, session: AsyncSession, effects: EffectGuard) -> None:
        self._session = session
        self._effects = effects

    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, bool]:
        is_new = await self._effects.do()
        if is_new:
            await self._session.execute(sa.text("INSERT INTO books (title) VALUES (:title)"), {"title": context.title})
        return self.result(is_new)

    async def compensate(self, context: Order) -> None:
        if await self._effects.undo():
            await self._session.execute(sa.text("DELETE FROM books WHERE title = :title"), {"title": context.title})


class Decline(cqrs.SagaStepHandler[Order, None]):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:
        raise ValueError("declined")


class Reserving(cqrs.Saga[Order]):
    steps = [Reserve]


class Declined(cqrs.Saga[Order]):
    steps = [Reserve, Decline]


@pytest.mark.usefixtures("books")
async def test_steps_guard_what_they_do_in_the_database_of_the_app(
    storage: SqlAlchemyStorage, titles: Callable[[], Awaitable[list[str]]]
) -> None:
    """By the key of the step: what it has done once is not done again, and what it has undone is gone."""
    app = cqrs.App("shop", storage=storage)
    app.sagas.bind(Order, Reserving)
    app.sagas.bind(Order, Declined)
    saga_id = uuid.uuid4()
    async with app:
        results = [one.response async for one in app.stream_saga(Order(), saga=Reserving, saga_id=saga_id)]
        kept = await titles()
        with pytest.raises(ValueError, match="declined"):
            async for _ in app.stream_saga(Order("Persuasion"), saga=Declined):
                pass

    assert ([True], ["Emma"], ["Emma"]) == (results, kept, await titles())


async def test_a_guard_needs_a_key_where_no_step_runs(storage: SqlAlchemyStorage) -> None:
    unit = storage.unit_of_work()
    with pytest.raises(errors.NotInStep):
        await unit.get(EffectGuard).do()
    await unit.close()
