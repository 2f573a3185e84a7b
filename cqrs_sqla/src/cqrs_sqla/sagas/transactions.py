"""What is written together as one transaction, where a database has no statement for all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from cqrs_core.saga.log import SagaStatus
from cqrs_sqla.inserting import insert_rows
from cqrs_sqla.moments import now_on
from cqrs_sqla.relaying.dialects import begin, commit, later, rollback, seconds

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Sequence

    from sqlalchemy.sql.dml import Insert, Update

    from cqrs_core.saga.storage import NewSaga
    from cqrs_sqla.rows import Row
    from cqrs_sqla.sagas.records import Checkpoint
    from cqrs_sqla.tables import Tables


class TransactionStatements:
    """
    Writes sagas into MariaDB, MySQL and SQLite; see :class:`cqrs_sqla.sagas.storage.Statements`.

    Args:
        tables: Whose sagas they are.
        dialect: The database's.
    """

    def __init__(self, tables: Tables, dialect: sa.Dialect) -> None:
        self._tables = tables
        self._dialect = dialect
        self._starting = self._start()
        self._writing = self._write()
        self._noting = sa.insert(tables.saga_step).values(recorded_at=now_on(dialect)).inline()

    def start(self, connection: sa.Connection, sagas: Sequence[NewSaga], *, is_within: bool) -> Collection[uuid.UUID]:
        """Insert those of which there is no other; gives their ids, or none if it cannot tell."""
        rows = [self._new_row(new) for new in sagas]
        if is_within or len(rows) == 1:
            count = self.insert(connection, rows)
        else:
            begin(connection)
            count = self.insert(connection, rows)
            commit(connection)
        return {new.id for new in sagas} if count == len(rows) else ()

    def write(
        self, connection: sa.Connection, checkpoints: Sequence[Checkpoint], *, is_within: bool
    ) -> Collection[uuid.UUID]:
        """Write those whose sagas are as their writers know them; gives the ids of these."""
        if not is_within:
            begin(connection)
        written = self._update(connection, checkpoints)
        if steps := [row for one in written for row in one.steps]:
            self.note(connection, steps)
        messages = [row for one in written for row in one.messages]
        for _ in insert_rows(connection, self._tables, messages):
            pass
        if not is_within:
            commit(connection)
        return {one.write.saga_id for one in written}

    def insert(self, connection: sa.Connection, rows: list[Row]) -> int:
        """Insert as many sagas as are not there; tells how many."""
        return connection.execute(self._starting, rows).rowcount

    def update(self, connection: sa.Connection, facts: list[dict[str, Any]]) -> int:
        """Change as many sagas as are as they are known; tells how many."""
        return connection.execute(self._writing, facts).rowcount

    def note(self, connection: sa.Connection, steps: list[Row]) -> None:
        """Add to histories."""
        connection.execute(self._noting, steps)

    def _update(self, connection: sa.Connection, checkpoints: Sequence[Checkpoint]) -> Sequence[Checkpoint]:
        facts = [self._facts(one) for one in checkpoints]
        if len(facts) > 1:
            if self.update(connection, facts) == len(facts):
                return checkpoints
            # Of some of them, somebody else has the saga. How many is all that is told: so each by itself.
            rollback(connection)
            begin(connection)
        return [one for one, of_one in zip(checkpoints, facts, strict=True) if self.update(connection, [of_one])]

    def _new_row(self, new: NewSaga) -> Row:
        is_running = new.status is SagaStatus.RUNNING
        return {
            "id": new.id,
            "name": new.name,
            "fingerprint": new.fingerprint,
            "status": new.status.value,
            "attempt": int(is_running),
            "step_id": new.step_id,
            "context": new.context.decode(),
            "input_hash": new.input_hash,
            "owner": new.owner,
            "lease": seconds(self._dialect, new.lease_s if is_running else 0.0),
        }

    def _facts(self, checkpoint: Checkpoint) -> dict[str, Any]:
        write = checkpoint.write
        standing = write.standing
        return {
            "which": write.saga_id,
            "known_fence": write.fence,
            "known_version": write.version,
            "to_status": standing.status.value,
            "to_cursor_pos": standing.cursor,
            "to_branch": int(standing.branch),
            "to_attempt": standing.attempt,
            "to_suspended_from": None if standing.suspended_from is None else standing.suspended_from.value,
            "to_step_id": write.step_id,
            "to_claims": write.claims,
            "to_context": checkpoint.context,
            "to_fingerprint": write.fingerprint,
            "to_error": checkpoint.error,
            "wake_in": None if write.wake_in_s is None else seconds(self._dialect, write.wake_in_s),
            "is_live": int(standing.status.is_live),
            "is_kept": int(standing.status.is_live and not write.is_released),
        }

    def _start(self) -> Insert:
        now = now_on(self._dialect)
        fixed: dict[str, Any] = {"cursor_pos": 0, "branch": 0, "version": 1, "fence": 1, "claims": 0}
        times = {"created_at": now, "updated_at": now, "wake_at": later(self._dialect, "lease")}
        if self._dialect.name == "sqlite":
            insert: Insert = sqlite.insert(self._tables.saga).on_conflict_do_nothing()
        else:
            # What IGNORE would hide beside a repeated key, text that is too long, was looked for before.
            insert = sa.insert(self._tables.saga).prefix_with("IGNORE")
        # Drivers tell how many only while the cursor is open.
        return insert.values(**fixed, **times).inline().execution_options(preserve_rowcount=True)

    def _write(self) -> Update:
        saga = self._tables.saga
        columns = saga.c

        def given(name: str, kind: Any = None) -> sa.BindParameter[Any]:  # noqa: ANN401 - as SQLAlchemy has it
            return sa.bindparam(name, type_=kind)

        def or_as_it_was(name: str) -> sa.ColumnElement[Any]:
            return sa.func.coalesce(given(f"to_{name}", columns[name].type), columns[name])

        always = ("status", "cursor_pos", "branch", "attempt", "suspended_from", "step_id", "claims")
        changes: dict[str, Any] = {name: given(f"to_{name}", columns[name].type) for name in always}
        changes.update({name: or_as_it_was(name) for name in ("context", "fingerprint", "error")})
        is_live = given("is_live", sa.Integer()) == 1
        # Of a status that is not live, nobody has it, and it is never due.
        owner = sa.case((given("is_kept", sa.Integer()) == 1, columns.owner), else_=None)
        wake_at = sa.case((is_live, sa.func.coalesce(later(self._dialect, "wake_in"), columns.wake_at)), else_=None)
        now = now_on(self._dialect)
        changes.update(
            version=columns.version + 1,
            updated_at=now,
            owner=owner,
            wake_at=wake_at,
            rested_at=sa.case((is_live, None), else_=now),
        )
        return (
            sa.update(saga)
            .where(
                columns.id == given("which", columns.id.type),
                columns.fence == given("known_fence", columns.fence.type),
                columns.version == given("known_version", columns.version.type),
            )
            .values(changes)
        )
