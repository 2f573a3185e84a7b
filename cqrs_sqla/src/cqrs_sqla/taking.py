"""Takes messages out of the outbox within a transaction of the program's own, for those who send them by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cqrs_sqla.moments import now_on
from cqrs_sqla.relaying.decoding import UNDECODABLE, decode
from cqrs_sqla.relaying.dialects import among, is_text, many, many_texts, not_among
from cqrs_sqla.relaying.messages import Messages
from cqrs_sqla.rows import record_columns
from cqrs_sqla.waiting import is_due, is_parked

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cqrs_core.outbox import OutboxRecord
    from cqrs_sqla.compressor import Compressor
    from cqrs_sqla.tables import Tables


class Taking:
    """
    The outbox as a program reads and empties it, within the transaction that its connection is in.

    Args:
        tables: Whose outbox it is.
        dialect: The database's.
        compressor: What has compressed bodies, beside zlib.
    """

    def __init__(self, tables: Tables, dialect: sa.Dialect, compressor: Compressor | None = None) -> None:
        self._outbox = tables.outbox
        self._dialect = dialect
        self._compressor = compressor
        self._is_mysql = dialect.name in {"mysql", "mariadb"}
        self._now = now_on(dialect)
        self._messages = Messages(tables, dialect)

    def take(self, connection: sa.Connection, *, limit: int, topic: str | None) -> list[OutboxRecord]:
        """
        Read the first messages that are due, and lock them; what others have locked is left out.

        So is what stands behind a message of its key that waits, or that others have: until that is settled, it is not
        for anybody to send. What cannot be decoded is buried.
        """
        records: list[OutboxRecord] = []
        held: set[str | None] = set(connection.scalars(self._parked_keys()))
        after = 0
        while missing := limit - len(records):
            found = self._find(connection, after=after, limit=missing, topic=topic, without=held)
            if not found:
                break
            after = found[-1].seq
            rows = {row.seq: row for row in self._lock(connection, [row.seq for row in found])}
            for position, key in map(tuple, found):
                if position not in rows:
                    held.add(key)
                elif key is None or key not in held:
                    records += self._decoded(connection, rows[position])
        return records

    def remove(self, connection: sa.Connection, positions: Sequence[int]) -> None:
        """Delete messages: the broker has them."""
        if self._is_mysql:
            # One by one, for the reason of _lock.
            one = sa.delete(self._outbox).where(self._outbox.c.seq == sa.bindparam("position"))
            connection.execute(one, [{"position": position} for position in positions])
        else:
            self._messages.remove(connection, positions)

    def postpone(self, connection: sa.Connection, position: int, *, delay_s: float | None, error: str) -> None:
        """Count an attempt at a message that was refused, and let it wait."""
        self._messages.postpone(connection, position, delay_s=delay_s, error=error)

    def bury(self, connection: sa.Connection, position: int, *, reason: str, error: str, refusals: int = 1) -> None:
        """Move a message to the dead."""
        self._messages.bury_within(connection, position, reason=reason, error=error, refusals=refusals)

    def _parked_keys(self) -> sa.Select[Any]:
        columns = self._outbox.c
        return sa.select(columns.aggregateid).where(
            is_parked(self._outbox, self._now), columns.aggregateid.is_not(None)
        )

    def _find(
        self, connection: sa.Connection, *, after: int, limit: int, topic: str | None, without: Collection[str | None]
    ) -> Sequence[Any]:
        # Without a lock. With one, a REPEATABLE READ of MariaDB's would lock the end of the outbox too, and let nobody
        # write there until the messages are sent.
        columns = self._outbox.c
        keys = [key for key in without if key is not None]
        found = sa.select(columns.seq, columns.aggregateid).where(columns.seq > after, is_due(self._outbox, self._now))
        if topic is not None:
            found = found.where(is_text(self._dialect, columns.aggregatetype, topic))
        if keys:
            others = not_among(self._dialect, columns.aggregateid, "keys")
            found = found.where(sa.or_(columns.aggregateid.is_(None), others))
        facts = {"keys": many_texts(self._dialect, keys)} if keys else {}
        return connection.execute(found.order_by(columns.seq).limit(limit), facts).all()

    def _lock(self, connection: sa.Connection, positions: Sequence[int]) -> Sequence[Any]:
        seq = self._outbox.c.seq
        rows = sa.select(*record_columns(self._outbox)).where(is_due(self._outbox, self._now))
        rows = rows.with_for_update(skip_locked=True)
        if not self._is_mysql:
            rows = rows.where(among(self._dialect, seq, "positions"))
            return connection.execute(rows, {"positions": many(self._dialect, positions)}).all()
        # One by one: of a small table, it would read, and lock, more than it is asked for, and wait for others.
        rows = rows.where(seq == sa.bindparam("position"))
        return [row for position in positions for row in connection.execute(rows, {"position": position})]

    def _decoded(self, connection: sa.Connection, row: Any) -> list[OutboxRecord]:  # noqa: ANN401 - a row of _lock()
        records, broken = decode([row], self._compressor)
        for position, problem in broken:
            self.bury(connection, position, reason=UNDECODABLE, error=problem, refusals=0)
        return records
