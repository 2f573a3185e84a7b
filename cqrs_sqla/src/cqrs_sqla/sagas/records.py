"""A saga as a row, and back; what was done as rows; and what does not fit into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from cqrs_core.envelope import is_text
from cqrs_core.saga.log import Branch, SagaAction, SagaLogEntry, SagaStatus, SagaStepStatus
from cqrs_core.saga.storage import SagaRecord
from cqrs_sqla.errors import SagaDoesNotFit
from cqrs_sqla.moments import as_utc
from cqrs_sqla.rows import kept_text, row_of
from cqrs_sqla.tables import NAME_LENGTH

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from cqrs_core.saga.log import LogRecord
    from cqrs_core.saga.storage import NewSaga, SagaWrite
    from cqrs_sqla.rows import Form, Row
    from cqrs_sqla.tables import Tables


class Checkpoint(NamedTuple):
    """
    A write, and its rows.

    Attributes:
        write: What is to be written.
        context: Its context as text, if there is one.
        error: Its error, as every database can keep it.
        steps: What was done, for ``saga_step``.
        messages: For the outbox.
    """

    write: SagaWrite
    context: str | None
    error: str | None
    steps: list[Row]
    messages: list[Row]

    @property
    def size(self) -> int:
        """About how long it is, in bytes."""
        messages = sum(len(row["payload"]) for row in self.messages)
        return len(self.context or "") + len(self.error or "") + messages


def checkpoint_of(write: SagaWrite, form: Form) -> Checkpoint:
    """
    Make rows of a write.

    Raises:
        SagaDoesNotFit: It has more than fits.
        UnpublishableEnvelope: So has one of its messages.
    """
    saga_id = write.saga_id
    context = None if write.context is None else check_context(saga_id, write.context, form)
    _check_name(saga_id, "step_id", write.step_id)
    steps = step_rows(saga_id, write.version + 1, write.log)
    error = None if write.error is None else kept_text(write.error)
    return Checkpoint(write, context, error, steps, [row_of(envelope, form) for envelope in write.envelopes])


def step_rows(saga_id: uuid.UUID, version: int, log: Sequence[LogRecord]) -> list[Row]:
    """
    Make rows of what was done, and written as one *version*.

    Raises:
        SagaDoesNotFit: The id of a step has more than fits.
    """
    rows: list[Row] = []
    for place, record in enumerate(log):
        _check_name(saga_id, "step_id", record.step_id)
        row = {
            "saga_id": saga_id,
            "version": version,
            "place": place,
            "step_id": record.step_id,
            "step_name": kept_text(record.step_name[:NAME_LENGTH])[:NAME_LENGTH],  # for people
            "branch": int(record.branch),
            "action": record.action.value,
            "status": record.status.value,
            "attempt": record.attempt,
            "error": None if record.error is None else kept_text(record.error),
        }
        rows.append(row)
    return rows


def check_new(new: NewSaga, form: Form) -> None:
    """
    See whether a saga that is to be fits.

    Raises:
        SagaDoesNotFit: It does not.
    """
    for what in ("name", "step_id", "owner"):
        _check_name(new.id, what, getattr(new, what))
    check_context(new.id, new.context, form)


def check_owner(saga_id: uuid.UUID | None, owner: str) -> None:
    """
    See whether who takes sagas has a name that fits.

    Raises:
        SagaDoesNotFit: They have not.
    """
    _check_name(saga_id, "owner", owner)


def _check_name(saga_id: uuid.UUID | None, what: str, text: str) -> None:
    if len(text) > NAME_LENGTH:
        raise SagaDoesNotFit(saga_id, f"its {what} has {len(text)} characters, and {NAME_LENGTH} fit")
    if "\0" in text or not is_text(text):
        problem = f"its {what} {text!r} is not text that every database can keep: leave NUL and surrogates out"
        raise SagaDoesNotFit(saga_id, problem)


def check_context(saga_id: uuid.UUID, context: bytes, form: Form) -> str:
    """
    Give a context as text.

    Raises:
        SagaDoesNotFit: It is too long.
    """
    if len(context) > form.max_bytes:
        problem = (
            f"its context has {len(context)} bytes, and {form.max_bytes} fit: store what is large elsewhere, and keep "
            "where it is"
        )
        raise SagaDoesNotFit(saga_id, problem)
    return context.decode()


#: What a record is made of; the order is that of its fields, without the properties.
_FIELDS = (
    "id",
    "name",
    "fingerprint",
    "status",
    "cursor_pos",
    "branch",
    "attempt",
    "suspended_from",
    "step_id",
    "context",
    "input_hash",
    "version",
    "fence",
    "owner",
    "wake_at",
    "claims",
    "error",
    "created_at",
    "updated_at",
)


def saga_columns(tables: Tables) -> list[sa.ColumnElement[Any]]:
    """List what to select for :func:`record_of`."""
    return [tables.saga.c[name] for name in _FIELDS]


def record_of(row: sa.Row[Any]) -> SagaRecord:
    """Read a row as :func:`saga_columns` selects it."""
    return SagaRecord(
        id=row.id,
        name=row.name,
        fingerprint=row.fingerprint,
        status=SagaStatus(row.status),
        cursor=row.cursor_pos,
        branch=Branch(row.branch),
        attempt=row.attempt,
        suspended_from=None if row.suspended_from is None else SagaStatus(row.suspended_from),
        step_id=row.step_id,
        context=row.context.encode(),
        input_hash=row.input_hash,
        version=row.version,
        fence=row.fence,
        owner=row.owner,
        wake_at=None if row.wake_at is None else as_utc(row.wake_at),
        claims=row.claims,
        error=row.error,
        created_at=as_utc(row.created_at),
        updated_at=as_utc(row.updated_at),
    )


def load(
    connection: sa.Connection, tables: Tables, saga_id: uuid.UUID, *, is_locked: bool = False
) -> SagaRecord | None:
    """Read a saga; if *is_locked*, as it was committed last, even where a transaction sees what was before."""
    statement = sa.select(*saga_columns(tables)).where(tables.saga.c.id == saga_id)
    if is_locked:
        statement = statement.with_for_update(read=True)
    row = connection.execute(statement).first()
    return None if row is None else record_of(row)


def history(connection: sa.Connection, tables: Tables, saga_id: uuid.UUID) -> list[SagaLogEntry]:
    """Read what was done in a saga, the first first."""
    step = tables.saga_step.c
    statement = sa.select(tables.saga_step).where(step.saga_id == saga_id).order_by(step.version, step.place)
    return [
        SagaLogEntry(
            saga_id=saga_id,
            seq=seq,
            timestamp=as_utc(row.recorded_at),
            step_id=row.step_id,
            step_name=row.step_name,
            branch=Branch(row.branch),
            action=SagaAction(row.action),
            status=SagaStepStatus(row.status),
            attempt=row.attempt,
            error=row.error,
        )
        for seq, row in enumerate(connection.execute(statement), 1)
    ]
