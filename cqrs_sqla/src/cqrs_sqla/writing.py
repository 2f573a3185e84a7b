"""Lets rows wait at a session or a connection, and writes them just before it commits."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from cqrs_core.errors import InvalidOption
from cqrs_sqla.buffer import RowBuffer
from cqrs_sqla.errors import TransactionNotBegun
from cqrs_sqla.inserting import insert_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import SessionTransaction

    from cqrs_sqla.rows import Row
    from cqrs_sqla.tables import Tables

    #: What a caller may have its transaction in.
    Target = AsyncSession | Session | AsyncConnection | sa.Connection

_KEY = "cqrs_sqla"


class SessionWriter:
    """
    Writes events into the outbox before a session commits.

    Attributes:
        tables: Whose outbox it is.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._buffer = RowBuffer(WeakKeyDictionary())
        self._undone: WeakSet[SessionTransaction] = WeakSet()

    def add(self, session: Session, rows: Sequence[Row]) -> None:
        """Let *rows* be written before the commit."""
        if not session.in_transaction():
            # As session.add() does; a rollback of what has never begun would tell nobody.
            session.begin()
        self._buffer.add(rows)

    def write(self, session: Session) -> None:
        """Write what the session has changed, and what waits, within the transaction."""
        session.flush()
        while self._buffer.waiting:
            self.insert_waiting(session.connection(bind_arguments={"clause": self.tables.outbox}))
            session.flush()

    def insert_waiting(self, connection: sa.Connection) -> None:
        """Write what waits, and nothing else, on the connection that has the outbox."""
        # Forgotten only when written: after an error, a second commit must not leave them out.
        for count in insert_rows(connection, self.tables, self._buffer.waiting):
            self._buffer.written(count)

    def before_commit(self, session: Session) -> None:
        """Called before a transaction or a savepoint ends well."""
        if not session.in_nested_transaction():
            self.write(session)

    def after_begin(self, _session: Session, transaction: SessionTransaction) -> None:
        """Called when a transaction, or a part of one, has begun."""
        if transaction.nested:
            self._buffer.mark(transaction)

    def connected(self, connection: sa.Connection) -> None:
        """Called when a transaction has got a connection, or a savepoint of it."""

    def after_rollback(self, session: Session) -> None:
        """Called when the database has undone a transaction, or what was done since a savepoint."""
        # A flush that fails undoes its savepoint before that is left, and leaving it is no news then.
        savepoint = session.get_nested_transaction()
        if savepoint is not None:
            self._undone.add(savepoint)
            self._buffer.rewind(savepoint)

    def after_end(self, _session: Session, transaction: SessionTransaction) -> None:
        """Called when a transaction, or a part of one, is over, however it ended."""
        if transaction.parent is None:
            self._buffer.clear()
        elif transaction in self._undone:
            self._buffer.rewind(transaction)  # of what was added in it after it had failed


def attach(session: Session, writer: SessionWriter) -> None:
    """Let *writer* be the session's, and be told what becomes of its transactions."""
    _listen()
    session.info[_KEY] = writer


def detach(session: Session) -> None:
    """Leave a session to its owner, as it was before :func:`attach`."""
    session.info.pop(_KEY, None)


@cache
def _listen() -> None:
    # To all sessions of the process, once, when the first one needs it: to listen to each by itself takes longer than a
    # short transaction does. What it costs those that have no writer is a look into a dictionary.
    for name, listener in _LISTENERS.items():
        event.listen(Session, name, listener)


def writer_of(session: Session) -> SessionWriter | None:
    """Find the writer that a session has."""
    writer: SessionWriter | None = session.info.get(_KEY)
    return writer


def _before_commit(session: Session) -> None:
    if (writer := writer_of(session)) is not None:
        writer.before_commit(session)


def _after_begin(session: Session, transaction: SessionTransaction) -> None:
    if (writer := writer_of(session)) is not None:
        writer.after_begin(session, transaction)


def _connected(session: Session, _transaction: SessionTransaction, connection: sa.Connection) -> None:
    if (writer := writer_of(session)) is not None:
        writer.connected(connection)


def _after_rollback(session: Session) -> None:
    if (writer := writer_of(session)) is not None:
        writer.after_rollback(session)


def _after_end(session: Session, transaction: SessionTransaction) -> None:
    if (writer := writer_of(session)) is not None:
        writer.after_end(session, transaction)


_LISTENERS: dict[str, Callable[..., Any]] = {
    "before_commit": _before_commit,
    "after_transaction_create": _after_begin,
    "after_begin": _connected,
    "after_rollback": _after_rollback,
    "after_transaction_end": _after_end,
}


class ConnectionWriter:
    """
    The same for a connection that is used without a session.

    Args:
        connection: It; it keeps the writer, not the other way round.
        tables: Whose outbox it is.
    """

    def __init__(self, connection: sa.Connection, tables: Tables) -> None:
        self.tables = tables
        self._buffer = RowBuffer({})
        self._savepoints: list[object] = []
        listeners: dict[str, Callable[..., Any]] = {
            "commit": self._before_commit,
            "rollback": self._after_rollback,
            "savepoint": self._before_savepoint,
            "release_savepoint": self._after_release,
            "rollback_savepoint": self._after_rollback_to,
        }
        for name, listener in listeners.items():
            event.listen(connection, name, listener)

    def add(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """
        Let *rows* be written before the commit.

        Raises:
            TransactionNotBegun: The connection is in no transaction.
        """
        if not connection.in_transaction():
            raise TransactionNotBegun
        self._buffer.add(rows)

    def write(self, connection: sa.Connection) -> None:
        """Write what waits, within the transaction."""
        for count in insert_rows(connection, self.tables, self._buffer.waiting):
            self._buffer.written(count)

    def _before_commit(self, connection: sa.Connection) -> None:
        self.write(connection)
        self._clear()

    def _after_rollback(self, _connection: sa.Connection) -> None:
        self._clear()

    # Savepoints have no name yet when they begin. They are left in the order opposite to that in which they began.

    def _before_savepoint(self, _connection: sa.Connection, _name: str | None) -> None:
        self._savepoints.append(object())
        self._buffer.mark(self._savepoints[-1])

    def _after_release(self, _connection: sa.Connection, _name: str, _context: object) -> None:
        if self._savepoints:
            self._buffer.release(self._savepoints.pop())

    def _after_rollback_to(self, _connection: sa.Connection, _name: str, _context: object) -> None:
        # One that began before this writer did is not in the list, nor known to the buffer.
        savepoint = self._savepoints.pop() if self._savepoints else object()
        self._buffer.rewind(savepoint)
        self._buffer.release(savepoint)

    def _clear(self) -> None:
        self._buffer.clear()
        self._savepoints.clear()


_of_connections: WeakKeyDictionary[sa.Connection, ConnectionWriter] = WeakKeyDictionary()


def add_rows(target: Session | sa.Connection, rows: Sequence[Row], tables: Tables) -> None:
    """
    Let *rows* be written into the outbox when *target* commits; it is not committed here.

    Those that are added in a savepoint that is rolled back are forgotten, as are all if the transaction is.

    Raises:
        InvalidOption: The target writes into the outbox of other tables already.
        TransactionNotBegun: A connection is in no transaction.
    """
    if isinstance(target, Session):
        writer = writer_of(target)
        if writer is None:
            writer = SessionWriter(tables)
            attach(target, writer)
        _check_tables(tables, writer.tables)
        writer.add(target, rows)
        return
    if target not in _of_connections:
        _of_connections[target] = ConnectionWriter(target, tables)
    _check_tables(tables, _of_connections[target].tables)
    _of_connections[target].add(target, rows)


def _check_tables(given: Tables, used: Tables) -> None:
    if (given.outbox.fullname, given.sent_by) != (used.outbox.fullname, used.sent_by):
        name, sender = used.outbox.fullname, used.sent_by
        expected = f"those of the outbox {name!r}, sent by {sender!r}, into which the same transaction writes already"
        raise InvalidOption("tables", f"{given.outbox.fullname}, sent by {given.sent_by}", expected)


def write_waiting(target: Session | sa.Connection) -> None:
    """Write what waits at *target*, within its transaction; whatever the session has changed, too."""
    if isinstance(target, Session):
        writer = writer_of(target)
        if writer is None:
            target.flush()
        else:
            writer.write(target)
    elif target in _of_connections:
        _of_connections[target].write(target)


def synchronous(target: Target) -> Session | sa.Connection:
    """
    Give what an asynchronous session or connection stands for.

    Raises:
        TransactionNotBegun: A connection is not connected yet.
    """
    if isinstance(target, AsyncSession):
        return target.sync_session
    if not isinstance(target, AsyncConnection):
        return target
    if target.sync_connection is None:
        raise TransactionNotBegun
    return target.sync_connection
