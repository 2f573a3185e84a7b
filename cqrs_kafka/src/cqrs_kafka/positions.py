"""Where the members of a group begin, how far they have come, and what to do when that is not there any more."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

from cqrs_kafka.patience import TooSlow
from cqrs_kafka.progress import name_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from aiokafka import TopicPartition

    from cqrs_kafka.member import Member
    from cqrs_kafka.progress import Progress

logger = logging.getLogger(__name__)

_SETTLE_S = 5.0


class Positions:
    """
    The offsets of the partitions that a member has.

    Attributes:
        member: Who has them.
        starts: Where the group begins in partitions in which it has not begun yet; in others, which were made later,
            with the oldest message.
    """

    def __init__(self, member: Member, owned: Mapping[str, Progress]) -> None:
        self.starts: Mapping[TopicPartition, int] = {}
        self.member = member
        self._owned = owned
        self._committing = asyncio.Lock()
        self._settling = asyncio.Lock()
        self._answers: dict[TopicPartition, tuple[int | None, float]] = {}

    def of(self, partition: TopicPartition) -> Progress | None:
        """Find what is known of a partition that the member has."""
        return self._owned.get(name_of(partition))

    async def find_starts(self, partitions: Collection[TopicPartition]) -> None:
        """
        Find out where a group begins that is new, before this member joins it: at the end, as it is now.

        Whoever joins later finds an end that does not lie before this one. A group that has begun in some partitions of
        a topic is not new there: what it has not begun in was made since, and nothing in it is older than the group.

        Raises:
            BrokerUnavailable: No broker answers.
        """
        ends = await self.member.end_offsets(partitions)
        found = await asyncio.gather(*map(self.member.committed, partitions))
        begun = {
            partition.topic for partition, committed in zip(partitions, found, strict=True) if committed is not None
        }
        self.starts = {partition: end for partition, end in ends.items() if partition.topic not in begun}

    async def settle(self) -> None:
        """
        Make sure that Kafka knows of every partition how far the group has come.

        Raises:
            BrokerUnavailable: No broker answers.
            KafkaError: The member has lost its partitions.
            TooSlow: No answer came in time.
        """
        async with self._settling:
            await self._settle()

    async def _settle(self) -> None:
        owned = [progress for progress in self._owned.values() if progress.committed is None]
        found = await asyncio.gather(*(self.member.committed(progress.partition) for progress in owned))
        begun: dict[TopicPartition, int] = {}
        for progress, committed in zip(owned, found, strict=True):
            start = committed
            if start is None:
                start = self.starts.get(progress.partition)
                if start is None:
                    start = await self.member.first_offset(progress.partition)
                begun[progress.partition] = start
            else:
                progress.committed = committed
            if progress.next_offset is None:
                progress.moved_to(start)
                if committed is None:
                    self.go_on(progress)
        if begun:
            await self.member.commit(begun, _SETTLE_S)
            self._note(begun)

    async def commit(self, within_s: float) -> None:
        """Tell Kafka what is done; if it cannot be told, that is tried again, or comes again."""
        async with self._committing:
            offsets = {
                progress.partition: done
                for progress in self._owned.values()
                if progress.committed is not None and (done := progress.to_commit) is not None
            }
            if not offsets:
                return
            try:
                await self.member.commit(offsets, within_s)
            except (KafkaError, TooSlow) as error:
                logger.warning("What is done could not be committed, and may come again: %r", error)
                return
            self._note(offsets)

    def _note(self, committed: Mapping[TopicPartition, int]) -> None:
        for partition, offset in committed.items():
            progress = self.of(partition)
            if progress is not None:
                progress.committed = offset

    def rewind(self) -> None:
        """Go on behind what was received: with an error, the client loses what it has read of other partitions."""
        for progress in self._owned.values():
            self.go_on(progress)

    def go_on(self, progress: Progress) -> None:
        """Let the member go on with what comes next of one partition, if it still has that."""
        if progress.next_offset is not None and self.member.is_assigned(progress.partition):
            self.member.seek(progress.partition, progress.next_offset)

    async def begin_anew(self, lost: Mapping[TopicPartition, int]) -> None:
        """
        Go on with the oldest message that is kept, where the one that comes next is kept no more.

        Raises:
            BrokerUnavailable: No broker answers.
        """
        for partition, offset in lost.items():
            first = await self.member.first_offset(partition)
            logger.error(
                "Messages are lost: offset %d of %s, partition %d, is not kept any more, or not yet there again. The "
                "oldest is %d, and it goes on with that. Consume faster, or raise the topic's retention.ms.",
                offset,
                partition.topic,
                partition.partition,
                first,
                extra={"topic": partition.topic, "partition": partition.partition, "offset": offset, "first": first},
            )
            progress = self.of(partition)
            if progress is not None and self.member.is_assigned(partition):
                progress.moved_to(first)
                self.member.seek(partition, first)

    def lag(self) -> dict[str, int]:
        """Tell how many messages of each partition are not done, as of the last answer; it asks nobody."""
        lags: dict[str, int] = {}
        for progress in self._owned.values():
            end, done = self.member.end_of(progress.partition), progress.done_before
            if end is not None and done is not None:
                lags[progress.name] = max(0, end - done)
        return lags

    def silent_s(self, partitions: Iterable[TopicPartition]) -> float:
        """Tell for how many seconds no broker has answered about any of *partitions*, as far as that was looked at."""
        now = asyncio.get_running_loop().time()
        silent_s: list[float] = []
        for partition in partitions:
            if self.of(partition) is None:
                continue
            answered_at = self.member.answered_at(partition)
            known = self._answers.get(partition)
            if known is None or known[0] != answered_at:
                known = self._answers[partition] = answered_at, now
            silent_s.append(now - known[1])
        return min(silent_s, default=0.0)

    def forget_answers(self) -> None:
        """Begin anew to look for them."""
        self._answers.clear()
