"""What Debezium needs to send the outbox in place of a relay: its settings, and a plug-in for Kafka Connect."""

from __future__ import annotations

from cqrs_sqla.debezium.readers import (
    check_can_be_read,
    is_sent_by_debezium,
    readers_of,
    reading_problems,
    refuse_relay,
    sender_of,
)
from cqrs_sqla.debezium.settings import connector_config

__all__ = [
    "check_can_be_read",
    "connector_config",
    "is_sent_by_debezium",
    "readers_of",
    "reading_problems",
    "refuse_relay",
    "sender_of",
]
