"""What a memory broker keeps of a topic for those who read it from its beginning."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from cqrs_core.concurrency import sleep
from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.broker import Delivery


class Kept:
    """
    The newest messages of one topic.

    Attributes:
        limit: How many are kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._deliveries: deque[Delivery] = deque(maxlen=limit)
        self._forgotten = 0

    def add(self, delivery: Delivery) -> None:
        """Keep a message, and forget the oldest if there is no room."""
        self._forgotten += len(self._deliveries) == self.limit
        self._deliveries.append(delivery)

    def behind(self, number: int, limit: int) -> tuple[Sequence[Delivery], int]:
        """Give messages from the one of a *number* on, at most *limit*, and the number that follows on them."""
        first = max(0, number - self._forgotten)
        found = list(islice(self._deliveries, first, first + limit))
        return found, self._forgotten + first + len(found)


class MemoryTopicReader:
    """Reads one topic from its beginning: a :class:`cqrs_core.broker.TopicReader`."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._next = 0

    async def read(self, limit: int) -> Sequence[Delivery]:
        """
        As :meth:`cqrs_core.broker.TopicReader.read`.

        Raises:
            InvalidOption: *limit* is less than 1.
        """
        if limit < 1:
            raise InvalidOption("limit", limit, "at least 1")
        await sleep(0)  # others run, however much there is to read
        found, self._next = self._kept.behind(self._next, limit)
        return found

    async def close(self) -> None:
        """As :meth:`cqrs_core.broker.TopicReader.close`; there is nothing to end."""
