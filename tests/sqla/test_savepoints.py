"""Events follow the savepoints of their transaction, whoever has begun it, and whoever writes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from cqrs_core import NotificationEvent
from cqrs_core.envelope import Envelope
from cqrs_sqla import SqlAlchemyOutboxedEventRepository, SqlAlchemyStorage
from cqrs_sqla.tables import Tables


class Undone(Exception):
    pass


@dataclass
class Transaction:
    """One transaction, as each way of writing events has it."""

    add: Callable[[str], None]
    savepoint: Callable[[], AbstractAsyncContextManager[object]]
    flush: Callable[[], Awaitable[object]]
    end_well: Callable[[], Awaitable[object]]

    @asynccontextmanager
    async def undone(self) -> AsyncIterator[None]:
        with suppress(Undone):
            async with self.savepoint():
                yield
                raise Undone


Begin = Callable[[], AbstractAsyncContextManager[Transaction]]


@pytest.fixture(params=["unit", "session of a unit", "session by hand", "connection by hand"])
def begin(
    request: pytest.FixtureRequest,
    engine: AsyncEngine,
    tables: Tables,
    storage: SqlAlchemyStorage,
    envelope: Callable[..., Envelope],
) -> Begin:
    def by_hand(owner: AsyncSession | AsyncConnection, flush: Callable[[], Awaitable[object]]) -> Transaction:
        repository = SqlAlchemyOutboxedEventRepository(owner, tables=tables)

        def add(text: str) -> None:
            repository.add(NotificationEvent(event_name="Happened", payload=text))

        return Transaction(add, owner.begin_nested, flush, repository.commit)

    async def nothing() -> None:
        pass

    @asynccontextmanager
    async def opened() -> AsyncIterator[Transaction]:
        if request.param == "session by hand":
            async with AsyncSession(engine) as session:
                yield by_hand(session, session.flush)
        elif request.param == "connection by hand":
            async with engine.connect() as connection:
                await connection.begin()
                yield by_hand(connection, nothing)
        else:
            unit = storage.unit_of_work()
            is_own = request.param == "unit"
            savepoint = unit.savepoint if is_own else unit.get(AsyncSession).begin_nested
            yield Transaction(lambda text: unit.enqueue([envelope(f'"{text}"')]), savepoint, unit.flush, unit.commit)
            await unit.close()

    return opened


# Each scenario, and what is left of it.


async def released(of: Transaction) -> None:
    of.add("before")
    async with of.savepoint():
        of.add("inside")
    of.add("after")


async def rolled_back(of: Transaction) -> None:
    of.add("before")
    async with of.undone():
        of.add("lost")
    of.add("after")


async def first_in_a_savepoint_that_is_undone(of: Transaction) -> None:
    async with of.undone():
        of.add("lost")
    of.add("after")


async def inner_undone(of: Transaction) -> None:
    async with of.savepoint():
        of.add("outer")
        async with of.undone():
            of.add("lost")
        of.add("outer again")


async def outer_undone(of: Transaction) -> None:
    of.add("before")
    async with of.undone():
        of.add("lost")
        async with of.savepoint():
            of.add("lost too")
        of.add("lost as well")
    of.add("after")


async def three_deep(of: Transaction) -> None:
    async with of.savepoint():
        of.add("first")
        async with of.undone():
            of.add("lost")
            async with of.undone():
                of.add("lost too")
            async with of.savepoint():
                of.add("lost as well")
        async with of.savepoint():
            of.add("second")
            async with of.savepoint():
                of.add("third")


async def one_after_the_other(of: Transaction) -> None:
    for number in range(6):
        async with of.undone() if number % 2 else of.savepoint():
            of.add(str(number))


async def flushed_inside(of: Transaction) -> None:
    of.add("before")
    async with of.undone():
        of.add("lost")
        await of.flush()
        of.add("lost too")
    of.add("after")


async def flushed_before(of: Transaction) -> None:
    of.add("before")
    await of.flush()
    async with of.undone():
        of.add("lost")
    of.add("after")


async def flushed_in_the_inner_of_two(of: Transaction) -> None:
    of.add("before")
    async with of.savepoint():
        of.add("outer")
        async with of.undone():
            of.add("lost")
            await of.flush()
        await of.flush()
        of.add("outer again")
    of.add("after")


SCENARIOS = {
    released: ["before", "inside", "after"],
    rolled_back: ["before", "after"],
    first_in_a_savepoint_that_is_undone: ["after"],
    inner_undone: ["outer", "outer again"],
    outer_undone: ["before", "after"],
    three_deep: ["first", "second", "third"],
    one_after_the_other: ["0", "2", "4"],
    flushed_inside: ["before", "after"],
    flushed_before: ["before", "after"],
    flushed_in_the_inner_of_two: ["before", "outer", "outer again", "after"],
}


async def test_events_share_the_fate_of_their_savepoint(
    begin: Begin, engine: AsyncEngine, tables: Tables, bodies: Callable[[], Awaitable[list[str]]]
) -> None:
    """All scenarios, one after the other: none leaves anything to the next."""
    found: dict[str, list[str]] = {}
    for scenario in SCENARIOS:
        async with begin() as transaction:
            await scenario(transaction)
            await transaction.end_well()
        found[scenario.__name__] = [body.strip('"') for body in await bodies()]
        async with engine.begin() as connection:
            await connection.execute(sa.delete(tables.outbox))

    assert {scenario.__name__: left for scenario, left in SCENARIOS.items()} == found


async def test_what_was_not_committed_is_not_sent_with_the_next(
    begin: Begin, bodies: Callable[[], Awaitable[list[str]]]
) -> None:
    async with begin() as transaction:
        transaction.add("lost")
    async with begin() as transaction:
        transaction.add("kept")
        await transaction.end_well()

    assert ['"kept"'] == await bodies()


async def test_a_flush_that_fails_in_a_savepoint_takes_its_events_along(
    storage: SqlAlchemyStorage,
    books: type,
    envelope: Callable[..., Envelope],
    kept: Callable[[], Awaitable[tuple[list[str], list[str]]]],
) -> None:
    """Those that were added before it, and those that are added after it, before the savepoint is left."""
    unit = storage.unit_of_work()
    session = unit.get(AsyncSession)
    session.add(books("Emma"))
    unit.enqueue([envelope("Emma")])
    with pytest.raises(sa.exc.IntegrityError):
        async with session.begin_nested():
            unit.enqueue([envelope("lost")])
            session.add(books("Emma"))
            await session.flush()
    async with session.begin_nested() as savepoint:
        unit.enqueue([envelope("lost too")])
        session.add(books("Emma"))
        with pytest.raises(sa.exc.IntegrityError):
            await session.flush()
        unit.enqueue([envelope("lost as well")])
        await savepoint.rollback()
    unit.enqueue([envelope("after")])
    await unit.commit()
    await unit.close()

    assert (["Emma"], ["Emma", "after"]) == await kept()


async def test_a_savepoint_of_a_unit_raises_what_was_raised_in_it(storage: SqlAlchemyStorage) -> None:
    """Even if the savepoint cannot be rolled back; then nothing can be committed."""
    unit = storage.unit_of_work()
    with pytest.raises(Undone):
        async with unit.savepoint():
            await unit.get(AsyncSession).execute(sa.text("SELECT 1"))
            await unit.get(AsyncSession).execute(sa.text("ROLLBACK"))
            raise Undone
    await unit.close()
