"""
Apache Kafka for :mod:`cqrs_core`: **its name, and nothing behind it yet**.

It will hold a producer that publishes what the core's emitter and relay hand to it, and a consumer that takes messages
from topics to handlers, both on aiokafka. In version 0.1 ``plugin`` registers the broker ``kafka``; who asks for it is
told that it is not built yet.
"""

__version__ = "0.1.0"

__all__: list[str] = []
