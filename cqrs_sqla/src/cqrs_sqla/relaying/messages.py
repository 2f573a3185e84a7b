"""The statements by which a relay reads the outbox, and takes out of it what was sent."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cqrs_core.outbox import ParkedKey
from cqrs_sqla.moments import now_on
from cqrs_sqla.relaying.dialects import among, begin, commit, later, many, many_texts, not_among, seconds
from cqrs_sqla.rows import kept_text, record_columns
from cqrs_sqla.slots import SLOTS
from cqrs_sqla.waiting import NEVER, delay_s, is_due, is_parked

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cqrs_sqla.tables import Tables

# With more, MariaDB forgets which index it was told to use, and reads the whole table.
_MOST_TO_REMOVE = 500


class Messages:
    """
    The outbox as a relay sees it; all of it is done on a connection in autocommit.

    Args:
        tables: Whose outbox it is.
        dialect: The database's.
    """

    def __init__(self, tables: Tables, dialect: sa.Dialect) -> None:
        self._outbox = tables.outbox
        self._dead = tables.outbox_dead
        self._dialect = dialect
        self._now = now_on(dialect)
        self._is_mysql = dialect.name in {"mysql", "mariadb"}
        self._fetching: dict[tuple[bool, bool, bool], sa.Select[Any]] = {}
        self._removal = self._removing()

    def fetch(
        self,
        connection: sa.Connection,
        slots: Collection[int],
        *,
        after: int,
        limit: int,
        without: Collection[str],
        passed: Collection[int] = (),
    ) -> Sequence[Sequence[Any]]:
        """Read, of *slots*, what is due behind *after* and at *passed* positions, as :mod:`.decoding` takes it."""
        facts: dict[str, object] = {"behind": after, "most": limit}
        kind = (len(slots) == SLOTS, bool(without), bool(passed))
        has_all, leaves_out, looks_back = kind
        if not has_all:
            facts["slots"] = many(self._dialect, slots)
        if leaves_out:
            facts["keys"] = many_texts(self._dialect, without)
        if looks_back:
            facts["passed"] = many(self._dialect, passed)
        statement = self._fetching.get(kind)
        if statement is None:
            statement = self._fetching[kind] = self._fetch(has_all, leaves_out, looks_back)
        rows: list[Sequence[Any]] = [*connection.execute(statement, facts).all()]
        if looks_back:
            rows.sort(key=itemgetter(0))
        return rows

    def _fetch(self, has_all: bool, leaves_out: bool, looks_back: bool) -> sa.Select[Any]:  # noqa: FBT001 - see fetch
        columns = self._outbox.c
        behind = self._due(has_all, leaves_out).where(columns.seq > sa.bindparam("behind", type_=sa.BigInteger()))
        behind = behind.order_by(columns.seq).limit(sa.bindparam("most", type_=sa.Integer()))
        if not looks_back:
            return behind
        # In one statement, which sees one moment: who sees a message sees those that were committed before it.
        passed = self._due(has_all, leaves_out).where(among(self._dialect, columns.seq, "passed"))
        return sa.select(sa.union_all(passed, sa.select(behind.subquery())).subquery())

    def _due(self, has_all: bool, leaves_out: bool) -> sa.Select[Any]:  # noqa: FBT001 - see fetch
        columns = self._outbox.c
        statement = sa.select(*record_columns(self._outbox)).where(is_due(self._outbox, self._now))
        if not has_all:
            statement = statement.where(among(self._dialect, columns.slot, "slots"))
        if leaves_out:
            others = not_among(self._dialect, columns.aggregateid, "keys")
            statement = statement.where(sa.or_(columns.aggregateid.is_(None), others))
        return self._by_position(statement)

    def _by_position(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        """Have the outbox read in the order of its positions, whatever a database believes to be in it."""
        for name in ("mysql", "mariadb"):
            statement = statement.with_hint(self._outbox, "FORCE INDEX (PRIMARY)", name)
        return statement

    def parked(self, connection: sa.Connection, slots: Collection[int]) -> list[ParkedKey]:
        """List the keys, of *slots*, with a message that was refused and is not due; each waits for its first one."""
        columns = self._outbox.c
        wanted: list[sa.ColumnElement[Any]] = [columns.aggregateid, columns.available_at, self._now]
        statement = sa.select(*wanted).where(
            is_parked(self._outbox, self._now),
            columns.aggregateid.is_not(None),
            among(self._dialect, columns.slot, "slots"),
        )
        statement = self._by_position(statement.order_by(columns.seq))
        rows = connection.execute(statement, {"slots": many(self._dialect, slots)})
        parked: dict[str, ParkedKey] = {}
        for key, due, now in map(tuple, rows):
            if key not in parked:
                parked[key] = ParkedKey(key, delay_s(due, now))
        return list(parked.values())

    def remove(self, connection: sa.Connection, positions: Sequence[int]) -> None:
        """Delete just these, at least one; of a range, some may not have been committed yet when it was read."""
        most = _MOST_TO_REMOVE if self._is_mysql else len(positions)
        for start in range(0, len(positions), most):
            chunk = positions[start : start + most]
            connection.execute(self._removal, {"positions": many(self._dialect, chunk)})

    def _removing(self) -> sa.Delete | sa.TextClause:
        if not self._is_mysql:
            return sa.delete(self._outbox).where(among(self._dialect, self._outbox.c.seq, "positions"))
        # The form of DELETE in which an index can be forced: without, the whole table is read when it was empty once.
        name = self._dialect.identifier_preparer.format_table(self._outbox)
        text = f"DELETE sent FROM {name} AS sent FORCE INDEX (PRIMARY) WHERE sent.seq IN :positions"
        return sa.text(text).bindparams(sa.bindparam("positions", expanding=True))

    def postpone(self, connection: sa.Connection, position: int, *, delay_s: float | None, error: str) -> None:
        """Count an attempt, and let the message wait; without a delay, until :data:`cqrs_sqla.waiting.NEVER`."""
        columns = self._outbox.c
        due: Any = NEVER if delay_s is None else later(self._dialect, "delay")
        statement = sa.update(self._outbox).where(columns.seq == sa.bindparam("position"))
        statement = statement.values(attempts=columns.attempts + 1, available_at=due, last_error=kept_text(error))
        facts: dict[str, object] = {"position": position}
        if delay_s is not None:
            facts["delay"] = seconds(self._dialect, delay_s)
        connection.execute(statement, facts)

    def bury(self, connection: sa.Connection, position: int, *, reason: str, error: str, refusals: int) -> None:
        """Move a message to the dead, with *refusals* more; if it is there no more, nothing happens."""
        if self._dialect.name == "postgresql":
            said = {"attempts": refusals, "last_error": kept_text(error), "reason": reason}
            gone = self._deletion(position).returning(*self._outbox.c).cte("gone")
            connection.execute(self._burial(gone, said))
            return
        begin(connection)
        self.bury_within(connection, position, reason=reason, error=error, refusals=refusals)
        commit(connection)

    def bury_within(self, connection: sa.Connection, position: int, *, reason: str, error: str, refusals: int) -> None:
        """Do the same in the transaction that the connection is in."""
        said = {"attempts": refusals, "last_error": kept_text(error), "reason": reason}
        connection.execute(self._burial(self._outbox, said, position))
        connection.execute(self._deletion(position))

    def _deletion(self, position: int) -> sa.Delete:
        return sa.delete(self._outbox).where(self._outbox.c.seq == position)

    def _burial(self, source: sa.FromClause, said: dict[str, Any], position: int | None = None) -> sa.Insert:
        columns = {column.name: column for column in source.c}
        kept: dict[str, Any] = {
            **columns,
            "attempts": source.c.attempts + said["attempts"],
            "last_error": sa.literal(said["last_error"], sa.Text()),
            "failed_at": self._now,
            "reason": sa.literal(said["reason"], sa.String()),
        }
        rows = sa.select(*kept.values())
        if position is not None:
            # Locked, so that another who buries it too waits, and does not find it then.
            rows = rows.where(source.c.seq == position).with_for_update()
        return sa.insert(self._dead).from_select(list(kept), rows, include_defaults=False)
