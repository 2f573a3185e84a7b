"""Takes over what python-cqrs has in its outbox and has not delivered."""

from __future__ import annotations

import json
import uuid
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from cqrs_core import envelope as header
from cqrs_core.storage import ImportReport
from cqrs_sqla.errors import ImportRefused
from cqrs_sqla.inserting import insert_rows
from cqrs_sqla.rows import HEADERS
from cqrs_sqla.schema import columns_of, is_of_python_cqrs
from cqrs_sqla.slots import slot_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from cqrs_sqla.rows import Row
    from cqrs_sqla.tables import Tables

# Also those that it has given up after five attempts: they count as NOT_PRODUCED for ever.
_UNDELIVERED = ("NEW", "NOT_PRODUCED")


class _Batch(NamedTuple):
    moved: int
    left: list[str]
    #: The last row that was looked at; ``None`` if there was none.
    last: int | None


async def import_outbox(
    connection: AsyncConnection, tables: Tables, table: str, *, batch_size: int = 500
) -> ImportReport:
    """
    Move the undelivered rows of *table* into our outbox: the same bodies and ids, in the same order.

    Each batch is one transaction, so that whenever this ends, each message is in one of the two tables. Whatever still
    writes to the old table, or delivers from it, ought to be stopped before.

    Args:
        connection: In no transaction.
        table: Its name, behind its schema and a dot if it has one.
        batch_size: How many rows one transaction moves; at least 1.

    Raises:
        ImportRefused: There is no such table, it is not python-cqrs's, or our outbox is not there.
    """
    schema, _, name = table.rpartition(".")
    await connection.run_sync(_check, tables.outbox, name, schema or None)
    await connection.rollback()
    source = _source(name, schema or None)
    moved, last = 0, None
    left: list[str] = []
    while True:
        async with connection.begin():
            batch = await connection.run_sync(_move, source, tables, last, batch_size)
        if batch.last is None:
            return ImportReport(moved, left)
        moved, last = moved + batch.moved, batch.last
        left += batch.left


def _check(connection: sa.Connection, outbox: sa.Table, name: str, schema: str | None) -> None:
    inspector = sa.inspect(connection)
    found = columns_of(inspector, name, schema)
    if not found:
        raise ImportRefused(name, "there is no such table.")
    if not is_of_python_cqrs(found):
        raise ImportRefused(name, "it is not the outbox of python-cqrs, which has other columns.")
    ours = columns_of(inspector, outbox.name, outbox.schema)
    if is_of_python_cqrs(ours):
        problem = "it has the name of our outbox too. Name ours otherwise, such as by ?table_prefix=cqrs_ in the URL."
        raise ImportRefused(name, problem)
    if not ours:
        raise ImportRefused(name, f"our own outbox, {outbox.fullname}, is not there. Create it first.")


def _source(name: str, schema: str | None) -> sa.TableClause:
    columns: list[sa.ColumnClause[Any]] = [
        sa.column("id", sa.BigInteger()),
        sa.column("event_id_bin", sa.LargeBinary()),
        sa.column("event_status", sa.String()),
        sa.column("event_name", sa.String()),
        sa.column("topic", sa.String()),
        sa.column("payload", sa.LargeBinary()),
    ]
    return sa.table(name, *columns, schema=schema)


def _move(connection: sa.Connection, source: sa.TableClause, tables: Tables, last: int | None, size: int) -> _Batch:
    columns = source.c
    undelivered = sa.func.upper(sa.cast(columns.event_status, sa.String(20))).in_(_UNDELIVERED)
    query = sa.select(columns.id, columns.event_id_bin, columns.event_name, columns.topic, columns.payload)
    query = query.where(undelivered).order_by(columns.id).limit(size).with_for_update()
    found = connection.execute(query if last is None else query.where(columns.id > last)).all()
    rows: dict[int, Row] = {}
    left: list[str] = []
    for row in found:
        try:
            rows[row.id] = _row_of(row)
        except ValueError as error:
            left.append(f"{row.event_name} (id {row.id}): {error}")
    if rows:
        for _ in insert_rows(connection, tables, list(rows.values())):
            pass
        connection.execute(sa.delete(source).where(columns.id.in_(rows)))
    return _Batch(len(rows), left, found[-1].id if found else None)


def _row_of(row: Any) -> Row:  # noqa: ANN401 - of SQLAlchemy, whose rows have other type variables in 2.0 and 2.1
    """
    Make a row of ours.

    It gets no header with the name of the event: by that, consumers know that the body is the whole event, as
    python-cqrs would have sent it.

    Raises:
        ValueError: It cannot be sent as it is; the text says why.
    """
    if not row.topic:
        problem = "It has no topic."
        raise ValueError(problem)
    event_id = uuid.UUID(bytes=bytes(row.event_id_bin))
    return {
        "id": event_id,
        "slot": slot_of(None, event_id),
        "aggregatetype": row.topic,
        "aggregateid": None,
        "type": row.event_name,
        "payload": _json_of(bytes(row.payload)),
        HEADERS: json.dumps({header.ID: str(event_id)}),
    }


def _json_of(payload: bytes) -> bytes:
    body = payload
    if not payload.startswith(b"{"):
        try:
            body = zlib.decompress(payload)
        except zlib.error:
            body = b""
    try:
        if isinstance(json.loads(body), dict):
            return body
    except ValueError:
        pass
    problem = "Its payload is no JSON object, compressed by zlib or not: python-cqrs has to deliver it."
    raise ValueError(problem)
