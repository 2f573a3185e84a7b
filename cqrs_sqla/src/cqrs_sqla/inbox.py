"""The messages that were handled, and how they are forgotten in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_sqla.forgetting import forget

if TYPE_CHECKING:
    from datetime import timedelta

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
        return await forget(self._engine, self._inbox.c.received_at, older_than, batch_size=batch_size)
