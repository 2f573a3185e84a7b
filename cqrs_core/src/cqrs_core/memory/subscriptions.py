"""The members of groups: who receives messages, and acknowledges them."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from cqrs_core.concurrency import Gate, sleep
from cqrs_core.errors import InvalidOption, SubscriptionClosed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.broker import Delivery, OnRevoked
    from cqrs_core.memory.queues import Queue
    from cqrs_core.memory.topics import Backlog

logger = logging.getLogger(__name__)


class MemorySubscription:
    """One member of a group: a :class:`cqrs_core.broker.Subscription`."""

    def __init__(self, group: str, on_revoked: OnRevoked) -> None:
        self._group = group
        self._on_revoked = on_revoked
        self._backlogs: dict[str, Backlog] = {}  # by topic
        self._owned: dict[str, Queue] = {}  # by partition
        self._ready: deque[Queue] = deque()  # exactly those of the owned that are ready, the next first
        self._arrival: Gate | None = None  # made by those that wait
        self._is_open = True

    def join(self, backlogs: Sequence[Backlog]) -> None:
        """Share *backlogs* with the other members."""
        self._backlogs = {backlog.topic.name: backlog for backlog in backlogs}
        for backlog in backlogs:
            backlog.join(self)

    # What users call --------------------------------------------------------------------------------------------------

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """
        As :meth:`cqrs_core.broker.Subscription.receive`.

        Raises:
            SubscriptionClosed: It is closed, or was while this waited.
            InvalidOption: *limit* is less than 1.
        """
        if limit < 1:
            raise InvalidOption("limit", limit, "at least 1")
        if self._ready:
            # Others run, and a cancellation arrives, however much there is to do. Nothing is taken yet.
            await sleep(0)
        while self._is_open and not self._ready:
            self._arrival = self._arrival or Gate()
            await self._arrival.wait()
        if not self._is_open:
            raise SubscriptionClosed(self._group)
        return self._take(limit)

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """As :meth:`cqrs_core.broker.Subscription.acknowledge`."""
        done: dict[str, int] = {}  # by topic
        for delivery in deliveries:
            queue = self._owned.get(delivery.partition)
            if queue is not None and queue.acknowledge(delivery.position):
                topic = delivery.envelope.topic
                done[topic] = done.get(topic, 0) + 1
        for topic, count in done.items():
            self._backlogs[topic].acknowledged(count)

    def pause(self, partition: str) -> None:
        """As :meth:`cqrs_core.broker.Subscription.pause`."""
        if partition in self._owned:
            self._owned[partition].pause()

    def resume(self, partition: str) -> None:
        """As :meth:`cqrs_core.broker.Subscription.resume`."""
        if partition in self._owned:
            self._owned[partition].resume()

    def lag(self) -> dict[str, int]:
        """As :meth:`cqrs_core.broker.LaggingSubscription.lag`."""
        return {name: queue.size for name, queue in self._owned.items()}

    async def close(self) -> None:
        """As :meth:`cqrs_core.broker.Subscription.close`; whoever waits in :meth:`receive` gets an error."""
        if self._is_open:
            for backlog in self._backlogs.values():
                backlog.leave(self)
            self.end()

    # What its backlogs call: see queues.Owner -------------------------------------------------------------------------

    def gain(self, queue: Queue) -> None:
        """As :meth:`.queues.Owner.gain`."""
        self._owned[queue.partition] = queue

    def lose(self, queue: Queue) -> None:
        """As :meth:`.queues.Owner.lose`."""
        self._owned.pop(queue.partition, None)  # None: the broker was stopped, and this has nothing any more
        self.withhold(queue)

    def announce(self, queue: Queue) -> None:
        """As :meth:`.queues.Owner.announce`."""
        self._ready.append(queue)
        self._wake()

    def withhold(self, queue: Queue) -> None:
        """As :meth:`.queues.Owner.withhold`."""
        if queue in self._ready:
            self._ready.remove(queue)

    async def revoke(self, partitions: list[str]) -> None:
        """As :meth:`.queues.Owner.revoke`."""
        try:
            await self._on_revoked(partitions)
        except Exception:
            logger.exception(
                "on_revoked of a member of the group %r failed. Its partitions go to another member all the same: %s.",
                self._group,
                ", ".join(partitions),
                extra={"group": self._group},
            )

    def end(self) -> None:
        """As :meth:`.queues.Owner.end`."""
        self._is_open = False
        self._owned.clear()
        self._ready.clear()
        self._wake()

    # ------------------------------------------------------------------------------------------------------------------

    def _take(self, limit: int) -> list[Delivery]:
        deliveries: list[Delivery] = []
        share = max(1, limit // len(self._ready))
        while self._ready and len(deliveries) < limit:
            queue = self._ready.popleft()
            # Each has its share, and goes to the end of the line if that was not all it has.
            deliveries += queue.take(min(share, limit - len(deliveries)))
            if queue.is_ready:
                self._ready.append(queue)
        return deliveries

    def _wake(self) -> None:
        if self._arrival is not None:
            self._arrival.open()
            self._arrival = None
