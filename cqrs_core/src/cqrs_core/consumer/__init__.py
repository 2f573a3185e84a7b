"""
The consumer loop: what arrives through a broker is handled, and then acknowledged.

General layout, as a message goes: ``loop`` receives and keeps it in ``lanes``; ``attempts`` reads it, as its
``consumption`` says, and takes it to the handlers, to one of the ``retry_topics`` or to the ``dead_letters``; ``loop``
acknowledges it. What comes again is in ``returned``; what is in a ``dead_letter_topic`` can be looked at and sent back.
"""

from __future__ import annotations

from cqrs_core.consumer.consumption import Consumption, HandleBatch, OnUnknown, Order
from cqrs_core.consumer.dead_letter_topic import DeadLetter, DeadLetters, LetterSelection, Replay
from cqrs_core.consumer.loop import Consumer

__all__ = [
    "Consumer",
    "Consumption",
    "DeadLetter",
    "DeadLetters",
    "HandleBatch",
    "LetterSelection",
    "OnUnknown",
    "Order",
    "Replay",
]
