"""One unit of work: one session, one transaction, and the events that are committed with it."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from cqrs_core.concurrency import run_shielded
from cqrs_core.errors import CommitInDoubt, NotProvided, UnitOfWorkRolledBack
from cqrs_core.open_unit import works_here
from cqrs_sqla.accepting import accept
from cqrs_sqla.effect_guard import EffectGuard
from cqrs_sqla.errors import SessionShared, UnitClosed
from cqrs_sqla.guard import UnitWriter
from cqrs_sqla.rows import row_of
from cqrs_sqla.writing import attach, detach, writer_of

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Collection, Sequence

    import sqlalchemy as sa

    from cqrs_core.envelope import Envelope
    from cqrs_sqla.rows import Form

    T = TypeVar("T")

logger = logging.getLogger(__name__)


class SqlAlchemyUnitOfWork:
    """
    What one attempt at handling a message changes; see :class:`cqrs_core.unit_of_work.UnitOfWork`.

    Args:
        engine: What its session is made for, when it is first asked for.
        writer: Writes its events.
        form: What they look like in the outbox.
        name: What the database is called in errors.
        taken: The program's own session, to be used instead, and left open. What it has changed already, in a
            transaction that is open, belongs to the unit.

    Raises:
        SessionShared: The session is that of another unit, which is open.
    """

    def __init__(
        self, engine: AsyncEngine, writer: UnitWriter, *, form: Form, name: str, taken: AsyncSession | None = None
    ) -> None:
        self._engine = engine
        self._form = form
        self._writer = writer
        self._name = name
        self._session: AsyncSession | None = None
        self._effects: EffectGuard | None = None
        self._is_own = taken is None
        self._is_closed = False
        if taken is not None:
            self._adopt(taken)

    @property
    def is_begun(self) -> bool:
        """Whether there is anything to commit, or a commit would tell that there cannot be one."""
        session = self._session
        return session is not None and (session.in_transaction() or self._writer.failure is not None)

    def get(self, wanted: type[T]) -> T:
        """
        Give the unit's session, or what it remembers of the effects of sagas.

        Raises:
            NotProvided: Something else is wanted.
            UnitClosed: The unit has ended.
        """
        # mypy does not see what T is now.
        if wanted is AsyncSession:
            return cast("T", self._open())
        if wanted is not EffectGuard:
            raise NotProvided(wanted)
        if self._effects is None:
            self._effects = EffectGuard(self._open(), self._writer.tables)
        return cast("T", self._effects)

    def has(self, target: Session | sa.Connection) -> bool:
        """Tell whether *target* is the unit's session."""
        return isinstance(target, Session) and writer_of(target) is self._writer

    def enqueue(self, envelopes: Sequence[Envelope]) -> None:
        """
        Let *envelopes* be sent when the unit has been committed.

        Raises:
            UnpublishableEnvelope: One of them does not fit into the outbox. None was taken.
            UnitClosed: The unit has ended.
        """
        self._check_open()
        rows = [row_of(envelope, self._form) for envelope in envelopes]
        if rows:
            self._writer.add(self._open().sync_session, rows)

    async def accept(self, group: str, message_ids: Sequence[uuid.UUID]) -> Collection[uuid.UUID]:
        """
        Note, within the transaction, that *group* has these messages, and tell which are new.

        Raises:
            InvalidOption: The group's name does not fit into the inbox.
            UnitClosed: The unit has ended.
        """

        def accept_in(session: Session) -> set[uuid.UUID]:
            inbox = self._writer.tables.inbox
            return accept(session.connection(bind_arguments={"clause": inbox}), inbox, group, message_ids)

        return await self._open().run_sync(accept_in)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Open a block that is undone if it raises."""
        raised: BaseException | None = None
        try:
            async with self._open().begin_nested():
                try:
                    yield
                except BaseException as error:
                    raised = error
                    raise
        except Exception as error:
            if raised is None or error is raised:
                raise
            # The connection is lost, perhaps: with it goes everything, so there is no half to commit.
            self._writer.doom("A savepoint could not be undone.", error)
            raise raised from error

    async def flush(self) -> None:
        """Write what waits to be written, the outbox too, within the transaction that stays open."""
        self._check_open()
        if self._session is not None and self._session.in_transaction():
            await self._session.run_sync(self._writer.write)

    async def commit(self) -> None:
        """
        Keep everything, and end the transaction; a cancellation arrives after it.

        Raises:
            UnitOfWorkRolledBack: The transaction was ended inside the unit, or has failed there.
            CommitInDoubt: The connection broke while the transaction was being committed.
        """
        if self._session is not None and self.is_begun:
            # SQLAlchemy's pool loses a connection if it is cancelled while it takes that back, at the very end.
            await run_shielded(partial(self._session.run_sync, self._commit))

    def _commit(self, session: Session) -> None:
        try:
            self._writer.check(session)
            self._writer.write(session)
            with self._writer.ending():
                self._end_well(session)
        except exc.PendingRollbackError as error:
            raise UnitOfWorkRolledBack("A flush had failed, or the connection, and it was caught.") from error

    def _end_well(self, session: Session) -> None:
        try:
            session.commit()
        except Exception as error:
            if self._writer.is_committed:
                # A hook of the program, or what SQLAlchemy does afterwards. Repeated, it would take effect twice.
                logger.exception("A unit of work was committed, and an error after that is passed over.")
                _close_transaction(session)
                return
            # All statements went before: what was lost is the answer to the commit.
            if self._writer.is_in_doubt:
                raise CommitInDoubt(self._name) from error
            raise

    async def rollback(self) -> None:
        """Undo everything since the last commit, and end the transaction."""
        if self._session is not None:
            await run_shielded(self._rollback)

    async def close(self) -> None:
        """Give the connection back; the session is closed for good, or left to its owner as it was."""
        self._is_closed = True
        session = self._session
        if session is None:
            return
        if session.in_transaction():
            await run_shielded(self._rollback)
        self._writer.failure = None
        if self._is_own:
            session.sync_session.close()  # without a transaction it has no connection, so nothing is awaited
        else:
            detach(session.sync_session)
        self._session = None

    def _check_open(self) -> None:
        if self._is_closed:
            raise UnitClosed

    def _open(self) -> AsyncSession:
        self._check_open()
        if self._session is None:
            session = AsyncSession(
                self._engine,
                expire_on_commit=False,
                close_resets_only=False,  # who keeps it longer than the unit is refused
            )
            attach(session.sync_session, self._writer)
            self._session = session
        return self._session

    def _adopt(self, session: AsyncSession) -> None:
        if isinstance(writer_of(session.sync_session), UnitWriter):
            raise SessionShared
        attach(session.sync_session, self._writer)
        self._session = session

    async def _rollback(self) -> None:
        assert self._session is not None, "looked at by the caller"  # noqa: S101 - for type checkers
        with self._writer.ending():
            try:
                await self._session.rollback()
            except Exception:
                # Whatever a driver says of a connection that is lost.
                # The connection does not go back to the pool, and the server undoes what it had begun.
                logger.debug("A transaction could not be rolled back, so its connection is given up.", exc_info=True)
        self._writer.failure = None


def _close_transaction(session: Session) -> None:
    """Do what is left to do when a session has committed, and was interrupted then."""
    transaction = session.get_transaction()
    if transaction is not None:
        transaction.close()
    if session.expire_on_commit:
        session.expire_all()


def is_foreign(target: Session | sa.Connection) -> bool:
    """Tell whether units of work are open here, and *target* is the session of none of them."""
    units = [work for work in works_here() if isinstance(work, SqlAlchemyUnitOfWork)]
    return bool(units) and not any(unit.has(target) for unit in units)
