"""Sagas in a database, as the engine asks for them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from cqrs_core.errors import InvalidOption, SagaFenced, StorageUnavailable
from cqrs_sqla.sagas import keeping
from cqrs_sqla.sagas.claiming import Claims
from cqrs_sqla.sagas.connections import Connections
from cqrs_sqla.sagas.lanes import Wish
from cqrs_sqla.sagas.mysql import MySqlStatements
from cqrs_sqla.sagas.postgresql import PostgresStatements
from cqrs_sqla.sagas.records import check_context, check_new, check_owner, checkpoint_of, history, load
from cqrs_sqla.sagas.transactions import TransactionStatements
from cqrs_sqla.unit import SqlAlchemyUnitOfWork

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Sequence
    from datetime import timedelta

    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.orm import Session

    from cqrs_core.saga.log import SagaLogEntry
    from cqrs_core.saga.storage import NewSaga, SagaChange, SagaClaim, SagaQuery, SagaRecord, SagaWrite
    from cqrs_core.unit_of_work import UnitOfWork
    from cqrs_sqla.rows import Form
    from cqrs_sqla.sagas.records import Checkpoint
    from cqrs_sqla.tables import Tables


class Statements(Protocol):
    """How a database writes sagas, many at once."""

    def start(self, connection: sa.Connection, sagas: Sequence[NewSaga], *, is_within: bool) -> Collection[uuid.UUID]:
        """
        Insert those of which there is no other.

        Args:
            connection: In autocommit, unless *is_within*.
            sagas: Each of another id.
            is_within: Whether there is a transaction that somebody else commits.

        Returns:
            The ids of what was surely inserted now.
        """
        ...

    def write(
        self, connection: sa.Connection, checkpoints: Sequence[Checkpoint], *, is_within: bool
    ) -> Collection[uuid.UUID]:
        """
        Write those whose sagas are as their writers know them, with what was done and their messages.

        Returns:
            The ids of what was written.
        """
        ...


_STATEMENTS: dict[str, Callable[[Tables, sa.Dialect], Statements]] = {
    "postgresql": PostgresStatements,
    "mysql": MySqlStatements,
    "mariadb": MySqlStatements,
    "sqlite": TransactionStatements,
}


class SqlAlchemySagaStorage:
    """
    Sagas of :class:`~cqrs_sqla.SqlAlchemyStorage`, which has them as ``sagas``.

    See :class:`cqrs_core.saga.storage.SagaStorage`, and :class:`cqrs_core.saga.storage.SagaKeeper`. What drivers ask,
    but for what is written within units of work, goes over connections of its own, beside the pool of the program:
    three at most, with SQLite two.

    Args:
        engine: The database's.
        tables: Whose sagas they are.
        form: What rows of the outbox look like.
        name: What the database is called in errors.

    Raises:
        StorageUnusable: By every method: a table is missing, or lacks something.
    """

    is_durable = True
    has_outbox = True

    def __init__(self, engine: AsyncEngine, tables: Tables, *, form: Form, name: str) -> None:
        #: What rows of the outbox look like; known for sure when the storage has started.
        self.form = form
        self._tables = tables
        self._name = name
        self._statements: Statements = _STATEMENTS[engine.dialect.name](tables, engine.dialect)
        self._claims = Claims(tables, engine.dialect)
        self._connections = Connections(engine, tables, name)
        self._start_all = partial(self._start, is_within=False)
        self._write_all = partial(self._write, is_within=False)

    # What drivers ask -------------------------------------------------------------------------------------------------

    async def start(self, new: NewSaga, *, within: UnitOfWork | None = None) -> SagaRecord | None:
        """
        Write a saga, unless there is one of its id.

        Raises:
            StorageUnavailable: It may have been written. The call may be repeated.
            SagaDoesNotFit: It has more than the tables can keep.
        """
        check_new(new, self.form)
        if within is not None:
            answer = await self._within(within, partial(self._start, sagas=[new], is_within=True))
        else:
            answer = await self._connections.write(Wish(self._start_all, new, new.id, len(new.context)))
        return answer  # type: ignore[return-value]  # as _start gives it

    async def write(self, write: SagaWrite, *, within: UnitOfWork | None = None) -> None:
        """
        Change a saga, with its history and its messages: all of it, or nothing.

        Raises:
            SagaFenced: It is another's by now, or was changed. Nothing was written.
            StorageUnavailable: It may have been written. The call may be repeated.
            SagaDoesNotFit: It has more than the tables can keep.
            UnpublishableEnvelope: So has one of its messages. Nothing was written.
        """
        checkpoint = checkpoint_of(write, self.form)
        if within is None:
            await self._connections.write(Wish(self._write_all, checkpoint, write.saga_id, checkpoint.size))
            return
        # The messages are written by the unit, at its end: what is committed later has greater numbers.
        alone = checkpoint._replace(messages=[])
        if await self._within(within, partial(self._write, checkpoints=[alone], is_within=True)):
            within.enqueue(write.envelopes)

    async def claim(self, claim: SagaClaim) -> Sequence[SagaRecord]:
        """
        Take live sagas that are due.

        Raises:
            StorageUnavailable: Some may have been taken; they become due again.
            SagaDoesNotFit: The owner's name is too long.
        """
        check_owner(claim.saga_id, claim.owner)
        return await self._connections.take(lambda connection: self._claims.claim(connection, claim))

    async def renew(self, held: Collection[tuple[uuid.UUID, int]], *, lease_s: float) -> Collection[uuid.UUID]:
        """
        Keep sagas for another *lease_s* seconds.

        Raises:
            StorageUnavailable: Some may have been kept.
        """
        if not held:
            return ()
        return await self._connections.take(lambda connection: self._claims.renew(connection, held, lease_s))

    async def load(self, saga_id: uuid.UUID) -> SagaRecord | None:
        """
        Read a saga; ``None``: there is none.

        Raises:
            StorageUnavailable: It cannot be read.
        """
        return await self._connections.read(lambda connection: load(connection, self._tables, saga_id))

    async def get_step_history(self, saga_id: uuid.UUID) -> Sequence[SagaLogEntry]:
        """
        Read what was done, the first first.

        Raises:
            StorageUnavailable: It cannot be read.
        """
        return await self._connections.read(lambda connection: history(connection, self._tables, saga_id))

    # What people ask --------------------------------------------------------------------------------------------------

    async def find(self, query: SagaQuery) -> Sequence[SagaRecord]:
        """
        Look for sagas, without taking them.

        Raises:
            StorageUnavailable: They cannot be read.
        """
        return await self._connections.by_hand(
            lambda connection: keeping.find(connection, self._tables, query), only_reads=True
        )

    async def change(self, change: SagaChange) -> SagaRecord:
        """
        Change a saga by hand: whoever drives it is fenced out, and if it is live, it is due at once.

        Raises:
            SagaChanged: Its version is another by now. Nothing was changed.
            SagaNotFound: There is none.
            StorageUnavailable: It may have been changed.
        """
        context = None if change.context is None else check_context(change.saga_id, change.context, self.form)
        return await self._connections.by_hand(
            lambda connection: keeping.change(connection, self._tables, change, context)
        )

    async def purge(self, older_than: timedelta, *, limit: int = 1000) -> int:
        """
        Forget sagas that ended so long ago, at most *limit*, with their histories; tells how many.

        Raises:
            StorageUnavailable: They may have been forgotten.
        """
        return await self._connections.by_hand(
            lambda connection: keeping.purge(connection, self._tables, older_than, limit)
        )

    async def stop(self) -> None:
        """Give up the connections; what is asked next makes others."""
        await self._connections.close()

    # How it is done ---------------------------------------------------------------------------------------------------

    def _start(self, connection: sa.Connection, sagas: Sequence[NewSaga], *, is_within: bool) -> Sequence[object]:
        started = self._statements.start(connection, sagas, is_within=is_within)
        return [None if new.id in started else self._existing(connection, new, is_within=is_within) for new in sagas]

    def _existing(self, connection: sa.Connection, new: NewSaga, *, is_within: bool) -> object:
        # In a transaction, a MariaDB may see what was there before.
        is_locked = is_within and connection.dialect.name in {"mysql", "mariadb"}
        record = load(connection, self._tables, new.id, is_locked=is_locked)
        if record is None:
            return StorageUnavailable(self._name, f"the saga {new.id} was purged at this moment.")
        is_ours = (record.owner, record.version, record.fence) == (new.owner, 1, 1)
        return None if is_ours else record

    def _write(
        self, connection: sa.Connection, checkpoints: Sequence[Checkpoint], *, is_within: bool
    ) -> Sequence[object]:
        written = self._statements.write(connection, checkpoints, is_within=is_within)
        return [one.write.saga_id in written or self._verdict(connection, one.write) for one in checkpoints]

    def _verdict(self, connection: sa.Connection, write: SagaWrite) -> object:
        """Tell whether what was not written was written before, and its answer was lost."""
        record = load(connection, self._tables, write.saga_id)
        is_made = (
            record is not None
            and (record.fence, record.version) == (write.fence, write.version + 1)
            and record.standing == write.standing
        )
        return False if is_made else SagaFenced(write.saga_id)

    async def _within(self, unit: UnitOfWork, work: Callable[[sa.Connection], Sequence[object]]) -> object:
        if not isinstance(unit, SqlAlchemyUnitOfWork):
            raise InvalidOption("within", unit, "a unit of work of the storage whose sagas these are")

        def work_in(session: Session) -> Sequence[object]:
            return work(session.connection(bind_arguments={"clause": self._tables.saga}))

        (answer,) = await unit.get(AsyncSession).run_sync(work_in)
        if isinstance(answer, Exception):
            raise answer
        return answer
