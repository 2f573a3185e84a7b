"""What is in a dead-letter topic, and how it is sent back to where it came from."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from cqrs_core.broker import readable
from cqrs_core.consumer import dead_letters as header
from cqrs_core.consumer.returned import number_in, sent_back
from cqrs_core.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cqrs_core.broker import Broker, Delivery

_READ_LIMIT = 500
_NOWHERE = f"it has no header {header.TOPIC}, so nobody knows where it came from"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """
    A message that was given up.

    Attributes:
        position: Where it stands in the dead-letter topic.
        message: As it came: its topic, body, key and headers. The topic is empty if the letter does not name it.
        partition: Where it came from.
        first_position: Where it stood there.
        group: Who gave it up.
        attempts: After how many.
        error_type: What was wrong.
        error_text: The same, in words.
        failed_at: When, aware; ``None`` if the letter does not say.
        number: Where keys are parked, its place among those of its key; else ``None``.
    """

    position: str
    message: Envelope
    partition: str
    first_position: str
    group: str
    attempts: int
    error_type: str
    error_text: str
    failed_at: datetime | None
    number: int | None

    @property
    def is_parked(self) -> bool:
        """Whether it was not tried, because one of its key that came before it is a dead letter."""
        # By the name alone: letters outlive the place of a class.
        return self.error_type.rpartition(".")[2] == header.ParkedBehind.__name__

    @property
    def sequence(self) -> tuple[str, str, str | None]:
        """Whose number it has: of all letters of a topic, a group and a key."""
        return self.message.topic, self.group, self.message.key


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterSelection:
    """
    Which dead letters are meant: those to which all applies that is given; all of them if nothing is.

    Attributes:
        id: What its sender called the message, in ``ce_id``.
        position: Where the letter stands in the dead-letter topic.
        key: The message's key.
        topic: Where the message came from.
        group: Who gave it up.
    """

    id: str | None = None
    position: str | None = None
    key: str | None = None
    topic: str | None = None
    group: str | None = None

    def has(self, letter: DeadLetter) -> bool:
        """Tell whether *letter* is meant."""
        message = letter.message
        pairs = (
            (self.id, message.id),
            (self.position, letter.position),
            (self.key, message.key),
            (self.topic, message.topic),
            (self.group, letter.group),
        )
        return all(wanted is None or wanted == found for wanted, found in pairs)


class Replay(NamedTuple):
    """
    What became of a dead letter that was to be sent back, or discarded.

    Attributes:
        letter: It.
        problem: Why it was not; ``None``: it was.
    """

    letter: DeadLetter
    problem: str | None


class DeadLetters:
    """
    The dead letters of one topic: shows them, and sends them back.

    That one was sent back is noted in the topic itself, by a message without a body that has the header
    ``cqrs_dead_replayed``. So it is known wherever the topic is read, for as long as the letter is kept; consumers of
    the topic pass over it.
    """

    def __init__(self, broker: Broker, topic: str) -> None:
        """
        Look after one topic.

        Args:
            broker: Started, and stopped by whoever has made it.
            topic: The dead-letter topic, such as ``payments.shop.dead``.

        Raises:
            NotReadable: The broker cannot read a topic from its beginning.
        """
        self._broker = readable(broker)
        self._topic = topic

    async def look(self, which: LetterSelection | None = None, *, limit: int | None = None) -> list[DeadLetter]:
        """
        List dead letters that were not sent back, those of a key in the order in which they were given up.

        Args:
            which: Which of them; all unless given.
            limit: How many at most; as many as there are unless given.

        Raises:
            BrokerUnavailable: The broker cannot be reached.
        """
        found: list[DeadLetter] = []
        if limit is not None and limit < 1:
            return found
        async with aclosing(self._open_letters()) as letters:
            async for letter in letters:
                if which is None or which.has(letter):
                    found.append(letter)
                if len(found) == limit:
                    break
        return found

    async def replay(
        self, which: LetterSelection | None = None, *, for_all_groups: bool = False
    ) -> AsyncGenerator[Replay, None]:
        """
        Send dead letters back to where they came from, as they came; give each when it was, and that is noted.

        They are sent one after the other, those of a key in the order in which they were given up, and behind what is
        in their topic already. Between sending one and noting it, a crash makes it be sent once more: its id is the
        same, so an inbox knows it. What is given up meanwhile is left for the next time.

        Where keys are parked, a letter is left, with the reason, while one of its key that comes before it is neither
        chosen nor sent back already.

        Args:
            which: Which of them; all unless given.
            for_all_groups: Whether all groups of the topic are to handle them again, instead of the one that gave them
                up. Other groups pass over them, if they consume with this library.

        Raises:
            BrokerUnavailable: The broker cannot be reached; what was given before is done.
            OutcomeUnknown: Whether it has the last one is not known.
            MessageRefused: It does not want one.
        """
        async with aclosing(self._in_order(which)) as replays:
            async for replay in replays:
                letter = replay.letter
                if replay.problem is None and for_all_groups and letter.number is not None:
                    yield Replay(letter, "its key is parked for the group that gave it up, and for no other")
                    continue
                if replay.problem is None:
                    await self._send_back(letter, group=None if for_all_groups else letter.group)
                    await self._note(letter)
                yield replay

    async def discard(self, which: LetterSelection | None = None) -> AsyncGenerator[Replay, None]:
        """
        Forget dead letters for good: they are listed no more, and not handled. Give each when that is noted.

        Where keys are parked, this too happens in order: the group that has parked them is told by a message in their
        topic, and goes on with those behind.

        Args:
            which: As for :meth:`replay`.

        Raises:
            Exception: As :meth:`replay`.
        """
        async with aclosing(self._in_order(which, are_kept=False)) as replays:
            async for replay in replays:
                if replay.problem is None:
                    if replay.letter.number is not None:
                        await self._send_back(replay.letter, group=replay.letter.group, is_discarded=True)
                    await self._note(replay.letter)
                yield replay

    async def _in_order(self, which: LetterSelection | None, *, are_kept: bool = True) -> AsyncGenerator[Replay, None]:
        """Give the letters that are meant, as they may be sent back, and those that may not with the reason."""
        sequences: dict[tuple[str, str, str | None], list[DeadLetter]] = {}
        async with aclosing(self._open_letters()) as letters:
            async for letter in letters:
                if letter.number is not None:
                    sequences.setdefault(letter.sequence, []).append(letter)
                elif which is None or which.has(letter):
                    is_lost = are_kept and not letter.message.topic
                    yield Replay(letter, _NOWHERE if is_lost else None)
        for sequence in sequences.values():
            problem = None
            # One that has died again stands behind those that were parked behind it, and comes before them.
            for letter in sorted(sequence, key=attrgetter("number")):
                if which is None or which.has(letter):
                    yield Replay(letter, problem)
                else:
                    problem = f"it is parked behind the one at {letter.position}, which has to be sent back before it"

    async def _send_back(self, letter: DeadLetter, *, group: str | None, is_discarded: bool = False) -> None:
        await self._broker.send(
            sent_back(
                letter.message,
                partition=letter.partition,
                position=letter.first_position,
                group=group,
                number=letter.number,
                is_discarded=is_discarded,
            )
        )

    async def _note(self, letter: DeadLetter) -> None:
        """Note in the dead-letter topic that this one need not be listed any more."""
        headers = {header.REPLAYED: letter.position}
        await self._broker.send(Envelope(self._topic, b"", letter.message.key, headers))

    async def _open_letters(self) -> AsyncGenerator[DeadLetter, None]:
        """Give the letters that are there now, and were neither sent back nor settled."""
        gone: set[str] = set()
        numbered: dict[tuple[object, ...], str] = {}  # the letter that counts, of those with the same number
        counts: Counter[str] = Counter()
        async with aclosing(self._all()) as deliveries:
            async for delivery in deliveries:
                counts[delivery.partition] += 1
                told = delivery.envelope.headers
                if header.REPLAYED in told:
                    gone.add(told[header.REPLAYED])
                    continue
                number = told.get(header.NUMBER, told.get(header.SETTLED))
                if number is not None:
                    identity = (told.get(header.TOPIC), told.get(header.GROUP), delivery.envelope.key, number)
                    gone.add(numbered.pop(identity, ""))
                    if header.SETTLED not in told:
                        numbered[identity] = delivery.position
        left = counts.total()
        async with aclosing(self._all()) as deliveries:
            async for delivery in deliveries:
                if not counts[delivery.partition]:
                    continue  # it has come since: who gives up what is sent back would be sent it for ever
                counts[delivery.partition] -= 1
                left -= 1
                if not header.is_note(delivery.envelope) and delivery.position not in gone:
                    yield letter_of(delivery)
                if not left:
                    return

    async def _all(self) -> AsyncGenerator[Delivery, None]:
        reader = await self._broker.open_reader(self._topic)
        try:
            while deliveries := await reader.read(_READ_LIMIT):
                for delivery in deliveries:
                    yield delivery
        finally:
            await reader.close()


def letter_of(delivery: Delivery) -> DeadLetter:
    """Understand a dead letter."""
    envelope = delivery.envelope
    told = envelope.headers
    headers = {name: value for name, value in told.items() if not name.startswith(header.PREFIX)}
    return DeadLetter(
        position=delivery.position,
        message=replace(envelope, topic=told.get(header.TOPIC, ""), headers=headers),
        partition=told.get(header.PARTITION, ""),
        first_position=told.get(header.POSITION, ""),
        group=told.get(header.GROUP, ""),
        attempts=number_in(told.get(header.ATTEMPTS)),
        error_type=told.get(header.ERROR_TYPE, ""),
        error_text=told.get(header.ERROR_TEXT, ""),
        failed_at=_time(told.get(header.TIME, "")),
        number=number_in(told.get(header.NUMBER)) or None,
    )


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None
