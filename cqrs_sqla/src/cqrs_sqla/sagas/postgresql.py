"""One statement for everything that is written together: PostgreSQL does it in one round trip, and commits it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cqrs_core.saga.log import SagaStatus
from cqrs_sqla.debezium import is_sent_by_debezium
from cqrs_sqla.inserting import COLUMNS as MESSAGE
from cqrs_sqla.inserting import insert_rows, mark
from cqrs_sqla.relaying.dialects import begin, commit
from cqrs_sqla.rows import HEADERS

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import sqlalchemy as sa

    from cqrs_core.saga.storage import NewSaga
    from cqrs_sqla.sagas.records import Checkpoint
    from cqrs_sqla.tables import Tables

# The time at which the statement began: one for all that it writes.
_NOW = "statement_timestamp()"
#: What a new saga brings, and what PostgreSQL calls it.
_NEW = {
    "id": "uuid",
    "name": "text",
    "fingerprint": "text",
    "status": "text",
    "step_id": "text",
    "context": "text",
    "input_hash": "text",
    "owner": "text",
    "lease_s": "float8",
}
#: The same for a checkpoint.
_CHECKPOINT = {
    "id": "uuid",
    "fence": "bigint",
    "version": "int",
    "status": "text",
    "cursor_pos": "int",
    "branch": "smallint",
    "attempt": "int",
    "suspended_from": "text",
    "step_id": "text",
    "claims": "int",
    "context": "text",
    "fingerprint": "text",
    "error": "text",
    "wake_in_s": "float8",
    "is_live": "bool",
    "is_released": "bool",
}
#: And for what was done.
_STEP = {
    "saga_id": "uuid",
    "version": "int",
    "place": "smallint",
    "step_id": "text",
    "step_name": "text",
    "branch": "smallint",
    "action": "text",
    "status": "text",
    "attempt": "int",
    "error": "text",
}


class PostgresStatements:
    """
    Writes sagas into PostgreSQL; see :class:`cqrs_sqla.sagas.storage.Statements`.

    Args:
        tables: Whose sagas they are.
        dialect: The database's.
    """

    def __init__(self, tables: Tables, dialect: sa.Dialect) -> None:
        self._tables = tables
        self._dialect = dialect

    def start(
        self,
        connection: sa.Connection,
        sagas: Sequence[NewSaga],
        *,
        is_within: bool,  # noqa: ARG002 - one statement is one transaction, or part of one
    ) -> Collection[uuid.UUID]:
        """Insert those of which there is no other; gives their ids."""
        rows = [
            (
                new.id,
                new.name,
                new.fingerprint,
                new.status.value,
                new.step_id,
                new.context.decode(),
                new.input_hash,
                new.owner,
                new.lease_s,
            )
            for new in sagas
        ]
        statement = _start(self._tables, self._dialect, is_one=len(rows) == 1)
        return set(connection.exec_driver_sql(statement, _parameters(rows)).scalars())

    def write(
        self, connection: sa.Connection, checkpoints: Sequence[Checkpoint], *, is_within: bool
    ) -> Collection[uuid.UUID]:
        """Write those whose sagas are as their writers know them; gives the ids of these."""
        messages = [(one.write.saga_id, row) for one in checkpoints for row in one.messages]
        if not messages or not is_sent_by_debezium(self._tables):
            return self._write(connection, checkpoints, messages)
        # What is read from the log is deleted at once, which a statement cannot do that has only just inserted it.
        if not is_within:
            begin(connection)
        written = self._write(connection, checkpoints, [])
        for _ in insert_rows(connection, self._tables, [row for saga_id, row in messages if saga_id in written]):
            pass
        if not is_within:
            commit(connection)
        return written

    def _write(
        self, connection: sa.Connection, checkpoints: Sequence[Checkpoint], messages: Sequence[tuple[uuid.UUID, Any]]
    ) -> set[uuid.UUID]:
        rows = [_row(one) for one in checkpoints]
        steps = [tuple(row[name] for name in _STEP) for one in checkpoints for row in one.steps]
        sent = [(saga_id, *(row[name] for name in MESSAGE)) for saga_id, row in messages]
        statement = _write(self._tables, self._dialect, tuple(map(_few, (rows, steps, sent))))
        parameters = (*_parameters(rows), *_parameters(steps), *_parameters(sent))
        return set(connection.exec_driver_sql(statement, parameters).scalars())


def _row(checkpoint: Checkpoint) -> tuple[Any, ...]:
    write = checkpoint.write
    standing = write.standing
    came_from = standing.suspended_from
    return (
        write.saga_id,
        write.fence,
        write.version,
        standing.status.value,
        standing.cursor,
        int(standing.branch),
        standing.attempt,
        None if came_from is None else came_from.value,
        write.step_id,
        write.claims,
        checkpoint.context,
        write.fingerprint,
        checkpoint.error,
        write.wake_in_s,
        standing.status.is_live,
        write.is_released,
    )


#: None, one, or any number from two on: what a statement is written for.
_MANY = 2


def _few(rows: Sequence[object]) -> int:
    return min(len(rows), _MANY)


def _parameters(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Give the values of one row; or of many, an array for each column."""
    return rows[0] if len(rows) == 1 else tuple(map(list, zip(*rows, strict=True)))


def _rows(kinds: Mapping[str, str], name: str, count: int, numbered: Callable[[], str]) -> str:
    """Write what gives the rows of :func:`_parameters`. One row is planned, and found, as if its values stood there."""
    if count == 1:
        values = ", ".join(f"{numbered()}::{kind} AS {column}" for column, kind in kinds.items())
        return f"(SELECT {values}, 1 AS nth) AS {name}"
    arrays = ", ".join(f"{numbered()}::{kind}[]" for kind in kinds.values())
    return f"unnest({arrays}) WITH ORDINALITY AS {name} ({', '.join(kinds)}, nth)"


def _marks(dialect: sa.Dialect) -> Callable[[], str]:
    numbers = iter(range(1, 100))
    return lambda: mark(dialect, next(numbers))


def _later(seconds: str) -> str:
    return f"{_NOW} + make_interval(secs => {seconds})"


def _all_of(name: str, columns: Iterable[str]) -> str:
    return ", ".join(f"{name}.{column}" for column in columns)


@lru_cache(maxsize=32)
def _start(tables: Tables, dialect: sa.Dialect, *, is_one: bool) -> str:
    saga = dialect.identifier_preparer.format_table(tables.saga)
    plain = [name for name in _NEW if name != "lease_s"]
    is_running = f"status = '{SagaStatus.RUNNING}'"
    return (
        f"INSERT INTO {saga} ({', '.join(plain)}, cursor_pos, branch, attempt, version, fence, claims, "  # noqa: S608 - as in inserting.py
        f"wake_at, created_at, updated_at) "
        f"SELECT {', '.join(plain)}, 0, 0, CASE WHEN {is_running} THEN 1 ELSE 0 END, 1, 1, 0, "
        f"CASE WHEN {is_running} THEN {_later('lease_s')} ELSE {_NOW} END, {_NOW}, {_NOW} "
        f"FROM {_rows(_NEW, 'given', 1 if is_one else _MANY, _marks(dialect))} "
        f"ON CONFLICT (id) DO NOTHING RETURNING id"
    )


@lru_cache(maxsize=64)
def _write(tables: Tables, dialect: sa.Dialect, counts: tuple[int, ...]) -> str:
    """Write the statement for none, one, or many checkpoints, entries of histories, and messages."""
    checkpoints, steps, messages = counts
    marks = _marks(dialect)
    parts = [_update(tables, dialect, _rows(_CHECKPOINT, "given", checkpoints, marks))]
    if steps:
        columns = ", ".join(_STEP)
        parts.append(
            f"steps AS (INSERT INTO {_named(dialect, tables.saga_step)} ({columns}, recorded_at) "  # noqa: S608 - as above
            f"SELECT {_all_of('done', _STEP)}, {_NOW} FROM {_rows(_STEP, 'done', steps, marks)} "
            "JOIN written ON written.id = done.saga_id)"
        )
    if messages:
        names = [name for name in MESSAGE if name != HEADERS]
        sent = {"saga_id": "uuid", **MESSAGE}
        # Rows are numbered in the order in which they are sorted.
        parts.append(
            f"messages AS (INSERT INTO {_named(dialect, tables.outbox)} ({', '.join(names)}, headers, created_at) "  # noqa: S608 - as above
            f"SELECT {_all_of('sent', names)}, sent.{HEADERS}::json, clock_timestamp() "
            f"FROM {_rows(sent, 'sent', messages, marks)} "
            "JOIN written ON written.id = sent.saga_id ORDER BY sent.nth)"
        )
    return f"WITH {', '.join(parts)} SELECT id FROM written"  # noqa: S608 - as above


def _update(tables: Tables, dialect: sa.Dialect, given: str) -> str:
    always = ("status", "cursor_pos", "branch", "attempt", "suspended_from", "step_id", "claims")
    changes = [f"{name} = given.{name}" for name in always]
    changes += [f"{name} = coalesce(given.{name}, saga.{name})" for name in ("context", "fingerprint", "error")]
    # Of a status that is not live, nobody has it, and it is never due.
    changes += [
        "version = saga.version + 1",
        f"updated_at = {_NOW}",
        "owner = CASE WHEN given.is_live AND NOT given.is_released THEN saga.owner END",
        f"wake_at = CASE WHEN given.is_live THEN coalesce({_later('given.wake_in_s')}, saga.wake_at) END",
        f"rested_at = CASE WHEN NOT given.is_live THEN {_NOW} END",
    ]
    return (
        f"written AS (UPDATE {_named(dialect, tables.saga)} AS saga SET {', '.join(changes)} FROM {given} "  # noqa: S608 - as above
        "WHERE saga.id = given.id AND saga.fence = given.fence AND saga.version = given.version RETURNING saga.id)"
    )


def _named(dialect: sa.Dialect, table: sa.Table) -> str:
    return dialect.identifier_preparer.format_table(table)
