"""How the events of steps leave the process: with the record that the step is done, or after it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cqrs_core.errors import NoPublisher, SagaUnrunnable

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Sequence

    from cqrs_core.broker import Publisher
    from cqrs_core.envelope import Envelope
    from cqrs_core.messages import Event

logger = logging.getLogger(__name__)


class Publishing:
    """Takes events to other processes."""

    def __init__(
        self,
        publisher: Publisher | None,
        write: Callable[[Event], Sequence[Envelope]] | None = None,
        on_enqueued: Callable[[], None] | None = None,
    ) -> None:
        """
        Take what it needs.

        Args:
            publisher: Takes them at once, at most once, where there is no outbox.
            write: Writes them, for an outbox that is committed with the step; ``None``: there is none.
            on_enqueued: Called when something is in it.
        """
        self._publisher = publisher
        self._write = write
        self._on_enqueued = on_enqueued

    def envelopes(self, saga_id: uuid.UUID, events: Sequence[Event]) -> Sequence[Envelope]:
        """
        Write *events* of a saga for the outbox; nothing where there is none.

        Raises:
            SagaUnrunnable: They would be lost: a fault of the program, for which no saga turns round.
            UnpublishableEvent: One of them cannot leave the process.
            CodecError: One holds something that JSON cannot carry.
        """
        if not events:
            return ()
        if self._write is not None:
            return [envelope for event in events for envelope in self._write(event)]
        if self._publisher is None:
            missing = NoPublisher(type(events[0]))
            raise SagaUnrunnable(saga_id, str(missing)) from missing
        return ()

    async def publish(self, events: Sequence[Event]) -> None:
        """Do what is left to do with *events* when the step is durable. That it fails is no matter of the saga."""
        if not events:
            return
        if self._write is not None:
            if self._on_enqueued is not None:
                self._on_enqueued()
            return
        for event in events:
            try:
                await self._publisher.publish(event)  # type: ignore[union-attr]  # envelopes() has seen to it
            except Exception:
                logger.exception("An event of a saga is lost: without an outbox it is sent at most once.")
