"""The keys whose messages wait, because the first of them was refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from cqrs_core.outbox import OutboxRecord, ParkedKey


class Parking:
    """Which keys wait, and until when, as a monotonic clock has it."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        #: When messages without a key are due again; nobody waits for them.
        self._alone: list[float] = []

    @property
    def keys(self) -> Collection[str]:
        """The keys whose messages are left out."""
        return self._until.keys()

    def replace(self, parked: Iterable[ParkedKey], now: float) -> bool:
        """Take over what the outbox says; tells whether a key waits no more, whose messages stand anywhere in it."""
        before = set(self._until)
        self._until = {
            one.key: math.inf if one.delay_s is None else now + one.delay_s
            for one in parked
            if one.delay_s is None or one.delay_s > 0
        }
        return not before <= set(self._until)

    def add(self, key: str | None, delay_s: float | None, now: float) -> None:
        """Let the messages of *key* wait, for ever if there is no delay."""
        until = math.inf if delay_s is None else now + delay_s
        if key is not None:
            self._until[key] = until
        elif until < math.inf:
            self._alone.append(until)

    def let_go(self, now: float) -> bool:
        """Let those go whose time has come; tells whether there were any, which stand anywhere in the outbox."""
        due = [key for key, until in self._until.items() if until <= now]
        for key in due:
            del self._until[key]
        waiting = [until for until in self._alone if until > now]
        is_any_due = bool(due) or len(waiting) < len(self._alone)
        self._alone = waiting
        return is_any_due

    def without_waiting(self, records: Iterable[OutboxRecord]) -> list[OutboxRecord]:
        """Leave out what waits."""
        return [record for record in records if record.envelope.key not in self._until]

    def seconds_left(self, now: float) -> float:
        """Tell when the next is due; infinity if none is."""
        return min([*self._until.values(), *self._alone], default=math.inf) - now
