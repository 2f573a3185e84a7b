"""The producer of aiokafka that is in use, and what becomes of it when it is no use any more."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerClosed

from cqrs_core.errors import BrokerUnavailable
from cqrs_kafka.connections import RETRY_BACKOFF_S, broker_unavailable, connection_options, why_unavailable
from cqrs_kafka.patience import TooSlow, look_at, within

if TYPE_CHECKING:
    from cqrs_kafka.settings import KafkaSettings

logger = logging.getLogger(__name__)

_STOP_S = 2.0
#: So long at least, brokers that did not let us in are asked why.
_WHY_S = 1.0
_NO_LEADER = (None, -1)


class Producer:
    """
    One producer of aiokafka: idempotent, confirmed by all replicas in sync, without delay.

    Args:
        options: What a kind of producer tells aiokafka beside that.

    Attributes:
        in_flight: How many batches somebody waits for.
    """

    def __init__(self, settings: KafkaSettings, **options: Any) -> None:  # noqa: ANN401 - aiokafka's
        self.in_flight = 0
        self._settings = settings
        self._made = AIOKafkaProducer(
            **connection_options(settings),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=settings.max_batch_bytes,
            max_request_size=settings.max_message_bytes,
            compression_type=None if settings.compression == "none" else settings.compression,
            **options,
        )

    async def start(self, within_s: float) -> None:
        """
        Connect.

        Raises:
            BrokerUnavailable: No broker answers, or none accepts the user.
        """
        try:
            await within(within_s, self._made.start())
        except BaseException as error:
            await self.abandon()
            if isinstance(error, (KafkaError, OSError, TooSlow)):
                raise broker_unavailable(self._settings, error) from error
            raise

    def known_partitions(self, topic: str) -> list[int] | None:
        """List the partitions of *topic*; ``None`` if they have to be asked for."""
        found: set[int] | None = self._made.client.cluster.partitions_for_topic(topic)
        return sorted(found) if found else None

    async def find_partitions(self, topic: str, within_s: float) -> list[int] | None:
        """Ask for the partitions of *topic*; ``None`` if there is no such topic, or nobody answers."""
        try:
            await within(within_s, self._made.partitions_for(topic))
        except (KafkaError, TooSlow) as error:
            logger.debug("The partitions of %s cannot be found: %r", topic, error)
        return self.known_partitions(topic)

    async def is_reachable(self, partition: TopicPartition, within_s: float) -> bool:
        """Tell whether there is a connection to the broker that leads *partition*; make one if there is none."""
        leader = self._made.client.cluster.leader_for_partition(partition)
        try:
            if leader in _NO_LEADER:
                await within(within_s, _wait_for(self._made.client.force_metadata_update()))
                leader = self._made.client.cluster.leader_for_partition(partition)
            return leader not in _NO_LEADER and bool(await within(within_s, self._made.client.ready(leader)))
        except (KafkaError, TooSlow):
            return False

    async def answers(self, within_s: float) -> bool:
        """Tell whether any broker answers."""
        try:
            return bool(await within(within_s, _wait_for(self._made.client.force_metadata_update())))
        except (KafkaError, TooSlow):
            return False

    def batch(self) -> Any:  # noqa: ANN401 - aiokafka's
        """Give an empty batch; ``append`` adds to it, and gives ``None`` when it is full."""
        return self._made.create_batch()

    async def send(self, batch: Any, partition: TopicPartition) -> asyncio.Future[object]:  # noqa: ANN401 - aiokafka's
        """Hand *batch* over; the future tells when it is confirmed."""
        sending: asyncio.Future[object] = await self._made.send_batch(
            batch, partition.topic, partition=partition.partition
        )
        return sending

    async def stop(self) -> None:
        """Disconnect, in time; what was not confirmed by then may still arrive."""
        if self.in_flight:
            await self.abandon()
            return
        try:
            await within(_STOP_S, self._made.stop())
        except (KafkaError, OSError, TooSlow) as error:
            logger.debug("A producer did not stop by itself: %r", error)
            await self.abandon()

    async def abandon(self) -> None:
        """
        Disconnect, and forget what was not confirmed.

        ``AIOKafkaProducer.stop`` would wait for it for ever: with idempotence nothing expires. There is no other way
        than to do by hand what ``stop`` does without waiting.
        """
        made: Any = self._made
        made._closed = True  # noqa: SLF001 - or it complains when it is collected
        sender, batches = made._sender, made._message_accumulator  # noqa: SLF001 - as the docstring says
        # What is under way ends when its connection is closed, instead of being tried again.
        sender._txn_manager = None  # noqa: SLF001 - as above
        for batch in batches._pending_batches:  # noqa: SLF001 - as above
            batch._ttl = 0.0  # noqa: SLF001 - as above
        task: asyncio.Task[None] | None = sender.sender_task
        if task is not None:
            task.cancel()
        try:
            await within(_STOP_S, made.client.close())
        except (KafkaError, OSError, TooSlow) as error:
            logger.debug("A producer's connections did not close: %r", error)
        if task is not None:
            await asyncio.wait({task}, timeout=_STOP_S)
            if task.done():
                look_at(task)
            else:
                task.cancel()  # it waits for what does not end: then that is cancelled
        # It looks for every batch where only those are that were not put back to be tried again; and looks at no error.
        pending: set[Any] = batches._pending_batches  # noqa: SLF001 - as above
        pending.update(batch for queue in batches._batches.values() for batch in queue)  # noqa: SLF001 - as above
        for batch in pending:
            batch._drain_waiter.add_done_callback(look_at)  # noqa: SLF001 - as above
        batches.fail_all(ProducerClosed())


async def _wait_for(future: asyncio.Future[bool]) -> bool:
    return await future


class Supply:
    """
    Gives the producer that is in use, and replaces one that is broken.

    Attributes:
        current: The one in use; ``None`` between two.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self.current: Producer | None = None
        self._starting = asyncio.Lock()
        self._endings: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """
        Make the first producer.

        Raises:
            BrokerUnavailable: No broker answers.
            AccessDenied: It does not accept the user.
        """
        now = asyncio.get_running_loop().time
        until = now() + self._settings.unavailable_after_s
        try:
            self.current = await self._make(until - now())
        except BrokerUnavailable as error:
            raise await why_unavailable(self._settings, max(_WHY_S, until - now())) from error

    async def get(self, until: float) -> Producer | None:
        """Give a producer that is started; ``None`` if there is none at the time *until* of the loop, or ever again."""
        now = asyncio.get_running_loop().time
        while (producer := self.current or await self._renewed(until - now())) is None:
            if self._stopping.is_set() or now() + RETRY_BACKOFF_S >= until:
                return None
            await asyncio.sleep(RETRY_BACKOFF_S)
        return producer

    async def _renewed(self, within_s: float) -> Producer | None:
        async with self._starting:  # one after the other: the second finds what the first has made
            if self.current is None and not self._stopping.is_set():
                try:
                    made = await self._make(within_s)
                except BrokerUnavailable as error:
                    logger.debug("No producer can be made: %s", error)
                    return None
                if self._stopping.is_set():
                    await made.stop()
                    return None
                self.current = made
            return self.current

    def replace(self, producer: Producer) -> None:
        """Use *producer* no more; it ends when nobody waits for anything of it."""
        if producer is self.current:
            self.current = None
            self._end(producer)

    async def stop(self) -> None:
        """End all producers."""
        self._stopping.set()
        if self.current is not None:
            self.replace(self.current)
        if self._endings:
            await asyncio.wait(self._endings)

    async def _make(self, within_s: float) -> Producer:
        producer = Producer(self._settings)
        await producer.start(within_s)
        return producer

    def _end(self, producer: Producer) -> None:
        task = asyncio.get_running_loop().create_task(self._end_when_idle(producer))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _end_when_idle(self, producer: Producer) -> None:
        now = asyncio.get_running_loop().time
        deadline = now() + self._settings.delivery_timeout_s
        while producer.in_flight and not self._stopping.is_set() and now() < deadline:  # noqa: ASYNC110 - rare, and short
            await asyncio.sleep(RETRY_BACKOFF_S)
        await producer.stop()
