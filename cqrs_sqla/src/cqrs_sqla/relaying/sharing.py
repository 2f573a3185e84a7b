"""Who has which slots, and until when: in the database, and by its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from cqrs_sqla.moments import now_on
from cqrs_sqla.relaying.dialects import among, begin, commit, later, many, seconds
from cqrs_sqla.relaying.shares import Division
from cqrs_sqla.slots import SLOTS

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.sql.dml import Insert

    from cqrs_sqla.tables import Tables


class Register:
    """
    The tables in which relays keep what they have, as one of them writes there.

    All of it is done on a connection in autocommit.

    Args:
        tables: Whose outbox it is.
        dialect: The database's.
        node: Which relay this is; no other is called so.
        ttl_s: For how long what it has is kept.
    """

    def __init__(self, tables: Tables, dialect: sa.Dialect, *, node: str, ttl_s: float) -> None:
        self._slot = tables.outbox_slot
        self._relay = tables.outbox_relay
        self._dialect = dialect
        self._facts = {"relay": node, "ttl": seconds(dialect, ttl_s)}
        self._node = node
        self._until = later(dialect, "ttl")
        self._now = now_on(dialect)

    def renew(self, connection: sa.Connection) -> Division:
        """Count as alive, keep what is there, and tell how everything is divided."""
        slot = self._slot.c
        begin(connection)
        connection.execute(self._upsert(), self._facts)
        mine = sa.update(self._slot).where(slot.owner == sa.bindparam("relay")).values(until=self._until)
        connection.execute(mine, self._facts)
        division, known = self._look(connection)
        if known < SLOTS:
            connection.execute(self._ignoring(self._slot), [{"slot": number} for number in range(SLOTS)])
            division, _ = self._look(connection)
        commit(connection)
        return division

    def rebalance(self, connection: sa.Connection) -> Collection[int]:
        """Give up what is too much, or take what is free and fair; tells what there is then."""
        # By itself: who holds no other lock while it waits for these cannot be in anybody's way.
        connection.execute(sa.delete(self._relay).where(self._relay.c.until < self._now))
        begin(connection)
        division, _ = self._look(connection)
        mine = set(division.mine)
        if division.surplus:
            # Only what is still its own: if it had lapsed, it may just have become another's.
            self._set(connection, division.surplus, self._slot.c.owner == self._node, owner=None, until=None)
            mine -= set(division.surplus)
        elif division.wanted:
            taken = self._lock_free(connection, division.wanted)
            self._set(connection, taken, sa.true(), owner=self._node, until=self._until)
            mine |= set(taken)
        commit(connection)
        return mine

    def release(self, connection: sa.Connection) -> None:
        """Have nothing, and count as alive no more."""
        begin(connection)
        slot, relay = self._slot.c, self._relay.c
        mine = sa.update(self._slot).where(slot.owner == self._node).values(owner=None, until=None)
        connection.execute(mine)
        connection.execute(sa.delete(self._relay).where(relay.node == self._node))
        commit(connection)

    def _look(self, connection: sa.Connection) -> tuple[Division, int]:
        slot, relay = self._slot.c, self._relay.c
        # It counts itself, however late it is.
        others = sa.select(sa.func.count()).where(relay.until >= self._now, relay.node != self._node)
        relays = 1 + connection.execute(others.select_from(self._relay)).scalar_one()
        rows = connection.execute(sa.select(slot.slot, slot.owner, sa.case((self._is_free(), 1), else_=0))).all()
        mine = [number for number, owner, _ in rows if owner == self._node]
        free = [number for number, owner, free in rows if free and owner != self._node]
        return Division(relays, mine, free), len(rows)

    def _lock_free(self, connection: sa.Connection, count: int) -> list[int]:
        """Find slots that are free, and that nobody else is about to take."""
        slot = self._slot.c
        free = sa.select(slot.slot).where(self._is_free()).order_by(slot.slot).limit(count)
        return list(connection.scalars(free.with_for_update(skip_locked=True)))

    def _is_free(self) -> sa.ColumnElement[bool]:
        slot = self._slot.c
        return sa.or_(slot.owner.is_(None), slot.until.is_(None), slot.until < self._now)

    def _set(
        self,
        connection: sa.Connection,
        slots: Collection[int],
        condition: sa.ColumnElement[bool],
        **values: Any,  # noqa: ANN401 - of columns
    ) -> None:
        which = among(self._dialect, self._slot.c.slot, "slots")
        facts = {**self._facts, "slots": many(self._dialect, slots)}
        connection.execute(sa.update(self._slot).where(which, condition).values(**values), facts)

    def _upsert(self) -> Insert:
        values = {"node": sa.bindparam("relay"), "until": self._until}
        if self._dialect.name in {"mysql", "mariadb"}:
            return mysql.insert(self._relay).values(values).on_duplicate_key_update(until=self._until)
        if self._dialect.name == "sqlite":
            insert = sqlite.insert(self._relay).values(values)
            return insert.on_conflict_do_update(index_elements=["node"], set_={"until": self._until})
        upsert = postgresql.insert(self._relay).values(values)
        return upsert.on_conflict_do_update(index_elements=["node"], set_={"until": self._until})

    def _ignoring(self, table: sa.Table) -> Insert:
        """Insert what is not there."""
        if self._dialect.name in {"mysql", "mariadb"}:
            return sa.insert(table).prefix_with("IGNORE")
        if self._dialect.name == "sqlite":
            return sqlite.insert(table).on_conflict_do_nothing()
        return postgresql.insert(table).on_conflict_do_nothing()
