"""The contract of the inbox: messages that were handled, so that a repeated one is not handled twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import timedelta


class Inbox(Protocol):
    """What units of work have accepted; see :meth:`cqrs_core.unit_of_work.UnitOfWork.accept`."""

    async def purge(self, older_than: timedelta, *, batch_size: int = 5000) -> int:
        """
        Forget messages that were accepted longer ago than *older_than*: repeated after that, they are new.

        Args:
            older_than: Longer than the broker keeps messages, and than one may wait among the dead letters.
            batch_size: How many one transaction forgets.

        Returns:
            How many were forgotten.
        """
        ...
