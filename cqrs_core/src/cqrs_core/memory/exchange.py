"""Everything that a memory broker has from its start to its stop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.concurrency import Gate, run_all
from cqrs_core.errors import BrokerUnavailable, OutcomeUnknown
from cqrs_core.memory.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cqrs_core.memory.queues import Owner, Queue
    from cqrs_core.memory.sending import Batch
    from cqrs_core.memory.subscriptions import MemorySubscription


class Exchange:
    """The topics, who waits to send to them, and who joins which group."""

    def __init__(self, *, partitions: int, max_waiting: int, max_kept: int) -> None:
        self._partitions = partitions
        self._max_kept = max_kept
        self._max_waiting = max_waiting
        self._topics: dict[str, Topic] = {}
        self._batches: list[Batch] = []  # that somebody waits for
        self._joining: dict[str, Gate] = {}  # by group: opened when the one who joins is done
        self._is_open = True

    def topic(self, name: str) -> Topic:
        """Find a topic; there is every one that is asked for."""
        if name not in self._topics:
            self._topics[name] = Topic(
                name, partitions=self._partitions, max_waiting=self._max_waiting, max_kept=self._max_kept
            )
        return self._topics[name]

    async def settle(self, batch: Batch) -> None:
        """Return when *batch* is settled; if this is cancelled, call back what is held back."""
        self._batches.append(batch)
        try:
            await batch.wait()
        finally:
            self._batches.remove(batch)
            self._call_back(batch)

    async def join(self, subscription: MemorySubscription, topics: Collection[str], *, group: str) -> bool:
        """
        Give *subscription* its share, when those who lose something for it have been told.

        Returns:
            Whether it has it: ``False`` if the broker was stopped meanwhile.
        """
        while group in self._joining:  # one after the other, so that nobody is told twice at once
            await self._joining[group].wait()
        held = [backlog for name in topics if (backlog := self.topic(name).backlog_of(group)) is not None]
        while surplus := [queue for backlog in held for queue in backlog.surplus()]:
            self._joining[group] = Gate()
            try:
                await _revoke(surplus)
            except BaseException:
                for backlog in held:  # they were told, so what they had comes again, though it may be to them
                    backlog.deal_out()
                raise
            finally:
                self._joining.pop(group).open()
        if self._is_open:
            subscription.join([self.topic(name).open_backlog(group) for name in topics])
        return self._is_open

    def end(self) -> None:
        """Forget everything, and end what waits."""
        self._is_open = False
        for batch in self._batches:
            for sending in batch.sendings:
                # What a group has may have been handled; what was held back has not been seen by anybody.
                if sending.is_taken:
                    error = OutcomeUnknown(sending.envelope.topic, "The memory broker was stopped meanwhile.")
                    sending.settle(SendOutcome(SendStatus.UNKNOWN, error))
                else:
                    gone = BrokerUnavailable("The memory broker was stopped meanwhile.")
                    sending.settle(SendOutcome(SendStatus.UNAVAILABLE, gone))
        for topic in self._topics.values():
            topic.end()

    def _call_back(self, batch: Batch) -> None:
        for name in {sending.envelope.topic for sending in batch.sendings if sending.outcome is None}:
            self.topic(name).withdraw(batch.sendings)


async def _revoke(queues: Sequence[Queue]) -> None:
    """Tell the owners of *queues* that they lose them, and take them back when they have finished with them."""
    losing: dict[Owner, list[Queue]] = {}
    for queue in queues:
        if queue.owner is not None:
            losing.setdefault(queue.owner, []).append(queue)
            queue.hold_back()
    try:
        await run_all(
            [partial(owner.revoke, [queue.partition for queue in lost]) for owner, lost in losing.items()],
            limit=len(losing),
        )
    finally:
        for queue in queues:
            if queue.is_leaving:  # else its owner has closed meanwhile, and it went to somebody else
                queue.take_back()
