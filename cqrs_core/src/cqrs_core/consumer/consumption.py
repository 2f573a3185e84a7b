"""How the messages of one topic are consumed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from cqrs_core.consumer.returned import rounds_of
from cqrs_core.errors import InvalidOption
from cqrs_core.resilience import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from cqrs_core.broker import Delivery
    from cqrs_core.consumer.retry_topics import RetryTopic
    from cqrs_core.errors import CqrsError
    from cqrs_core.incoming import IncomingEvents
    from cqrs_core.messages import Event

#: What stays in order: the messages of a key, all of a partition, or nothing.
Order = Literal["key", "partition", "none"]
#: What becomes of messages whose name is not consumed.
OnUnknown = Literal["skip", "dead_letter"]
#: What becomes of messages whose key has a dead letter: they are handled all the same, or parked behind it.
OnDead = Literal["skip", "park"]

#: For what has no end but success: a broker that does not answer, a letter that does not get through.
PERSISTENT = RetryPolicy(delay_s=0.5, max_delay_s=30.0)


class HandleBatch(Protocol):
    """Handles several events at once."""

    async def __call__(self, events: Sequence[Event]) -> None:
        """
        Handle all of them.

        Raises:
            BatchFailed: Those before its ``index`` are done.
            Exception: None is done, or it is not known which.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """
    One topic, and what is done about its messages.

    Attributes:
        incoming: The events that are understood.
        order: What is handled in order. By key, messages without one have no order.
        retry: How often a message is tried before it goes to a retry topic, or to the dead letters.
        retry_topics: Where it waits then for its next round of attempts, one for each; a delay that is repeated has one
            topic. What waits there is overtaken by others of its key.
        on_unknown: What is done about messages with a name that *incoming* does not have.
        dead_letter_topic: Where messages go that are given up.
        on_dead: Whether, when a message is given up, the next of its key are handled, or parked behind it, until it was
            sent back and is done.
        handle_batch: Handles several messages of a lane at once, in place of the handlers of each event. Messages that
            have no order are together in a lane of their partition then: alone, each would be a batch.
        max_batch_size: How many at most.
    """

    incoming: IncomingEvents
    dead_letter_topic: str
    order: Order = "key"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    retry_topics: Sequence[RetryTopic] = ()
    on_unknown: OnUnknown = "skip"
    on_dead: OnDead = "skip"
    handle_batch: HandleBatch | None = None
    max_batch_size: int = 100

    def problems(self) -> list[CqrsError]:
        """Tell everything that is wrong with the options: errors, none of them raised."""
        found = self.incoming.problems()
        if self.order not in get_args(Order):
            found.append(InvalidOption("order", self.order, "'key', 'partition' or 'none'"))
        if self.on_unknown not in get_args(OnUnknown):
            found.append(InvalidOption("on_unknown", self.on_unknown, "'skip' or 'dead_letter'"))
        retry: object = self.retry  # options come from programs that no type checker has seen
        if not isinstance(retry, RetryPolicy):
            found.append(InvalidOption("retry", retry, "a RetryPolicy"))
        if not isinstance(self.max_batch_size, int) or self.max_batch_size < 1:
            found.append(InvalidOption("max_batch_size", self.max_batch_size, "a whole number, at least 1"))
        taken = ["", self.incoming.topic, *(topic.name for topic in self.retry_topics)]
        if not isinstance(self.dead_letter_topic, str) or self.dead_letter_topic in taken:
            found.append(InvalidOption("dead_letter_topic", self.dead_letter_topic, "the name of another topic"))
        if self.retry_topics and self.order == "partition":
            expected = "'key' or 'none': a message that waits in a retry topic is overtaken by all others"
            found.append(InvalidOption("order", self.order, expected))
        if self.on_dead not in get_args(OnDead):
            found.append(InvalidOption("on_dead", self.on_dead, "'skip' or 'park'"))
        elif self.on_dead == "park" and (self.order != "key" or self.retry_topics):
            expected = "'skip', or order='key' and no retry topics: without an order there is nothing to park for"
            found.append(InvalidOption("on_dead", self.on_dead, expected))
        return found

    def next_retry(self, delivery: Delivery) -> RetryTopic | None:
        """Name the retry topic for a message that has failed; ``None``: it has been in all of them."""
        rounds = rounds_of(delivery)
        return self.retry_topics[rounds] if rounds < len(self.retry_topics) else None

    def lane_of(self, delivery: Delivery) -> Hashable | None:
        """Name the lane of a message; ``None``: it shares one with no other."""
        if self.order == "key" and delivery.envelope.key is not None:
            return delivery.envelope.key
        return "" if self.order == "partition" or self.handle_batch is not None else None
