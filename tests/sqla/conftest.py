"""A database for each test, on every driver; the servers are named by TEST_POSTGRES_URL and TEST_MARIADB_URL."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest
import sqlalchemy as sa
import sqlalchemy.orm
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from cqrs_core import envelope as names
from cqrs_core.envelope import Envelope
from cqrs_sqla import SqlAlchemyStorage
from cqrs_sqla.engines import make_engine
from cqrs_sqla.tables import OUTBOX_NAME, Tables, define_tables

#: The driver, its dialect, and what names a server for it.
DRIVERS = {
    "asyncpg": ("postgresql", "TEST_POSTGRES_URL"),
    "psycopg": ("postgresql", "TEST_POSTGRES_URL"),
    "asyncmy": ("mysql", "TEST_MARIADB_URL"),
    "aiosqlite": ("sqlite", None),
}
#: Those on which every test runs that does not say otherwise.
TESTED = ["asyncpg", "psycopg", "asyncmy", "aiosqlite"]
#: How long the last session of a test may take to end.
PATIENCE_S = 10.0


@pytest.fixture
def anyio_backend() -> str:
    """SQLAlchemy knows asyncio alone."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _unnamed_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the developer's own environment says away."""
    monkeypatch.delenv(OUTBOX_NAME, raising=False)


@pytest.fixture(params=TESTED)
def driver(request: pytest.FixtureRequest) -> str:
    """The name of the driver; a test that is about some of them alone parametrizes it."""
    name: str = request.param
    pytest.importorskip(name)
    return name


@pytest.fixture(scope="session")
def emptied(server_at: Callable[[str], str]) -> Iterator[list[str]]:
    """The names of databases of PostgreSQL that wait for the next test: to make one takes longer than most tests."""
    names: list[str] = []
    yield names
    for name in names:
        asyncio.run(_execute(sa.make_url(server_at("TEST_POSTGRES_URL")), f"DROP DATABASE {name}"))


@pytest.fixture
async def database_url(
    driver: str, tmp_path: Path, emptied: list[str], server_at: Callable[[str], str]
) -> AsyncIterator[str]:
    """An empty database, as a program would name it; afterwards nothing may be at work there, and nothing is left."""
    dialect, variable = DRIVERS[driver]
    if variable is None:
        yield f"{dialect}+{driver}:///{tmp_path / 'test.db'}"
        return
    server = sa.make_url(server_at(variable)).set(drivername=f"{dialect}+{driver}")
    is_emptied = dialect == "postgresql"
    if is_emptied and emptied:
        name = emptied.pop()
    else:
        name = f"cqrs_test_{uuid.uuid4().hex[:12]}"
        await _execute(server, f"CREATE DATABASE {name}")
    url = server.set(database=name)
    yield url.render_as_string(hide_password=False)
    if is_emptied:
        await _empty(url)
        emptied.append(name)
    else:
        await _execute(server, f"DROP DATABASE {name}")


@pytest.fixture
def tables() -> Tables:
    """Ours, on a metadata of their own."""
    return define_tables(sa.MetaData())


@pytest.fixture
async def empty_engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine of which every connection has to be back when the test ends, for a database without tables."""
    engine = make_engine(database_url)
    yield engine
    left = engine.pool.checkedout()  # type: ignore[attr-defined]  # the pool of every driver here is a queue
    await engine.dispose()
    assert 0 == left, "the test has left connections outside the pool"


@pytest.fixture
async def engine(empty_engine: AsyncEngine, tables: Tables) -> AsyncEngine:
    """The same, with our tables."""
    async with empty_engine.begin() as connection:
        await connection.run_sync(tables.metadata.create_all)
    return empty_engine


async def _execute(server: sa.URL, statement: str) -> None:
    async with _open(server) as connection:
        await connection.exec_driver_sql(statement)


@asynccontextmanager
async def _open(url: sa.URL) -> AsyncIterator[AsyncConnection]:
    engine = make_engine(url.render_as_string(hide_password=False), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


#: Statistics and settings go with the tables, as if the database were made anew.
_EMPTY = """
DO $$ BEGIN
    EXECUTE (
        SELECT 'DROP SCHEMA ' || string_agg(quote_ident(nspname), ', ') || ' CASCADE' FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    );
    CREATE SCHEMA public;
END $$
"""
_OTHERS = """
SELECT pid, query FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


async def _empty(database: sa.URL) -> None:
    """Remove all that a test has made in a database of PostgreSQL, from which all have to have gone."""
    async with _open(database) as connection:
        patience_ends = time.monotonic() + PATIENCE_S
        # Sessions end a moment after their connections.
        while others := (await connection.exec_driver_sql(_OTHERS)).all():
            assert time.monotonic() < patience_ends, f"the test has left sessions: {others}"
        await connection.exec_driver_sql(_EMPTY)


# What tests of units of work share: business data, a storage over both, and messages.


class Book:
    """A row of business data; its title is unique."""

    id: int
    title: str

    def __init__(self, title: str) -> None:
        self.title = title


@pytest.fixture
async def books(engine: AsyncEngine, tables: Tables) -> AsyncIterator[type[Book]]:
    """The class of business data, mapped to a table that is there."""
    id_type = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    columns = (sa.Column("id", id_type, primary_key=True), sa.Column("title", sa.String(100), unique=True))
    table = sa.Table("books", tables.metadata, *columns)
    registry = sa.orm.registry()
    registry.map_imperatively(Book, table)
    async with engine.begin() as connection:
        await connection.run_sync(table.create)
    yield Book
    registry.dispose()


@pytest.fixture
def storage(engine: AsyncEngine, tables: Tables) -> SqlAlchemyStorage:
    """A storage that is not started: looking at tables that were just made takes longer than most tests."""
    return SqlAlchemyStorage(engine, tables=tables)


@pytest.fixture
def titles(engine: AsyncEngine) -> Callable[[], Awaitable[list[str]]]:
    """Read the titles that are committed, in order."""

    async def read() -> list[str]:
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            return list(await connection.scalars(sa.text("SELECT title FROM books ORDER BY id")))

    return read


@pytest.fixture
def bodies(storage: SqlAlchemyStorage) -> Callable[[], Awaitable[list[str]]]:
    """Read the bodies of the messages that are committed, in order."""

    async def read() -> list[str]:
        return [record.envelope.body.decode() for record in await storage.outbox.pending(limit=10_000)]

    return read


@pytest.fixture
def kept(
    titles: Callable[[], Awaitable[list[str]]], bodies: Callable[[], Awaitable[list[str]]]
) -> Callable[[], Awaitable[tuple[list[str], list[str]]]]:
    """Read both: what was changed, and what is told of it."""

    async def read() -> tuple[list[str], list[str]]:
        return await titles(), await bodies()

    return read


@pytest.fixture
def envelope() -> Callable[..., Envelope]:
    """Make messages."""

    def make(body: str, key: str | None = None, *, topic: str = "shop", **headers: str) -> Envelope:
        facts = {names.ID: str(uuid.uuid4()), names.TYPE: "Happened", **headers}
        return Envelope(topic, body.encode(), key, facts)

    return make


@pytest.fixture
def threads_ended() -> Callable[[], Awaitable[None]]:
    """Wait for aiosqlite's threads, which connections that were given up, or never opened, leave behind."""

    async def wait() -> None:
        while any("_connection_worker" in thread.name for thread in threading.enumerate()):  # noqa: ASYNC110 - no events
            await asyncio.sleep(0)

    return wait


# A pooler between the program and PostgreSQL.


@pytest.fixture(params=["transaction", "session"])
def pool_mode(request: pytest.FixtureRequest) -> str:
    mode: str = request.param
    return mode


@pytest.fixture
def pool_size() -> int:
    """How many connections it has to the server."""
    return 20


@pytest.fixture
def pooled_url(
    database_url: str, pool_mode: str, pool_size: int, tmp_path: Path, without: Callable[[str], NoReturn]
) -> Iterator[str]:
    """The same database, through a PgBouncer."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        without("PgBouncer is not installed: scripts/services start postgres installs it on Debian")
    url = sa.make_url(database_url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    users = tmp_path / "users.txt"
    users.write_text(f'"{url.username}" "{url.password or ""}"\n')
    configuration = tmp_path / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = host={url.host} port={url.port}\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\n"
        f"unix_socket_dir=\nauth_type=trust\nauth_file={users}\npool_mode={pool_mode}\n"
        f"default_pool_size={pool_size}\n"
        "ignore_startup_parameters=extra_float_digits\n"
    )
    for path in (tmp_path, users, configuration):
        path.chmod(0o777)
    # It refuses to run as root.
    as_nobody = ["-u", "nobody"] if Path("/proc/self").owner() == "root" else []
    process = subprocess.Popen([program, "-q", *as_nobody, str(configuration)], stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    pytest.fail("PgBouncer does not listen")
