"""How far a group has come in one partition; no I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from cqrs_core.broker import Delivery

#: So many messages may be kept track of behind one that is not done; then nothing more of its partition is received.
MOST_OPEN = 10_000


class Progress:
    """
    What was received of one partition, and what of it is done.

    A group can only tell Kafka that everything up to some offset is done. So that is what all those have in common
    that are done: the first that is open, or what comes next if none is.

    Attributes:
        partition: Which, as Kafka names it.
        name: Which, as the core names it.
        next_offset: What comes next; ``None`` if that is not known yet.
        committed: What the group has told Kafka, as far as this member knows.
        held: What was received and not handed out yet.
        is_paused: Whether nothing is to be handed out.
        is_leaving: Whether it is being taken away.
    """

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.name = name_of(partition)
        self.next_offset: int | None = None
        self.committed: int | None = None
        self.held: deque[Delivery] = deque()
        self.is_paused = False
        self.is_leaving = False
        self._order: deque[int] = deque()  # what was received, from the first that is open
        self._open: set[int] = set()

    @property
    def is_wanted(self) -> bool:
        """Whether more of it may be received."""
        return not (self.is_paused or self.is_leaving) and len(self._order) < MOST_OPEN

    @property
    def done_before(self) -> int | None:
        """The offset before which everything is done; ``None`` if that is not known yet."""
        return self._order[0] if self._order else self.next_offset

    @property
    def to_commit(self) -> int | None:
        """The same, if Kafka does not know it."""
        return None if self.done_before == self.committed else self.done_before

    def received(self, offset: int) -> None:
        """Note that the message at *offset* was received; there is no order in which they might come but theirs."""
        self._order.append(offset)
        self._open.add(offset)
        self.next_offset = offset + 1

    def acknowledged(self, offset: int) -> bool:
        """Note that the message at *offset* is done; gives whether it was open."""
        if offset not in self._open:
            return False
        self._open.discard(offset)
        while self._order and self._order[0] not in self._open:
            self._order.popleft()
        return True

    def moved_to(self, offset: int) -> None:
        """Go on at *offset*: what lies before it is given up, or not there."""
        self.next_offset = offset


def name_of(partition: TopicPartition) -> str:
    """Name a partition within a subscription."""
    return f"{partition.topic}/{partition.partition}"
