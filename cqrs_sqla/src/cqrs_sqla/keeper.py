"""Looks after the outbox for a person: what is in it, what went wrong, and what to do about that."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from cqrs_core import envelope as names
from cqrs_core.envelope import Envelope
from cqrs_core.errors import InvalidOption, StorageUnavailable, StorageUnusable
from cqrs_core.outbox import OutboxRecord, ParkedKey
from cqrs_core.outbox_keeper import OutboxEntry, OutboxStatus, RelayShare
from cqrs_sqla.connecting import open_connection
from cqrs_sqla.debezium import is_sent_by_debezium, readers_of, reading_problems, sender_of
from cqrs_sqla.failures import is_passing, told_by
from cqrs_sqla.inserting import insert_selected
from cqrs_sqla.moments import as_utc, now_on
from cqrs_sqla.relaying.dialects import among, is_text, many
from cqrs_sqla.rows import record_columns, record_of
from cqrs_sqla.schema import problems_of
from cqrs_sqla.slots import SLOTS
from cqrs_sqla.waiting import NEVER, delay_s, is_parked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.engine.interfaces import IsolationLevel
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from cqrs_core.outbox_keeper import Selection
    from cqrs_sqla.compressor import Compressor
    from cqrs_sqla.tables import Tables

#: What a message has in both tables, but for its place, its age and what became of it.
_CONTENT = ("id", "slot", "aggregatetype", "aggregateid", "type", "payload", "headers")
#: What :func:`cqrs_sqla.rows.record_columns` leaves out.
_TOLD = ("id", "type", "last_error", "available_at")
_BATCH_SIZE = 500
# Of those that others run, their xmin is not shown to everybody: it is 0 then.
_SWEEPING = sa.text(
    "SELECT pg_stat_get_dead_tuples(CAST(CAST(:outbox AS text) AS regclass)) AS dead_rows, "
    "coalesce((SELECT max(age(backend_xmin)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()), 0) AS horizon_age"
)
_NEARLY_NEVER = NEVER.replace(month=1)


class SqlAlchemyOutboxKeeper:
    """
    What a person sees of an outbox in SQL, and does there; see :class:`cqrs_core.outbox_keeper.OutboxKeeper`.

    It looks without a transaction, so that it is in nobody's way. What it changes, it changes in batches, each of which
    is one transaction: wherever it is stopped, each message is in one of the two tables.

    Args:
        engine: The database's.
        tables: Whose outbox it is.
        name: What the database is called in errors.
        compressor: What has compressed bodies, beside zlib.
        batch_size: How many messages a transaction changes; at least 1.

    Raises:
        InvalidOption: A batch is of no message.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        tables: Tables,
        name: str,
        compressor: Compressor | None = None,
        *,
        batch_size: int = _BATCH_SIZE,
    ) -> None:
        if batch_size < 1:
            raise InvalidOption("batch_size", batch_size, "at least 1")
        self._engine = engine
        # Who had to wait for another sees what that one has done. SQLite knows no levels: there one writes at a time.
        is_sqlite = engine.dialect.name == "sqlite"
        self._changing: IsolationLevel | None = None if is_sqlite else "READ COMMITTED"
        self._dialect = engine.dialect
        self._tables = tables
        self._name = name
        self._compressor = compressor
        self._batch_size = batch_size
        self._now = now_on(engine.dialect)

    # Looking ----------------------------------------------------------------------------------------------------------

    async def status(self, *, count_to: int = 10_000) -> OutboxStatus:
        """Tell how the outbox does, by the database's clock."""
        async with self._connected("AUTOCOMMIT") as connection:
            return await connection.run_sync(self._status, count_to)

    async def look(
        self, which: Selection, *, among_dead: bool = False, after: int = 0, limit: int = 100
    ) -> Sequence[OutboxEntry]:
        """Look at messages that wait, or at the dead, by their positions."""
        table = self._tables.outbox_dead if among_dead else self._tables.outbox
        told: list[sa.ColumnElement[Any]] = [table.c[name] for name in _TOLD]
        told.append(self._now.label("now"))
        told += [table.c.failed_at, table.c.reason] if among_dead else []
        statement = sa.select(*record_columns(table), *told).where(
            table.c.seq > after, *_conditions(self._dialect, table, which)
        )
        async with self._connected("AUTOCOMMIT") as connection:
            rows = (await connection.execute(statement.order_by(table.c.seq).limit(limit))).all()
        return [self._entry(row, is_dead=among_dead) for row in rows]

    def _status(self, connection: sa.Connection, count_to: int) -> OutboxStatus:
        outbox, slot, relay = self._tables.outbox.c, self._tables.outbox_slot.c, self._tables.outbox_relay.c
        # The first, and not the least of all times: that would read all of them.
        oldest = connection.execute(sa.select(outbox.created_at, self._now).order_by(outbox.seq).limit(1)).first()
        is_held = (slot.owner.is_not(None), slot.until >= self._now)
        counted = sa.select(slot.owner, sa.func.count()).where(*is_held).group_by(slot.owner)
        held = {str(owner): int(count) for owner, count in map(tuple, connection.execute(counted))}
        living = connection.scalars(sa.select(relay.node).where(relay.until >= self._now).order_by(relay.node))
        return OutboxStatus(
            oldest_age_s=None if oldest is None else (as_utc(oldest[1]) - as_utc(oldest[0])).total_seconds(),
            waiting=self._count(connection, self._tables.outbox, count_to),
            halted=self._count(connection, self._tables.outbox, count_to, self._is_halted()),
            dead=self._count(connection, self._tables.outbox_dead, count_to),
            counted_to=count_to,
            parked=self._parked(connection, count_to),
            relays=[RelayShare(node, held.get(node, 0)) for node in living],
            free_slots=SLOTS - sum(held.values()),
            slots=SLOTS,
            figures=self._figures(connection),
            sent_by=sender_of(self._tables),
            readers=readers_of(connection) if is_sent_by_debezium(self._tables) else (),
        )

    def _figures(self, connection: sa.Connection) -> dict[str, float]:
        if self._dialect.name != "postgresql":
            return {}
        outbox = self._dialect.identifier_preparer.format_table(self._tables.outbox)
        row = connection.execute(_SWEEPING, {"outbox": outbox}).one()
        return {"dead_rows": float(row.dead_rows), "horizon_age": float(row.horizon_age)}

    def _count(
        self, connection: sa.Connection, table: sa.Table, count_to: int, *conditions: sa.ColumnElement[bool]
    ) -> int:
        some = sa.select(table.c.seq).where(*conditions).limit(count_to).subquery()
        count: int = connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
        return count

    def _parked(self, connection: sa.Connection, count_to: int) -> list[ParkedKey]:
        columns = self._tables.outbox.c
        parked: dict[str, ParkedKey] = {}
        # Those that wait for a person are looked for by themselves: of the others, there may be too many to read.
        for condition in (self._is_halted(), self._is_parked()):
            wanted: list[sa.ColumnElement[Any]] = [columns.aggregateid, columns.available_at, self._now]
            statement = sa.select(*wanted).where(columns.aggregateid.is_not(None), condition)
            for key, due, now in map(tuple, connection.execute(statement.order_by(columns.seq).limit(count_to))):
                parked.setdefault(key, ParkedKey(key, delay_s(due, now)))
        return list(parked.values())[:count_to]

    def _is_parked(self) -> sa.ColumnElement[bool]:
        return is_parked(self._tables.outbox, self._now)

    def _is_halted(self) -> sa.ColumnElement[bool]:
        columns = self._tables.outbox.c
        # Some time before it, whatever time zone it is read in.
        is_far = columns.available_at >= sa.literal(_NEARLY_NEVER, columns.available_at.type)
        return sa.and_(columns.attempts > 0, is_far)

    def _entry(self, row: Any, *, is_dead: bool) -> OutboxEntry:  # noqa: ANN401 - rows have other types in 2.0 and 2.1
        try:
            record = record_of(row, self._compressor)
        except Exception:  # noqa: BLE001 - a person has to see what cannot be decoded, too
            left = {names.ID: str(row.id), names.TYPE: row.type}
            envelope = Envelope(row.aggregatetype, bytes(row.payload), row.aggregateid, left)
            record = OutboxRecord(row.seq, envelope, as_utc(row.created_at), row.attempts)
        if is_dead:
            failed_at = as_utc(row.failed_at)
            return OutboxEntry(
                record=record, delay_s=None, error=row.last_error, failed_at=failed_at, reason=row.reason
            )
        return OutboxEntry(record=record, delay_s=delay_s(row.available_at, row.now), error=row.last_error)

    # Changing ---------------------------------------------------------------------------------------------------------

    async def requeue(self, which: Selection) -> int:
        """Move messages that were given up behind those that wait; a batch of them is moved, or not."""
        return await self._change(self._tables.outbox_dead, which, self._revive)

    async def let_go(self, which: Selection) -> int:
        """Let messages be due, as if they had never been refused."""
        return await self._change(self._tables.outbox, which, self._forgive, self._is_parked())

    async def purge(self, older_than: timedelta, which: Selection) -> int:
        """Forget messages that were given up longer ago than *older_than*, by the database's clock."""
        dead = self._tables.outbox_dead
        async with self._connected("AUTOCOMMIT") as connection:
            now: datetime = (await connection.execute(sa.select(self._now))).scalar_one()
        is_old = dead.c.failed_at < sa.literal(now - older_than, dead.c.failed_at.type)
        return await self._change(dead, which, self._forget, is_old)

    async def _change(
        self,
        table: sa.Table,
        which: Selection,
        change: Callable[[sa.Connection, Sequence[int]], int],
        *conditions: sa.ColumnElement[bool],
    ) -> int:
        """Find messages, and change them, batch by batch, each in one transaction."""
        seq = table.c.seq
        wanted = sa.select(seq).where(*_conditions(self._dialect, table, which), *conditions)
        changed, after = 0, 0
        async with self._connected(self._changing) as connection:
            # What is requeued gets a greater number: with a broker that refuses it at once, this would never end.
            last = (await connection.execute(sa.select(sa.func.max(seq)))).scalar_one()
            await connection.commit()
            while last is not None:
                batch = wanted.where(seq > after, seq <= last).order_by(seq).limit(self._batch_size)
                async with connection.begin():
                    found = (await connection.scalars(batch)).all()
                    if not found:
                        break
                    changed += await connection.run_sync(change, found)
                after = found[-1]
        return changed

    def _revive(self, connection: sa.Connection, positions: Sequence[int]) -> int:
        dead, outbox = self._tables.outbox_dead, self._tables.outbox
        locked = self._lock(connection, dead, positions)
        kept: dict[str, sa.ColumnElement[Any]] = {name: dead.c[name] for name in _CONTENT}
        kept["created_at"] = self._now
        rows = sa.select(*kept.values()).where(self._are(dead)).order_by(dead.c.seq)
        if problems := reading_problems(connection, self._tables):
            raise StorageUnusable(self._name, problems)
        revival = sa.insert(outbox).from_select(list(kept), rows, include_defaults=False)
        insert_selected(connection, self._tables, revival, self._facts(locked))
        connection.execute(sa.delete(dead).where(self._are(dead)), self._facts(locked))
        return len(locked)

    def _forgive(self, connection: sa.Connection, positions: Sequence[int]) -> int:
        outbox = self._tables.outbox
        # Looked at again: a relay may have postponed it, or sent it, since it was found.
        due = sa.update(outbox).where(self._are(outbox), self._is_parked()).values(available_at=None, attempts=0)
        return connection.execute(due, self._facts(positions)).rowcount

    def _forget(self, connection: sa.Connection, positions: Sequence[int]) -> int:
        dead = self._tables.outbox_dead
        return connection.execute(sa.delete(dead).where(self._are(dead)), self._facts(positions)).rowcount

    def _lock(self, connection: sa.Connection, table: sa.Table, positions: Sequence[int]) -> Sequence[int]:
        """Wait for others who change the same messages, and give those that are still there then."""
        there = sa.select(table.c.seq).where(self._are(table)).order_by(table.c.seq).with_for_update()
        return connection.execute(there, self._facts(positions)).scalars().all()

    def _are(self, table: sa.Table) -> sa.ColumnElement[bool]:
        return among(self._dialect, table.c.seq, "positions")

    def _facts(self, positions: Sequence[int]) -> dict[str, object]:
        return {"positions": many(self._dialect, positions)}

    @asynccontextmanager
    async def _connected(self, isolation_level: IsolationLevel | None) -> AsyncIterator[AsyncConnection]:
        connection = await self._connect(isolation_level)
        try:
            yield connection
        except Exception as error:
            # First: on Python 3.10, a table that SQLite has not looks like one that others have locked.
            if isinstance(error, DBAPIError) and (problems := await self._problems()):
                raise StorageUnusable(self._name, problems) from error
            if is_passing(error):
                raise StorageUnavailable(self._name, told_by(error)) from error
            raise
        finally:
            await connection.close()

    async def _connect(self, isolation_level: IsolationLevel | None) -> AsyncConnection:
        try:
            return await open_connection(self._engine, isolation_level)
        except Exception as error:  # each driver has errors of its own
            raise StorageUnavailable(self._name, told_by(error)) from error

    async def _problems(self) -> Sequence[str]:
        try:
            connection = await open_connection(self._engine, "AUTOCOMMIT")
            try:
                return await connection.run_sync(problems_of, self._tables)
            finally:
                await connection.close()
        except Exception:  # noqa: BLE001 - then it is not for the tables that something went wrong
            return []


def _conditions(dialect: sa.Dialect, table: sa.Table, which: Selection) -> Iterable[sa.ColumnElement[bool]]:
    columns = table.c
    if which.id is not None:
        yield columns.id == which.id
    for column, text in ((columns.aggregateid, which.key), (columns.aggregatetype, which.topic)):
        if text is not None:
            yield is_text(dialect, column, text)
