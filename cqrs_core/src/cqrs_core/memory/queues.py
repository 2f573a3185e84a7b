"""What one group has of one partition."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from cqrs_core.broker import Delivery

if TYPE_CHECKING:
    from cqrs_core.envelope import Envelope
    from cqrs_core.memory.sending import Sending


class Owner(Protocol):
    """The member of a group to whom queues are given, and from whom they are taken."""

    def gain(self, queue: Queue) -> None:
        """Receive from *queue* from now on."""
        ...

    def lose(self, queue: Queue) -> None:
        """Receive from *queue* no more, and acknowledge nothing of it."""
        ...

    def announce(self, queue: Queue) -> None:
        """Take note that there is something to receive from *queue*."""
        ...

    def withhold(self, queue: Queue) -> None:
        """Take note that there is nothing to receive from *queue*, if it was announced."""
        ...

    async def revoke(self, partitions: list[str]) -> None:
        """Let what is under way in *partitions* come to an end; it never raises an ``Exception``."""
        ...

    def end(self) -> None:
        """Receive nothing more at all."""
        ...


class Entry:
    """One message, as one group has it."""

    __slots__ = ("attempt", "envelope", "position", "sending")

    def __init__(self, envelope: Envelope, position: str, sending: Sending | None) -> None:
        self.envelope = envelope
        self.position = position
        self.sending = sending  # None: nobody waits for its acknowledgement
        self.attempt = 1


class Queue:
    """
    The messages of one partition that one group has not acknowledged.

    Those that its owner has are before those that wait, whatever becomes of them.

    Attributes:
        partition: Its name.
        owner: The member that receives from it; ``None`` while the group has nobody for it.
        is_paused: Whether its owner wants nothing of it at present.
        is_leaving: Whether its owner is being told that it goes to another.
    """

    __slots__ = ("_received", "_waiting", "is_leaving", "is_paused", "owner", "partition")

    def __init__(self, partition: str) -> None:
        self.partition = partition
        self.owner: Owner | None = None
        self.is_paused = False
        self.is_leaving = False
        self._waiting: deque[Entry] = deque()
        self._received: dict[str, Entry] = {}  # by position, in the order in which they were received

    @property
    def size(self) -> int:
        """How many messages are not acknowledged."""
        return len(self._waiting) + len(self._received)

    @property
    def is_ready(self) -> bool:
        """Whether there is something to receive now."""
        return bool(self._waiting) and not self.is_paused and not self.is_leaving

    def put(self, entry: Entry) -> None:
        """Add a message behind all others."""
        self._waiting.append(entry)
        if len(self._waiting) == 1 and self.owner is not None and self.is_ready:
            self.owner.announce(self)

    def take(self, limit: int) -> list[Delivery]:
        """Hand out the first messages that wait, at most *limit*."""
        waiting, received, partition = self._waiting, self._received, self.partition
        deliveries = []
        for _ in range(min(limit, len(waiting))):
            entry = waiting.popleft()
            received[entry.position] = entry
            deliveries.append(Delivery(entry.envelope, partition, entry.position, entry.attempt))
        return deliveries

    def acknowledge(self, position: str) -> bool:
        """Forget a message that was handed out, and tell whether there was one."""
        entry = self._received.pop(position, None)
        if entry is None:
            return False
        if entry.sending is not None:
            entry.sending.acknowledged()
        return True

    def give(self, owner: Owner) -> None:
        """Make *owner* the one who receives from it."""
        self.owner = owner
        owner.gain(self)
        if self.is_ready:
            owner.announce(self)

    def pause(self) -> None:
        """Hand nothing out until :meth:`resume`."""
        self.is_paused = True
        self._withhold()

    def resume(self) -> None:
        """Undo :meth:`pause`."""
        was_paused, self.is_paused = self.is_paused, False
        if was_paused and self.is_ready and self.owner is not None:
            self.owner.announce(self)

    def hold_back(self) -> None:
        """Hand nothing out, because its owner is being told that it goes to another."""
        self.is_leaving = True
        self._withhold()

    def take_back(self) -> None:
        """Take it from its owner; what was handed out and not acknowledged comes again, before what waits."""
        if self.owner is not None:
            self.owner.lose(self)
        self.owner = None
        self.is_paused = self.is_leaving = False
        for entry in self._received.values():
            entry.attempt += 1
        self._waiting.extendleft(reversed(self._received.values()))
        self._received.clear()

    def _withhold(self) -> None:
        if self.owner is not None:
            self.owner.withhold(self)
