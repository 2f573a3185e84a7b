"""Where a relay reads the outbox next: on from where it was, or from the beginning, for what was committed late."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cqrs_core.relay.gaps import Gaps

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cqrs_core.clock import Clock
    from cqrs_core.outbox import OutboxLease, OutboxRecord
    from cqrs_core.relay.figures import Figures

#: How often to look from the beginning for what was committed late: once a second, unless that would take more than a
#: twentieth of the time, as it does while a long transaction keeps the database from clearing away what was removed.
_LOOK_AGAIN_EVERY_S = 1.0
_LOOK_AGAIN_COST = 20


class Reader:
    """
    Reads batch after batch.

    Args:
        lease: Whose messages.
        batch_size: How many at a time.
        figures: Told how long it takes.
        clock: Measures that.
    """

    def __init__(self, lease: OutboxLease, *, batch_size: int, figures: Figures, clock: Clock) -> None:
        self._lease = lease
        self._batch_size = batch_size
        self._figures = figures
        self._clock = clock
        #: Behind which position to read next, and up to where everything was read once. The first is less while it is
        #: looked from the beginning for what was committed late, or has waited.
        self._after = 0
        self._reached = 0
        self._gaps = Gaps()
        self._must_look_again = False
        self._look_again_at = -math.inf
        self._ahead: Sequence[OutboxRecord] = ()

    def look_again(self) -> None:
        """Let the next batch be read from the beginning: something may stand before what was read last."""
        self._must_look_again = True

    async def read(self, without: Collection[str]) -> Sequence[OutboxRecord]:
        """
        Give the next batch, which may have been read ahead.

        Args:
            without: The keys that wait. Of one that has begun to wait while the batch was read ahead, it has messages.
        """
        if self._must_look_again or self._clock.monotonic() >= self._look_again_at:
            self._must_look_again = False
            self._after = 0
            self._ahead = ()  # of a key that has failed meanwhile, it may hold what must not be sent yet
        records = self._ahead or await self._fetch(without)
        self._ahead = ()
        return records

    async def read_ahead(self, without: Collection[str]) -> None:
        """Read the batch that follows, while that before it is on its way."""
        self._ahead = await self._fetch(without)

    async def _fetch(self, without: Collection[str]) -> Sequence[OutboxRecord]:
        after, began = self._after, self._clock.monotonic()
        passed = self._gaps.before(after)
        records = await self._lease.fetch(after=after, limit=self._batch_size, without=list(without), passed=passed)
        took_s = self._clock.monotonic() - began
        if not after:
            self._look_again_at = began + max(_LOOK_AGAIN_EVERY_S, _LOOK_AGAIN_COST * took_s)
        seen = [record.position for record in records]
        last = max(after, seen[-1]) if seen else after
        late = self._gaps.note(seen, reached=self._reached, now=began)
        self._figures.read(took_s, late)
        is_full = sum(position > after for position in seen) >= self._batch_size
        self._after = last if is_full else max(last, self._reached)
        self._reached = max(self._reached, self._after)
        return records
