"""Sessions that are killed, connections that break, tasks that are cancelled: nothing is half done, nothing leaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from cqrs_core.envelope import Envelope
from cqrs_core.errors import CommitInDoubt
from cqrs_sqla import SqlAlchemyStorage, make_engine
from cqrs_sqla.tables import Tables
from cqrs_sqla.unit import SqlAlchemyUnitOfWork

ReadBoth = Callable[[], Awaitable[tuple[list[str], list[str]]]]
SERVERS = ["asyncpg", "psycopg", "asyncmy"]


async def kill(engine: AsyncEngine, session: AsyncSession) -> None:
    """End the session on the server, by another connection, and wait until it is gone."""
    is_mariadb = engine.dialect.name == "mysql"
    own = "SELECT connection_id()" if is_mariadb else "SELECT pg_backend_pid()"
    number: int = (await session.execute(sa.text(own))).scalar_one()
    left = "information_schema.processlist WHERE id" if is_mariadb else "pg_stat_activity WHERE pid"
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        end = f"KILL {number}" if is_mariadb else f"SELECT pg_terminate_backend({number})"
        await connection.execute(sa.text(end))
        is_there = sa.text(f"SELECT count(*) FROM {left} = {number}")  # noqa: S608 - both are written above
        while (await connection.execute(is_there)).scalar_one():
            pass


Change = Callable[..., None]


@pytest.fixture
def change(books: type, envelope: Callable[..., Envelope]) -> Change:
    """Change something within a unit, and tell of it."""

    def change_in(unit: SqlAlchemyUnitOfWork, title: str = "Emma") -> None:
        unit.get(AsyncSession).add(books(title))
        unit.enqueue([envelope(f"{title} was added")])

    return change_in


@pytest.mark.parametrize("driver", SERVERS)
@pytest.mark.parametrize("noticed", ["by the handler", "within a savepoint", "by the flush", "by the commit", "never"])
async def test_what_a_killed_session_had_begun_is_undone(
    noticed: str, engine: AsyncEngine, storage: SqlAlchemyStorage, change: Change, kept: ReadBoth
) -> None:
    """The unit fails, or says that it can only be rolled back; and the next one works."""
    unit = storage.unit_of_work()
    session = unit.get(AsyncSession)
    if noticed == "by the commit":
        change(unit)
        await unit.flush()
    else:
        await session.execute(sa.text("SELECT 1"))
        change(unit)
    if noticed == "within a savepoint":
        with pytest.raises(KeyError):
            async with unit.savepoint():
                await kill(engine, session)
                raise KeyError
    else:
        await kill(engine, session)
    if noticed == "by the handler":
        with pytest.raises(Exception):  # noqa: B017, PT011 - each driver, and each of its versions, has its own
            await session.execute(sa.text("SELECT 1"))
    if noticed != "never":
        with pytest.raises(Exception):  # noqa: B017, PT011 - as above
            await unit.commit()
        await unit.rollback()
    await unit.close()

    assert ([], []) == await kept()

    unit = storage.unit_of_work()
    change(unit)
    await unit.commit()
    await unit.close()

    assert (["Emma"], ["Emma was added"]) == await kept()


class Wire:
    """
    A wire between the program and its server, which a test may cut at the commit.

    Attributes:
        cut: ``"before"`` the server hears of it; or ``"after"`` that, before the program hears the answer.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self.cut: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> int:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        self._listener.close()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # it is one
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._server)
        back = asyncio.ensure_future(self._carry(upstream_reader, writer))
        while data := await self._read(reader):
            if self.cut and b"COMMIT" in data.upper():
                if self.cut == "after":
                    back.cancel()
                    await asyncio.wait([back])
                    upstream_writer.write(data)
                    await upstream_reader.read(1)  # the server has answered
                break
            upstream_writer.write(data)
        back.cancel()
        for end in (writer, upstream_writer):
            end.transport.abort()
        await asyncio.wait([back])

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await self._read(reader):
            writer.write(data)
        writer.close()

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.read(2**16)
        except OSError:
            return b""


Wired = tuple[Wire, SqlAlchemyStorage]


@pytest.fixture
async def wired(database_url: str, tables: Tables) -> AsyncIterator[Wired]:
    """A storage, and the wire to it."""
    url = sa.make_url(database_url)
    wire = Wire(url.host or "", url.port or 0)
    url = url.set(host="127.0.0.1", port=await wire.open())
    engine = make_engine(url.render_as_string(hide_password=False))
    yield wire, SqlAlchemyStorage(engine, tables=tables)
    left = engine.pool.checkedout()  # type: ignore[attr-defined]  # the pool of every driver here is a queue
    await engine.dispose()
    await wire.close()
    assert 0 == left


@pytest.mark.parametrize("driver", SERVERS)
@pytest.mark.parametrize(("cut", "left"), [("before", ([], [])), ("after", (["Emma"], ["Emma was added"]))])
async def test_a_connection_that_breaks_in_the_commit_leaves_it_in_doubt(
    cut: str, left: tuple[list[str], list[str]], wired: Wired, change: Change, kept: ReadBoth
) -> None:
    """From here, one cannot tell from the other; what is told says so, and names the server without secrets."""
    wire, storage = wired
    unit = storage.unit_of_work()
    change(unit)
    await unit.flush()
    wire.cut = cut
    with pytest.raises(CommitInDoubt) as told:
        await unit.commit()
    await unit.close()

    assert "@" not in told.value.storage
    assert left == await kept()


# What PostgreSQL does at the commit, for each book that was inserted.
AT_COMMIT = """
CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON books DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION at_commit();
"""


async def let_postgresql(engine: AsyncEngine, do: str) -> None:
    async with engine.begin() as connection:
        for statement in AT_COMMIT.format(do).split(";\n")[:2]:
            await connection.exec_driver_sql(statement)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_session_that_is_killed_in_the_middle_of_a_commit_leaves_it_in_doubt(
    engine: AsyncEngine, storage: SqlAlchemyStorage, change: Change, kept: ReadBoth
) -> None:
    await let_postgresql(engine, "PERFORM pg_sleep(600)")
    unit = storage.unit_of_work()
    change(unit)
    commit = asyncio.ensure_future(unit.commit())
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE wait_event = 'PgSleep' AND datname = current_database()"
    )
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        while not (await connection.execute(sa.text(end))).all():
            pass
    with pytest.raises(CommitInDoubt):
        await commit
    await unit.close()

    assert ([], []) == await kept()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_commit_that_the_database_refuses_is_not_in_doubt(
    engine: AsyncEngine, storage: SqlAlchemyStorage, change: Change, kept: ReadBoth
) -> None:
    """As for a constraint that is checked so late: it answered, and nothing took effect."""
    await let_postgresql(engine, "RAISE EXCEPTION 'not on a Sunday'")
    unit = storage.unit_of_work()
    change(unit)
    with pytest.raises(sa.exc.DBAPIError, match="Sunday"):
        await unit.commit()
    await unit.close()

    assert ([], []) == await kept()


async def test_a_commit_that_is_cancelled_anywhere_is_whole_and_gives_its_connection_back(
    engine: AsyncEngine,
    storage: SqlAlchemyStorage,
    change: Change,
    kept: ReadBoth,
    threads_ended: Callable[[], Awaitable[None]],
) -> None:
    """Once it has begun, the cancellation arrives after it."""
    steps = 0
    is_cancelled = True
    while is_cancelled:
        unit = storage.unit_of_work()
        await unit.get(AsyncSession).execute(sa.text("SELECT 1"))
        change(unit, f"Emma {steps}")
        commit = asyncio.ensure_future(unit.commit())
        for _ in range(steps):
            await asyncio.sleep(0)
        is_cancelled = commit.cancel()
        with suppress(asyncio.CancelledError):
            await commit
        await unit.close()

        steps += 1 if steps < 20 else steps // 4
    titles, bodies = await kept()
    await engine.dispose()
    await threads_ended()

    assert [f"{title} was added" for title in titles] == bodies
    assert titles


async def test_a_unit_that_is_closed_while_cancelled_gives_its_connection_back(
    engine: AsyncEngine, storage: SqlAlchemyStorage
) -> None:
    async def handle() -> None:
        unit = storage.unit_of_work()
        try:
            await unit.get(AsyncSession).execute(sa.text("SELECT 1"))
            asyncio.current_task().cancel()  # type: ignore[union-attr]  # there is one
        finally:
            await unit.close()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(handle())

    assert 0 == engine.pool.checkedout()  # type: ignore[attr-defined]  # the pool of every driver here is a queue
