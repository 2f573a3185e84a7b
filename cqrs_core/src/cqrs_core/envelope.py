"""What crosses the border of a process: bytes and text, nothing of the program's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# The names of CloudEvents' attributes as headers, in its binary mode for Kafka.
ID = "ce_id"
TYPE = "ce_type"
SOURCE = "ce_source"
TIME = "ce_time"
SPEC_VERSION = "ce_specversion"
CONTENT_TYPE = "content-type"
# Extensions of CloudEvents: "correlation" and, without its prefix as W3C has it, "distributed tracing".
CORRELATION_ID = "ce_correlationid"
CAUSATION_ID = "ce_causationid"
TRACE_PARENT = "traceparent"
TRACE_STATE = "tracestate"

_RESERVED_PREFIXES = ("ce_", "cqrs_")


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    One message on its way through a broker.

    Attributes:
        topic: Where it goes, or came from.
        body: Its content; ``content-type`` tells how to read it.
        key: Messages of one topic with the same key stay in order. ``None``: no order is kept.
        headers: Facts about it. A value or key that is not UTF-8 holds its bytes as lone surrogates, as file names do:
            ``value.encode("utf-8", "surrogateescape")`` gives them back, so nothing is lost on the way.

    Source:
        CloudEvents 1.0.2 and its Kafka binding, "binary content mode"; PEP 383 for bytes that are no text.
    """

    topic: str
    body: bytes
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str | None:
        """What its sender calls it; ``None`` if it does not say."""
        return self.headers.get(ID)


def is_reserved(name: str) -> bool:
    """Tell whether a header of that name, in capitals or not, is written by the framework, and not for programs."""
    name = name.lower()
    return name.startswith(_RESERVED_PREFIXES) or name == CONTENT_TYPE


def is_text(text: str) -> bool:
    """Tell whether *text* can be written in UTF-8: whether it is free of lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
