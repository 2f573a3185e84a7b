"""
Apache Kafka for :mod:`cqrs_core`: **empty in this version**.

It will hold a producer that publishes what the core's emitter and relay hand to it, and a consumer that takes messages
from topics to handlers, both on aiokafka. Version 0.1 reserves the name and pins the dependencies; there is nothing to
import yet.
"""

__version__ = "0.1.0"

__all__: list[str] = []
