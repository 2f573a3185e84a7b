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
        # Found without a lock, then locked by their keys: of a small table, MariaDB would lock more than it is asked
        # for, and others would pass over all of it.
        saga = self._saga
        found = connection.scalars(due, facts).all()
        if not found:
            return ()
        begin(connection)
        by_key = sa.select(saga.c.id).where(saga.c.id.in_(found), self._is_due()).with_for_update(skip_locked=True)
        for name in ("mysql", "mariadb"):
            by_key = by_key.with_hint(saga, "FORCE INDEX (PRIMARY)", name)
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
            due = due.where(saga.id == which.saga_id)
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
        saga = self._saga.c
        keeping = (
            sa.update(self._saga)
            .where(
                saga.id == sa.bindparam("which", type_=saga.id.type),
                saga.fence == sa.bindparam("known_fence", type_=saga.fence.type),
                saga.owner.is_not(None),
            )
            .values(wake_at=later(self._dialect, "lease", self._now))
        )
        lease = seconds(self._dialect, lease_s)
        rows = [{"which": saga_id, "known_fence": fence, "lease": lease} for saga_id, fence in held]
        if self._dialect.name == "sqlite":
            begin(connection)  # of which the end is written to the disk once
        # Of the others, each by itself: who waits for one has no other that somebody may wait for.
        lost = {row["which"] for row in rows if not connection.execute(keeping, row).rowcount}
        if self._dialect.name == "sqlite":
            commit(connection)
        return lost  # type: ignore[return-value]  # the ids that came in

    def _renew_arrays(
        self, connection: sa.Connection, held: Collection[tuple[uuid.UUID, int]], lease_s: float
    ) -> Collection[uuid.UUID]:
        # What somebody writes just now is passed over: to wait for it with locks on others could be a deadlock. It is
        # kept by itself then.
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
