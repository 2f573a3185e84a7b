"""What people do with sagas: look for them, decide about them, and clear away what has ended."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cqrs_core.errors import SagaChanged, SagaNotFound
from cqrs_core.saga.log import SagaStatus
from cqrs_core.saga.storage import SagaFigures
from cqrs_sqla.moments import as_utc, now_on, statement_time
from cqrs_sqla.relaying.dialects import later, seconds
from cqrs_sqla.sagas.records import load, record_of, saga_columns, step_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from cqrs_core.saga.storage import SagaChange, SagaQuery, SagaRecord
    from cqrs_sqla.tables import Tables

#: How many are counted at most: of more, nobody needs the number.
COUNT_TO = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_ENDED = [status.value for status in SagaStatus if status.is_ended]


def figures(connection: sa.Connection, tables: Tables) -> SagaFigures:
    """Tell how they do: what is read of each is in an index, but for the claims of those that are under way."""
    saga, dialect = tables.saga.c, connection.dialect
    is_stuck = (saga.status == SagaStatus.SUSPENDED.value, saga.rested_at.is_not(None))
    stuck = sa.select(saga.id).where(*is_stuck).limit(COUNT_TO).subquery()
    live = sa.select(saga.claims).where(saga.wake_at.is_not(None)).limit(COUNT_TO).subquery()
    oldest = sa.select(saga.wake_at, now_on(dialect)).where(saga.wake_at.is_not(None)).order_by(saga.wake_at).limit(1)
    due_at, now = map(as_utc, connection.execute(oldest).first() or (_EPOCH, _EPOCH))
    count, most = connection.execute(sa.select(sa.func.count(), sa.func.max(live.c.claims))).one()
    return SagaFigures(
        suspended=connection.scalars(sa.select(sa.func.count()).select_from(stuck)).one(),
        live=count,
        oldest_due_s=(now - due_at).total_seconds() if due_at < now else None,
        most_claims=most or 0,
        counted_to=COUNT_TO,
    )


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
    if standing.status is SagaStatus.COMPLETED:
        values["error"] = None
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
