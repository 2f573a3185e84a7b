"""Sees to it that a unit of work alone commits its session, and knows when something else has ended it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cqrs_core.errors import UnitOfWorkRolledBack
from cqrs_sqla.errors import CommitInsideUnit
from cqrs_sqla.failures import check_transaction, watch
from cqrs_sqla.writing import SessionWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa
    from sqlalchemy.orm import Session, SessionTransaction

    from cqrs_sqla.tables import Tables


class UnitWriter(SessionWriter):
    """
    The writer of a unit's session, which nobody but the unit commits.

    Attributes:
        failure: Why the unit can only be rolled back, if it can.
    """

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.failure: UnitOfWorkRolledBack | None = None
        self._connections: set[sa.Connection] = set()
        self._is_ending = False

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Let the block end the transaction: it is the unit's own doing."""
        self._is_ending = True
        try:
            yield
        finally:
            self._is_ending = False

    def doom(self, reason: str, cause: BaseException | None = None) -> None:
        """Let the unit end without a commit."""
        if self.failure is None:
            self.failure = UnitOfWorkRolledBack(reason)
            self.failure.__cause__ = cause

    def check(self) -> None:
        """
        Look whether everything that is to be committed is still there.

        Raises:
            UnitOfWorkRolledBack: It is not.
        """
        if self.failure is not None:
            raise self.failure
        for connection in self._connections:
            check_transaction(connection)

    def before_commit(self, session: Session) -> None:
        """Refuse to commit, unless the unit asks; what waits was written before."""
        if not self._is_ending and not session.in_nested_transaction():
            raise CommitInsideUnit

    def connected(self, connection: sa.Connection) -> None:
        """Watch the connection: what a handler catches may have ended the transaction."""
        watch(connection)
        self._connections.add(connection)

    def after_end(self, session: Session, transaction: SessionTransaction) -> None:
        """Take note that the transaction is over."""
        super().after_end(session, transaction)
        if transaction.parent is not None:
            return
        self._connections.clear()
        if not self._is_ending:
            self.doom(
                "The session was rolled back or closed inside the unit of work. For a part that may fail, write "
                "'async with session.begin_nested():', and leave session.rollback() and session.close() out."
            )
