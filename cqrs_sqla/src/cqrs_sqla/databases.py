"""The databases that are known here: what they are called, since which version, and who speaks with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from cqrs_sqla.errors import UnknownDatabase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass(frozen=True, slots=True)
class Database:
    """
    One kind of database.

    Attributes:
        name: As its makers write it.
        drivers: The asynchronous ones that it is tested with, the preferred one first, each with the extra of this
            distribution that brings it.
        oldest: The first version with all that is used here.
    """

    name: str
    drivers: Mapping[str, str]
    oldest: tuple[int, ...]


# SKIP LOCKED, and numbers that are not given again after a restart, decide for MariaDB and MySQL; RETURNING for SQLite.
# PostgreSQL has had all that longer; what it has since 13 is to sweep tables that only grow.
_POSTGRESQL = Database("PostgreSQL", {"asyncpg": "asyncpg", "psycopg": "psycopg"}, (13,))
_MARIADB = Database("MariaDB", {"asyncmy": "mysql"}, (10, 6))
_MYSQL = Database("MySQL", {"asyncmy": "mysql"}, (8, 0, 1))
_SQLITE = Database("SQLite", {"aiosqlite": "sqlite"}, (3, 35))

#: By the names that SQLAlchemy has for its dialects. A MariaDB answers to ``mysql`` too.
DATABASES = {"postgresql": _POSTGRESQL, "mysql": _MYSQL, "mariadb": _MARIADB, "sqlite": _SQLITE}


def database_of(dialect: sa.Dialect) -> Database:
    """
    Tell which database a dialect is for; once it has connected, a MariaDB from a MySQL whatever its URL says.

    Raises:
        UnknownDatabase: None of these: statements might mean something else there.
    """
    if dialect.name not in DATABASES:
        raise UnknownDatabase(dialect.name, tuple(DATABASES))
    return _MARIADB if getattr(dialect, "is_mariadb", False) else DATABASES[dialect.name]


def version_problem(dialect: sa.Dialect) -> str | None:
    """Say that the database to which *dialect* has connected is too old, if it is."""
    database = database_of(dialect)
    version: tuple[object, ...] | None = getattr(dialect, "server_version_info", None)
    numbers = tuple(part for part in version or () if isinstance(part, int))
    if not numbers or numbers >= database.oldest:
        return None
    oldest, found = (".".join(map(str, parts)) for parts in (database.oldest, numbers))
    return f"{database.name} {found} is too old. Upgrade it to {oldest} or later."


def name_of_database(engine: AsyncEngine) -> str:
    """Write what *engine* connects to, for errors: without the user, and the query, where some have their password."""
    url = engine.url
    return str(sa.URL.create(url.drivername, host=url.host, port=url.port, database=url.database))
