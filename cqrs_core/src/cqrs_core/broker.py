"""The contract of what carries messages between processes, and of what publishes events through it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cqrs_core.errors import NotReadable

if TYPE_CHECKING:
    from cqrs_core.envelope import Envelope
    from cqrs_core.messages import Event


class SendStatus(Enum):
    """What became of one message that was to be sent."""

    DELIVERED = "delivered"
    """The broker has it, and will not lose it."""
    UNAVAILABLE = "unavailable"
    """The broker cannot be reached. It does not have the message: send it again later, and do not count this try."""
    UNKNOWN = "unknown"
    """No answer came in time. It may have the message or not: send it again, consumers know repeats by their id."""
    REFUSED = "refused"
    """The broker does not want this message, now. Others may pass."""
    PERMANENT = "permanent"
    """The broker will never take this message, however often it is sent: it is too large, its topic is no topic."""
    NOT_SENT = "not sent"
    """It was held back because an earlier message of its key failed."""


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """
    What became of one message, and why.

    Attributes:
        status: What became of it.
        error: What the broker or its client said; ``None`` if all went well, or the message was not sent.
    """

    status: SendStatus
    error: Exception | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the broker has it."""
        return self.status is SendStatus.DELIVERED


@dataclass(frozen=True, slots=True)
class Delivery:
    """
    One message as a group receives it.

    Attributes:
        envelope: The message.
        partition: What the broker keeps in order, pauses and takes away as one: a partition of Kafka, a queue of AMQP.
            Unique within the subscription. Messages of one key are in one partition.
        position: Where the message stands, for logs, and as its id if it has none: unique within its topic, the same
            each time it is delivered.
        attempt: Which delivery of it to this group this is, from 1; always 1 if the broker does not count.
    """

    envelope: Envelope
    partition: str
    position: str
    attempt: int = 1


#: Called, and awaited, before partitions go to another member of the group: what is under way can end and be
#: acknowledged. When it has returned, the rest comes again, elsewhere. A member that lost its lease is told when they
#: have gone already. It is never called twice at once; if it raises, the partitions go all the same.
OnRevoked = Callable[[Collection[str]], Awaitable[None]]


class Subscription(Protocol):
    """One member of a group, and the messages that fall to it."""

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """
        Wait for messages, and take them.

        Within a partition they come in order. It lets others run even if messages are waiting, so that a busy consumer
        can be cancelled, and cancelling it loses none: they come with the next call. One task at a time calls it. When
        the broker was not available, it may be called again.

        Args:
            limit: How many at most, at least 1.

        Returns:
            At least one. Of a partition that is paused, none.

        Raises:
            BrokerUnavailable: The broker cannot be reached.
            SubscriptionClosed: It was closed, before or meanwhile.
        """
        ...

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """
        Tell that *deliveries* are done, in any order, and need not come again.

        Those of a partition that was taken away are passed over without an error: they come again, elsewhere. An
        acknowledgement that gets lost makes its message come again; it never makes another one be left out.

        Raises:
            BrokerUnavailable: The broker cannot be reached; the messages come again.
        """
        ...

    def pause(self, partition: str) -> None:
        """
        Receive nothing of *partition* until it is resumed.

        It is forgotten when the partition is taken away; of one that this member does not have, there is nothing to do.
        """
        ...

    def resume(self, partition: str) -> None:
        """Undo :meth:`pause`; also allowed if it was not called."""
        ...

    async def close(self) -> None:
        """Leave the group. What was received and not acknowledged comes again, to whoever is in the group."""
        ...


class LaggingSubscription(Subscription, Protocol):
    """A subscription that tells how much it has not done. Not all do; a consumer passes on what it tells."""

    def lag(self) -> Mapping[str, int]:
        """
        Tell how many messages of each partition are not acknowledged, received or not, as far as is known.

        It asks nobody: of a broker elsewhere, it is what it told last. Partitions of which nothing is known are left
        out, and all of them after :meth:`Subscription.close`.
        """
        ...


class Broker(Protocol):
    """
    Carries messages between processes. What an author writes; ``cqrs_core.testing.conformance`` checks it.

    Attributes:
        is_durable: Whether messages outlive the process. One that is not answers :meth:`send_many` only when every
            group that is subscribed has acknowledged, so that a relay does not delete what could still be lost.
        keeps_order_after_failure: Whether, within one :meth:`send_many`, nothing of a key becomes visible after an
            earlier message of that key failed. Where not, a relay sends messages of one key one by one.
    """

    is_durable: bool
    keeps_order_after_failure: bool

    async def start(self) -> None:
        """
        Connect. Called once before anything else, and again after :meth:`stop`, perhaps on another event loop.

        Raises:
            BrokerUnavailable: It cannot be reached.
        """
        ...

    async def stop(self) -> None:
        """Disconnect; subscriptions were closed before. It always returns, and may be called when not started."""
        ...

    async def send(self, envelope: Envelope) -> None:
        """
        Hand one message over, and return as soon as the broker has it.

        Messages of one topic and key, sent one after the other, are received in that order.

        Raises:
            BrokerUnavailable: The broker does not have it.
            OutcomeUnknown: No answer came in time.
            MessageRefused: The broker does not want it; ``is_permanent`` tells whether that may change.
        """
        ...

    async def send_many(self, envelopes: Sequence[Envelope]) -> Sequence[SendOutcome]:
        """
        Send messages, as fast as the broker allows, and tell of each what became of it.

        Returns:
            One outcome for each, in their order. What happened to the messages is told here, and not raised.
        """
        ...

    async def subscribe(self, topics: Collection[str], *, group: str, on_revoked: OnRevoked) -> Subscription:
        """
        Join *group*: its members share the messages of *topics*, each of which reaches one of them at least once.

        A group that is new gets what is sent after this has returned; where it begins is settled by then.

        Args:
            topics: At least one.
            on_revoked: Is told before partitions go to another member. It is not called by :meth:`Subscription.close`.

        Raises:
            BrokerUnavailable: The broker cannot be reached.
        """
        ...


class TopicReader(Protocol):
    """What is kept of one topic, from its beginning. It belongs to no group, and takes nothing from any."""

    async def read(self, limit: int) -> Sequence[Delivery]:
        """
        Take what comes next, acknowledged by groups or not; within a partition in order. One task at a time calls it.

        Args:
            limit: How many at most, at least 1.

        Returns:
            Nothing when all has been given that was there at the time of the call. What comes later, a later call
            gives.

        Raises:
            BrokerUnavailable: The broker cannot be reached; what was not given comes with a later call.
        """
        ...

    async def close(self) -> None:
        """Read nothing more. It may be called twice."""
        ...


class ReadableBroker(Broker, Protocol):
    """
    A broker that keeps messages for those who read a topic from its beginning, as a log does.

    Not all do. What looks after dead letters needs one that does.
    """

    async def open_reader(self, topic: str) -> TopicReader:
        """
        Begin to read *topic* with the oldest message that is kept.

        Raises:
            BrokerUnavailable: The broker cannot be reached.
            CqrsError: It has no such topic, or keeps nothing.
        """
        ...


def readable(broker: Broker) -> ReadableBroker:
    """
    Give *broker* as one that can read a topic from its beginning.

    Raises:
        NotReadable: It cannot.
    """
    if not callable(getattr(broker, "open_reader", None)):
        raise NotReadable(broker)
    return broker  # type: ignore[return-value]  # it has the method


def missing_methods(thing: object) -> list[str]:
    """List what *thing* lacks of a :class:`Broker`; whether it does what those promise, only the suite can tell."""
    methods = ("start", "stop", "send", "send_many", "subscribe")
    return [name for name in methods if isinstance(thing, type) or not callable(getattr(thing, name, None))]


@runtime_checkable
class Publisher(Protocol):
    """Takes the events that go to other processes, in the order in which they were emitted."""

    async def publish(self, event: Event) -> None:
        """
        Hand *event* over to other processes.

        Returning means that it was taken. What this raises reaches the caller of the command, which has taken effect.
        Without an outbox nothing repeats it: each event is published at most once.
        """
        ...
