"""Forgets rows that are old, in batches, so that nobody waits long for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cqrs_core.errors import InvalidOption
from cqrs_sqla.moments import now_on

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine


async def forget(engine: AsyncEngine, moment: sa.Column[datetime], older_than: timedelta, *, batch_size: int) -> int:
    """
    Delete the rows of a table whose *moment* is longer ago than *older_than*, on the database's clock; tells how many.

    Raises:
        InvalidOption: A batch is of no row.
    """
    if batch_size < 1:
        raise InvalidOption("batch_size", batch_size, "at least 1")
    async with engine.connect() as connection:
        return await connection.run_sync(_forget, moment, older_than, batch_size)


def _forget(connection: sa.Connection, moment: sa.Column[datetime], older_than: timedelta, batch_size: int) -> int:
    now: datetime = connection.execute(sa.select(now_on(connection.dialect))).scalar_one()
    statement = _deletion(connection.dialect, moment)
    forgotten = 0
    while True:
        facts = {"before": now - older_than, "batch_size": batch_size}
        count = connection.execute(statement, facts).rowcount
        connection.commit()
        forgotten += count
        if count < batch_size:
            return forgotten


def _deletion(dialect: sa.Dialect, moment: sa.Column[Any]) -> sa.Delete | sa.TextClause:
    table = moment.table
    before = sa.bindparam("before", type_=moment.type)
    batch_size = sa.bindparam("batch_size", type_=sa.Integer())
    if dialect.name in {"mysql", "mariadb"}:
        # Which has no LIMIT in a subquery; and SQLAlchemy none here, before 2.0.37.
        name, column = (
            dialect.identifier_preparer.format_table(table),
            dialect.identifier_preparer.format_column(moment),
        )
        text = f"DELETE FROM {name} WHERE {column} < :before ORDER BY {column} LIMIT :batch_size"  # noqa: S608 - names that are quoted
        return sa.text(text).bindparams(before, batch_size)
    keys = tuple(table.primary_key)
    oldest = sa.select(*keys).where(moment < before).order_by(moment).limit(batch_size)
    return sa.delete(table).where(sa.tuple_(*keys).in_(oldest))
