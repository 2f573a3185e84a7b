"""A message as a row of the outbox, and back: its columns, and what does not fit into them."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cqrs_core import envelope as names
from cqrs_core.envelope import Envelope, is_text
from cqrs_core.errors import UnpublishableEnvelope
from cqrs_core.outbox import OutboxRecord
from cqrs_sqla.compressor import packed, unpacked
from cqrs_sqla.moments import as_utc
from cqrs_sqla.slots import slot_of
from cqrs_sqla.tables import NAME_LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cqrs_sqla.compressor import Compressor

#: What a row is made of; what the database adds is not in it.
Row = dict[str, Any]
#: Under this name a row has its headers, as JSON: ours, for the serializer of the program's engine may be any.
HEADERS = "headers_json"

# A gigabyte is where PostgreSQL and SQLite end; a driver that writes bytes as text needs twice the room.
_MANY_BYTES = 256 * 2**20
# Made once: json.dumps makes one for each call that wants no blanks.
_to_json = json.JSONEncoder(separators=(",", ":")).encode
# MariaDB's TEXT ends at 64 KiB, and a character may have four of them.
_ERROR_LENGTH = 10_000
#: What a MariaDB takes in one packet, unless told otherwise.
_PACKET_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Form:
    """
    What rows of one database look like.

    Attributes:
        max_bytes: How long a body and its headers may be, together.
        compressor: Makes bodies smaller.
    """

    max_bytes: int
    compressor: Compressor | None = None


def max_bytes_of(dialect: str, packet_bytes: int = _PACKET_BYTES) -> int:
    """Tell how long a message may be; *packet_bytes* is MariaDB's ``max_allowed_packet``."""
    # There a byte may be written as two, and the rest of the statement needs room.
    return (packet_bytes - 2**16) // 2 if dialect in {"mysql", "mariadb"} else _MANY_BYTES


def row_of(envelope: Envelope, form: Form) -> Row:
    """
    Write a message as a row.

    Raises:
        UnpublishableEnvelope: It does not fit.
    """
    name = envelope.headers.get(names.TYPE)
    try:
        message_id = _id_of(envelope)
        _check_name("name", name, names.TYPE)
        _check_name("topic", envelope.topic)
        if envelope.key is not None:
            _check_name("key", envelope.key)
        body, kept = packed(envelope.body, envelope.headers, form.compressor)
        headers = _headers_json(kept)
        _check_size(len(body) + len(headers), form)
    except _Misfit as misfit:
        raise UnpublishableEnvelope(name or "A message without a name", envelope.topic, str(misfit)) from None
    return {
        "id": message_id,
        "slot": slot_of(envelope.key, message_id),
        "aggregatetype": envelope.topic,
        "aggregateid": envelope.key,
        "type": name,
        "payload": body,
        HEADERS: headers,
    }


def record_columns(outbox: sa.Table) -> list[sa.ColumnElement[Any]]:
    """List what to select for :func:`record_of`."""
    columns = outbox.c
    headers = sa.cast(columns.headers, sa.Text).label(HEADERS)
    content = [columns.aggregatetype, columns.aggregateid, columns.payload, headers]
    return [columns.seq, *content, columns.created_at, columns.attempts]


def record_of(row: sa.Row[Any], compressor: Compressor | None) -> OutboxRecord:
    """
    Read a row as :func:`record_columns` selects it.

    Raises:
        UnknownCompression: Its body was compressed by what is not known here.
    """
    body, given = unpacked(bytes(row.payload), unescaped(json.loads(row.headers_json)), compressor)
    envelope = Envelope(row.aggregatetype, body, row.aggregateid, given)
    return OutboxRecord(row.seq, envelope, as_utc(row.created_at), row.attempts)


def kept_text(error: str) -> str:
    """Write a text for people so that every database can keep it."""
    text = error[:_ERROR_LENGTH].replace("\0", "\\x00")
    return text.encode("utf-8", "backslashreplace").decode()


class _Misfit(Exception):
    """What does not fit, said of a message whose name and topic the catcher knows."""


def _id_of(envelope: Envelope) -> uuid.UUID:
    try:
        return uuid.UUID(envelope.id)
    except (ValueError, TypeError, AttributeError):
        problem = f"its header {names.ID} is {envelope.id!r}. Consumers know a repeated message by it: give it a UUID."
        raise _Misfit(problem) from None


def _check_name(what: str, text: str | None, header: str | None = None) -> None:
    if text is None:
        raise _Misfit(f"it has no {what}. Give it the header {header}.")
    if len(text) > NAME_LENGTH:
        raise _Misfit(f"its {what} has {len(text)} characters. At most {NAME_LENGTH} fit.")
    if "\0" in text or not is_text(text):
        raise _Misfit(f"its {what} {text!r} is not text that every database can keep. Leave NUL and surrogates out.")


def _headers_json(headers: Mapping[str, str]) -> str:
    try:
        is_plain = "".join([*headers, *headers.values()]).isascii()
    except TypeError:  # one that is no text, which is named below
        is_plain = False
    if is_plain:
        return _to_json(dict(headers))
    kept: dict[str, str] = {}
    for name, value in headers.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise _Misfit(f"its header {name!r} is of type {type(value).__name__}. Headers are text.")
        kept[_escaped(name)] = _escaped(value)
        if not (is_text(_escaped(name)) and is_text(_escaped(value))):
            raise _Misfit(f"its header {name!r} is neither text nor bytes. Leave surrogates out.")
    return _to_json(kept)


# Bytes that are no text are lone surrogates in an envelope, and those MariaDB refuses even as escapes of JSON. For one
# stands a character that nobody uses, and that of Latin-1 with its number.
ESCAPE = "\uf8ff"


def _escaped(text: str) -> str:
    if is_text(text) and ESCAPE not in text:
        return text
    return re.sub(
        f"[\udc80-\udcff{ESCAPE}]",
        lambda found: ESCAPE + (ESCAPE if found[0] == ESCAPE else chr(ord(found[0]) - 0xDC00)),
        text,
    )


def unescaped(headers: dict[str, str]) -> dict[str, str]:
    """Give headers back as they were, before they were made fit for JSON."""
    return {_without_escapes(name): _without_escapes(value) for name, value in headers.items()}


def _without_escapes(text: str) -> str:
    if ESCAPE not in text:
        return text
    return re.sub(
        f"{ESCAPE}(.)",
        lambda found: ESCAPE if found[1] == ESCAPE else chr(ord(found[1]) + 0xDC00),
        text,
        flags=re.DOTALL,
    )


def _check_size(size: int, form: Form) -> None:
    if size > form.max_bytes:
        raise _Misfit(
            f"it has {size} bytes, and {form.max_bytes} fit. Store what is large elsewhere, and send where it is."
        )
