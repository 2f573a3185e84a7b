"""Shares of the keys: a relay leases slots, not messages, so that each key has one sender at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    import uuid

#: How many there are. Never to be changed: rows that wait have theirs written down.
SLOTS = 64


def slot_of(key: str | None, message_id: uuid.UUID) -> int:
    """Tell the slot of a message: that of its key, or without one any."""
    return message_id.int % SLOTS if key is None else crc32(key.encode()) % SLOTS
