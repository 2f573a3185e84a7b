"""One attempt at handling a message is one transaction of one session, which the unit alone ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from cqrs_core.envelope import Envelope
from cqrs_core.errors import InvalidOption, NotProvided, UnitOfWorkRolledBack
from cqrs_sqla import SqlAlchemyStorage
from cqrs_sqla.errors import CommitInsideUnit, SessionShared
from cqrs_sqla.tables import Tables
from cqrs_sqla.unit import SqlAlchemyUnitOfWork

Read = Callable[[], Awaitable[list[str]]]
ReadBoth = Callable[[], Awaitable[tuple[list[str], list[str]]]]


@pytest.fixture
async def unit(storage: SqlAlchemyStorage) -> AsyncIterator[SqlAlchemyUnitOfWork]:
    unit = storage.unit_of_work()
    yield unit
    await unit.close()


@pytest.fixture
def session(unit: SqlAlchemyUnitOfWork) -> AsyncSession:
    return unit.get(AsyncSession)


def connections(engine: AsyncEngine) -> int:
    return engine.pool.checkedout()  # type: ignore[attr-defined]  # the pool of every driver here is a queue


async def test_who_asks_for_the_session_and_does_not_use_it_takes_no_connection(
    engine: AsyncEngine, unit: SqlAlchemyUnitOfWork, session: AsyncSession
) -> None:
    """A query that is answered from elsewhere costs no transaction."""
    assert unit.get(AsyncSession) is session
    assert not unit.is_begun
    await unit.flush()
    await unit.commit()

    assert 0 == connections(engine)


async def test_events_alone_take_a_connection_when_they_are_committed(
    engine: AsyncEngine, unit: SqlAlchemyUnitOfWork, envelope: Callable[..., Envelope], bodies: Read
) -> None:
    unit.enqueue([envelope("first")])

    assert unit.is_begun
    assert 0 == connections(engine)

    await unit.commit()

    assert ["first"] == await bodies()
    assert not unit.is_begun


async def test_nothing_to_enqueue_begins_nothing(unit: SqlAlchemyUnitOfWork) -> None:
    unit.enqueue([])

    assert not unit.is_begun


async def test_a_unit_gives_nothing_but_its_session(unit: SqlAlchemyUnitOfWork) -> None:
    with pytest.raises(NotProvided):
        unit.get(AsyncEngine)


async def test_changes_and_events_are_committed_together(
    unit: SqlAlchemyUnitOfWork,
    session: AsyncSession,
    books: type,
    envelope: Callable[..., Envelope],
    kept: ReadBoth,
) -> None:
    """Those that the session has not been flushed of, too."""
    session.add(books("Emma"))
    unit.enqueue([envelope("Emma was added")])
    await unit.commit()

    assert (["Emma"], ["Emma was added"]) == await kept()


async def test_what_was_rolled_back_leaves_neither_changes_nor_events(
    unit: SqlAlchemyUnitOfWork,
    session: AsyncSession,
    books: type,
    envelope: Callable[..., Envelope],
    kept: ReadBoth,
) -> None:
    session.add(books("Emma"))
    unit.enqueue([envelope("Emma was added")])
    await unit.flush()
    await unit.rollback()
    await unit.commit()

    assert ([], []) == await kept()


async def test_a_change_that_fails_at_the_commit_takes_the_events_with_it(
    unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, envelope: Callable[..., Envelope], bodies: Read
) -> None:
    session.add_all([books("Emma"), books("Emma")])
    unit.enqueue([envelope("twice")])
    with pytest.raises(sa.exc.IntegrityError):
        await unit.commit()
    await unit.rollback()

    assert [] == await bodies()


async def test_a_unit_begins_anew_after_each_commit(
    unit: SqlAlchemyUnitOfWork,
    session: AsyncSession,
    books: type,
    envelope: Callable[..., Envelope],
    kept: ReadBoth,
) -> None:
    """As a stream needs it: an item that was handed out stays, what was begun after it goes."""
    for title in ("Emma", "Persuasion"):
        session.add(books(title))
        unit.enqueue([envelope(title)])
        await unit.commit()
    session.add(books("Sanditon"))
    await session.flush()
    unit.enqueue([envelope("Sanditon")])
    await unit.close()

    assert (["Emma", "Persuasion"], ["Emma", "Persuasion"]) == await kept()


async def test_objects_can_be_read_after_the_commit(
    unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type
) -> None:
    """A response made of them, perhaps; to read them anew would need a transaction."""
    book = books("Emma")
    session.add(book)
    await unit.commit()

    assert "Emma" == book.title


async def test_another_task_may_commit(
    unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
) -> None:
    session.add(books("Emma"))
    await session.flush()
    await asyncio.create_task(unit.commit())

    assert ["Emma"] == await titles()


async def test_a_handler_that_commits_is_told_what_to_write_instead(
    unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
) -> None:
    """Nothing is committed by it, and nothing lost."""
    session.add(books("Emma"))
    with pytest.raises(CommitInsideUnit, match="flush"):
        await session.commit()

    assert [] == await titles()

    await unit.commit()

    assert ["Emma"] == await titles()


async def test_the_end_of_a_transaction_that_a_handler_begins_is_a_commit_too(
    unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
) -> None:
    with pytest.raises(CommitInsideUnit):
        async with session.begin():
            session.add(books("Emma"))
    with pytest.raises(UnitOfWorkRolledBack):
        await unit.commit()
    await unit.rollback()

    assert [] == await titles()


async def test_a_commit_within_a_savepoint_is_refused(
    unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
) -> None:
    await session.begin_nested()
    session.add(books("Emma"))
    with pytest.raises(CommitInsideUnit):
        await session.commit()
    await unit.commit()

    assert ["Emma"] == await titles()


async def roll_back(session: AsyncSession) -> None:
    await session.rollback()


async def close(session: AsyncSession) -> None:
    await session.close()


async def reset(session: AsyncSession) -> None:
    await session.reset()


async def leave(session: AsyncSession) -> None:
    async with session:
        pass


async def roll_back_in_savepoint(session: AsyncSession) -> None:
    async with session.begin_nested():
        await session.rollback()


@pytest.mark.parametrize("end", [roll_back, close, reset, leave, roll_back_in_savepoint])
@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_a_handler_that_ends_the_transaction_dooms_the_unit(
    end: Callable[[AsyncSession], Awaitable[None]],
    unit: SqlAlchemyUnitOfWork,
    books: type,
    envelope: Callable[..., Envelope],
    kept: ReadBoth,
) -> None:
    """What it had done before is gone, so that what it does afterwards must not stay."""
    session = unit.get(AsyncSession)
    session.add(books("Emma"))
    await session.flush()
    unit.enqueue([envelope("Emma was added")])
    await end(session)

    assert unit.is_begun
    with pytest.raises(UnitOfWorkRolledBack, match="begin_nested"):
        await unit.commit()
    await unit.close()
    assert ([], []) == await kept()


async def test_rolling_back_what_has_not_begun_is_no_harm(
    unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
) -> None:
    await session.rollback()
    session.add(books("Emma"))
    await unit.commit()

    assert ["Emma"] == await titles()


async def test_an_error_within_a_savepoint_is_normal(
    unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
) -> None:
    session.add(books("Emma"))
    with pytest.raises(sa.exc.IntegrityError):
        async with session.begin_nested():
            session.add(books("Emma"))
    await unit.commit()

    assert ["Emma"] == await titles()


async def test_a_flush_that_failed_and_was_caught_dooms_the_unit(
    unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
) -> None:
    session.add_all([books("Emma"), books("Emma")])
    with pytest.raises(sa.exc.IntegrityError):
        await session.flush()
    with pytest.raises(UnitOfWorkRolledBack) as told:
        await unit.commit()

    assert "Emma" in str(told.value.__cause__)

    await unit.rollback()
    session.add(books("Persuasion"))
    await unit.commit()

    assert ["Persuasion"] == await titles()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_statement_that_failed_and_was_caught_is_not_mistaken_for_a_commit(
    unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
) -> None:
    """PostgreSQL answers a commit of what has failed with a rollback, which no driver takes for an error."""
    session.add(books("Emma"))
    await session.flush()
    with pytest.raises(sa.exc.DBAPIError):
        await session.execute(sa.text("SELECT 1 / 0"))
    with pytest.raises(UnitOfWorkRolledBack):
        await unit.commit()
    await unit.rollback()

    assert [] == await titles()


async def test_a_statement_that_failed_within_a_savepoint_is_normal(
    unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
) -> None:
    session.add(books("Emma"))
    with pytest.raises(sa.exc.DBAPIError):
        async with session.begin_nested():
            await session.execute(sa.text("SELECT nothing FROM nowhere"))
    await unit.commit()

    assert ["Emma"] == await titles()


@pytest.mark.parametrize("driver", ["asyncmy"])
async def test_a_deadlock_that_was_caught_dooms_the_unit(
    storage: SqlAlchemyStorage,
    unit: SqlAlchemyUnitOfWork,
    session: AsyncSession,
    books: type,
    titles: Read,
) -> None:
    """MariaDB has ended the transaction of one of the two, and begun another one."""
    session.add_all([books("Emma"), books("Persuasion")])
    await unit.commit()
    other = storage.unit_of_work()
    sessions = [session, other.get(AsyncSession)]
    change = "UPDATE books SET title = concat(title, '{}') WHERE id = {}"
    for number, (of, book) in enumerate(zip(sessions, [1, 2], strict=True)):
        await of.execute(sa.text(change.format(number, book)))
    both = [
        of.execute(sa.text(change.format(number, book)))
        for number, (of, book) in enumerate(zip(sessions, [2, 1], strict=True))
    ]
    results = await asyncio.gather(*both, return_exceptions=True)
    (victim,) = [of for of, result in zip([unit, other], results, strict=True) if isinstance(result, Exception)]
    (winner,) = {unit, other} - {victim}
    await winner.commit()
    victim.get(AsyncSession).add(books("Sanditon"))
    with pytest.raises(UnitOfWorkRolledBack, match="deadlock"):
        await victim.commit()
    await other.close()
    await unit.close()

    assert "Sanditon" not in await titles()


async def test_a_session_that_is_used_after_its_unit_is_refused(
    engine: AsyncEngine, unit: SqlAlchemyUnitOfWork, session: AsyncSession
) -> None:
    """Or it would begin a transaction that nobody ends, on a connection that nobody gives back."""
    await unit.close()
    with pytest.raises(sa.exc.InvalidRequestError, match="permanently closed"):
        await session.execute(sa.text("SELECT 1"))

    assert 0 == connections(engine)


class TestSessionOfTheContainer:
    """The unit works with a session that somebody else makes, and closes."""

    @pytest.fixture
    def storage(self, engine: AsyncEngine, tables: Tables) -> SqlAlchemyStorage:
        return SqlAlchemyStorage(engine, tables=tables, session_from="container")

    @pytest.fixture
    async def session(self, engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    @pytest.fixture
    async def unit(self, storage: SqlAlchemyStorage, session: AsyncSession) -> AsyncIterator[SqlAlchemyUnitOfWork]:
        unit = storage.unit_of_work(session)
        yield unit
        await unit.close()

    async def test_it_commits_what_that_session_does(
        self,
        unit: SqlAlchemyUnitOfWork,
        session: AsyncSession,
        books: type,
        envelope: Callable[..., Envelope],
        kept: ReadBoth,
    ) -> None:
        assert unit.get(AsyncSession) is session
        session.add(books("Emma"))
        unit.enqueue([envelope("Emma was added")])
        with pytest.raises(CommitInsideUnit):
            await session.commit()
        await unit.commit()

        assert (["Emma"], ["Emma was added"]) == await kept()

    async def test_afterwards_it_is_its_owners_again(
        self, unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
    ) -> None:
        """Open, in no transaction, and without anybody who listens."""
        session.add(books("Emma"))
        await session.flush()
        await unit.close()

        assert not session.in_transaction()

        session.add(books("Persuasion"))
        await session.commit()

        assert ["Persuasion"] == await titles()
        assert {} == session.info

    async def test_a_transaction_that_is_open_belongs_to_the_unit(
        self, storage: SqlAlchemyStorage, session: AsyncSession, books: type, titles: Read
    ) -> None:
        """It is the session of this scope: what was begun with it before is part of what the scope does."""
        session.add(books("Emma"))
        await session.flush()
        unit = storage.unit_of_work(session)

        assert unit.is_begun

        await unit.commit()
        await unit.close()

        assert ["Emma"] == await titles()

    async def test_a_session_of_two_units_at_once_is_refused(
        self, storage: SqlAlchemyStorage, unit: SqlAlchemyUnitOfWork, session: AsyncSession
    ) -> None:
        with pytest.raises(SessionShared):
            storage.unit_of_work(session)
        await unit.close()
        await storage.unit_of_work(session).close()

    @pytest.mark.parametrize("driver", ["aiosqlite"])
    async def test_what_is_no_session_is_refused(self, storage: SqlAlchemyStorage) -> None:
        with pytest.raises(InvalidOption, match="AsyncSession"):
            storage.unit_of_work("session")
