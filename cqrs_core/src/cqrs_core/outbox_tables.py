"""What is in an outbox, written for people as tables, and for programs as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from cqrs_core import envelope as header
from cqrs_core.outbox_keeper import LogReader, OutboxEntry, OutboxStatus
from cqrs_core.text_tables import body_facts, columns, described_message, duration_text, moment, shortened, shown, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: How many keys a table names.
_KEYS = 10


def as_json(thing: object) -> str:
    """Write a status, entries or numbers as JSON; a body that is no text is in base64."""
    if isinstance(thing, (list, tuple)):
        return json.dumps([_plain(one) for one in thing], indent=2)
    return json.dumps(_plain(thing), indent=2)


def _plain(thing: object) -> object:
    if isinstance(thing, OutboxEntry):
        return _plain_entry(thing)
    if isinstance(thing, OutboxStatus):
        return {**asdict(thing), "needs_a_person": thing.needs_a_person}
    return thing


def _plain_entry(entry: OutboxEntry) -> dict[str, object]:
    record, envelope = entry.record, entry.record.envelope
    return {
        "position": record.position,
        "id": envelope.id,
        "topic": envelope.topic,
        "key": envelope.key,
        "type": envelope.headers.get(header.TYPE),
        "created_at": record.created_at.isoformat(),
        "attempts": record.attempts,
        "delay_s": entry.delay_s,
        "error": entry.error,
        "failed_at": None if entry.failed_at is None else entry.failed_at.isoformat(),
        "reason": entry.reason,
        "headers": dict(envelope.headers),
        **body_facts(envelope.body),
    }


# For people ----------------------------------------------------------------------------------------------------------


def described_status(status: OutboxStatus) -> str:
    """Write how an outbox does, the age of the oldest first."""
    halted = [one.key for one in status.parked if one.delay_s is None]
    retried = [one.key for one in status.parked if one.delay_s is not None]
    is_cut = len(status.parked) >= status.counted_to
    lines = [
        ("oldest", "nothing waits" if status.oldest_age_s is None else duration_text(status.oldest_age_s)),
        ("waiting", _number(status.waiting, status)),
        ("halted", f"{_number(status.halted, status)}{_keys(halted)}"),
        ("keys retried", f"{len(retried)}{' or more' if is_cut else ''}{_keys(retried)}"),
        ("dead", _number(status.dead, status)),
        *_senders(status),
        *((name.replace("_", " "), f"{value:,.0f}") for name, value in status.figures.items()),
    ]
    advice = [*_advice(status)]
    return "\n".join([*columns(lines), *([""] if advice else []), *advice])


def _senders(status: OutboxStatus) -> Iterator[tuple[str, str]]:
    if status.sent_by is None:
        relays = ", ".join(f"{shown(one.name)} ({one.slots} of {status.slots})" for one in status.relays)
        yield "relays", relays or "none"
        yield "shares of nobody", f"{status.free_slots} of {status.slots}"
        return
    yield "sent by", shown(status.sent_by)
    yield "readers", ", ".join(map(_reader, status.readers)) or "none"


def _reader(reader: LogReader) -> str:
    where = "the log that it needs is gone" if reader.behind_bytes is None else f"{reader.behind_bytes} bytes behind"
    return f"{shown(reader.name)} ({'' if reader.is_connected else 'not connected, '}{where})"


def _advice(status: OutboxStatus) -> Iterator[str]:
    if status.dead:
        yield "Messages were given up: look at them by `cqrs outbox list --dead`, then requeue or purge them."
    if status.halted:
        yield "Messages wait for a person: mend what they were refused for, then `cqrs outbox requeue` lets them go."
    if status.is_lost:
        yield "Nobody reads the log, or what he needs of it is gone: events were lost, or are. See docs/debezium.md."
    if status.waiting and status.sent_by is not None:
        yield "Programs that leave the sending to relays have written what waits; it stays until it is deleted."
    if status.waiting and not status.relays and status.sent_by is None:
        yield "No relay is running: `cqrs run MODULE:APP --only relay` runs one."


def _number(number: int, status: OutboxStatus) -> str:
    return f"{number} or more" if number >= status.counted_to else str(number)


def _keys(keys: Sequence[str]) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - _KEYS} more" if len(keys) > _KEYS else ""
    return f" (keys: {', '.join(map(shown, keys[:_KEYS]))}{more})"


def listed(entries: Sequence[OutboxEntry], *, are_dead: bool, limit: int) -> str:
    """Write entries as a table."""
    if not entries:
        return "Nothing was given up." if are_dead else "Nothing waits."
    head = ("POSITION", "ID", "TOPIC", "KEY", "TYPE", "ATTEMPTS")
    last = ("FAILED", "REASON", "ERROR") if are_dead else ("CREATED", "DUE", "ERROR")
    text = table([(*head, *last), *(_row(entry) for entry in entries)])
    if len(entries) < limit:
        return text
    return f"{text}\n\nThere may be more: --after {entries[-1].record.position} shows what stands behind these."


def _row(entry: OutboxEntry) -> tuple[str, ...]:
    record, envelope = entry.record, entry.record.envelope
    key = "-" if envelope.key is None else shown(envelope.key)
    kind = shown(envelope.headers.get(header.TYPE, "-"))
    attempts = str(record.attempts)
    what = (str(record.position), envelope.id or "-", shown(envelope.topic), key, kind, attempts)
    error = shortened(entry.error or "-")
    if entry.failed_at is None:
        return (*what, moment(record.created_at), _due(entry), error)
    return (*what, moment(entry.failed_at), shown(entry.reason or "-"), error)


def described(entry: OutboxEntry) -> str:
    """Write one entry with its headers and its body."""
    record, envelope = entry.record, entry.record.envelope
    facts: list[tuple[str, str]] = [
        ("position", str(record.position)),
        ("topic", shown(envelope.topic)),
        ("key", "none" if envelope.key is None else shown(envelope.key)),
        ("created", moment(record.created_at)),
        ("attempts", str(record.attempts)),
        ("due", _due(entry)) if entry.failed_at is None else ("failed", moment(entry.failed_at)),
    ]
    if entry.reason is not None:
        facts.append(("reason", shown(entry.reason)))
    if entry.error is not None:
        facts.append(("error", shown(entry.error)))
    return "\n".join([*columns(facts), *described_message(envelope)])


def _due(entry: OutboxEntry) -> str:
    if entry.delay_s is None:
        return "when a person says so"
    return f"in {duration_text(entry.delay_s)}" if entry.delay_s else "now"
