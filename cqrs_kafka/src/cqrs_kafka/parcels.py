"""Messages ready to be sent, and what is known of those of one call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cqrs_kafka import verdicts
from cqrs_kafka.records import encoded, headers_of, size_of

if TYPE_CHECKING:
    import asyncio

    from cqrs_core.broker import SendOutcome
    from cqrs_core.envelope import Envelope
    from cqrs_kafka.settings import KafkaSettings

#: Source: Apache Kafka, ``org.apache.kafka.common.internals.Topic``.
_TOPIC = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}\Z")


class Parcel:
    """
    One message, encoded.

    Attributes:
        call: Whose it is.
        index: Where in the call it stands.
        deadline: When it is not waited for any longer, by the loop's clock.
    """

    __slots__ = ("body", "call", "deadline", "headers", "index", "key", "topic")

    def __init__(
        self, call: Call, index: int, *, topic: str, key: bytes | None, body: bytes, headers: list[tuple[str, bytes]]
    ) -> None:
        self.call = call
        self.index = index
        self.topic = topic
        self.key = key
        self.body = body
        self.headers = headers
        self.deadline = 0.0


class Call:
    """
    The messages of one call, and what became of them.

    Attributes:
        is_abandoned: Whether nobody waits for the outcomes any more; what has not left is not sent.
    """

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.is_abandoned = False
        self._outcomes: list[SendOutcome | None] = [None] * count
        self._left = count
        self._failed: dict[tuple[str, bytes | None], int] = {}  # the first of each key
        self._done: asyncio.Future[None] = loop.create_future()

    def has_failed(self, parcel: Parcel) -> bool:
        """Tell whether an earlier message of the key of *parcel* failed."""
        return bool(self._failed) and parcel.index > self._failed.get((parcel.topic, parcel.key), parcel.index)

    def settle(self, parcel: Parcel, outcome: SendOutcome) -> None:
        """Note what became of *parcel*."""
        self.settle_at(parcel.index, parcel.topic, parcel.key, outcome)

    def settle_at(self, index: int, topic: str, key: bytes | None, outcome: SendOutcome) -> None:
        """Note what became of the message at *index*; only the first time counts."""
        if self._outcomes[index] is not None:
            return
        self._outcomes[index] = outcome
        if key is not None and not outcome.is_delivered:
            self._failed[topic, key] = min(index, self._failed.get((topic, key), index))
        self._left -= 1
        if not self._left and not self._done.done():
            self._done.set_result(None)

    async def outcomes(self) -> list[SendOutcome]:
        """Wait until it is known of all what became of them."""
        if self._left:
            await self._done
        return [outcome for outcome in self._outcomes if outcome is not None]


def packed(call: Call, index: int, envelope: Envelope, settings: KafkaSettings) -> Parcel | None:
    """Make a message ready; ``None`` if nobody would take it, and then its outcome is noted."""
    key: bytes | None = None
    headers: list[tuple[str, bytes]] = []
    problem = None
    if not _TOPIC.match(envelope.topic):
        problem = "that is no name of a topic: up to 249 letters of ASCII, digits, '.', '_' and '-'."
    else:
        try:
            key = None if envelope.key is None else encoded(envelope.key)
            headers = headers_of(envelope.headers)
        except UnicodeEncodeError as error:
            problem = f"its key or a header is no text: {error}."
        else:
            size = size_of(key, envelope.body, headers)
            if size > settings.max_message_bytes:
                problem = (
                    f"it has {size} bytes, and max_message_bytes is {settings.max_message_bytes}. Send where the "
                    "content is to be found; or raise max_message_bytes, and message.max.bytes of the broker."
                )
    if problem is None:
        return Parcel(call, index, topic=envelope.topic, key=key, body=envelope.body, headers=headers)
    call.settle_at(index, envelope.topic, key, verdicts.refused(envelope.topic, problem, is_permanent=True))
    return None
