"""Events that a program puts into the outbox by hand, as python-cqrs has it."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from cqrs_core.errors import UnpublishableEvent
from cqrs_core.outbox import OutboxedEventRepository
from cqrs_core.outgoing import OutgoingEvents
from cqrs_sqla.compressor import Compressor, check_compressor
from cqrs_sqla.debezium import check_can_be_read, refuse_relay
from cqrs_sqla.errors import ForeignSession
from cqrs_sqla.guard import UnitWriter
from cqrs_sqla.rows import Form, max_bytes_of, row_of
from cqrs_sqla.tables import Tables, define_tables
from cqrs_sqla.taking import Taking
from cqrs_sqla.unit import is_foreign
from cqrs_sqla.writing import add_rows, synchronous, write_waiting, writer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cqrs_core.messages import Event
    from cqrs_core.outbox import OutboxRecord
    from cqrs_sqla.writing import Target as TransactionOwner
else:
    # Containers read annotations, and build an AsyncSession, but no union.
    TransactionOwner = AsyncSession

T = TypeVar("T")

_metadata = sa.MetaData()


class SqlAlchemyOutboxedEventRepository(OutboxedEventRepository):
    """
    Writes events into the outbox, within the transaction of a session or a connection.

    Inside an App with a storage, handlers ask for an ``OutboxedEventRepository`` instead. One that is made by hand
    over the session of their unit of work leaves the commit to the unit.

    Args:
        session: Whose transaction it is: an ``AsyncSession``, a ``Session``, an ``AsyncConnection`` or a
            ``Connection``. A connection must have begun one.
        compressor: Makes bodies smaller.
        tables: What :func:`cqrs_sqla.define_tables` made; by default, those of the unit of work, or with the default
            names.
        source: Who sends, told in every message.
        event_map: Taken for python-cqrs's sake; nothing reads it.

    Raises:
        InvalidOption: The compressor does not say what it makes.
    """

    def __init__(
        self,
        session: TransactionOwner,
        compressor: Compressor | None = None,
        *,
        tables: Tables | None = None,
        source: str = "cqrs",
        event_map: object = None,  # noqa: ARG002 - python-cqrs's users give theirs
    ) -> None:
        check_compressor(compressor)
        self._owner = session
        self._tables = tables
        self._compressor = compressor
        self._events = OutgoingEvents(source)
        #: Found out with the first event.
        self._into: tuple[Tables, Form] | None = None
        #: Messages that the broker has, and that the database may not know to be gone.
        self._sent: list[int] = []

    def add(self, event: Event) -> None:
        """
        Let *event*, a notification, be sent when the transaction has been committed.

        Raises:
            UnpublishableEvent: It is no notification, or has facts that cannot be written.
            CodecError: It holds something that JSON cannot carry; ``path`` leads to it.
            UnpublishableEnvelope: It does not fit into the outbox.
            ForeignSession: It is used inside a unit of work that has another session.
            TransactionNotBegun: The connection is in no transaction.
            InvalidOption: The session writes into the outbox of other tables already; or Debezium is to send this
                one, and would not undo the compression.
            DebeziumRefused: Debezium is to send it, and it is not that of a PostgreSQL.
        """
        target = self._target()
        envelopes = self._events.envelopes(event)
        if not envelopes:
            raise UnpublishableEvent(type(event), "is no NotificationEvent, so it does not say where it goes.")
        if self._into is None:
            tables = self._tables or _default_tables(target)
            bind = target.get_bind(clause=tables.outbox) if isinstance(target, Session) else target
            check_can_be_read(tables, bind.dialect, self._compressor)
            self._into = tables, Form(max_bytes_of(bind.dialect.name), self._compressor)
        tables, form = self._into
        add_rows(target, [row_of(envelope, form) for envelope in envelopes], tables)

    async def commit(self) -> None:
        """
        Write what was added and commit the transaction; within a unit of work only write it: the unit commits.

        What was sent is deleted in it.

        Raises:
            ForeignSession: It is used inside a unit of work that has another session.
        """
        sent = len(self._sent)
        await self._remove_sent()
        if self._unit() is None:
            done = self._owner.commit()
            if isawaitable(done):
                await done
            # Not before: if that fails, they are deleted with the next batch.
            del self._sent[:sent]
        elif isinstance(self._owner, AsyncSession):
            await self._owner.run_sync(write_waiting)
        else:
            write_waiting(self._target())

    async def rollback(self) -> None:
        """
        Forget what was added, and undo the transaction; a unit of work as a whole can then only be rolled back.

        Raises:
            ForeignSession: It is used inside a unit of work that has another session.
        """
        unit = self._unit()
        if unit is not None:
            unit.doom("The outbox was rolled back by hand.")
            return
        done = self._owner.rollback()
        if isawaitable(done):
            await done

    # For those who send by themselves: see cqrs_core.producer ---------------------------------------------------------

    async def get_many(self, batch_size: int = 100, topic: str | None = None) -> Sequence[OutboxRecord]:
        """
        Read the next messages, and keep them from other repositories until the transaction ends.

        On SQLite, that keeps everybody else from writing. If there are none, no transaction is left open.

        Args:
            batch_size: How many at most.
            topic: Only those that go there.

        Raises:
            RelayRefused: Debezium sends the outbox.
        """
        target = self._target()
        refuse_relay(self._tables or _default_tables(target))
        was_begun = target.in_transaction()
        await self._remove_sent()
        records = await self._run(lambda taking, connection: taking.take(connection, limit=batch_size, topic=topic))
        if not records and not was_begun and self._unit() is None:
            # A commit: what could not be decoded was buried, and what was sent is deleted.
            await self.commit()
        return records

    async def remove(self, positions: Sequence[int]) -> None:
        """Note that the broker has messages; :meth:`commit` deletes them."""
        self._sent += positions

    async def postpone(self, position: int, *, delay_s: float | None, error: str) -> None:
        """Count an attempt at a message that was refused, and let it wait, once that is committed."""
        await self._run(lambda taking, connection: taking.postpone(connection, position, delay_s=delay_s, error=error))

    async def bury(self, position: int, *, reason: str, error: str) -> None:
        """Take a message out for good, and keep it among the dead, once that is committed."""
        await self._run(lambda taking, connection: taking.bury(connection, position, reason=reason, error=error))

    async def _remove_sent(self) -> None:
        if self._sent:
            await self._run(lambda taking, connection: taking.remove(connection, self._sent))

    async def _run(self, work: Callable[[Taking, sa.Connection], T]) -> T:
        """Do something in the transaction, which begins with it if there is none."""
        tables = self._tables or _default_tables(self._target())

        def on_connection(connection: sa.Connection) -> T:
            return work(Taking(tables, connection.dialect, self._compressor), connection)

        def in_session(session: Session) -> T:
            return on_connection(session.connection(bind_arguments={"clause": tables.outbox}))

        if isinstance(self._owner, AsyncSession):
            return await self._owner.run_sync(in_session)
        if isinstance(self._owner, AsyncConnection):
            return await self._owner.run_sync(on_connection)
        return in_session(self._owner) if isinstance(self._owner, Session) else on_connection(self._owner)

    def _target(self) -> Session | sa.Connection:
        target = synchronous(self._owner)
        if is_foreign(target):
            raise ForeignSession
        return target

    def _unit(self) -> UnitWriter | None:
        target = self._target()
        writer = writer_of(target) if isinstance(target, Session) else None
        return writer if isinstance(writer, UnitWriter) else None


def _default_tables(target: Session | sa.Connection) -> Tables:
    writer = writer_of(target) if isinstance(target, Session) else None
    return define_tables(_metadata) if writer is None else writer.tables
