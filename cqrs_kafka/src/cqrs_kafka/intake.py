"""Messages on their way in: asked for, held, and handed out, of each partition in its order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition

from cqrs_kafka.patience import look_at
from cqrs_kafka.records import delivery_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cqrs_core.broker import Delivery
    from cqrs_kafka.member import Member
    from cqrs_kafka.positions import Positions
    from cqrs_kafka.progress import Progress

#: How long one question for messages waits. It is never taken back, for aiokafka would keep what waits for it. So it is
#: short: messages of a partition that was resumed meanwhile, and has none yet, are asked for with the next.
_POLL_S = 0.1
#: How often it is looked whether the group still lives, while partitions are dealt out.
_LOOK_S = 1.0

#: Asked for, no messages come; but the errors of the group do.
NOTHING = (TopicPartition("", 0),)


class Intake:
    """
    What was received of the partitions that a member has, and not handed out yet.

    Attributes:
        member: Who receives it.
        change: Set whenever there may be something else to ask for.
    """

    def __init__(self, member: Member, owned: Mapping[str, Progress], positions: Positions) -> None:
        self.member = member
        self.change = asyncio.Event()
        self._owned = owned
        self._positions = positions
        self._polling: asyncio.Task[bool] | None = None

    def take(self, limit: int) -> list[Delivery]:
        """Hand out what is held, at most so many."""
        taken: list[Delivery] = []
        for progress in self._owned.values():
            while progress.held and len(taken) < limit and not (progress.is_paused or progress.is_leaving):
                taken.append(progress.held.popleft())
        return taken

    def wanted(self) -> Sequence[TopicPartition]:
        """List the partitions of which something may be handed out."""
        return [progress.partition for progress in self._owned.values() if progress.is_wanted] or NOTHING

    async def poll(self, wanted: Sequence[TopicPartition], limit: int, *, wait_s: float = 0.0) -> bool:
        """
        Ask for messages, and hold what has come; gives whether there was anything.

        Args:
            wait_s: How long it is waited for some; unless given, only what has come already is taken.

        Raises:
            Exception: Whatever aiokafka makes of what came.
        """
        # Held at once: between two steps, another poll might find what comes after it.
        records = await self.member.poll(wanted, limit=limit, wait_s=wait_s)
        self.hold(records)
        return bool(records)

    async def wait(self, wanted: Sequence[TopicPartition], limit: int) -> bool:
        """
        Wait a while for messages, or a change; gives whether there was either.

        Raises:
            Exception: As :meth:`poll`.
        """
        loop = asyncio.get_running_loop()
        if self._polling is None:
            self._polling = loop.create_task(self.poll(wanted, limit, wait_s=_POLL_S))
        polling, changing = self._polling, loop.create_task(self.change.wait())
        try:
            await asyncio.wait({polling, changing}, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changing.cancel()  # but not the other: what it finds is held for the next call
        if not polling.done():
            return changing.done()
        self._polling = None
        return polling.cancelled() or polling.result()  # cancelled by close(): that is a change

    def hold(self, records: Mapping[TopicPartition, list[Any]]) -> None:
        """Keep *records*, of each partition in its order."""
        for partition, found in records.items():
            progress = self._positions.of(partition)
            if progress is None or progress.is_leaving:
                continue  # it was taken away just then
            for record in found:
                progress.received(record.offset)
                progress.held.append(delivery_of(record, progress.name))

    async def close(self) -> None:
        """Ask this member for nothing more."""
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            await asyncio.wait({polling})
            look_at(polling)
