"""Which events have arrived: a broker promises each at least once, and some time."""

import asyncio
from uuid import UUID

import cqrs_core as cqrs


class Arrivals:
    """
    Counts each event once, however often it is delivered, and lets others wait for a number of them.

    It is asked by handlers, about the message that they are handling. A service that is to outlive its process keeps
    the ids where it keeps its read model, and writes both in one transaction.

    Attributes:
        lost: How many of those that were counted could not be handled.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._ids: set[UUID] = set()
        self._one_more = asyncio.Event()

    def is_repeated(self) -> bool:
        """Tell whether this event was counted before: then nothing must be done about it again."""
        return _message_id() in self._ids

    def count(self, *, is_lost: bool = False) -> None:
        """Count this event, after everything about it is done: one that fails before is not counted yet."""
        self._ids.add(_message_id())
        self.lost += is_lost
        self._one_more.set()

    async def until(self, count: int) -> None:
        """Return when *count* events, or more, have arrived or are lost."""
        while len(self._ids) < count:
            self._one_more.clear()
            await self._one_more.wait()


def _message_id() -> UUID:
    message = cqrs.current_message()
    assert message is not None, "what comes from a broker"  # noqa: S101 - for type checkers
    return message.id
