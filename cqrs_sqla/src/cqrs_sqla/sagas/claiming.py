"""Takes sagas that are due, and keeps those that somebody has."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cqrs_core.saga.log import SagaStatus
from cqrs_sqla.inserting import mark
from cqrs_sqla.moments import statement_time
from cqrs_sqla.relaying.dialects import begin, commit, later, seconds
from cqrs_sqla.sagas.records import record_of, saga_columns

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Sequence

    from cqrs_core.saga.storage import SagaClaim, SagaRecord
    from cqrs_sqla.tables import Tables


class Claims:
    """
    Whose sagas are; all of it is done on a connection in autocommit.

    Args:
        tables: Where they are.
        dialect: The database's.
    """

    def __init__(self, tables: Tables, dialect: sa.Dialect) -> None:
        self._tables = tables
        self._saga = tables.saga
        self._dialect = dialect
        self._is_mysql = dialect.name in {"mysql", "mariadb"}
        self._now = statement_time(dialect)

    def claim(self, connection: sa.Connection, which: SagaClaim) -> Sequence[SagaRecord]:
        """Take sagas; those that another is about to take, or to write, are passed over."""
        facts = {
            "new_owner": which.owner,
            "lease": seconds(self._dialect, which.lease_s),
            "overdue": seconds(self._dialect, -which.overdue_s),
        }
        due = self._due(which)
        if self._is_mysql:
            return self._claim_in_steps(connection, due, facts)
        columns = saga_columns(self._tables)
        if self._dialect.name == "sqlite":
            taking = self._taking().where(self._saga.c.id.in_(due)).returning(*columns)
        else:
            found = due.with_for_update(skip_locked=True, key_share=True).cte("due")
            taking = self._taking().where(self._saga.c.id == found.c.id).returning(*columns)
        return [record_of(row) for row in connection.execute(taking, facts)]

    def _claim_in_steps(
        self, connection: sa.Connection, due: sa.Select[Any], facts: dict[str, object]
    ) -> Sequence[SagaRecord]:
        saga = self._saga
        found = connection.scalars(due, facts).all()
        if not found:
            return ()
        begin(connection)
        by_key = self._locked(sa.select(saga.c.id).where(self._is_due()), found)
        taken = connection.scalars(by_key, facts).all()
        if taken:
            connection.execute(self._taking().where(saga.c.id.in_(taken)), facts)
        rows = connection.execute(sa.select(*saga_columns(self._tables)).where(saga.c.id.in_(taken))).all()
        commit(connection)
        order = {saga_id: place for place, saga_id in enumerate(found)}
        return sorted((record_of(row) for row in rows), key=lambda record: order[record.id])

    def _due(self, which: SagaClaim) -> sa.Select[Any]:
        saga = self._saga.c
        due = sa.select(saga.id).where(self._is_due())
        if which.names is not None:
            due = due.where(saga.name.in_(list(which.names)))
        if which.saga_id is not None:
            return due.where(saga.id == which.saga_id)  # and no order, by which it would be looked for among all
        return due.order_by(saga.wake_at).limit(which.limit)

    def _is_due(self) -> sa.ColumnElement[bool]:
        return self._saga.c.wake_at <= later(self._dialect, "overdue", self._now)

    def _taking(self) -> sa.Update:
        """What plan.follow() says of a saga that is claimed."""
        saga = self._saga.c
        is_new = saga.status == SagaStatus.PENDING.value
        return sa.update(self._saga).values(
            status=sa.case((is_new, SagaStatus.RUNNING.value), else_=saga.status),
            attempt=saga.attempt + 1,
            version=saga.version + 1,
            fence=saga.fence + 1,
            claims=saga.claims + 1,
            owner=sa.bindparam("new_owner", type_=saga.owner.type),
            wake_at=later(self._dialect, "lease", self._now),
            updated_at=self._now,
        )

    def renew(
        self, connection: sa.Connection, held: Collection[tuple[uuid.UUID, int]], lease_s: float
    ) -> Collection[uuid.UUID]:
        """Keep sagas; gives those that are lost."""
        if self._dialect.name == "postgresql":
            return self._renew_arrays(connection, held, lease_s)
        return self._renew_in_steps(connection, dict(held), lease_s)

    def _renew_in_steps(
        self, connection: sa.Connection, held: dict[uuid.UUID, int], lease_s: float
    ) -> Collection[uuid.UUID]:
        saga = self._saga.c
        keeping = sa.update(self._saga).values(wake_at=later(self._dialect, "lease", self._now))
        facts = {"lease": seconds(self._dialect, lease_s)}
        begin(connection)
        found = self._locked(sa.select(saga.id, saga.fence, saga.owner), list(held))
        rows = connection.execute(found).all()
        kept = {row.id for row in rows if row.owner is not None and row.fence == held[row.id]}
        connection.execute(keeping.where(saga.id.in_(kept)), facts)
        commit(connection)
        # What somebody writes just now was passed over, as below: each is kept by itself.
        for saga_id in held.keys() - {row.id for row in rows}:
            is_held = (saga.id == saga_id, saga.fence == held[saga_id], saga.owner.is_not(None))
            if connection.execute(keeping.where(*is_held), facts).rowcount:
                kept.add(saga_id)
        return held.keys() - kept

    def _locked(self, statement: Any, ids: Sequence[uuid.UUID]) -> Any:  # noqa: ANN401 - SQLAlchemy 2.0 and 2.1 differ
        """Lock sagas by their keys, but for those that somebody else has locked."""
        # Of a small table, MariaDB would lock more than it is asked for, and others would pass over all of it.
        for name in ("mysql", "mariadb"):
            statement = statement.with_hint(self._saga, "FORCE INDEX (PRIMARY)", name)
        return statement.where(self._saga.c.id.in_(ids)).with_for_update(skip_locked=True)

    def _renew_arrays(
        self, connection: sa.Connection, held: Collection[tuple[uuid.UUID, int]], lease_s: float
    ) -> Collection[uuid.UUID]:
        # What somebody writes just now is passed over: to wait for it with locks on others could be a deadlock. So each
        # of those is waited for with no other locked.
        arrays = ([saga_id for saga_id, _ in held], [fence for _, fence in held], lease_s)
        statement = _renewal(self._tables, self._dialect, how="SKIP LOCKED")
        kept = set(connection.exec_driver_sql(statement, arrays).scalars())
        lost: set[uuid.UUID] = set()
        waiting = _renewal(self._tables, self._dialect, how="")
        for saga_id, fence in held:
            if saga_id not in kept and not connection.exec_driver_sql(waiting, ([saga_id], [fence], lease_s)).all():
                lost.add(saga_id)
        return lost


@lru_cache(maxsize=32)
def _renewal(tables: Tables, dialect: sa.Dialect, *, how: str) -> str:
    saga = dialect.identifier_preparer.format_table(tables.saga)
    ids, fences, lease_s = (mark(dialect, number) for number in (1, 2, 3))
    return (
        f"WITH held AS (SELECT saga.id FROM {saga} AS saga "  # noqa: S608 - as in inserting.py
        f"JOIN unnest({ids}::uuid[], {fences}::bigint[]) AS given (id, fence) "
        f"ON saga.id = given.id AND saga.fence = given.fence "
        f"WHERE saga.owner IS NOT NULL FOR NO KEY UPDATE OF saga {how}) "
        f"UPDATE {saga} AS saga SET wake_at = statement_timestamp() + make_interval(secs => {lease_s}::float8) "
        f"FROM held WHERE saga.id = held.id RETURNING saga.id"
    )
