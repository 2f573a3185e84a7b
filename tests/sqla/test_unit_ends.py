"""Whatever hooks, handlers and the database do at the end of a unit, it takes effect once and as a whole, or not."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from cqrs_core.envelope import Envelope
from cqrs_core.errors import UnitOfWorkRolledBack
from cqrs_sqla import SqlAlchemyStorage
from cqrs_sqla.errors import CommitInsideUnit, UnitClosed
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


# Hooks of the program -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["after_commit", "after_transaction_end"])
@pytest.mark.parametrize("error", [RuntimeError, ConnectionError])
async def test_a_hook_that_fails_after_the_commit_does_not_make_it_a_failure(
    *,
    name: str,
    error: type[Exception],
    unit: SqlAlchemyUnitOfWork,
    session: AsyncSession,
    books: type,
    envelope: Callable[..., Envelope],
    kept: ReadBoth,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who is told of a failure repeats the command, which has taken effect. The unit goes on, as a stream's does."""

    def fail(_session: Session, transaction: SessionTransaction | None = None) -> None:
        if transaction is None or transaction.parent is None:  # a flush has one, too
            raise error("the search index is down")

    session.add(books("Emma"))
    unit.enqueue([envelope("Emma was added")])
    event.listen(session.sync_session, name, fail)
    await unit.commit()

    assert (["Emma"], ["Emma was added"]) == await kept()
    assert [error] == [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert not unit.is_begun

    event.remove(session.sync_session, name, fail)
    session.add(books("Persuasion"))
    await unit.commit()

    assert ["Emma", "Persuasion"] == (await kept())[0]


async def test_objects_are_read_anew_after_a_hook_has_failed_if_the_session_is_set_to(
    engine: AsyncEngine, storage: SqlAlchemyStorage, books: type
) -> None:
    """That of a container, which goes on with it."""

    def fail(_session: Session) -> None:
        raise RuntimeError

    async with AsyncSession(engine) as session:
        unit = storage.unit_of_work(session)
        book = books("Emma")
        session.add(book)
        event.listen(session.sync_session, "after_commit", fail)
        await unit.commit()
        await unit.close()

        assert sa.inspect(book).expired


@pytest.mark.parametrize("name", ["before_commit", "after_flush"])
async def test_what_a_hook_says_of_its_own_connections_is_no_commit_in_doubt(
    name: str, unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
) -> None:
    """A file that is missing, say: the transaction was not asked for yet, and nothing took effect."""

    def fail(*_: object) -> None:
        raise FileNotFoundError("settings.toml")

    session.add(books("Emma"))
    event.listen(session.sync_session, name, fail)
    with pytest.raises(FileNotFoundError):
        await unit.commit()
    await unit.rollback()

    assert [] == await titles()


async def test_what_a_hook_says_just_before_the_database_is_asked_is_no_commit_in_doubt(
    engine: AsyncEngine, unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
) -> None:
    def fail(_connection: sa.Connection) -> None:
        raise FileNotFoundError("settings.toml")

    session.add(books("Emma"))
    await session.flush()
    event.listen(engine.sync_engine, "commit", fail)
    with pytest.raises(FileNotFoundError):
        await unit.commit()
    event.remove(engine.sync_engine, "commit", fail)
    await unit.rollback()

    assert [] == await titles()


@pytest.mark.parametrize("has_more", [True, False])
async def test_events_that_a_hook_adds_before_the_commit_are_committed(
    *,
    has_more: bool,
    unit: SqlAlchemyUnitOfWork,
    session: AsyncSession,
    books: type,
    envelope: Callable[..., Envelope],
    kept: ReadBoth,
) -> None:
    """Though there was nothing to commit but them."""
    if has_more:
        session.add(books("Emma"))
        unit.enqueue([envelope("Emma was added")])
    else:
        session.sync_session.begin()
    event.listen(session.sync_session, "before_commit", lambda _: unit.enqueue([envelope("by the hook")]))
    await unit.commit()

    expected = (["Emma"], ["Emma was added", "by the hook"]) if has_more else ([], ["by the hook"])
    assert expected == await kept()


# Connections ----------------------------------------------------------------------------------------------------------


async def test_a_handler_that_commits_the_connection_is_told_what_to_write_instead(
    unit: SqlAlchemyUnitOfWork,
    session: AsyncSession,
    books: type,
    envelope: Callable[..., Envelope],
    kept: ReadBoth,
) -> None:
    """Past the session: the change would be there, and the events not yet."""
    session.add(books("Emma"))
    await session.flush()
    unit.enqueue([envelope("Emma was added")])
    connection = await session.connection()
    with pytest.raises(CommitInsideUnit, match="flush"):
        await connection.commit()
    with pytest.raises(UnitOfWorkRolledBack):
        await unit.commit()
    await unit.rollback()

    assert ([], []) == await kept()

    session.add(books("Persuasion"))
    await unit.commit()

    assert (["Persuasion"], []) == await kept()


async def roll_back(connection: AsyncConnection) -> None:
    await connection.rollback()


async def close(connection: AsyncConnection) -> None:
    await connection.close()


@pytest.mark.parametrize("end", [roll_back, close])
async def test_a_handler_that_rolls_the_connection_back_dooms_the_unit(
    *,
    end: Callable[[AsyncConnection], Awaitable[None]],
    unit: SqlAlchemyUnitOfWork,
    session: AsyncSession,
    books: type,
    envelope: Callable[..., Envelope],
    kept: ReadBoth,
) -> None:
    session.add(books("Emma"))
    await session.flush()
    unit.enqueue([envelope("Emma was added")])
    await end(await session.connection())
    with pytest.raises(UnitOfWorkRolledBack, match="connection"):
        await unit.commit()
    await unit.rollback()

    assert ([], []) == await kept()


# What SQLite ends by itself -------------------------------------------------------------------------------------------


OR_ROLLBACK = "INSERT OR ROLLBACK INTO books (title) VALUES ('Emma')"
TRIGGER = "CREATE TRIGGER full BEFORE UPDATE ON books BEGIN SELECT RAISE(ROLLBACK, 'sold'); END"
BY_TRIGGER = "UPDATE books SET title = 'sold'"


@pytest.mark.parametrize("driver", ["aiosqlite"])
@pytest.mark.parametrize("is_nested", [False, True])
@pytest.mark.parametrize("statement", [OR_ROLLBACK, BY_TRIGGER])
async def test_an_error_with_which_sqlite_ends_the_transaction_dooms_the_unit(
    *,
    statement: str,
    is_nested: bool,
    engine: AsyncEngine,
    storage: SqlAlchemyStorage,
    books: type,
    envelope: Callable[..., Envelope],
    kept: ReadBoth,
) -> None:
    """What came before is undone; what came after would take effect at once; and the events would tell of both."""
    async with engine.begin() as connection:
        await connection.exec_driver_sql(TRIGGER)
        await connection.exec_driver_sql("INSERT INTO books (title) VALUES ('Emma')")
    unit = storage.unit_of_work()
    session = unit.get(AsyncSession)
    session.add(books("Persuasion"))
    await session.flush()
    unit.enqueue([envelope("Persuasion was added")])
    with pytest.raises(sa.exc.IntegrityError):
        if is_nested:
            async with unit.savepoint():
                await session.execute(sa.text(statement))
        else:
            await session.execute(sa.text(statement))
    with pytest.raises(sa.exc.PendingRollbackError):
        await session.execute(sa.text("INSERT INTO books (title) VALUES ('Sanditon')"))
    with pytest.raises(UnitOfWorkRolledBack):
        await unit.commit()
    await unit.close()

    assert (["Emma"], []) == await kept()


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_sqlites_transaction_is_missed_when_no_error_told_of_its_end(
    unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, envelope: Callable[..., Envelope], kept: ReadBoth
) -> None:
    session.add(books("Emma"))
    await session.flush()
    unit.enqueue([envelope("Emma was added")])
    await session.execute(sa.text("ROLLBACK"))
    with pytest.raises(UnitOfWorkRolledBack, match="SQLite"):
        await unit.commit()
    await unit.rollback()

    assert ([], []) == await kept()


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_a_commit_that_sqlite_refuses_is_not_in_doubt(
    engine: AsyncEngine, unit: SqlAlchemyUnitOfWork, session: AsyncSession, books: type, titles: Read
) -> None:
    """As for a foreign key that is looked at so late: nothing took effect, and the error says why."""
    pages = "CREATE TABLE pages (book INTEGER REFERENCES books (id) DEFERRABLE INITIALLY DEFERRED)"
    async with engine.begin() as connection:
        await connection.exec_driver_sql(pages)
    session.add(books("Emma"))
    await session.execute(sa.text("INSERT INTO pages VALUES (7)"))
    with pytest.raises(sa.exc.IntegrityError):
        await unit.commit()
    await unit.rollback()

    assert [] == await titles()


# After the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["aiosqlite"])
@pytest.mark.parametrize("was_used", [False, True])
async def test_a_unit_that_is_closed_does_nothing_more(
    *, was_used: bool, engine: AsyncEngine, storage: SqlAlchemyStorage, envelope: Callable[..., Envelope]
) -> None:
    """A task that has outlived the handler is told; nobody would commit what it does, nor give its connection back."""
    unit = storage.unit_of_work()
    if was_used:
        await unit.get(AsyncSession).execute(sa.text("SELECT 1"))
    await unit.close()
    with pytest.raises(UnitClosed):
        unit.get(AsyncSession)
    with pytest.raises(UnitClosed):
        unit.enqueue([envelope("late")])
    with pytest.raises(UnitClosed):
        await unit.accept("group", [uuid.UUID(int=1)])
    with pytest.raises(UnitClosed):
        await unit.flush()
    with pytest.raises(UnitClosed):
        async with unit.savepoint():
            pass
    await unit.rollback()
    await unit.close()

    assert not unit.is_begun
    assert 0 == engine.pool.checkedout()  # type: ignore[attr-defined]  # the pool of every driver here is a queue


@pytest.mark.parametrize("driver", ["aiosqlite"])
async def test_a_unit_that_is_closed_leaves_the_containers_session_to_its_owner(
    engine: AsyncEngine, storage: SqlAlchemyStorage, books: type, titles: Read
) -> None:
    async with AsyncSession(engine) as session:
        unit = storage.unit_of_work(session)
        await unit.close()
        session.add(books("Emma"))
        await session.flush()
        await unit.rollback()
        await session.commit()

    assert ["Emma"] == await titles()
