"""The broker on Apache Kafka, as programs, the relay and the consumer see it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cqrs_core.broker import SendStatus
from cqrs_core.errors import BrokerNotStarted, InvalidOption
from cqrs_kafka.connections import check_libraries
from cqrs_kafka.quiet_logs import quieten
from cqrs_kafka.reader import KafkaTopicReader
from cqrs_kafka.sending import Sender
from cqrs_kafka.settings import KafkaSettings, settings_of
from cqrs_kafka.subscription import KafkaSubscription, find_partitions

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cqrs_core.broker import OnRevoked, SendOutcome
    from cqrs_core.envelope import Envelope


class KafkaBroker:
    """
    Carries messages through Apache Kafka: a :class:`cqrs_core.broker.Broker`, for one asyncio loop at a time.

    A message is delivered when all replicas in sync have it. Its key chooses the partition as Kafka's clients in Java
    do; messages without a key go to all partitions in turn.

    Args:
        to: Where the brokers are: ``"host:9092,other:9092"``, a URL ``"kafka://user:password@host:9092"``, or
            :class:`KafkaSettings` with everything that can be chosen.

    Raises:
        InvalidOption: It is none of these.
        CompressionMissing: The library for the compression is not installed.
        KerberosMissing: The library for Kerberos is not installed.
    """

    is_durable = True
    keeps_order_after_failure = True

    def __init__(self, to: str | KafkaSettings = "") -> None:
        self._settings = to if isinstance(to, KafkaSettings) else settings_of(to)
        check_libraries(self._settings)
        self._starts = 0
        self._starting = asyncio.Lock()
        self._sender: Sender | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: set[KafkaSubscription | KafkaTopicReader] = set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({','.join(self._settings.servers)!r})"

    async def start(self) -> None:
        """
        As :meth:`cqrs_core.broker.Broker.start`; several may start it, each stops it once.

        Raises:
            BrokerUnavailable: No broker answers within ``unavailable_after_s``. Each is then asked for its reason, all
                together, for a second at least.
            AccessDenied: It does not accept the user.
            InvalidOption: A file for TLS cannot be read, or holds something else.
        """
        if self._loop is not asyncio.get_running_loop():
            self._forget()  # what another loop left, which has ended
            self._loop = asyncio.get_running_loop()
        async with self._starting:
            if self._sender is None:
                quieten()
                sender = Sender(self._settings)
                await sender.start()
                self._sender = sender
            self._starts += 1

    async def stop(self) -> None:
        """As :meth:`cqrs_core.broker.Broker.stop`, within ten seconds, even if the broker is frozen."""
        self._starts = max(0, self._starts - 1)
        if self._loop is not asyncio.get_running_loop():
            self._forget()  # as in start(): there is nothing that could be asked to end
        if self._starts or self._sender is None:
            return
        sender, left_open = self._sender, list(self._open)
        self._forget()
        await asyncio.gather(sender.stop(), *(each.close() for each in left_open))

    def _forget(self) -> None:
        self._starts = 0
        self._starting = asyncio.Lock()
        self._sender = None
        self._loop = None
        self._open.clear()

    async def send(self, envelope: Envelope) -> None:
        """
        As :meth:`cqrs_core.broker.Broker.send`.

        Raises:
            BrokerUnavailable: The broker does not have it.
            OutcomeUnknown: It may have it: no answer came within ``delivery_timeout_s``.
            MessageRefused: It does not want it.
            BrokerNotStarted: This is not started.
        """
        (outcome,) = await self._started().send([envelope])
        if outcome.status is not SendStatus.DELIVERED and outcome.error is not None:
            raise outcome.error

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        """
        As :meth:`cqrs_core.broker.Broker.send_many`.

        When it is cancelled, what has not left is not sent.

        Raises:
            BrokerNotStarted: This is not started.
        """
        return await self._started().send(envelopes)

    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> KafkaSubscription:
        """
        As :meth:`cqrs_core.broker.Broker.subscribe`.

        Kafka deals out all partitions of a group anew when a member comes or goes, so *on_revoked* is called for all
        of them, and some may come back.

        Raises:
            InvalidOption: *topics* is empty, or a single ``str``.
            BrokerUnavailable: The broker cannot be reached.
            UnknownTopic: One of them does not exist.
            BrokerNotStarted: This is not started.
        """
        if isinstance(topics, str) or not topics:
            raise InvalidOption("topics", topics, "a collection of at least one name")
        sender = self._started()
        subscription = KafkaSubscription(self._settings, group, on_revoked, on_closed=self._open.discard)
        await subscription.join(list(dict.fromkeys(topics)), sender.partitions_of)
        if sender is not self._sender:
            await subscription.close()
            raise BrokerNotStarted(self)
        self._open.add(subscription)
        return subscription

    async def open_reader(self, topic: str) -> KafkaTopicReader:
        """
        As :meth:`cqrs_core.broker.ReadableBroker.open_reader`.

        Raises:
            BrokerUnavailable: The broker cannot be reached.
            UnknownTopic: There is no such topic.
            BrokerNotStarted: This is not started.
        """
        sender = self._started()
        partitions = await find_partitions([topic], sender.partitions_of)
        reader = KafkaTopicReader(self._settings, partitions, on_closed=self._open.discard)
        await reader.begin()
        if sender is not self._sender:
            await reader.close()
            raise BrokerNotStarted(self)
        self._open.add(reader)
        return reader

    def _started(self) -> Sender:
        if self._sender is None:
            raise BrokerNotStarted(self)
        return self._sender
