"""What cqrs-kafka brings fits the contracts, as type checkers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_kafka import KafkaBroker, KafkaMessageBroker, KafkaTransformer, kafka_producer_factory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cqrs_core.broker import Broker, LaggingSubscription, ReadableBroker
    from cqrs_core.envelope import Envelope
    from cqrs_kafka.subscription import KafkaSubscription

broker: Broker = KafkaBroker("one:9092")
readable: ReadableBroker = KafkaBroker("one:9092")
message_broker: Broker = KafkaMessageBroker(kafka_producer_factory("one:9092"))


async def pass_on(envelopes: Sequence[Envelope]) -> Iterator[Envelope]:
    """Answer with anything that can be gone through."""
    return iter(envelopes)


transformer = KafkaTransformer("one:9092", ["orders"], group="totals", transform=pass_on)


def member(subscription: KafkaSubscription) -> LaggingSubscription:
    """Take one for what its users know: it tells how much is not done, too, without which the suite asks for less."""
    return subscription
