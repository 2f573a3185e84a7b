"""
The consumer loop: what arrives through a broker is handled, and then acknowledged.

General layout, as a message goes: ``loop`` receives and keeps it in ``lanes``; ``attempts`` reads it, as its
``consumption`` says, and takes it to the handlers or to the ``dead_letters``; ``loop`` acknowledges it.
"""

from __future__ import annotations

from cqrs_core.consumer.consumption import Consumption, HandleBatch, OnUnknown, Order
from cqrs_core.consumer.loop import Consumer

__all__ = ["Consumer", "Consumption", "HandleBatch", "OnUnknown", "Order"]
