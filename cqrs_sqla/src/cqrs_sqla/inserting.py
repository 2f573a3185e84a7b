"""The statement that writes rows into the outbox: one for many, as fast as each database has it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cqrs_sqla.debezium import is_sent_by_debezium
from cqrs_sqla.moments import now_on, now_text
from cqrs_sqla.rows import HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.sql.dml import Insert, ReturningInsert

    from cqrs_sqla.rows import Row
    from cqrs_sqla.tables import Tables

# Rows of one statement: with more, nothing is won; and it has to fit into one packet of MariaDB's.
_MAX_ROWS = 1000
_MAX_BYTES = 2**20

#: The columns that a row brings, and what PostgreSQL calls their types.
COLUMNS = {
    "id": "uuid",
    "slot": "smallint",
    "aggregatetype": "text",
    "aggregateid": "text",
    "type": "text",
    "payload": "bytea",
    HEADERS: "text",
}


def insert_rows(connection: sa.Connection, tables: Tables, rows: Sequence[Row]) -> Iterator[int]:
    """
    Insert *rows* into the outbox, in their order; gives, after each chunk, how many it was.

    Where Debezium sends them they are deleted at once: it reads in the log that they were inserted.
    """
    outbox, dialect = tables.outbox, connection.dialect
    is_emptied = is_sent_by_debezium(tables)
    for chunk in _chunks(rows):
        if dialect.name == "postgresql" and len(chunk) > 1:
            # Past SQLAlchemy, whose part of it would take as long as the database's.
            arrays = tuple([row[name] for row in chunk] for name in COLUMNS)
            inserted = connection.exec_driver_sql(_insert_arrays(outbox, dialect, is_emptied=is_emptied), arrays)
        else:
            inserted = connection.execute(_insert(outbox, dialect, is_emptied=is_emptied), chunk)
        if is_emptied:
            _delete(connection, outbox, inserted.scalars())
        yield len(chunk)


def insert_selected(connection: sa.Connection, tables: Tables, insertion: Insert, facts: Mapping[str, object]) -> None:
    """Run an INSERT into the outbox that selects its rows; what :func:`insert_rows` deletes, is deleted."""
    if is_sent_by_debezium(tables):
        seq = tables.outbox.c.seq
        _delete(connection, tables.outbox, connection.scalars(insertion.returning(seq), facts))
    else:
        connection.execute(insertion, facts)


def _delete(connection: sa.Connection, outbox: sa.Table, positions: Iterable[int]) -> None:
    connection.exec_driver_sql(_deletion(outbox, connection.dialect), (list(positions),))


def _chunks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    size = 0
    for row in rows:
        more = len(row["payload"]) + len(row[HEADERS])
        if chunk and (len(chunk) == _MAX_ROWS or size + more > _MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += more
    if chunk:
        yield chunk


@lru_cache(maxsize=32)
def _deletion(outbox: sa.Table, dialect: sa.Dialect) -> str:
    table = dialect.identifier_preparer.format_table(outbox)
    return f"DELETE FROM {table} WHERE seq = ANY({mark(dialect, 1)}::bigint[])"  # noqa: S608 - a quoted name


def mark(dialect: sa.Dialect, number: int) -> str:
    """Write the place of a parameter as a driver of PostgreSQL has it."""
    return f"${number}" if dialect.driver == "asyncpg" else "%s"


@lru_cache(maxsize=32)
def _insert(outbox: sa.Table, dialect: sa.Dialect, *, is_emptied: bool) -> Insert | ReturningInsert[Any]:
    headers: sa.ColumnElement[Any] = sa.bindparam(HEADERS, type_=sa.Text())
    if dialect.name == "postgresql":
        headers = sa.cast(headers, sa.JSON)
    statement = sa.insert(outbox).values(headers=headers, created_at=now_on(dialect))
    return statement.returning(outbox.c.seq) if is_emptied else statement.inline()


@lru_cache(maxsize=32)
def _insert_arrays(outbox: sa.Table, dialect: sa.Dialect, *, is_emptied: bool) -> str:
    """Write the statement that takes an array for each column, which is the quickest for many rows."""
    arrays = ", ".join(f"{mark(dialect, number)}::{kind}[]" for number, kind in enumerate(COLUMNS.values(), 1))
    columns = ", ".join(name for name in COLUMNS if name != HEADERS)
    table = dialect.identifier_preparer.format_table(outbox)
    # Rows are numbered in the order in which unnest() gives them, which is that of the arrays.
    return (
        f"INSERT INTO {table} ({columns}, headers, created_at) "  # noqa: S608 - names of ours, and a quoted one
        f"SELECT {columns}, {HEADERS}::json, {now_text(dialect)} FROM unnest({arrays}) AS rows ({columns}, {HEADERS})"
        f"{' RETURNING seq' if is_emptied else ''}"
    )
