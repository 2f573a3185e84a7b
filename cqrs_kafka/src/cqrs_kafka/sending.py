"""Messages on their way out: for each partition a lane, in which one batch follows the other."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from itertools import count
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from cqrs_core.errors import BrokerUnavailable
from cqrs_kafka import verdicts
from cqrs_kafka.connections import RETRY_BACKOFF_S, broker_unavailable
from cqrs_kafka.errors import UnknownTopic
from cqrs_kafka.parcels import Call, Parcel, packed
from cqrs_kafka.partitions import partition_of
from cqrs_kafka.patience import TooSlow, look_at, within
from cqrs_kafka.producers import Supply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cqrs_core.broker import SendOutcome
    from cqrs_core.envelope import Envelope
    from cqrs_kafka.producers import Producer
    from cqrs_kafka.settings import KafkaSettings

logger = logging.getLogger(__name__)

_STOPPED = "it was stopped meanwhile."
_STOP_S = 2.0


class Lane:
    """
    What goes to one partition, in its order.

    Attributes:
        partition: Which.
        parcels: What waits.
        alone: So many of them go in batches of their own, to find out which of them the broker does not want.
    """

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.parcels: deque[Parcel] = deque()
        self.alone = 0
        self.task: asyncio.Task[None] | None = None


class Sender:
    """
    Sends, and knows of each message what became of it.

    Of one partition a batch is handed to the client when the one before it is confirmed. So nothing of a key overtakes
    what failed, and what was not handed over is known not to have arrived.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._supply = Supply(settings)
        self._lanes: dict[TopicPartition, Lane] = {}
        self._turns: defaultdict[str, Iterator[int]] = defaultdict(count)
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """
        Connect.

        Raises:
            BrokerUnavailable: No broker answers.
            AccessDenied: It does not accept the user.
        """
        await self._supply.start()

    async def send(self, envelopes: Sequence[Envelope]) -> list[SendOutcome]:
        """Send *envelopes*, and tell of each what became of it."""
        call = Call(len(envelopes), self._loop)
        parcels = [packed(call, index, envelope, self._settings) for index, envelope in enumerate(envelopes)]
        deadline = self._loop.time() + self._settings.delivery_timeout_s
        partitions = await self._partitions_of({parcel.topic for parcel in parcels if parcel is not None})
        for parcel in parcels:
            if parcel is None:
                continue
            found = partitions[parcel.topic]
            if call.has_failed(parcel):
                call.settle(parcel, verdicts.NOT_SENT)
            elif isinstance(found, list):
                parcel.deadline = deadline
                self._enqueue(parcel, found)
            else:
                call.settle(parcel, found)
        try:
            return await call.outcomes()
        finally:
            call.is_abandoned = True  # if this was cancelled, what waits is not sent

    async def find_partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        """
        List the partitions of *topics*.

        Raises:
            BrokerUnavailable: The broker cannot be reached.
            UnknownTopic: Some of the topics do not exist.
        """
        answers = await asyncio.gather(*map(self._ask_for_partitions, topics))
        found: list[TopicPartition] = []
        missing: dict[str, Exception | None] = {}
        for topic, answer in zip(topics, answers, strict=True):
            if isinstance(answer, list):
                found += [TopicPartition(topic, number) for number in answer]
            elif isinstance(answer.error, BrokerUnavailable):
                raise answer.error
            else:
                missing[topic] = answer.error
        if missing:
            raise UnknownTopic(*missing) from next(iter(missing.values()))
        return found

    async def stop(self) -> None:
        """Disconnect, and settle what is not done."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        for lane in self._lanes.values():
            self._give_up(lane.parcels, self._not_reached(_STOPPED))
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_STOP_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        await self._supply.stop()

    # ------------------------------------------------------------------------------------------------------------------

    async def _ask_for_partitions(self, topic: str) -> list[int] | SendOutcome:
        until = self._loop.time() + self._settings.unavailable_after_s
        producer = await self._supply.get(until)
        if producer is None:
            return self._not_reached("it cannot be reached.")
        known = producer.known_partitions(topic) or await producer.find_partitions(topic, until - self._loop.time())
        if known:
            return known
        # The client does not tell one from the other.
        if await producer.answers(self._settings.request_timeout_s):
            return verdicts.refused(topic, "there is no such topic. Make it, or correct its name.", is_permanent=False)
        return self._not_reached("it does not answer.")

    async def _partitions_of(self, topics: Iterable[str]) -> dict[str, list[int] | SendOutcome]:
        found: dict[str, list[int] | SendOutcome] = {}
        producer = self._supply.current
        for topic in topics:
            found[topic] = (producer and producer.known_partitions(topic)) or []
        missing = [topic for topic in found if not found[topic]]
        if missing:
            found.update(zip(missing, await asyncio.gather(*map(self._ask_for_partitions, missing)), strict=True))
        return found

    def _enqueue(self, parcel: Parcel, partitions: list[int]) -> None:
        if parcel.key is None:
            number = partitions[next(self._turns[parcel.topic]) % len(partitions)]
        else:
            number = partitions[partition_of(parcel.key, len(partitions))]
        partition = TopicPartition(parcel.topic, number)
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = Lane(partition)
        lane.parcels.append(parcel)
        if lane.task is None:
            lane.task = self._loop.create_task(self._run(lane))

    async def _run(self, lane: Lane) -> None:
        try:
            while lane.parcels:
                await self._advance(lane)
        except Exception:
            logger.exception("Sending to %s failed in a way that is not foreseen.", lane.partition)
            self._give_up(lane.parcels, self._not_reached("its client broke; see the log."))
        finally:
            self._give_up(lane.parcels, self._not_reached(_STOPPED))  # what was put back after stop() had looked
            lane.task = None
            del self._lanes[lane.partition]

    async def _advance(self, lane: Lane) -> None:
        """Send one batch of *lane*."""
        until = min(lane.parcels[0].deadline, self._loop.time() + self._settings.unavailable_after_s)
        producer = await self._reach(lane.partition, until)
        if producer is None:
            self._give_up(lane.parcels, self._not_reached("it cannot be reached."))
            return
        batch = producer.batch()
        parcels = _load(lane, batch)
        if not parcels:
            return
        producer.in_flight += 1
        try:
            error = await self._ship(producer, lane.partition, batch, parcels[0].deadline)
        except asyncio.CancelledError:
            self._give_up(parcels, verdicts.unknown(lane.partition.topic, _STOPPED))
            raise
        finally:
            producer.in_flight -= 1
        if error is None:
            for parcel in parcels:
                parcel.call.settle(parcel, verdicts.DELIVERED)
            return
        # The numbers of its batches have a gap now: the broker would take nothing more for this partition, or worse,
        # take what follows.
        self._supply.replace(producer)
        if isinstance(error, _NotHandedOver):
            lane.parcels.extendleft(reversed(parcels))
            await asyncio.sleep(RETRY_BACKOFF_S)
        elif len(parcels) > 1 and verdicts.is_about_one(error):
            lane.parcels.extendleft(reversed(parcels))
            lane.alone = len(parcels)
        else:
            self._give_up(parcels, verdicts.verdict(lane.partition.topic, error))

    async def _reach(self, partition: TopicPartition, until: float) -> Producer | None:
        """Give a producer that is connected to the leader of *partition*; ``None`` if that is not so in time."""
        while True:
            producer = await self._supply.get(until)
            if producer is None:
                return None
            if await producer.is_reachable(partition, until - self._loop.time()):
                return producer
            if self._loop.time() + RETRY_BACKOFF_S >= until:
                return None
            await asyncio.sleep(RETRY_BACKOFF_S)

    async def _ship(
        self,
        producer: Producer,
        partition: TopicPartition,
        batch: Any,  # noqa: ANN401 - aiokafka's
        deadline: float,
    ) -> Exception | None:
        """Send a batch; gives what was wrong with it."""
        try:
            sending = await within(deadline - self._loop.time(), producer.send(batch, partition))
        except (KafkaError, TooSlow) as error:
            return _NotHandedOver(repr(error))
        sending.add_done_callback(look_at)
        done, _ = await asyncio.wait({sending}, timeout=max(0.0, deadline - self._loop.time()))
        if not done:
            return TooSlow(f"no answer within {self._settings.delivery_timeout_s:g} s")
        return TooSlow("the client gave it up") if sending.cancelled() else _exception_of(sending)

    @staticmethod
    def _give_up(parcels: deque[Parcel] | list[Parcel], outcome: SendOutcome) -> None:
        for parcel in parcels:
            parcel.call.settle(parcel, outcome)
        parcels.clear()

    def _not_reached(self, problem: str) -> SendOutcome:
        return verdicts.not_reached(broker_unavailable(self._settings, problem))


class _NotHandedOver(Exception):
    """The client did not take a batch."""


def _load(lane: Lane, batch: Any) -> list[Parcel]:  # noqa: ANN401 - aiokafka's
    """Move parcels from *lane* into *batch*, as many as go in; leave out what is not to be sent any more."""
    loaded: list[Parcel] = []
    waiting = lane.parcels
    while waiting:
        parcel = waiting[0]
        call = parcel.call
        if call.is_abandoned or call.has_failed(parcel):
            call.settle(parcel, verdicts.NOT_SENT)
        elif batch.append(timestamp=None, key=parcel.key, value=parcel.body, headers=parcel.headers) is None:
            break
        else:
            loaded.append(parcel)
        waiting.popleft()
        if lane.alone:
            lane.alone -= 1
            if loaded:
                break
    return loaded


def _exception_of(future: asyncio.Future[object]) -> Exception | None:
    error = future.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error
