"""What a relay says to each database in other words."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cqrs_sqla.moments import now_on

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

#: Begins a transaction that writes. READ COMMITTED: who had to wait for another sees what that one has done.
_BEGIN = {
    "postgresql": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "mysql": "START TRANSACTION",
    "mariadb": "START TRANSACTION",
    "sqlite": "BEGIN IMMEDIATE",
}
_SQLITE_FORMAT = "%Y-%m-%d %H:%M:%f000"


def begin(connection: sa.Connection) -> None:
    """Begin a transaction on a connection in autocommit; one that fails is ended with its connection."""
    connection.exec_driver_sql(_BEGIN[connection.dialect.name])


def commit(connection: sa.Connection) -> None:
    """Keep what was done since :func:`begin`."""
    connection.exec_driver_sql("COMMIT")


def rollback(connection: sa.Connection) -> None:
    """Undo what was done since :func:`begin`."""
    connection.exec_driver_sql("ROLLBACK")


def later(dialect: sa.Dialect, name: str, now: sa.ColumnElement[datetime] | None = None) -> sa.ColumnElement[datetime]:
    """
    Give the time, on the database's clock, that comes when :func:`seconds`, the parameter *name*, have passed.

    Args:
        now: From when on, on PostgreSQL, which has several of them.
    """
    moment: Any = sa.DateTime(timezone=True)
    if dialect.name == "postgresql":
        return (now_on(dialect) if now is None else now) + sa.bindparam(name, type_=sa.Interval())
    if dialect.name == "sqlite":
        return sa.func.strftime(_SQLITE_FORMAT, "now", sa.bindparam(name, type_=sa.String()), type_=moment)
    unit: sa.ColumnElement[Any] = sa.literal_column("MICROSECOND")
    return sa.func.timestampadd(unit, sa.bindparam(name, type_=sa.BigInteger()), now_on(dialect), type_=moment)


def seconds(dialect: sa.Dialect, number: float) -> object:
    """Write a number of seconds as :func:`later` takes it."""
    if dialect.name == "postgresql":
        return timedelta(seconds=number)
    return f"{number:+.3f} seconds" if dialect.name == "sqlite" else round(number * 1_000_000)


def among(dialect: sa.Dialect, column: sa.Column[Any], name: str) -> sa.ColumnElement[bool]:
    """Ask whether a column is one of :func:`many`, the parameter *name*: the statement is the same for any number."""
    if dialect.name == "postgresql":
        return column == sa.any_(_array(column, name))
    if dialect.name == "sqlite":
        return column.in_(_from_json(name))
    return column.in_(sa.bindparam(name, expanding=True))


def not_among(dialect: sa.Dialect, column: sa.Column[Any], name: str) -> sa.ColumnElement[bool]:
    """Ask whether a column of text is none of :func:`many_texts`; capitals and spaces count."""
    if dialect.name == "postgresql":
        return column != sa.all_(_array(column, name))
    if dialect.name == "sqlite":
        return column.not_in(_from_json(name))
    # As bytes: for MySQL's collations, spaces at the end do not count.
    return sa.cast(column, sa.LargeBinary).not_in(sa.bindparam(name, expanding=True, type_=sa.LargeBinary()))


def is_text(dialect: sa.Dialect, column: sa.Column[Any], text: str) -> sa.ColumnElement[bool]:
    """Ask whether a column of text is exactly *text*."""
    if dialect.name in {"mysql", "mariadb"}:  # as bytes too, for the reason of not_among; an index may find the first
        return sa.and_(column == text, sa.cast(column, sa.LargeBinary) == text.encode())
    return column == text


def many(dialect: sa.Dialect, values: Collection[int]) -> object:
    """Write numbers as :func:`among` takes them."""
    return json.dumps(list(values)) if dialect.name == "sqlite" else list(values)


def many_texts(dialect: sa.Dialect, values: Collection[str]) -> object:
    """Write texts as :func:`not_among` takes them."""
    if dialect.name in {"mysql", "mariadb"}:
        return [value.encode() for value in values]
    return json.dumps(list(values)) if dialect.name == "sqlite" else list(values)


def _array(column: sa.Column[Any], name: str) -> sa.BindParameter[Any]:
    kind = sa.Text() if isinstance(column.type, sa.String) else column.type
    return sa.bindparam(name, type_=sa.ARRAY(kind))


def _from_json(name: str) -> sa.Select[Any]:
    values = sa.func.json_each(sa.bindparam(name, type_=sa.Text())).table_valued("value")
    return sa.select(values.c.value)
