"""What people do with sagas: look for them, decide about them, and clear away what has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cqrs_core.errors import SagaChanged, SagaNotFound
from cqrs_core.saga.log import SagaStatus
from cqrs_sqla.moments import now_on, statement_time
from cqrs_sqla.relaying.dialects import later, seconds
from cqrs_sqla.sagas.records import load, record_of, saga_columns, step_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from cqrs_core.saga.storage import SagaChange, SagaQuery, SagaRecord
    from cqrs_sqla.tables import Tables

_ENDED = [status.value for status in SagaStatus if status.is_ended]


def find(connection: sa.Connection, tables: Tables, query: SagaQuery) -> Sequence[SagaRecord]:
    """Look for sagas; those that were written longest ago come first."""
    saga, dialect = tables.saga.c, connection.dialect
    statement = sa.select(*saga_columns(tables)).order_by(saga.updated_at).limit(query.limit)
    facts: dict[str, Any] = {}
    if query.name is not None:
        statement = statement.where(saga.name == query.name)
    if query.statuses:
        statement = statement.where(saga.status.in_([status.value for status in query.statuses]))
        if not any(status.is_live for status in query.statuses):
            statement = statement.where(saga.rested_at.is_not(None))  # as the index has it
    if query.overdue_s is not None:
        statement = statement.where(saga.wake_at <= later(dialect, "overdue", statement_time(dialect)))
        facts["overdue"] = seconds(dialect, -query.overdue_s)
    return [record_of(row) for row in connection.execute(statement, facts)]


def change(connection: sa.Connection, tables: Tables, change: SagaChange, context: str | None) -> SagaRecord:
    """Change a saga by hand, within the transaction."""
    saga, now = tables.saga.c, now_on(connection.dialect)
    standing = change.standing
    is_live = standing.status.is_live
    values: dict[str, Any] = {
        "status": standing.status.value,
        "cursor_pos": standing.cursor,
        "branch": int(standing.branch),
        "attempt": standing.attempt,
        "suspended_from": None if standing.suspended_from is None else standing.suspended_from.value,
        "step_id": change.step_id,
        "version": saga.version + 1,
        "fence": saga.fence + 1,
        "claims": 0,
        "owner": None,
        "wake_at": now if is_live else None,
        "rested_at": None if is_live else now,
        "updated_at": now,
    }
    if context is not None:
        values["context"] = context
    deciding = sa.update(tables.saga).where(saga.id == change.saga_id, saga.version == change.version).values(values)
    if not connection.execute(deciding).rowcount:
        if load(connection, tables, change.saga_id) is None:
            raise SagaNotFound(change.saga_id)
        raise SagaChanged(change.saga_id)
    if rows := step_rows(change.saga_id, change.version + 1, change.log):
        connection.execute(sa.insert(tables.saga_step).values(recorded_at=now), rows)
    changed = load(connection, tables, change.saga_id)
    assert changed is not None, "it was changed just now"  # noqa: S101 - for type checkers
    return changed


def purge(connection: sa.Connection, tables: Tables, older_than: timedelta, limit: int) -> int:
    """Forget sagas that have ended, with their histories, within the transaction; gives how many."""
    saga, dialect = tables.saga.c, connection.dialect
    is_old = saga.rested_at < later(dialect, "age", statement_time(dialect))
    oldest = sa.select(saga.id).where(saga.status.in_(_ENDED), is_old).order_by(saga.rested_at).limit(limit)
    # Whoever else purges takes others.
    locked = oldest if dialect.name == "sqlite" else oldest.with_for_update(skip_locked=True)
    gone = connection.scalars(locked, {"age": seconds(dialect, -older_than.total_seconds())}).all()
    if gone:
        connection.execute(sa.delete(tables.saga_step).where(tables.saga_step.c.saga_id.in_(gone)))
        connection.execute(sa.delete(tables.saga).where(saga.id.in_(gone)))
    return len(gone)
