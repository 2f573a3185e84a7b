"""Which messages of the outbox are due, and which wait because they were refused."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import sqlalchemy as sa

from cqrs_sqla.moments import as_utc

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

#: When a message is due that waits for a person. In the middle of a year: the year is the same in every time zone.
NEVER = datetime(9999, 6, 1, tzinfo=timezone.utc)


def is_due(outbox: sa.Table, now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Ask whether a message may be sent."""
    return sa.or_(outbox.c.available_at.is_(None), outbox.c.available_at <= now)


def is_parked(outbox: sa.Table, now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Ask whether a message was refused, and is not due."""
    return sa.and_(outbox.c.attempts > 0, outbox.c.available_at > now)


def delay_s(due: datetime | None, now: datetime) -> float | None:
    """Tell in how many seconds a message is due, as both moments were read; ``None``: when a person says so."""
    if due is None:
        return 0.0
    due, now = as_utc(due), as_utc(now)
    return None if due.year == NEVER.year else max((due - now).total_seconds(), 0.0)
