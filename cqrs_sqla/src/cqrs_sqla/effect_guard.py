"""Sees to it that what a saga asks for is done once, and not at all when it was undone before it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from cqrs_core.saga.current import current_step
from cqrs_sqla.errors import EffectUndone
from cqrs_sqla.forgetting import forget
from cqrs_sqla.moments import now_on

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session
    from sqlalchemy.sql.dml import Insert

    from cqrs_sqla.tables import Tables

_DONE, _UNDONE = "done", "undone"


def _or_ignored(table: sa.Table) -> Insert:
    # What IGNORE hides elsewhere, that something is too long, cannot be here.
    return sa.insert(table).prefix_with("IGNORE")


#: What inserts a row unless there is one of its key, which is waited for if somebody is about to commit it.
_INSERTS: dict[str, Callable[[sa.Table], Insert]] = {
    "postgresql": lambda table: postgresql.insert(table).on_conflict_do_nothing(),
    "sqlite": lambda table: sqlite.insert(table).on_conflict_do_nothing(),
    "mysql": _or_ignored,
    "mariadb": _or_ignored,
}


class EffectGuard:
    """
    What a service remembers of the effects that sagas have had on it, within a transaction of its own.

    A request may come twice; an undo may come before, or without, what it undoes: the worker that asked for that stood
    still, and wakes when all is undone. An undo of what never came leaves a mark, and who comes late is refused.

    Handlers may ask for one in their constructors, and get that of their unit of work; but where the container makes
    the session (``session_from="container"``), it makes this, too, of that.

    Args:
        session: Whose transaction it is: what is done, and that it is done, are committed together.
        tables: Where it is remembered.

    Source:
        "Empty rollback" and "suspension" of Seata's TCC mode: an undo that finds nothing has to be remembered.
    """

    def __init__(self, session: AsyncSession, tables: Tables) -> None:
        self._session = session
        self._tables = tables

    async def do(self, key: uuid.UUID | None = None) -> bool:
        """
        Ask whether an effect is to be had now; whoever asks has it then, in the same transaction.

        Another transaction that has asked for the same is waited for.

        Args:
            key: By which its requests are known: ``current_step().idempotency_key`` of ``act``. In a step of this
                program, its own unless given.

        Returns:
            ``False``: it was had before, and there is nothing to do.

        Raises:
            EffectUndone: It was undone, before it came or after it was had. It must not be had any more.
            NotInStep: No key was given, and no step runs here.
        """
        return await self._session.run_sync(self._do, _key(key))

    async def undo(self, key: uuid.UUID | None = None) -> bool:
        """
        Ask whether an effect is to be undone now; whoever asks undoes it then, in the same transaction.

        Args:
            key: As for :meth:`do`: what ``act`` has had, which ``compensate`` knows as ``current_step().act_key``.

        Returns:
            ``False``: it was not had, and cannot be any more; or it was undone before. There is nothing to do.

        Raises:
            NotInStep: As for :meth:`do`.
        """
        return await self._session.run_sync(self._undo, _key(key))

    def _do(self, session: Session, key: uuid.UUID) -> bool:
        connection = self._connection(session)
        if self._is_noted(connection, key, _DONE):
            return True
        effect = self._tables.saga_effect.c
        # As it was committed last: in a transaction, MariaDB may see what was there before.
        state = connection.scalar(sa.select(effect.state).where(effect.key == key).with_for_update(read=True))
        if state != _DONE:
            raise EffectUndone(key)
        return False

    def _undo(self, session: Session, key: uuid.UUID) -> bool:
        connection = self._connection(session)
        if self._is_noted(connection, key, _UNDONE):
            return False
        effect = self._tables.saga_effect.c
        undoing = sa.update(self._tables.saga_effect).where(effect.key == key, effect.state == _DONE)
        undone = undoing.values(state=_UNDONE, noted_at=now_on(connection.dialect))
        return connection.execute(undone).rowcount == 1

    def _connection(self, session: Session) -> sa.Connection:
        return session.connection(bind_arguments={"clause": self._tables.saga_effect})

    def _is_noted(self, connection: sa.Connection, key: uuid.UUID, state: str) -> bool:
        """Note what is not noted yet, or wait until somebody else has."""
        insert = _INSERTS[connection.dialect.name](self._tables.saga_effect)
        values: dict[str, Any] = {"key": key, "state": state, "noted_at": now_on(connection.dialect)}
        # Drivers tell it only while the cursor is open.
        insert = insert.values(values).inline().execution_options(preserve_rowcount=True)
        return connection.execute(insert).rowcount == 1


class SqlAlchemyEffects:
    """
    All effects that are remembered.

    Args:
        engine: The database's.
        tables: Where they are.
    """

    def __init__(self, engine: AsyncEngine, tables: Tables) -> None:
        self._engine = engine
        self._tables = tables

    async def purge(self, older_than: timedelta, *, batch_size: int = 5000) -> int:
        """
        Forget effects that were had, or undone, longer ago than *older_than*, on the database's clock; tells how many.

        Whoever asks for one after that is taken for the first: leave more time than a worker may stand still.

        Raises:
            InvalidOption: A batch is of no effect.
        """
        effect = self._tables.saga_effect
        return await forget(self._engine, effect.c.noted_at, older_than, batch_size=batch_size)


def _key(given: uuid.UUID | None) -> uuid.UUID:
    return current_step().act_key if given is None else given
