"""Makes messages of rows, and finds those of which none can be made."""

from __future__ import annotations

import json
from datetime import timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from cqrs_core.envelope import Envelope
from cqrs_core.outbox import OutboxRecord
from cqrs_sqla.compressor import CONTENT_ENCODING, unpacked
from cqrs_sqla.moments import as_utc
from cqrs_sqla.rows import ESCAPE, unescaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cqrs_sqla.compressor import Compressor


# Without what json.loads() looks at first and last: this is done for each message.
_parse = json.JSONDecoder().raw_decode
_TEXT = frozenset({str})
#: How JSON in ASCII has what stands before a byte that is no text.
_ESCAPED_ESCAPE = json.dumps(ESCAPE)[1:-1]


#: Why such a row is among the dead.
UNDECODABLE = "undecodable"


class Broken(NamedTuple):
    """A row that is no message any more, and what is wrong with it."""

    position: int
    problem: str


def decode(rows: Iterable[Sequence[Any]], compressor: Compressor | None) -> tuple[list[OutboxRecord], list[Broken]]:
    """Read rows as :func:`cqrs_sqla.rows.record_columns` selects them, many at a time."""
    records: list[OutboxRecord] = []
    broken: list[Broken] = []
    for position, topic, key, body, headers, created_at, attempts in rows:
        try:
            given, _ = _parse(headers.strip())
            if type(given) is not dict or not _TEXT.issuperset(map(type, given.values())):
                broken.append(Broken(position, "Its headers are no object whose values are texts."))
                continue
            if ESCAPE in headers or _ESCAPED_ESCAPE in headers:
                given = unescaped(given)
            if CONTENT_ENCODING in given:
                body, given = unpacked(bytes(body), given, compressor)  # noqa: PLW2901 - what was meant by it
        except Exception as error:  # noqa: BLE001 - whatever a decompressor says
            broken.append(Broken(position, f"It cannot be decoded: {type(error).__name__}: {error}"))
            continue
        created_at = created_at if created_at.tzinfo is timezone.utc else as_utc(created_at)  # noqa: PLW2901 - as above
        records.append(OutboxRecord(position, Envelope(topic, body, key, given), created_at, attempts))
    return records, broken
