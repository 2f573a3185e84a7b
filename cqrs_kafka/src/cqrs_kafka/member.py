"""The consumer of aiokafka, with an end to everything that it waits for."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError

from cqrs_kafka.connections import broker_unavailable, connection_options
from cqrs_kafka.patience import TooSlow, look_at, within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from aiokafka import TopicPartition

    from cqrs_kafka.settings import KafkaSettings

    OnChange = Callable[[Collection[TopicPartition]], Awaitable[None]]

logger = logging.getLogger(__name__)

_STOP_S = 2.0
_GRACE_S = 0.5
_HEARTBEATS = 3
_LONGEST_HEARTBEAT_S = 3.0
#: aiokafka's member leaves its group when it was not asked for messages for so long. Whether a program is well, its
#: heartbeats tell; that it handles a message for an hour is nobody's business.
_NEVER_MS = 2**31 - 1


class Listener(ConsumerRebalanceListener):  # type: ignore[misc] # it has no types
    """Passes on what aiokafka tells of the partitions that a member has."""

    def __init__(self, on_revoked: OnChange, on_assigned: OnChange) -> None:
        self._on_revoked = on_revoked
        self._on_assigned = on_assigned

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> Any:  # noqa: ANN401 - it is awaited
        """Tell that the member loses these."""
        return self._on_revoked(revoked)

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> Any:  # noqa: ANN401 - it is awaited
        """Tell that the member has these, and no others."""
        return self._on_assigned(assigned)


class Member:
    """
    One consumer of aiokafka, in a group or, with ``None``, in none.

    It commits what it is told to, and begins where it is told to.
    """

    def __init__(self, settings: KafkaSettings, group: str | None) -> None:
        self._committing: asyncio.Future[None] | None = None
        heartbeat_s = min(_LONGEST_HEARTBEAT_S, settings.session_timeout_s / _HEARTBEATS)
        self._settings = settings
        self._made = AIOKafkaConsumer(
            **connection_options(settings),
            group_id=group,
            group_instance_id=None if group is None else settings.group_instance_id,
            enable_auto_commit=False,
            auto_offset_reset="none",  # nothing is skipped without a word
            isolation_level=settings.isolation_level,
            max_partition_fetch_bytes=settings.max_fetch_bytes,
            session_timeout_ms=round(settings.session_timeout_s * 1000),
            heartbeat_interval_ms=round(heartbeat_s * 1000),
            rebalance_timeout_ms=round(settings.rebalance_timeout_s * 1000),
            max_poll_interval_ms=_NEVER_MS,
        )

    async def connect(self) -> None:
        """
        Connect, without joining the group yet.

        Raises:
            BrokerUnavailable: No broker answers.
        """
        await self._ask(self._made.start())

    def join(self, topics: Iterable[str], listener: Listener) -> None:
        """Join the group, in the background."""
        self._made.subscribe(list(topics), listener=listener)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Take *partitions*, which are asked of nobody: for one that is in no group."""
        self._made.assign(list(partitions))

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """
        Find out what comes next in *partitions*.

        Raises:
            BrokerUnavailable: No broker answers.
        """
        found: dict[TopicPartition, int] = await self._ask(self._made.end_offsets(list(partitions)))
        return found

    async def first_offset(self, partition: TopicPartition) -> int:
        """
        Find out what is the oldest that is kept of *partition*.

        Raises:
            BrokerUnavailable: No broker answers.
        """
        found: dict[TopicPartition, int] = await self._ask(self._made.beginning_offsets([partition]))
        return found[partition]

    async def committed(self, partition: TopicPartition) -> int | None:
        """
        Find out how far the group has come in *partition*; ``None`` if it has not begun.

        Raises:
            BrokerUnavailable: No broker answers.
        """
        found: int | None = await self._ask(self._made.committed(partition))
        return found

    async def commit(self, offsets: Mapping[TopicPartition, int], within_s: float) -> None:
        """
        Tell Kafka how far the group has come.

        Raises:
            KafkaError: It does not want to know: this member has lost the partitions.
            TooSlow: No answer came in time.
        """
        assigned: set[TopicPartition] = self._made.assignment()
        owned = {partition: offset for partition, offset in offsets.items() if partition in assigned}
        if not owned:
            return
        if self._committing is not None and not self._committing.done():
            await asyncio.wait({self._committing}, timeout=within_s)
            if not self._committing.done():
                raise TooSlow("an earlier commit is not done")
        # Not cancelled when it is late: aiokafka shields the request, and asyncio would complain of what becomes of it.
        self._committing = asyncio.ensure_future(self._made.commit(owned))
        self._committing.add_done_callback(look_at)
        await asyncio.wait({self._committing}, timeout=within_s)
        if not self._committing.done():
            raise TooSlow(f"not done after {within_s:.1f} s")
        self._committing.result()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on at *offset*."""
        self._made.seek(partition, offset)

    async def position(self, partition: TopicPartition) -> int:
        """
        Tell what comes next of *partition*.

        Raises:
            BrokerUnavailable: That is not known.
        """
        found: int = await self._ask(self._made.position(partition))
        return found

    async def poll(
        self, partitions: Collection[TopicPartition], *, limit: int, wait_s: float
    ) -> Mapping[TopicPartition, list[Any]]:
        """
        Take what has come of *partitions*; cancelling it loses nothing.

        Raises:
            Exception: Whatever aiokafka makes of what came.
        """
        found: Mapping[TopicPartition, list[Any]] = await self._made.getmany(
            *partitions, timeout_ms=round(wait_s * 1000), max_records=limit
        )
        return found

    def is_assigned(self, partition: TopicPartition) -> bool:
        """Tell whether the member has *partition* now."""
        return partition in self._made.assignment()

    def answered_at(self, partition: TopicPartition) -> int | None:
        """Tell when the broker last answered about *partition*; to be compared with itself alone."""
        found: int | None = self._made.last_poll_timestamp(partition) if self.is_assigned(partition) else None
        return found

    def end_of(self, partition: TopicPartition) -> int | None:
        """Tell what comes next in *partition* for those who send, as of the last answer."""
        found: int | None = self._made.highwater(partition) if self.is_assigned(partition) else None
        return found

    @property
    def is_broken(self) -> bool:
        """Whether one of its tasks has ended that never should: aiokafka gives errors then, and nothing else."""
        made: Any = self._made
        tasks = [
            getattr(made._coordinator, "_coordination_task", None),  # noqa: SLF001 - nothing else tells it
            getattr(made._fetcher, "_fetch_task", None),  # noqa: SLF001 - as above
        ]
        return any(task is not None and task.done() for task in tasks)

    async def leave(self) -> None:
        """Leave the group and disconnect, in time."""
        try:
            await within(_STOP_S, self._made.stop())
        except (KafkaError, OSError, TooSlow) as error:
            logger.debug("A consumer did not stop by itself: %r", error)
            await self._abandon()
        if self._committing is not None and not self._committing.done():
            self._committing.cancel()
            await asyncio.wait({self._committing}, timeout=_GRACE_S)

    async def _abandon(self) -> None:
        """
        Do by hand what aiokafka's ``stop`` does after it has waited: for a broker that is frozen, that is for ever.

        Source:
            github.com/aio-libs/aiokafka/issues/647: ``stop`` also leaves the connections open when it is cancelled
            from inside.
        """
        made: Any = self._made
        parts = [made._coordinator, made._fetcher]  # noqa: SLF001 - there is no other way, as the docstring says
        names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_fetch_task")
        tasks = [getattr(part, name, None) for part in parts for name in names]
        tasks += getattr(made._fetcher, "_pending_tasks", ())  # noqa: SLF001 - as above
        left = {task for task in tasks if task is not None and not task.done()}
        for task in left:
            task.cancel()
        try:
            await within(_STOP_S, made._client.close())  # noqa: SLF001 - as above
        except (KafkaError, OSError, TooSlow) as error:
            logger.debug("A consumer's connections did not close: %r", error)
        if left:
            done, _ = await asyncio.wait(left, timeout=_GRACE_S)
            for task in done:
                if not task.cancelled():
                    task.exception()

    async def _ask(self, question: Any) -> Any:  # noqa: ANN401 - aiokafka's
        try:
            return await within(self._settings.unavailable_after_s, question)
        except (KafkaError, OSError, TooSlow) as error:
            raise broker_unavailable(self._settings, error) from error
