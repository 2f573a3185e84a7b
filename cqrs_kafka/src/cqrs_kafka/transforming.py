"""One partition, read, transformed and sent on: each batch in one transaction with how far the group has come."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import errors as kafka

from cqrs_core.errors import BrokerUnavailable
from cqrs_core.resilience import RetryPolicy
from cqrs_kafka.errors import AccessDenied, TakenOver
from cqrs_kafka.patience import look_at
from cqrs_kafka.records import envelope_of
from cqrs_kafka.transactions import TransactionalProducer
from cqrs_kafka.unreadable import step_over

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from aiokafka import TopicPartition

    from cqrs_core.envelope import Envelope
    from cqrs_kafka.positions import Positions
    from cqrs_kafka.progress import Progress
    from cqrs_kafka.settings import KafkaSettings

    #: Makes of a batch, in the order of its partition, what is to be sent.
    Transform = Callable[[Sequence[Envelope]], Awaitable[Iterable[Envelope]]]

logger = logging.getLogger(__name__)

_POLL_S = 0.5
#: How it is paused after what failed,
_AGAIN = RetryPolicy(delay_s=0.5, max_delay_s=30.0)
#: and while a broker is away: when it is back, it should not be waited for.
_AGAIN_AFTER_OUTAGE = RetryPolicy(delay_s=0.5, max_delay_s=2.0)
_GRACE_S = 5.0


class Transforming:
    """
    The work on one partition, from when it comes until it goes.

    Attributes:
        task: It; it ends by itself only when the user may not do it.
        silent_s: For how many seconds it has asked for messages, and no broker has answered.

    Its producer has a transactional id that all members of the group derive from the partition. So when it has started,
    whoever had the partition before can commit nothing more, even if it does not know that it was taken for dead; and
    only then it is looked how far the group has come. The group deals out work; that no work counts twice does not
    depend on it.

    Source:
        Apache Kafka, KIP-129, "Streams Exactly-Once Semantics": a producer for each input partition. What KIP-447 put
        in its place needs the generation of the group in a transaction, which aiokafka does not send.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        transform: Transform,
        progress: Progress,
        positions: Positions,
        *,
        limit: int,
    ) -> None:
        self._settings = settings
        self._group = group
        self._transform = transform
        self._progress = progress
        self._positions = positions
        self._limit = limit
        self._held: list[Any] = []
        self._is_idle = False
        self._answered_at: int | None = None
        self._heard_at = 0.0
        self.silent_s = 0.0
        self.task = asyncio.get_running_loop().create_task(self._run())
        self.task.add_done_callback(look_at)

    @property
    def _partition(self) -> TopicPartition:
        return self._progress.partition

    @property
    def name(self) -> str:
        """What the core calls its partition."""
        return self._progress.name

    @property
    def held(self) -> int:
        """How many messages were received, and not given to the function yet."""
        return len(self._held)

    @property
    def transactional_id(self) -> str:
        """What Kafka knows its transactions by. No two partitions of any groups share it: a topic has no ``/``."""
        return f"{self._group}/{self._partition.topic}/{self._partition.partition}"

    async def leave(self, within_s: float) -> None:
        """Let what is under way end, a batch or a start; what does not end in time is given up, and undone."""
        self._progress.is_leaving = True
        if not self._is_idle:
            await asyncio.wait({self.task}, timeout=within_s)
        if not self.task.done():
            self.task.cancel()
            await asyncio.wait({self.task}, timeout=_GRACE_S)

    async def _run(self) -> None:
        failures, pause_s = 0, 0.0
        while not self._progress.is_leaving:
            producer = TransactionalProducer(self._settings, self.transactional_id)
            try:
                await producer.start(self._settings.unavailable_after_s)
                await self._find_place()
                while not self._progress.is_leaving:
                    if await self._advance(producer):
                        failures = 0
            except AccessDenied:
                raise
            except Exception as error:  # noqa: BLE001 - it is told, and everything begun anew from what is committed
                failures += 1
                pause_s = self._pause_after(error, failures)
                self._tell(error, pause_s)
            finally:
                await producer.abandon()
            if not self._progress.is_leaving:
                with self._idle():
                    await asyncio.sleep(pause_s)

    async def _find_place(self) -> None:
        """Begin where the group has come to, which nobody else can change now; a new one with the oldest there is."""
        member, self._held = self._positions.member, []
        offset = await member.committed(self._partition)
        if offset is None:
            offset = await member.first_offset(self._partition)
        self._progress.moved_to(offset)
        self._positions.go_on(self._progress)
        self._hear()

    async def _advance(self, producer: TransactionalProducer) -> bool:
        """Do one batch; gives whether there was one."""
        if not self._held:
            await self._receive()
        records, self._held = self._held[: self._limit], self._held[self._limit :]
        if not records:
            return False
        envelopes = await self._transform([envelope_of(record) for record in records])
        offsets = {self._partition: records[-1].offset + 1}
        await producer.commit(list(envelopes), self._group, offsets, self._settings.delivery_timeout_s)
        self._hear()
        return True

    async def _receive(self) -> None:
        """Hold what comes within a while."""
        member = self._positions.member
        try:
            with self._idle():
                found = await member.poll([self._partition], limit=self._limit, wait_s=_POLL_S)
        except kafka.NoOffsetForPartitionError:  # from before it was looked where to begin
            return
        except kafka.OffsetOutOfRangeError as error:
            await self._positions.begin_anew(error.args[0])
            return
        except UnicodeDecodeError as error:
            self._positions.go_on(self._progress)
            await step_over(member, [self._progress], error, self._hold)
            return
        self._hold(found)
        answered_at = member.answered_at(self._partition)
        if not self._held and answered_at == self._answered_at:
            self.silent_s = asyncio.get_running_loop().time() - self._heard_at
            return
        self._answered_at = answered_at
        self._hear()

    @contextmanager
    def _idle(self) -> Iterator[None]:
        """Let it be cancelled: nothing is under way. A start is not to be: aiokafka would leave a connection open."""
        self._is_idle = True
        try:
            yield
        finally:
            self._is_idle = False

    def _hear(self) -> None:
        self._heard_at, self.silent_s = asyncio.get_running_loop().time(), 0.0

    def _hold(self, found: Mapping[TopicPartition, list[Any]]) -> None:
        self._held += found.get(self._partition, [])
        if self._held:
            self._progress.moved_to(self._held[-1].offset + 1)

    def _pause_after(self, error: Exception, failures: int) -> float:
        if isinstance(error, TakenOver):
            return self._settings.session_timeout_s / 2  # until its heart has beaten, and the member knows
        return (_AGAIN_AFTER_OUTAGE if isinstance(error, BrokerUnavailable) else _AGAIN).delay_after(failures)

    def _tell(self, error: Exception, pause_s: float) -> None:
        is_foreseen = isinstance(error, (BrokerUnavailable, TakenOver))
        logger.log(
            logging.WARNING if is_foreseen else logging.ERROR,
            "The work on %s, partition %d, begins anew in %.1f s, with what is not committed. It failed: %s",
            self._partition.topic,
            self._partition.partition,
            pause_s,
            str(error) or repr(error),
            exc_info=None if is_foreseen else error,
            extra={"topic": self._partition.topic, "partition": self._partition.partition, "group": self._group},
        )
