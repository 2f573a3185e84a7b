"""
The consumer loop: what arrives through a broker is handled, and then acknowledged.

General layout, as a message goes: ``loop`` receives and keeps it in ``lanes``; ``attempts`` reads it, as its
``consumption`` says, and takes it to the handlers; or ``letters`` go in its place, to one of the ``retry_topics`` or to
the ``dead_letters``, where others of its key may be ``parking`` behind it; ``loop`` acknowledges it. What comes again
is in ``returned``; what is in a ``dead_letter_topic`` can be looked at and sent back.
"""

from __future__ import annotations

from cqrs_core.consumer.consumption import Consumption, HandleBatch, OnDead, OnUnknown, Order
from cqrs_core.consumer.dead_letter_topic import DeadLetter, DeadLetters, LetterSelection, Replay
from cqrs_core.consumer.figures import METRICS
from cqrs_core.consumer.loop import Consumer
from cqrs_core.consumer.status import ConsumerStatus

__all__ = [
    "METRICS",
    "Consumer",
    "ConsumerStatus",
    "Consumption",
    "DeadLetter",
    "DeadLetters",
    "HandleBatch",
    "LetterSelection",
    "OnDead",
    "OnUnknown",
    "Order",
    "Replay",
]
