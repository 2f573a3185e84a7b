"""The messages that were handled, and how they are forgotten in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from cqrs_core.errors import InvalidOption
from cqrs_sqla.moments import now_on

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine

    from cqrs_sqla.tables import Tables


class SqlAlchemyInbox:
    """
    Messages that units of work have accepted; see :class:`cqrs_core.inbox.Inbox`.

    Args:
        engine: The database's.
        tables: Whose inbox it is.
    """

    def __init__(self, engine: AsyncEngine, tables: Tables) -> None:
        self._engine = engine
        self._inbox = tables.inbox

    async def purge(self, older_than: timedelta, *, batch_size: int = 5000) -> int:
        """
        Forget messages that were accepted longer ago than *older_than*, on the database's clock.

        Raises:
            InvalidOption: A batch is of no message.
        """
        if batch_size < 1:
            raise InvalidOption("batch_size", batch_size, "at least 1")
        async with self._engine.connect() as connection:
            return await connection.run_sync(self._purge, older_than, batch_size)

    def _purge(self, connection: sa.Connection, older_than: timedelta, batch_size: int) -> int:
        now: datetime = connection.execute(sa.select(now_on(connection.dialect))).scalar_one()
        statement = self._deletion(connection.dialect)
        purged = 0
        while True:
            facts = {"before": now - older_than, "batch_size": batch_size}
            count = connection.execute(statement, facts).rowcount
            connection.commit()
            purged += count
            if count < batch_size:
                return purged

    def _deletion(self, dialect: sa.Dialect) -> sa.Delete | sa.TextClause:
        inbox = self._inbox
        before = sa.bindparam("before", type_=inbox.c.received_at.type)
        batch_size = sa.bindparam("batch_size", type_=sa.Integer())
        if dialect.name in {"mysql", "mariadb"}:
            # Which has no LIMIT in a subquery; and SQLAlchemy none here, before 2.0.37.
            name = dialect.identifier_preparer.format_table(inbox)
            text = f"DELETE FROM {name} WHERE received_at < :before ORDER BY received_at LIMIT :batch_size"  # noqa: S608 - a name that is quoted
            return sa.text(text).bindparams(before, batch_size)
        keys = (inbox.c.consumer, inbox.c.message_id)
        oldest = sa.select(*keys).where(inbox.c.received_at < before).order_by(inbox.c.received_at).limit(batch_size)
        return sa.delete(inbox).where(sa.tuple_(*keys).in_(oldest))
