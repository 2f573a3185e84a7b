"""Times as the databases keep them: on their own clocks, in UTC."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

# Not now(), which on PostgreSQL is when the transaction began. SQLite has no clock of its own, and no microseconds.
_NOW = {
    "postgresql": "clock_timestamp()",
    "mysql": "UTC_TIMESTAMP(6)",
    "mariadb": "UTC_TIMESTAMP(6)",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
}


def now_text(dialect: sa.Dialect) -> str:
    """Write what the database takes for the time at which a statement runs."""
    return _NOW[dialect.name]


def statement_time(dialect: sa.Dialect) -> ColumnElement[datetime]:
    """Give the time at which a statement began: the same all through it, so that an index can be searched by it."""
    text = "statement_timestamp()" if dialect.name == "postgresql" else now_text(dialect)
    return sa.literal_column(text, sa.DateTime(timezone=True))


def now_on(dialect: sa.Dialect) -> ColumnElement[datetime]:
    """Give the same for a statement that is put together."""
    return sa.literal_column(now_text(dialect), sa.DateTime(timezone=True))


def as_utc(moment: datetime) -> datetime:
    """Give a moment that was read its time zone; MariaDB and SQLite keep none."""
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
