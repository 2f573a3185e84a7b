"""Makes the engine that a URL names, with the settings on which units of work rely."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, TypedDict

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from cqrs_core.errors import InvalidOption
from cqrs_sqla.databases import DATABASES
from cqrs_sqla.errors import DriverMissing, DriverRefused, UnknownDatabase
from cqrs_sqla.sqlite import BUSY_TIMEOUT_S, prepare_sqlite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine
    from typing_extensions import Unpack

# psycopg has one name for both its sides, and SQLAlchemy one more for the asynchronous one.
_ALIASES = {"psycopg_async": "psycopg"}


class EngineOptions(TypedDict, total=False):
    """What :func:`make_engine` hands on to ``sqlalchemy.ext.asyncio.create_async_engine``, under its names."""

    pool_size: int
    max_overflow: int
    pool_timeout: float
    pool_recycle: int
    pool_pre_ping: bool
    isolation_level: str
    echo: bool


def make_engine(address: str, **options: Unpack[EngineOptions]) -> AsyncEngine:
    """
    Make an engine; it connects when it is first used, and whoever made it disposes of it.

    Args:
        address: ``postgresql://``, ``mysql://``, ``mariadb://`` or ``sqlite:///file``, with the driver if it shall not
            be chosen (``postgresql+psycopg://``). Its query goes to the driver.
        options: As ``create_async_engine`` has them, and with its defaults, but for MariaDB's and MySQL's
            ``pool_recycle``, an hour, and ``isolation_level``, READ COMMITTED.

    Raises:
        InvalidOption: It is no URL, or names no file.
        UnknownDatabase: It is for another database.
        DriverRefused: It names a synchronous driver.
        DriverMissing: No driver for it is installed.
    """
    url = _url(address)
    database, _, driver = url.drivername.partition("+")
    try:
        engine = create_async_engine(url, poolclass=AsyncAdaptedQueuePool, **{**_DEFAULTS[database], **options})
    except ImportError as error:
        raise DriverMissing(url.drivername, [DATABASES[database].drivers[driver]]) from error
    if database == "sqlite":
        prepare_sqlite(engine)
    return engine


# READ COMMITTED: a handler whose inbox row had to wait for another's sees what that one committed, on MariaDB as on
# PostgreSQL; and it locks the rows that it changes, not the gaps between them, in which others insert. The server ends
# what was idle for eight hours: by default nothing lives as long.
_MYSQL: EngineOptions = {"isolation_level": "READ COMMITTED", "pool_recycle": 3600}
_DEFAULTS: Mapping[str, EngineOptions] = {"postgresql": {}, "mysql": _MYSQL, "mariadb": _MYSQL, "sqlite": {}}


def _url(address: str) -> sa.URL:
    """Read an address, and choose the driver that it leaves open."""
    try:
        url = sa.make_url(address)
    except (ArgumentError, ValueError):
        # Neither the address nor the cause, which quote what may be a password.
        expected = "such as postgresql://user:password@host:5432/name, mysql://host/name or sqlite:///file.db"
        scheme = address.partition("://")[0] if "://" in address else "..."
        raise InvalidOption("the address of the storage", f"{scheme}://...", f"a URL, {expected}") from None
    database, _, driver = url.drivername.partition("+")
    if database not in DATABASES:
        raise UnknownDatabase(database, tuple(DATABASES))
    if database == "sqlite" and url.database in {None, "", ":memory:"}:
        # One connection would be all there is of it, shared by all transactions.
        raise InvalidOption("the address of the storage", address, "the path of a file, such as sqlite:///shop.db")
    known = DATABASES[database].drivers
    driver = _ALIASES.get(driver, driver) or _installed(database)
    if driver not in known:
        raise DriverRefused(url.drivername, [f"{database}+{name}" for name in known])
    return _with_words_of(driver, url.set(drivername=f"{database}+{driver}"))


def _installed(database: str) -> str:
    drivers = DATABASES[database].drivers
    for driver in drivers:
        if importlib.util.find_spec(driver) is not None:
            return driver
    raise DriverMissing(database, list(dict.fromkeys(drivers.values())))


def _with_words_of(driver: str, url: sa.URL) -> sa.URL:
    """Say to a driver what it would not know, or not do, by itself."""
    if driver == "asyncpg" and "sslmode" in url.query:  # the word of everybody else
        return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": url.query["sslmode"]})
    if driver == "aiosqlite" and "timeout" not in url.query:
        return url.update_query_dict({"timeout": str(BUSY_TIMEOUT_S)})
    return url
