"""
Apache Kafka for :mod:`cqrs_core`, on aiokafka.

A message on its way out: :mod:`.broker` → :mod:`.sending` (a lane for each partition) → :mod:`.parcels` (ready to be
sent, :mod:`.records` and :mod:`.partitions`) → :mod:`.producers` (aiokafka) → :mod:`.verdicts` (what became of it).
On its way in: :mod:`.member` (aiokafka) → :mod:`.intake` → :mod:`.subscription` → the core's consumer; what is done is
noted in :mod:`.progress`, and :mod:`.positions` tells Kafka. Who reads a topic from its beginning has a :mod:`.reader`.

Programs of python-cqrs find its names in :mod:`.message_broker`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cqrs_kafka.broker import KafkaBroker
    from cqrs_kafka.message_broker import KafkaMessageBroker, KafkaProducer, Message, kafka_producer_factory
    from cqrs_kafka.settings import KafkaSettings
else:

    def __getattr__(name: str) -> object:  # hidden from type checkers, which would believe any name
        """Import aiokafka when a broker is asked for: to find the plug-in does not need it."""
        import importlib  # noqa: PLC0415 - as the docstring says

        if name not in _ON_DEMAND:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_ON_DEMAND[name]), name)
        globals()[name] = value
        return value


_ON_DEMAND = {
    "KafkaBroker": "cqrs_kafka.broker",
    "KafkaMessageBroker": "cqrs_kafka.message_broker",
    "KafkaProducer": "cqrs_kafka.message_broker",
    "KafkaSettings": "cqrs_kafka.settings",
    "Message": "cqrs_kafka.message_broker",
    "kafka_producer_factory": "cqrs_kafka.message_broker",
}

__version__ = "0.1.0"

__all__ = [
    "KafkaBroker",
    "KafkaMessageBroker",
    "KafkaProducer",
    "KafkaSettings",
    "Message",
    "kafka_producer_factory",
]
