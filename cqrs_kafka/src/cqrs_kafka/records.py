"""What an envelope is on the wire of Kafka, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cqrs_core.broker import Delivery
from cqrs_core.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a record takes beside its key, body and headers, and the batch around it: a little more than Kafka writes.
_OVERHEAD_BYTES = 128
_HEADER_OVERHEAD_BYTES = 10


def encoded(text: str) -> bytes:
    """Give the bytes of a key or the value of a header; lone surrogates are bytes that were no text."""
    return text.encode("utf-8", "surrogateescape")


def decoded(content: bytes) -> str:
    """Undo :func:`encoded`, whatever the bytes."""
    return content.decode("utf-8", "surrogateescape")


def headers_of(headers: Mapping[str, str]) -> list[tuple[str, bytes]]:
    """
    Give headers as the client takes them.

    Raises:
        UnicodeEncodeError: A name is not text: Kafka's names are.
    """
    for name in headers:
        if not name.isascii():
            name.encode()
    return [(name, encoded(value)) for name, value in headers.items()]


def size_of(key: bytes | None, body: bytes, headers: list[tuple[str, bytes]]) -> int:
    """Give, in bytes, what a message takes at most, uncompressed."""
    size = _OVERHEAD_BYTES + len(key or b"") + len(body)
    for name, value in headers:
        size += _HEADER_OVERHEAD_BYTES + 4 * len(name) + len(value)  # a character has at most four bytes
    return size


def envelope_of(record: Any) -> Envelope:  # noqa: ANN401 - aiokafka's ConsumerRecord, whose types are Any
    """
    Give what a record of Kafka holds.

    A record without a body, which deletes its key where topics are compacted, has an empty one. Of several headers of
    one name the last counts, and one without a value is empty.
    """
    key: bytes | None = record.key
    return Envelope(
        record.topic,
        record.value or b"",
        None if key is None else decoded(key),
        {name: decoded(value or b"") for name, value in record.headers},
    )


def delivery_of(record: Any, partition: str) -> Delivery:  # noqa: ANN401 - as above
    """Give what is handed out for a record, of a *partition* as the core names it."""
    return Delivery(envelope_of(record), partition, f"{record.partition}/{record.offset}")


def offset_of(delivery: Delivery) -> int:
    """Undo that: tell at which offset the record was."""
    return int(delivery.position.rpartition("/")[2])
