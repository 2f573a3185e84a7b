"""The keys of which a dead letter waits to be sent back: what comes after it of its key is parked behind it."""

from __future__ import annotations

import logging
import math
from bisect import insort
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from cqrs_core.broker import readable
from cqrs_core.concurrency import Gate, run_shielded
from cqrs_core.consumer import dead_letters as header
from cqrs_core.consumer.consumption import PERSISTENT
from cqrs_core.consumer.returned import number_in, number_of
from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from cqrs_core.broker import Broker, Delivery, TopicReader
    from cqrs_core.clock import Clock
    from cqrs_core.consumer.consumption import Consumption

logger = logging.getLogger(__name__)

_READ_LIMIT = 500


class Parking:
    """
    Knows, of one topic and group, which letters of a key are open: dead, or parked behind one, and not settled.

    Each has a number, and those of a key are in the order of their numbers. A message is behind when a letter of its
    key is open whose number is lower; one that was not sent back has none, and comes after all. So whichever way, and
    however often, letters are sent back, they are handled in their order. One keeps its number when it dies again, and
    is settled when it is done.

    What is open is in the dead-letter topic, and nowhere else: letters, and notes that they are settled. It is read
    when this member begins with a partition. From then on nobody else handles, or parks, the keys in it.
    """

    def __init__(self, broker: Broker, *, topic: str, group: str, dead_letter_topic: str, clock: Clock) -> None:
        """
        Begin with nothing; :meth:`open` comes first.

        Args:
            broker: Where the dead-letter topic is.
            topic: Whose messages.
            group: Who consumes them.
            dead_letter_topic: Where they go that are given up; perhaps those of others, too.
            clock: Tells the time, of which numbers are made.
        """
        self._broker = broker
        self._origin = {header.TOPIC: topic, header.GROUP: group}
        self._dead_letter_topic = dead_letter_topic
        self._clock = clock
        self._reader: TopicReader
        self._reading: Gate | None = None  # opened when nobody reads any more
        #: By key, as it was read.
        self._read: dict[str, list[int]] = {}
        #: By partition and key, as this member has left it: nobody else knows better.
        self._held: dict[tuple[str, str], list[int]] = {}
        self._known: set[str] = set()
        self._times_gone: Counter[str] = Counter()
        #: How often in a row it could not be read, and when to try again.
        self._failures, self._again_at = 0, -math.inf

    async def open(self) -> None:
        """
        Begin with the dead letters that there are.

        Raises:
            BrokerUnavailable: The broker cannot be reached.
            CqrsError: It cannot read a topic from its beginning, or there is no such topic.
        """
        self._known.clear()
        self._held.clear()
        self._read.clear()
        self._reading = None
        self._failures, self._again_at = 0, -math.inf
        self._reader = await readable(self._broker).open_reader(self._dead_letter_topic)

    async def close(self) -> None:
        """Read nothing more."""
        await self._reader.close()

    def knows(self, partition: str) -> bool:
        """Tell whether it is known what is open in *partition*."""
        return partition in self._known

    @property
    def unreadable_for_s(self) -> float:
        """For how many seconds it is not to be tried again to read, because that has just failed."""
        # To the microsecond: whoever has waited for so long does not wait again for a fraction lost on the way.
        return max(round(self._again_at - self._clock.monotonic(), 6), 0.0)

    async def learn(self, partition: str) -> None:
        """
        Read what is open in *partition*, unless it is taken away meanwhile.

        Raises:
            BrokerUnavailable: The broker cannot be reached; :attr:`unreadable_for_s` tells when to try again.
        """
        times_gone, failures = self._times_gone[partition], self._failures
        while self._reading is not None:
            await self._reading.wait()
        if partition in self._known:
            return
        if self._failures > failures:
            raise BrokerUnavailable(f"{self._dead_letter_topic} has just been found unreadable.")  # it was said
        gate = self._reading = Gate()
        try:
            while deliveries := await self._reader.read(_READ_LIMIT):
                for delivery in deliveries:
                    self._note(delivery.envelope)
        except BrokerUnavailable as error:
            self._failures += 1
            delay_s = PERSISTENT.delay_after(self._failures)
            self._again_at = self._clock.monotonic() + delay_s
            logger.warning(
                "The dead letters in %s cannot be read, so messages with a key wait; trying again in %.1f s: %s",
                self._dead_letter_topic,
                delay_s,
                error,
            )
            raise
        finally:
            self._reading = None
            gate.open()
        self._failures = 0
        if times_gone == self._times_gone[partition]:
            self._known.add(partition)

    def forget(self, partitions: Collection[str]) -> None:
        """Know nothing any more of *partitions*: another member may have them."""
        for partition in partitions:
            self._known.discard(partition)
            self._times_gone[partition] += 1
        for place in [place for place in self._held if place[0] in partitions]:
            del self._held[place]

    def is_behind(self, delivery: Delivery) -> bool:
        """Tell whether a letter is open that comes before this message of its key."""
        numbers = self._open(delivery)
        if not numbers:
            return False
        number = number_of(delivery)
        return number is None or numbers[0] < number

    def number_for(self, delivery: Delivery) -> int:
        """Give the number of the letter that is made of a message."""
        number = number_of(delivery)
        if number is not None:
            return number
        numbers = self._open(delivery)
        # Of microseconds: none is given twice, even when all before it are settled and forgotten.
        now = round(self._clock.now().timestamp() * 1_000_000)
        return max(now, numbers[-1] + 1) if numbers else now

    def settlement(self, delivery: Delivery) -> Envelope:
        """Write the note that the letter which *delivery* was is settled."""
        headers = {**self._origin, header.SETTLED: str(number_of(delivery))}
        return Envelope(self._dead_letter_topic, b"", delivery.envelope.key, headers)

    def sent(self, delivery: Delivery, letter: Envelope) -> None:
        """Take note of a letter, or of a note, that was sent in place of *delivery*."""
        key = delivery.envelope.key
        if key is None or delivery.partition not in self._known:
            return  # of a partition that was taken away meanwhile, what was sent is read when it comes back
        place = delivery.partition, key
        if place not in self._held:
            self._held[place] = list(self._read.get(key, ()))
        _change(self._held[place], letter)

    def _open(self, delivery: Delivery) -> Sequence[int]:
        key = delivery.envelope.key
        if key is None:
            return ()
        held = self._held.get((delivery.partition, key))
        return self._read.get(key, ()) if held is None else held

    def _note(self, envelope: Envelope) -> None:
        key, headers = envelope.key, envelope.headers
        if key is None or any(headers.get(name) != value for name, value in self._origin.items()):
            return
        numbers = self._read.setdefault(key, [])
        _change(numbers, envelope)
        if not numbers:
            del self._read[key]


def _change(numbers: list[int], letter: Envelope) -> None:
    """Open the number of a letter, or settle that of a note."""
    settled, opened = number_in(letter.headers.get(header.SETTLED)), number_in(letter.headers.get(header.NUMBER))
    if settled in numbers:
        numbers.remove(settled)
    if opened and opened not in numbers:
        insort(numbers, opened)


def parkings_of(
    broker: Broker, consumptions: Mapping[str, Consumption], *, group: str, clock: Clock
) -> dict[str, Parking]:
    """Make one for each topic whose messages are to be parked."""
    return {
        topic: Parking(broker, topic=topic, group=group, dead_letter_topic=consumption.dead_letter_topic, clock=clock)
        for topic, consumption in consumptions.items()
        if consumption.on_dead == "park"
    }


async def open_all(parkings: Mapping[str, Parking]) -> None:
    """Open all, or none if one cannot be, and raise what that one does."""
    opened: list[Parking] = []
    try:
        for parking in parkings.values():
            await parking.open()
            opened.append(parking)
    except BaseException:
        await run_shielded(partial(close_all, opened))
        raise


async def close_all(parkings: Iterable[Parking]) -> None:
    """Close all."""
    for parking in parkings:
        await parking.close()
