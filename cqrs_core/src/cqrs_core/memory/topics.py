"""Where messages go: the partitions of a topic, and the groups that have them there."""

from __future__ import annotations

import logging
from collections import deque
from itertools import cycle
from typing import TYPE_CHECKING
from zlib import crc32

from cqrs_core.broker import Delivery, SendOutcome, SendStatus
from cqrs_core.errors import BrokerUnavailable
from cqrs_core.memory.kept import Kept
from cqrs_core.memory.queues import Entry, Queue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cqrs_core.envelope import Envelope
    from cqrs_core.memory.queues import Owner
    from cqrs_core.memory.sending import Sending

logger = logging.getLogger(__name__)


def partition_name(topic: str, index: int) -> str:
    """Name a partition, as no other of any topic is."""
    return f"{topic}/{index}"


class Backlog:
    """
    What one group has of one topic and has not acknowledged, and who of the group receives it.

    Attributes:
        group: Its name.
        topic: Where the messages come from.
        size: How many messages it holds.
        members: Who shares them, in the order in which they came.
    """

    def __init__(self, group: str, topic: Topic) -> None:
        self.group = group
        self.topic = topic
        self.size = 0
        self.members: list[Owner] = []
        self._queues = [Queue(partition_name(topic.name, index)) for index in range(topic.partitions)]

    def put(self, index: int, entry: Entry) -> None:
        """Add a message to the partition *index*."""
        self.size += 1
        self._queues[index].put(entry)

    def owned_by(self, member: Owner) -> list[Queue]:
        """List the queues of *member*."""
        return [queue for queue in self._queues if queue.owner is member]

    def surplus(self) -> list[Queue]:
        """List the queues that must be taken from their owners if one more member is to have its share."""
        share, larger = divmod(len(self._queues), len(self.members) + 1)
        surplus = []
        # Those that have most keep most, so that as few as possible move.
        for owned in sorted(map(self.owned_by, self.members), key=len, reverse=True):
            surplus += owned[share + (larger > 0) :]
            larger -= 1
        return surplus

    def deal_out(self) -> None:
        """Give each queue that nobody has to the member that has fewest."""
        for queue in self._queues:
            if queue.owner is None and self.members:
                queue.give(min(self.members, key=lambda member: len(self.owned_by(member))))

    def join(self, member: Owner) -> None:
        """Let *member* share the messages."""
        self.members.append(member)
        self.deal_out()

    def leave(self, member: Owner) -> None:
        """Give what *member* has to the others, or keep it for whoever comes."""
        self.members.remove(member)
        for queue in self.owned_by(member):
            queue.take_back()
        self.deal_out()
        self.topic.admit()  # or refuse, if nobody is left

    def end(self) -> None:
        """Tell the members that nothing more comes."""
        for member in self.members:
            member.end()

    def acknowledged(self, count: int) -> None:
        """Note that *count* messages are done."""
        self.size -= count
        self.topic.admit()


class Topic:
    """
    One topic: who has its messages, and who waits to send more.

    Attributes:
        name: What it is called.
        partitions: How many it has.
        kept: Its newest messages, for those who read it from its beginning.
    """

    def __init__(self, name: str, *, partitions: int, max_waiting: int, max_kept: int) -> None:
        self.kept = Kept(max_kept)
        self.name = name
        self.partitions = partitions
        self._max_waiting = max_waiting
        self._backlogs: dict[str, Backlog] = {}
        self._senders: deque[Sending] = deque()  # held back, in the order in which they came
        self._next_offsets = [0] * partitions
        self._turns = cycle(range(partitions))
        self._has_warned = False

    def backlog_of(self, group: str) -> Backlog | None:
        """Find what *group* has; ``None`` if it never subscribed."""
        return self._backlogs.get(group)

    def open_backlog(self, group: str) -> Backlog:
        """Find what *group* has; if it is new, it gets what is sent from now on."""
        if group not in self._backlogs:
            self._backlogs[group] = Backlog(group, self)
        return self._backlogs[group]

    def offer(self, sending: Sending, *, is_urgent: bool) -> None:
        """
        Take a message, or hold it back until every group has room for it, behind those that are held back already.

        Args:
            is_urgent: Whether it must not be held back. Those of its key that are go before it.
        """
        if not self._is_full():  # so nobody is held back: that is so only while a group is full
            self._put(sending)
        elif self._refusal() is not None:
            self._refuse(sending)
        elif is_urgent:
            key = sending.envelope.key
            earlier = [other for other in self._senders if other.envelope.key == key is not None]
            self.withdraw(earlier)
            for held_back in (*earlier, sending):
                self._put(held_back)
        else:
            self._senders.append(sending)

    def withdraw(self, sendings: Iterable[Sending]) -> None:
        """Take back those of *sendings* that are held back."""
        withdrawn = set(sendings)
        if withdrawn:
            self._senders = deque(sending for sending in self._senders if sending not in withdrawn)

    def admit(self) -> None:
        """Take messages that are held back, as far as there is room; refuse them if there never will be."""
        while self._senders:
            if not self._is_full():
                self._put(self._senders.popleft())
            elif self._refusal() is not None:
                self._refuse(self._senders.popleft())
            else:
                return

    def end(self) -> None:
        """Tell everybody who receives from here that nothing more comes."""
        for backlog in self._backlogs.values():
            backlog.end()

    def _is_full(self) -> bool:
        # A loop, because a generator would cost more than all else here.
        for backlog in self._backlogs.values():  # noqa: SIM110
            if backlog.size >= self._max_waiting:
                return True
        return False

    def _refusal(self) -> str | None:
        for backlog in self._backlogs.values():
            if backlog.size >= self._max_waiting and not backlog.members:
                return (
                    f"The group {backlog.group!r} of the topic {self.name!r} has no consumer, and {backlog.size} "
                    "messages wait for one: there is no room for more. Start a consumer of the group, or raise "
                    "max_waiting of the memory broker."
                )
        return None

    def _refuse(self, sending: Sending) -> None:
        error = BrokerUnavailable(self._refusal() or "")
        sending.settle(SendOutcome(SendStatus.UNAVAILABLE, error))

    def _put(self, sending: Sending) -> None:
        envelope = sending.envelope
        must_tell = sending.taken(len(self._backlogs))
        if not self._backlogs and not self.kept.limit:
            self._warn()
            return
        index = self._partition_of(envelope)
        offset = self._next_offsets[index]
        self._next_offsets[index] = offset + 1
        position = f"{index}/{offset}"
        if self.kept.limit:
            self.kept.add(Delivery(envelope, partition_name(self.name, index), position))
        for backlog in self._backlogs.values():
            backlog.put(index, Entry(envelope, position, sending if must_tell else None))

    def _partition_of(self, envelope: Envelope) -> int:
        if envelope.key is None:
            return next(self._turns)
        # Not hash(), which differs from process to process: what fails in one run should fail in the next.
        return crc32(envelope.key.encode("utf-8", "surrogateescape")) % self.partitions

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "A message for the topic %r is gone: no group is subscribed to it, and a memory broker keeps nothing "
                "for later. Subscribe before sending, or use a durable broker. Further messages go without a warning.",
                self.name,
                extra={"topic": self.name},
            )
