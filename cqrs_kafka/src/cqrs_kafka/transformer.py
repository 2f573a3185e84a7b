"""Reads topics, transforms and sends, exactly once inside Kafka: what a user makes and runs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from aiokafka import errors as kafka

from cqrs_core.errors import BrokerUnavailable, InvalidOption
from cqrs_kafka.connections import broker_unavailable, check_libraries
from cqrs_kafka.errors import AccessDenied
from cqrs_kafka.intake import NOTHING
from cqrs_kafka.member import Listener, Member
from cqrs_kafka.patience import STALLED, TooSlow, within
from cqrs_kafka.positions import Positions
from cqrs_kafka.progress import Progress
from cqrs_kafka.quiet_logs import quieten
from cqrs_kafka.sending import Sender
from cqrs_kafka.settings import KafkaSettings, settings_of
from cqrs_kafka.transforming import Transforming

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiokafka import TopicPartition

    from cqrs_kafka.transforming import Transform

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_PAUSE_S = 1.0


class KafkaTransformer:
    """
    Reads topics in a group, gives batches to a function, and sends what it answers: each batch exactly once.

    A batch is of one partition, in its order. What the function answers, and that the group has come to the end of the
    batch, are committed in one transaction: whoever reads with ``read_committed``, as consumers here do, sees both or
    neither. If the function raises, or anything fails, nothing is sent, and the batch is given to it again, until it
    succeeds; other partitions go on. So its answers count once; how often it is called is another matter.

    Any number of processes may run the same. A group that is new begins with the oldest messages.

    Args:
        to: As for :class:`KafkaBroker`.
        topics: What is read, at least one.
        group: Who reads. Nothing else may read in its name, for that would move what is committed.
        transform: Called with 1 to *max_batch_size* messages; for several partitions at the same time. It gives the
            messages to be sent, perhaps none.
        max_batch_size: How many messages one transaction may take. Readers see its messages when it is committed.
        stop_deadline_s: How long a batch under way may take when its partition goes, or this is stopped; less than
            ``rebalance_timeout_s``. Then it is cancelled, and comes again.

    Raises:
        InvalidOption: One of them means nothing, or ``isolation_level`` is not ``read_committed``.
        CompressionMissing: The library for the compression is not installed.
        KerberosMissing: The library for Kerberos is not installed.
    """

    def __init__(
        self,
        to: str | KafkaSettings,
        topics: Collection[str],
        *,
        group: str,
        transform: Transform,
        max_batch_size: int = 500,
        stop_deadline_s: float = 30.0,
    ) -> None:
        settings = to if isinstance(to, KafkaSettings) else settings_of(to)
        check_libraries(settings)
        if isinstance(topics, str) or not topics:
            raise InvalidOption("topics", topics, "a collection of at least one name")
        if max_batch_size < 1:
            raise InvalidOption("max_batch_size", max_batch_size, "at least 1")
        if not 0 < stop_deadline_s < settings.rebalance_timeout_s:
            expected = f"seconds, more than 0 and less than rebalance_timeout_s, {settings.rebalance_timeout_s:g}"
            raise InvalidOption("stop_deadline_s", stop_deadline_s, expected)
        if settings.isolation_level != "read_committed":
            expected = "read_committed: what others take back must not be transformed"
            raise InvalidOption("isolation_level", settings.isolation_level, expected)
        self._settings = settings
        self._topics = list(dict.fromkeys(topics))
        self._group = group
        self._transform = transform
        self._limit = max_batch_size
        self._stop_deadline_s = stop_deadline_s
        self._owned: dict[str, Progress] = {}
        self._workers: list[Transforming] = []
        self._positions: Positions | None = None  # while it is a member of the group
        self._stopping: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({','.join(self._settings.servers)!r}, {self._topics!r}, group={self._group!r})"

    async def run(self) -> None:
        """
        Transform until :meth:`stop` is called; called again when it has ended. Brokers that go away are waited for.

        When it is cancelled, the batches under way are given up, and undone.

        Raises:
            BrokerUnavailable: No broker answers at the beginning.
            UnknownTopic: Some of the topics do not exist.
            AccessDenied: The user is not accepted; or may not read the topics, join the group or use transactional ids
                that begin with its name.
        """
        quieten()
        stopping = self._stopping = asyncio.Event()
        await self._check()
        while not stopping.is_set():
            try:
                await self._work(stopping)
            except BrokerUnavailable as error:
                logger.warning("A member of the group %r broke, and joins it again: %s", self._group, error)
                with suppress(TooSlow):
                    await within(_PAUSE_S, stopping.wait())

    def stop(self) -> None:
        """Let :meth:`run` return, when what is under way has ended; a handler of signals may call it."""
        if self._stopping is not None:
            self._stopping.set()

    def lag(self) -> dict[str, int]:
        """Tell how many messages of each partition, of those that are here, were not given to the function yet."""
        lags = self._positions.lag() if self._positions is not None else {}
        for worker in self._workers:
            if worker.name in lags:
                lags[worker.name] += worker.held
        return lags

    async def _check(self) -> None:
        """Find out at once what cannot work."""
        sender = Sender(self._settings)
        await sender.start()
        try:
            await sender.find_partitions(self._topics)
        finally:
            await sender.stop()

    async def _work(self, stopping: asyncio.Event) -> None:
        """Be one member of the group, until it breaks."""
        member = Member(self._settings, self._group)
        self._positions = Positions(member, self._owned)
        patience_s = self._stop_deadline_s
        watching: asyncio.Task[None] | None = None
        ending = asyncio.ensure_future(stopping.wait())
        try:
            await member.connect()
            member.join(self._topics, Listener(self._revoke, self._assign))
            watching = asyncio.ensure_future(self._watch(member))
            await asyncio.wait({watching, ending}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
        except asyncio.CancelledError:
            patience_s = 0.0
            raise
        finally:
            self._positions = None  # what comes now is not begun with
            ending.cancel()
            if watching is not None:
                watching.cancel()
                await asyncio.wait({watching})
            await self._let_go(patience_s)
            await member.leave()

    async def _watch(self, member: Member) -> None:
        """Look after the member, which tells nobody when it breaks, and after the work, which goes on by itself."""
        patience_s = self._settings.unavailable_after_s
        while True:
            try:
                # Does not return while partitions are dealt out.
                asking = member.poll(NOTHING, limit=1, wait_s=_LOOK_S)
                await within(STALLED * (patience_s + self._settings.rebalance_timeout_s), asking)
            except (kafka.GroupAuthorizationFailedError, kafka.TopicAuthorizationFailedError) as error:
                raise AccessDenied(f"this user may not read as the group {self._group!r}: {error}.") from error
            except (kafka.KafkaError, TooSlow) as error:
                if member.is_broken or isinstance(error, TooSlow):
                    raise broker_unavailable(self._settings, error) from error
                logger.debug("The group %s: %r", self._group, error)
                await asyncio.sleep(_PAUSE_S)
            for worker in self._workers:
                if worker.task.cancelled():
                    raise broker_unavailable(self._settings, "the function that transforms cancelled its own task.")
                if worker.task.done():
                    worker.task.result()
                if worker.silent_s > STALLED * patience_s:
                    problem = f"the group {self._group!r} has had no answer for {worker.silent_s:.0f} s."
                    raise broker_unavailable(self._settings, problem)

    async def _assign(self, partitions: Collection[TopicPartition]) -> None:
        positions = self._positions
        if positions is None:
            return
        for partition in partitions:
            progress = Progress(partition)
            self._owned[progress.name] = progress
            worker = Transforming(self._settings, self._group, self._transform, progress, positions, limit=self._limit)
            self._workers.append(worker)

    async def _revoke(self, _partitions: Collection[TopicPartition]) -> None:
        """Let all go: Kafka's older protocol, which aiokafka speaks, deals out everything anew."""
        await self._let_go(self._stop_deadline_s)

    async def _let_go(self, within_s: float) -> None:
        workers, self._workers = self._workers, []
        await asyncio.gather(*(worker.leave(within_s) for worker in workers))
        self._owned.clear()
