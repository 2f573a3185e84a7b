"""The contract of what takes notifications to other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from cqrs_core.messages import NotificationEvent


@runtime_checkable
class Publisher(Protocol):
    """Takes the notifications that handlers emit, in the order in which they were emitted."""

    async def publish(self, event: NotificationEvent[Any]) -> None:
        """
        Hand *event* over to other processes.

        Returning means that it was taken. What this raises reaches the caller of the command, which has taken effect.
        Without an outbox nothing repeats it: each notification is published at most once.
        """
        ...
