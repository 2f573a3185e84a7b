"""Reads a topic from its beginning, for no group."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from cqrs_core.broker import Delivery
from cqrs_core.errors import BrokerUnavailable, InvalidOption
from cqrs_kafka.member import Member
from cqrs_kafka.progress import name_of
from cqrs_kafka.records import envelope_of
from cqrs_kafka.unreadable import step_over

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiokafka import TopicPartition

    from cqrs_kafka.settings import KafkaSettings

#: How long one question for messages waits.
_POLL_S = 0.2


class KafkaTopicReader:
    """What is kept of one topic: a :class:`cqrs_core.broker.TopicReader`."""

    def __init__(self, settings: KafkaSettings, *, on_closed: Callable[[KafkaTopicReader], None]) -> None:
        self._settings = settings
        self._on_closed = on_closed
        self._member = Member(settings, None)
        self._partitions: Sequence[TopicPartition] = ()
        self._held: deque[Delivery] = deque()
        self._is_open = True

    async def begin(self, partitions: Sequence[TopicPartition]) -> None:
        """
        Begin with the oldest messages of *partitions*.

        Raises:
            BrokerUnavailable: No broker answers.
        """
        try:
            await self._member.connect()
            self._member.assign(partitions)
            self._partitions = partitions
            for partition in partitions:
                self._member.seek(partition, await self._member.first_offset(partition))
        except BaseException:
            await self.close()
            raise

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
            await self._fill(limit)
        return [self._held.popleft() for _ in range(min(limit, len(self._held)))]

    async def close(self) -> None:
        """As :meth:`cqrs_core.broker.TopicReader.close`, within ten seconds, even if the broker is frozen."""
        if self._is_open:
            self._is_open = False
            await self._member.leave()
            self._on_closed(self)

    async def _fill(self, limit: int) -> None:
        """Hold what comes next, until there is something, or all that there is now has been read."""
        ends = await self._member.end_offsets(self._partitions)
        loop = asyncio.get_running_loop()
        until, before = loop.time() + self._settings.unavailable_after_s, -1
        while not self._held:
            # Not what was received tells where the end is: behind the last message, marks of transactions may stand.
            positions = {partition: await self._member.position(partition) for partition in self._partitions}
            behind = [partition for partition, end in ends.items() if positions[partition] < end]
            if not behind:
                return
            if sum(positions.values()) > before:
                until, before = loop.time() + self._settings.unavailable_after_s, sum(positions.values())
            elif loop.time() > until:
                raise BrokerUnavailable("Kafka: no broker gives what is kept of the topic.")
            await self._poll(behind, limit)

    async def _poll(self, behind: Sequence[TopicPartition], limit: int) -> None:
        try:
            self._hold(await self._member.poll(behind, limit=limit, wait_s=_POLL_S))
        except OffsetOutOfRangeError as error:  # the oldest of them were removed meanwhile
            for partition in error.args[0]:
                self._member.seek(partition, await self._member.first_offset(partition))
        except KafkaError as error:
            raise BrokerUnavailable(f"Kafka: {type(error).__name__}: {error}.") from error
        except BrokerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - of a record that the client cannot read
            await step_over(self._member, behind, error, self._hold)

    def _hold(self, records: Mapping[TopicPartition, list[Any]]) -> None:
        for partition, found in records.items():
            for record in found:
                position = f"{record.partition}/{record.offset}"
                self._held.append(Delivery(envelope_of(record), name_of(partition), position))
