"""What waits to be handled, in lanes: within one there is an order, and no lane waits for another."""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable

    from cqrs_core.broker import Delivery
    from cqrs_core.envelope import Envelope


class Lane:
    """
    Messages that are handled one after the other.

    Attributes:
        partition: Where they come from.
        failures: How many attempts at the first have failed.
        letter: What has still to be sent in place of the first, to a retry topic or to the dead letters, before it is
            done.
        counted_as: As what the first is counted when that was sent; empty: as nothing more.
        alone: How many of the first are handled one by one, because a batch with them failed and did not say where.
        cancel: Ends what is being done with it; for as long as it is in somebody's hands.
        is_dropped: Whether its partition was taken away, or the consumer stops: what is not under way is not begun, and
            nothing more is decided about what is.
    """

    __slots__ = ("alone", "cancel", "counted_as", "failures", "is_dropped", "letter", "name", "partition", "queue")

    def __init__(self, name: Hashable, partition: str) -> None:
        self.name = name
        self.partition = partition
        self.queue: deque[Delivery] = deque()
        self.failures = 0
        self.letter: Envelope | None = None
        self.counted_as = ""
        self.alone = 0
        self.cancel: Callable[[], None] | None = None
        self.is_dropped = False

    @property
    def first(self) -> Delivery:
        """The message that comes next."""
        return self.queue[0]

    def first_few(self, count: int) -> list[Delivery]:
        """Give the *count* messages that come next."""
        return list(islice(self.queue, count))


class Lanes:
    """
    Keeps what was received until it is handled, and knows what may be handled next. It decides; it does no I/O.

    A lane is *ready*, *busy* in somebody's hands, or *waiting* for its next attempt.
    """

    def __init__(self, name_of: Callable[[Delivery], Hashable], *, max_waiting: int) -> None:
        """
        Begin with nothing.

        Args:
            name_of: Tells which lane a message belongs to; ``None``: to no other's.
            max_waiting: How many messages of one partition are kept before it should be paused.
        """
        self._name_of = name_of
        self._max_waiting = max_waiting
        self._lanes: dict[Hashable, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._kept: Counter[str] = Counter()
        self._in_hands: set[Lane] = set()
        self._paused: set[str] = set()

    def add(self, delivery: Delivery) -> bool:
        """Keep a message. Returns whether its partition has now to be paused."""
        partition = delivery.partition
        name = self._name_of(delivery)
        if name is None:
            name = object()  # which is equal to nothing else
        lane = self._lanes.get((partition, name))
        if lane is None:
            lane = self._lanes[partition, name] = Lane(name, partition)
            self._ready.append(lane)
        lane.queue.append(delivery)
        self._kept[partition] += 1
        if self._kept[partition] < self._max_waiting or partition in self._paused:
            return False
        self._paused.add(partition)
        return True

    @property
    def has_ready(self) -> bool:
        """Whether :meth:`take` would give a lane."""
        return bool(self._ready)

    def take(self) -> Lane | None:
        """Take the lane that has been ready longest into one's hands."""
        if not self._ready:
            return None
        lane = self._ready.popleft()
        self._in_hands.add(lane)
        return lane

    def finish(self, lane: Lane, count: int) -> bool:
        """
        Forget the first *count* messages of a lane in one's hands: they are done.

        Returns:
            Whether its partition has now to be resumed.
        """
        for _ in range(count):
            lane.queue.popleft()
        lane.failures = 0
        lane.letter = None
        lane.alone = max(0, lane.alone - count)
        if lane.is_dropped:
            return False
        partition = lane.partition
        self._kept[partition] -= count
        if partition not in self._paused or self._kept[partition] > self._max_waiting // 2:
            return False
        self._paused.discard(partition)
        return True

    def put_back(self, lane: Lane) -> None:
        """Give a lane out of one's hands: it is ready if something is left in it."""
        self._in_hands.discard(lane)
        if lane.is_dropped:
            return
        if lane.queue:
            self._ready.append(lane)
        else:
            del self._lanes[lane.partition, lane.name]

    def put_off(self, lane: Lane) -> None:
        """Give a lane out of one's hands whose first message is still to do, and not ready before :meth:`wake`."""
        self._in_hands.discard(lane)

    def wake(self, lane: Lane) -> None:
        """Make a lane ready that was put off, unless it was dropped meanwhile."""
        if not lane.is_dropped:
            self._ready.append(lane)

    def drop(self, partitions: Collection[str] | None = None) -> None:
        """Forget what is kept of *partitions*, or of all; lanes in somebody's hands keep what they are at."""
        for lane in list(self._lanes.values()):
            if partitions is None or lane.partition in partitions:
                lane.is_dropped = True
                del self._lanes[lane.partition, lane.name]
        self._ready = deque(lane for lane in self._ready if not lane.is_dropped)
        for partition in list(self._kept) if partitions is None else partitions:
            self._kept.pop(partition, None)
            self._paused.discard(partition)

    @property
    def kept(self) -> int:
        """How many messages are kept."""
        return sum(self._kept.values())

    def busy(self, partitions: Collection[str] | None = None) -> list[Lane]:
        """List the lanes in somebody's hands: of *partitions*, or all."""
        return [lane for lane in self._in_hands if partitions is None or lane.partition in partitions]
