"""What cqrs-kafka brings fits the contracts, as type checkers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_kafka import KafkaBroker, KafkaMessageBroker, kafka_producer_factory

if TYPE_CHECKING:
    from cqrs_core.broker import Broker, ReadableBroker, Subscription
    from cqrs_kafka.subscription import KafkaSubscription

broker: Broker = KafkaBroker("one:9092")
readable: ReadableBroker = KafkaBroker("one:9092")
message_broker: Broker = KafkaMessageBroker(kafka_producer_factory("one:9092"))


def member(subscription: KafkaSubscription) -> Subscription:
    """Take one for what its users know."""
    return subscription
