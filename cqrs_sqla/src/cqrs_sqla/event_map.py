"""What programs that were written for python-cqrs say about their events, and need not say any more."""

from __future__ import annotations

from typing import ClassVar


class OutboxedEventMap:
    """
    Takes the names of events, as python-cqrs has it, so that such programs run as they are.

    Nothing reads it: a message says itself what it is, and its body is sent as it was written.
    """

    _types: ClassVar[dict[str, object]] = {}

    @classmethod
    def register(cls, event_name: str, event_type: object) -> None:
        """Note a name; a second time, it is replaced."""
        cls._types[event_name] = event_type

    @classmethod
    def get(cls, event_name: str) -> object | None:
        """Give what was noted under a name."""
        return cls._types.get(event_name)
