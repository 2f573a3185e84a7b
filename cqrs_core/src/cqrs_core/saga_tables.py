"""Sagas, written for people as tables, and for programs as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cqrs_core.saga.log import Branch, SagaStatus
from cqrs_core.text_tables import columns, duration_text, moment, shortened, shown, table, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from cqrs_core.saga.log import SagaLogEntry
    from cqrs_core.saga.storage import SagaFigures, SagaRecord

#: How a person goes on with what is suspended.
_ADVICE = (
    "Sagas wait for a person: `cqrs sagas list MODULE:APP --status suspended` lists them, `cqrs sagas show` tells why; "
    "then retry, skip, compensate, resolve or abandon them."
)


def figures_json(figures: SagaFigures) -> str:
    """Write how sagas do."""
    return json.dumps(figures._asdict(), indent=2)


def records_json(records: Iterable[SagaRecord]) -> str:
    """Write sagas."""
    return json.dumps([_plain(record) for record in records], indent=2)


def record_json(record: SagaRecord, history: Iterable[SagaLogEntry] | None = None) -> str:
    """Write one saga, with its history if that is given."""
    plain = _plain(record)
    if history is not None:
        plain["history"] = [_plain_entry(entry) for entry in history]
    return json.dumps(plain, indent=2)


def _plain(record: SagaRecord) -> dict[str, object]:
    return {
        "id": str(record.id),
        "name": record.name,
        "status": record.status.value,
        "suspended_from": None if record.suspended_from is None else record.suspended_from.value,
        "cursor": record.cursor,
        "step_id": record.step_id or None,
        "branch": record.branch.name.lower(),
        "attempt": record.attempt,
        "claims": record.claims,
        "owner": record.owner,
        "wake_at": _iso(record.wake_at),
        "error": record.error,
        "created_at": _iso(record.created_at),
        "updated_at": _iso(record.updated_at),
        "version": record.version,
        "fence": record.fence,
        "fingerprint": record.fingerprint,
        "context": json.loads(record.context),
    }


def _plain_entry(entry: SagaLogEntry) -> dict[str, object]:
    return {
        "seq": entry.seq,
        "timestamp": _iso(entry.timestamp),
        "step_id": entry.step_id,
        "step_name": entry.step_name,
        "branch": entry.branch.name.lower(),
        "action": entry.action.value,
        "status": entry.status.value,
        "attempt": entry.attempt,
        "error": entry.error,
    }


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


# For people ----------------------------------------------------------------------------------------------------------


def described_figures(figures: SagaFigures) -> str:
    """Write how sagas do, those that wait for a person first."""
    oldest = "nothing is due" if figures.oldest_due_s is None else duration_text(max(figures.oldest_due_s, 0.0))
    lines = [
        ("suspended", _number(figures.suspended, figures)),
        ("oldest due", oldest),
        ("under way", _number(figures.live, figures)),
        ("most claims", str(figures.most_claims)),
    ]
    return "\n".join([*columns(lines), *(["", _ADVICE] if figures.suspended else [])])


def _number(number: int, figures: SagaFigures) -> str:
    return f"{number} or more" if number >= figures.counted_to else str(number)


def listed(records: Sequence[SagaRecord], *, limit: int) -> str:
    """Write sagas as a table."""
    if not records:
        return "There are none."
    head = ("ID", "NAME", "STATUS", "STEP", "CLAIMS", "OWNER", "UPDATED", "ERROR")
    text = table([head, *map(_row, records)])
    return text if len(records) < limit else f"{text}\n\nThere may be more: --limit, --status and --name choose."


def _row(record: SagaRecord) -> tuple[str, ...]:
    return (
        str(record.id),
        shown(record.name),
        record.status.value,
        shown(record.step_id) or "-",
        str(record.claims),
        shown(record.owner or "-"),
        moment(record.updated_at),
        shortened(record.error or "-"),
    )


def described(record: SagaRecord, history: Sequence[SagaLogEntry]) -> str:
    """Write one saga with its context and its history."""
    entries = [("TIME", "STEP", "ACTION", "STATUS", "ATTEMPT", "ERROR"), *map(_entry_row, history)]
    context = text_of(record.context) or "(no text)"
    return "\n".join([*columns(_facts(record)), "", "context", context, "", "history", table(entries)])


def _facts(record: SagaRecord) -> Iterator[tuple[str, str]]:
    yield "name", shown(record.name)
    before = "" if record.suspended_from is None else f" from {record.suspended_from}"
    yield "status", f"{record.status}{before}"
    if record.step_id:
        yield "step", f"{shown(record.step_id)}{_side(record.branch)}{'' if record.attempt else ', not begun'}"
    elif record.status is SagaStatus.COMPENSATING or record.suspended_from is SagaStatus.COMPENSATING:
        yield "left to undo", str(record.cursor)
    yield "claims", str(record.claims)
    if record.owner is not None and record.attempt:
        yield "driven by", shown(record.owner)
    if record.wake_at is not None:
        yield "due", moment(record.wake_at)
    yield "started", moment(record.created_at)
    yield "updated", moment(record.updated_at)
    if record.error is not None:
        yield "error", shown(record.error)


def _side(branch: Branch) -> str:
    return {Branch.PRIMARY: "", Branch.LEAVING: " (being left)", Branch.FALLBACK: " (fallback)"}[branch]


def _entry_row(entry: SagaLogEntry) -> tuple[str, ...]:
    return (
        moment(entry.timestamp),
        f"{shown(entry.step_id) or '-'}{_side(entry.branch)}",
        entry.action.value,
        entry.status.value,
        str(entry.attempt),
        shown(entry.error or "-"),
    )
