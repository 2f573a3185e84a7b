"""A member of a group: looks into the folder again and again, and hands out what it finds."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from cqrs_core.broker import Delivery
from cqrs_core.errors import BrokerUnavailable, SubscriptionClosed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.broker import OnRevoked
    from directory_broker.shares import Share

logger = logging.getLogger(__name__)

#: How many messages of a partition are read ahead.
READ_AHEAD = 100


class Partition:
    """What a member has of one partition: ``known`` are the messages that it read and that are not acknowledged."""

    def __init__(self, share: Share, number: int) -> None:
        self.share = share
        self.number = number
        self.name = f"{share.topic}/{number}"
        self.waiting: deque[Delivery] = deque()
        self.known: set[str] = set()
        self.is_paused = False
        self.is_going = False

    async def read_on(self) -> None:
        """Read what has come, as far as there is room."""
        limit = READ_AHEAD - len(self.waiting)
        # A copy: the thread must not look at what changes meanwhile.
        unread = await asyncio.to_thread(self.share.unread, self.number, self.known.copy(), limit=limit)
        for position, envelope in unread:
            self.known.add(position)
            self.waiting.append(Delivery(envelope, self.name, position))


class DirectorySubscription:
    """One member of a group: a :class:`cqrs_core.broker.Subscription`."""

    def __init__(self, shares: Sequence[Share], *, group: str, on_revoked: OnRevoked, poll_interval_s: float) -> None:
        self._shares = shares
        self._group = group
        self._on_revoked = on_revoked
        self._poll_interval_s = poll_interval_s
        self._partitions: dict[str, Partition] = {}  # the one that was served last comes last
        self._arrival = asyncio.Event()
        self._closing = asyncio.Event()
        self._error: Exception | None = None
        self._told: list[Partition] = []
        self._telling: asyncio.Task[None] | None = None
        self._polling = asyncio.ensure_future(self._poll())

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """As the protocol says. Messages are taken without awaiting anything, so a cancellation loses none."""
        await asyncio.sleep(0)  # others run, however much there is to do
        while not (deliveries := self._take(limit)):
            if self._closing.is_set():
                raise SubscriptionClosed(self._group)
            if self._error is not None:
                error, self._error = self._error, None
                raise BrokerUnavailable(f"The folder of the broker cannot be read: {error}") from error
            self._arrival.clear()
            await self._arrival.wait()
        return deliveries

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """As the protocol says: the messages' files are removed."""
        done = []
        for delivery in deliveries:
            partition = self._partitions.get(delivery.partition)
            if partition is not None and delivery.position in partition.known:
                done.append((partition, delivery.position))

        def remove() -> None:
            for partition, position in done:
                partition.share.remove(partition.number, position)

        try:
            await asyncio.to_thread(remove)
        except OSError as error:
            raise BrokerUnavailable(f"The folder of the broker cannot be written: {error}") from error
        for partition, position in done:  # not before, or it could be read again meanwhile
            partition.known.discard(position)

    def pause(self, partition: str) -> None:
        """As the protocol says."""
        if partition in self._partitions:
            self._partitions[partition].is_paused = True

    def resume(self, partition: str) -> None:
        """As the protocol says."""
        if partition in self._partitions:
            self._partitions[partition].is_paused = False
            self._arrival.set()

    async def close(self) -> None:
        """As the protocol says; if this is cancelled, others find out when ``member_ttl_s`` is over."""
        if not self._closing.is_set():
            self._closing.set()
            await self._polling  # not cancelled: a thread that is at work could not be
            self._partitions.clear()
            self._arrival.set()
            with suppress(OSError):  # then others find out, as above
                for share in self._shares:
                    await asyncio.to_thread(share.leave)

    def _take(self, limit: int) -> list[Delivery]:
        """Hand out what was read: of each partition its share, in its order."""
        ready = [each for each in self._partitions.values() if each.waiting and not (each.is_paused or each.is_going)]
        deliveries: list[Delivery] = []
        for partition in ready[:limit]:
            share = max(1, limit // len(ready))
            deliveries += [partition.waiting.popleft() for _ in range(min(share, len(partition.waiting)))]
            self._partitions[partition.name] = self._partitions.pop(partition.name)
        return deliveries

    async def _poll(self) -> None:
        while not self._closing.is_set():
            try:
                await self._look()
            except (OSError, ValueError) as error:  # no folder; a file that somebody else wrote
                self._error = error
            self._arrival.set()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._poll_interval_s)

    async def _look(self) -> None:
        going = await asyncio.to_thread(lambda: [(share, share.look()) for share in self._shares])
        names = {f"{share.topic}/{number}" for share, numbers in going for number in numbers}
        for name in names & set(self._partitions):
            self._partitions[name].is_going = True
        await self._give_up()
        for share in self._shares:
            for number in share.held:
                partition = Partition(share, number)
                self._partitions.setdefault(partition.name, partition)
        for partition in list(self._partitions.values()):
            if not partition.is_going:
                await partition.read_on()

    async def _give_up(self) -> None:
        """Tell that partitions go, and let them go when that has been heard. Looking goes on: that shows we live."""
        going = [partition for partition in self._partitions.values() if partition.is_going]
        if self._telling is None and going:
            self._told = going
            self._telling = asyncio.ensure_future(self._tell([partition.name for partition in going]))
        elif self._telling is not None and self._telling.done():
            self._telling = None
            for partition in self._told:
                await asyncio.to_thread(partition.share.release, partition.number)
                del self._partitions[partition.name]

    async def _tell(self, names: list[str]) -> None:
        try:
            await self._on_revoked(names)
        except Exception:
            logger.exception("on_revoked failed; the partitions go to another member all the same: %s", names)
