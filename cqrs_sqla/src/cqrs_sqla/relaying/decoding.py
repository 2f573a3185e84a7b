"""Makes messages of rows, and finds those of which none can be made."""

from __future__ import annotations

import json
from datetime import timezone
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from cqrs_core.envelope import Envelope
from cqrs_core.outbox import OutboxRecord
from cqrs_sqla.compressor import CONTENT_ENCODING, unpacked
from cqrs_sqla.moments import as_utc
from cqrs_sqla.rows import ESCAPE, unescaped

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from cqrs_sqla.compressor import Compressor

#: Why such a row is among the dead.
UNDECODABLE = "undecodable"

#: How JSON in ASCII has what stands before a byte that is no text.
_ESCAPED_ESCAPE = json.dumps(ESCAPE)[1:-1]
# Stands between two texts of JSON that are read as one list. A line may not end within a string, and a number may not
# stand where an object has a name: only within a list is this nothing of its own.
_BETWEEN = "\n,0,\n"


class Broken(NamedTuple):
    """A row that is no message any more, and what is wrong with it."""

    position: int
    problem: str


def decode(rows: Collection[Sequence[Any]], compressor: Compressor | None) -> tuple[list[OutboxRecord], list[Broken]]:
    """Read rows as :func:`cqrs_sqla.rows.record_columns` selects them, many at a time."""
    if not rows:
        return [], []
    try:
        return _decode(rows, compressor), []
    except Exception as error:  # noqa: BLE001 - whatever a decompressor says
        if len(rows) == 1:
            ((position, *_),) = rows
            return [], [Broken(position, f"It cannot be decoded: {type(error).__name__}: {error}")]
    records: list[OutboxRecord] = []
    broken: list[Broken] = []
    for row in rows:
        some, ill = decode([row], compressor)
        records += some
        broken += ill
    return records, broken


def _decode(rows: Collection[Sequence[Any]], compressor: Compressor | None) -> list[OutboxRecord]:
    texts = [row[4] for row in rows]
    text = _BETWEEN.join(texts)
    headers = _objects(text, len(texts))
    if ESCAPE in text or _ESCAPED_ESCAPE in text:
        headers = [unescaped(given) for given in headers]
    if CONTENT_ENCODING not in text:
        return [
            OutboxRecord(position, Envelope(topic, body, key, given), _in_utc(created_at), attempts)
            for (position, topic, key, body, _, created_at, attempts), given in zip(rows, headers, strict=True)
        ]
    records: list[OutboxRecord] = []
    for (position, topic, key, packed, _, created_at, attempts), given in zip(rows, headers, strict=True):
        body, rest = unpacked(bytes(packed), given, compressor)
        records.append(OutboxRecord(position, Envelope(topic, body, key, rest), _in_utc(created_at), attempts))
    return records


def _objects(text: str, count: int) -> list[dict[str, str]]:
    """
    Read objects of JSON whose values are texts, with :data:`_BETWEEN` between them, in a third of the time of one each.

    What two rows have together is never taken for what each has: that would be a list, and there is none.

    Raises:
        ValueError: It is something else.
    """
    found = json.loads(f"[{text}\n]")
    objects: list[dict[str, str]] = found[::2]
    if len(found) != 2 * count - 1 or not _are_objects_of_text(objects):
        raise ValueError("its headers are no object whose values are texts")
    return objects


def _are_objects_of_text(objects: Sequence[dict[str, str]]) -> bool:
    try:
        "".join(chain.from_iterable(map(dict.values, objects)))
    except TypeError:
        return False
    return True


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is timezone.utc else as_utc(moment)
