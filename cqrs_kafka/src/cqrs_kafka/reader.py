"""Reads a topic from its beginning, for no group."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from cqrs_core.errors import BrokerUnavailable, InvalidOption
from cqrs_kafka.connections import broker_unavailable
from cqrs_kafka.member import Member
from cqrs_kafka.positions import Positions
from cqrs_kafka.progress import Progress
from cqrs_kafka.records import delivery_of
from cqrs_kafka.unreadable import step_over

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiokafka import TopicPartition

    from cqrs_core.broker import Delivery
    from cqrs_kafka.settings import KafkaSettings

#: How long one question for messages waits.
_POLL_S = 0.2


class KafkaTopicReader:
    """What is kept of one topic: a :class:`cqrs_core.broker.TopicReader`."""

    def __init__(
        self,
        settings: KafkaSettings,
        partitions: Sequence[TopicPartition],
        *,
        on_closed: Callable[[KafkaTopicReader], None],
    ) -> None:
        self._settings = settings
        self._read = {partition: Progress(partition) for partition in partitions}
        self._on_closed = on_closed
        self._member: Member | None = None  # there is none after an error: the next one begins anew
        self._held: deque[Delivery] = deque()
        self._is_open = True

    async def begin(self) -> None:
        """
        Begin with the oldest messages.

        Raises:
            BrokerUnavailable: No broker answers.
        """
        await self._connected()

    async def read(self, limit: int) -> Sequence[Delivery]:
        """
        As :meth:`cqrs_core.broker.TopicReader.read`.

        Raises:
            BrokerUnavailable: No broker answers, or this was closed.
            InvalidOption: *limit* is less than 1.
        """
        if limit < 1:
            raise InvalidOption("limit", limit, "at least 1")
        if not self._is_open:
            raise BrokerUnavailable("Kafka: the reader was closed, or its broker stopped. Open another one.")
        if not self._held:
            member = await self._connected()
            try:
                await self._fill(member, limit)
            except Exception:
                await self._disconnect()
                raise
        return [self._held.popleft() for _ in range(min(limit, len(self._held)))]

    async def close(self) -> None:
        """As :meth:`cqrs_core.broker.TopicReader.close`, within ten seconds, even if the broker is frozen."""
        if self._is_open:
            self._is_open = False
            await self._disconnect()
            self._on_closed(self)

    async def _connected(self) -> Member:
        if self._member is not None:
            return self._member
        member = Member(self._settings, None)
        try:
            await member.connect()
            member.assign(self._read)
            for partition, progress in self._read.items():
                if progress.next_offset is None:
                    progress.moved_to(await member.first_offset(partition))
            self._positions(member).rewind()
        except BaseException:
            await member.leave()
            raise
        self._member = member
        return member

    async def _disconnect(self) -> None:
        member, self._member = self._member, None
        if member is not None:
            await member.leave()

    def _positions(self, member: Member) -> Positions:
        return Positions(member, {progress.name: progress for progress in self._read.values()})

    async def _fill(self, member: Member, limit: int) -> None:
        """Hold what comes next, until there is something, or all that there is now has been read."""
        ends = await member.end_offsets(self._read)
        loop = asyncio.get_running_loop()
        until, before = 0.0, -1
        while not self._held:
            # Not what was received tells where the end is: behind the last message, marks of transactions may stand.
            positions = {partition: await member.position(partition) for partition in self._read}
            behind = [partition for partition, end in ends.items() if positions[partition] < end]
            if not behind:
                return
            if sum(positions.values()) > before:
                until, before = loop.time() + self._settings.unavailable_after_s, sum(positions.values())
            elif loop.time() > until:
                raise broker_unavailable(self._settings, "no broker gives what is kept of the topic.")
            await self._poll(member, behind, limit)

    async def _poll(self, member: Member, behind: Sequence[TopicPartition], limit: int) -> None:
        try:
            found = await member.poll(behind, limit=limit, wait_s=_POLL_S)
        except OffsetOutOfRangeError as error:  # the oldest of them were removed meanwhile
            for partition in error.args[0]:
                self._read[partition].moved_to(await member.first_offset(partition))
            self._positions(member).rewind()
        except UnicodeDecodeError as error:
            self._positions(member).rewind()
            with contextlib.suppress(KafkaError):  # the next poll meets it, too
                await step_over(member, self._read.values(), error, self._hold)
        except Exception as error:  # what the client makes of bytes that it does not foresee may be anything
            raise broker_unavailable(self._settings, error) from error
        else:
            self._hold(found)

    def _hold(self, records: Mapping[TopicPartition, list[Any]]) -> None:
        for partition, found in records.items():
            progress = self._read[partition]
            for record in found:
                progress.moved_to(record.offset + 1)
                self._held.append(delivery_of(record, progress.name))
