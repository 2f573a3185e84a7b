"""Sees to it that a unit of work alone commits its session, and knows when something else has ended it."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import event

from cqrs_core.errors import UnitOfWorkRolledBack
from cqrs_sqla.errors import CommitInsideUnit
from cqrs_sqla.failures import check_transaction, watch
from cqrs_sqla.writing import SessionWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa
    from sqlalchemy.orm import Session, SessionTransaction

    from cqrs_sqla.tables import Tables

_PASSED_BY = (
    "The session's connection was committed, rolled back or closed inside the unit of work, which the unit alone does. "
    "For a part that may fail, write 'async with session.begin_nested():'."
)


class UnitWriter(SessionWriter):
    """
    The writer of a unit's session, which nobody but the unit commits.

    Attributes:
        failure: Why the unit can only be rolled back, if it can.
    """

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.failure: UnitOfWorkRolledBack | None = None
        self._connections: dict[sa.Connection, sa.RootTransaction | None] = {}
        self._committing: list[sa.Connection] = []
        self._last: sa.Connection | None = None
        self._is_ending = False

    @property
    def is_committed(self) -> bool:
        """Whether, while the unit ends, the database has committed: SQLAlchemy forgets transactions that have ended."""
        asked = self._committing
        return bool(asked) and all(of.get_transaction() is None for of in (*asked, *self._connections))

    @property
    def is_in_doubt(self) -> bool:
        """Whether, while the unit ends, a connection was lost after the database had been asked to commit."""
        return any(connection.invalidated for connection in self._committing)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Let the block end the transaction: it is the unit's own doing."""
        self._is_ending = True
        try:
            yield
        finally:
            self._is_ending = False
            self._committing.clear()
            self._last = None

    def doom(self, reason: str, cause: BaseException | None = None) -> None:
        """Let the unit end without a commit."""
        if self.failure is None:
            self.failure = UnitOfWorkRolledBack(reason)
            self.failure.__cause__ = cause

    def check(self, session: Session) -> None:
        """
        Look whether everything that is to be committed is still there.

        Raises:
            UnitOfWorkRolledBack: It is not.
        """
        if self.failure is not None:
            raise self.failure
        for connection, transaction in self._connections.items():
            # After a flush that failed, SQLAlchemy has ended it, and says so better.
            if session.is_active and connection.get_transaction() is not transaction:
                raise UnitOfWorkRolledBack(_PASSED_BY)
            check_transaction(connection)

    def before_commit(self, session: Session) -> None:
        """Refuse to commit, unless the unit asks; what waits was written before."""
        if session.in_nested_transaction():
            return
        if not self._is_ending:
            raise CommitInsideUnit
        # The program's own hooks come after this one. What they add is written when the connection is to commit.
        self._last = session.connection(bind_arguments={"clause": self.tables.outbox})
        self.connected(self._last)

    def before_last_word(self, connection: sa.Connection) -> None:
        """
        Called before a connection commits, whoever asks for it.

        Raises:
            CommitInsideUnit: It was not the unit.
        """
        if not self._is_ending:
            self.doom(_PASSED_BY)
            raise CommitInsideUnit
        if connection is self._last:
            self.insert_waiting(connection)
        self._committing.append(connection)

    def connected(self, connection: sa.Connection) -> None:
        """Watch the connection: what a handler catches may have ended the transaction."""
        watch(connection)
        _writers[connection] = weakref.ref(self)
        if not event.contains(connection.engine, "commit", _before_commit):
            event.listen(connection.engine, "commit", _before_commit)
        self._connections.setdefault(connection, connection.get_transaction())

    def after_end(self, session: Session, transaction: SessionTransaction) -> None:
        """Take note that the transaction is over."""
        super().after_end(session, transaction)
        if transaction.parent is not None:
            return
        for connection in self._connections:
            _writers.pop(connection, None)
        self._connections.clear()
        if not self._is_ending:
            self.doom(
                "The session was rolled back or closed inside the unit of work. For a part that may fail, write "
                "'async with session.begin_nested():', and leave session.rollback() and session.close() out."
            )


# A writer knows its connections: who is found by them must not be kept by them.
_writers: weakref.WeakKeyDictionary[sa.Connection, weakref.ref[UnitWriter]] = weakref.WeakKeyDictionary()


def _before_commit(connection: sa.Connection) -> None:
    reference = _writers.get(connection)
    writer = None if reference is None else reference()
    if writer is not None:
        writer.before_last_word(connection)
