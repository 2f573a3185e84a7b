"""The memory broker, as programs and the consumer see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.context import is_consuming
from cqrs_core.errors import BrokerNotStarted, InvalidOption, MessageRefused
from cqrs_core.memory.exchange import Exchange
from cqrs_core.memory.kept import MemoryTopicReader
from cqrs_core.memory.sending import Batch
from cqrs_core.memory.subscriptions import MemorySubscription

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cqrs_core.broker import OnRevoked
    from cqrs_core.envelope import Envelope

_PARTITIONS = 4
_MAX_WAITING = 1000
_MAX_MESSAGE_BYTES = 1_048_576


class MemoryBroker:
    """
    Carries messages between the parts of one process: a :class:`cqrs_core.broker.Broker`.

    Messages of one key stay in order, groups share the partitions of a topic among their members, and what is not
    acknowledged comes again. When the last of those that started it stops it, it forgets everything. It is for one
    event loop at a time, of asyncio or trio, and not for several threads.

    A group that has ``max_waiting`` messages of a topic holds back those who send more, in their order. What is sent
    inside a consumer, events of its handlers and dead letters, is never held back: the group that it fills may be the
    consumer's own, and would wait for itself. When a group is full and has no consumer, nobody would make room, so
    sending fails with ``BrokerUnavailable``.
    """

    is_durable = False
    keeps_order_after_failure = True

    def __init__(
        self,
        *,
        partitions: int = _PARTITIONS,
        max_waiting: int = _MAX_WAITING,
        max_message_bytes: int = _MAX_MESSAGE_BYTES,
        max_kept: int = 0,
    ) -> None:
        """
        Make a broker that is not started.

        Args:
            partitions: Into how many parts each topic is divided: how many members of a group can be at work at once.
            max_waiting: How many messages of one topic a group may have that are not acknowledged.
            max_message_bytes: How long the body of a message may be.
            max_kept: How many messages of each topic, the newest, are kept for those who read it from its beginning,
                such as :class:`cqrs_core.consumer.DeadLetters`, whether a group has them or not.

        Raises:
            InvalidOption: One of them is less than 1; *max_kept*, less than 0.
        """
        options = {"partitions": partitions, "max_waiting": max_waiting, "max_message_bytes": max_message_bytes}
        for option, value in options.items():
            if value < 1:
                raise InvalidOption(option, value, "at least 1")
        if max_kept < 0:
            raise InvalidOption("max_kept", max_kept, "at least 0")
        self._max_kept = max_kept
        self._partitions = partitions
        self._max_waiting = max_waiting
        self._max_message_bytes = max_message_bytes
        self._starts = 0
        self._exchange: Exchange | None = None

    @classmethod
    def from_url(
        cls,
        address: str,
        *,
        partitions: int = _PARTITIONS,
        max_waiting: int = _MAX_WAITING,
        max_message_bytes: int = _MAX_MESSAGE_BYTES,
        max_kept: int = 0,
    ) -> MemoryBroker:
        """
        Make a broker from an *address* that says no more than that it is one: ``memory://``, or nothing.

        Raises:
            InvalidOption: There is more in it, or an option is less than 1.
        """
        if address not in {"", "memory://"}:
            raise InvalidOption("address", address, "'memory://' and no more: it is nowhere but in this process")
        return cls(
            partitions=partitions, max_waiting=max_waiting, max_message_bytes=max_message_bytes, max_kept=max_kept
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(partitions={self._partitions}, max_waiting={self._max_waiting})"

    async def start(self) -> None:
        """As :meth:`cqrs_core.broker.Broker.start`; several may start it, each stops it once."""
        self._starts += 1
        if self._exchange is None:
            self._exchange = Exchange(
                partitions=self._partitions, max_waiting=self._max_waiting, max_kept=self._max_kept
            )

    async def stop(self) -> None:
        """As :meth:`cqrs_core.broker.Broker.stop`; the last one ends what waits to be sent or received."""
        self._starts = max(0, self._starts - 1)
        if not self._starts and self._exchange is not None:
            self._exchange.end()
            self._exchange = None

    async def send(self, envelope: Envelope) -> None:
        """
        As :meth:`cqrs_core.broker.Broker.send`; it waits while a group is full, see :class:`MemoryBroker`.

        Raises:
            BrokerUnavailable: A group is full and has no consumer, or the broker was stopped while this waited.
            MessageRefused: The body is too long; for good.
            BrokerNotStarted: It is not started.
        """
        exchange = self._started()
        refused = self._refusal(envelope)
        if refused is not None:
            raise refused
        batch = Batch(until_acknowledged=False)
        sending = batch.add(envelope)
        exchange.topic(envelope.topic).offer(sending, is_urgent=is_consuming())
        if not batch.is_settled:
            await exchange.settle(batch)
        error = batch.outcomes()[0].error
        if error is not None:
            raise error

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        """
        As :meth:`cqrs_core.broker.Broker.send_many`: it answers when every group has acknowledged.

        It is for relays. Inside a consumer it might wait for the very message that is being handled: use :meth:`send`
        there. More than ``max_waiting`` are taken as room comes. A topic without a group keeps nothing, so what is sent
        there counts as delivered. When this is cancelled, what the groups have not taken yet is not sent.

        Raises:
            BrokerNotStarted: It is not started.
        """
        exchange = self._started()
        is_urgent = is_consuming()
        batch = Batch(until_acknowledged=True)
        failed: set[tuple[str, str]] = set()
        for envelope in envelopes:
            sending = batch.add(envelope)
            refused = self._refusal(envelope)
            if envelope.key is not None and (envelope.topic, envelope.key) in failed:
                sending.settle(SendOutcome(SendStatus.NOT_SENT))
            elif refused is None:
                exchange.topic(envelope.topic).offer(sending, is_urgent=is_urgent)
            else:
                sending.settle(SendOutcome(SendStatus.PERMANENT, refused))
                if envelope.key is not None:
                    failed.add((envelope.topic, envelope.key))
        if not batch.is_settled:
            await exchange.settle(batch)
        return batch.outcomes()

    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> MemorySubscription:
        """
        As :meth:`cqrs_core.broker.Broker.subscribe`.

        Raises:
            InvalidOption: *topics* is empty, or a single ``str``.
            BrokerNotStarted: It is not started, or was stopped meanwhile.
        """
        if isinstance(topics, str) or not topics:
            raise InvalidOption("topics", topics, "a collection of at least one name")
        exchange = self._started()
        subscription = MemorySubscription(group, on_revoked)
        if not await exchange.join(subscription, list(dict.fromkeys(topics)), group=group):
            raise BrokerNotStarted(self)
        return subscription

    async def open_reader(self, topic: str) -> MemoryTopicReader:
        """
        As :meth:`cqrs_core.broker.ReadableBroker.open_reader`.

        Raises:
            InvalidOption: ``max_kept`` is 0: nothing is kept that could be read.
            BrokerNotStarted: It is not started.
        """
        if not self._max_kept:
            raise InvalidOption("max_kept", 0, "more, such as MemoryBroker(max_kept=1000), to read from the beginning")
        return MemoryTopicReader(self._started().topic(topic).kept)

    def _started(self) -> Exchange:
        if self._exchange is None:
            raise BrokerNotStarted(self)
        return self._exchange

    def _refusal(self, envelope: Envelope) -> MessageRefused | None:
        length, limit = len(envelope.body), self._max_message_bytes
        if length <= limit:
            return None
        problem = (
            f"its body has {length} bytes, and this memory broker takes {limit}. Send where the content is to be "
            "found, or raise max_message_bytes."
        )
        return MessageRefused(envelope.topic, problem, is_permanent=True)
