"""The right to drive a saga, for a time; and what renews all of them at once."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from cqrs_core.clock import SystemClock
from cqrs_core.concurrency import Gate, start_later
from cqrs_core.errors import StorageUnavailable

if TYPE_CHECKING:
    import uuid

    from cqrs_core.clock import Clock
    from cqrs_core.concurrency import CancelScope
    from cqrs_core.saga.storage import SagaStorage

logger = logging.getLogger(__name__)

#: A lease is not relied on for this part of its time before it ends: clocks run differently, and answers take time.
_MARGIN = 0.2
#: For this part of its time, what the storage has said of it last is taken for news.
_NEWS = 1 / 30


class Lease:
    """
    What one driver has of one saga.

    Attributes:
        saga_id: Of which saga.
        fence: By which it is held.
        safe_until: Until when it is surely ours, as the clock's ``monotonic`` has it; but for what people decide.
        fresh_until: Until when something may be begun without asking whether it still is.
        listen_at: Before that, it need not be told that it was still ours: that is news already.
        is_lost: Whether another has the saga by now.
        scope: What is ended then: the attempt that runs.
    """

    __slots__ = ("fence", "fresh_until", "is_lost", "listen_at", "renewed_at", "safe_until", "saga_id", "scope")

    def __init__(self, saga_id: uuid.UUID, fence: int, asked_at: float, lease_s: float) -> None:
        self.saga_id = saga_id
        self.fence = fence
        self.is_lost = False
        self.scope: CancelScope | None = None
        self.extend(asked_at, lease_s)

    def extend(self, asked_at: float, lease_s: float) -> None:
        """Hold it for longer: as from when that was asked for, not when it was answered."""
        if self.is_lost:
            return  # the answer has come late
        self.renewed_at = asked_at
        self.safe_until = asked_at + (1 - _MARGIN) * lease_s
        self.fresh_until = asked_at + _NEWS * lease_s
        self.listen_at = asked_at + _NEWS / 2 * lease_s

    def hear(self, asked_at: float, lease_s: float) -> None:
        """Learn that it was still ours: as of when that was asked."""
        # Never later than it is surely ours, which is never again when it is lost.
        self.fresh_until = min(asked_at + _NEWS * lease_s, self.safe_until)
        self.listen_at = asked_at + _NEWS / 2 * lease_s

    def lose(self) -> None:
        """Learn that it is another's, and end what runs, and begin nothing: nothing of it would be kept."""
        self.is_lost = True
        self.safe_until = self.fresh_until = -math.inf
        if self.scope is not None:
            self.scope.cancel()


class Heartbeat:
    """Renews all leases of a program, in one statement, for as long as there are any."""

    def __init__(self, storage: SagaStorage, *, lease_s: float, clock: Clock) -> None:
        """
        Begin with none.

        Args:
            storage: Where the sagas are.
            lease_s: For how long a lease is; a third of that passes between two beats.
            clock: Measures it.
        """
        self._storage = storage
        self.lease_s = lease_s
        self._clock = clock
        self._held: set[Lease] = set()
        self._is_beating: Gate | None = None

    def hold(self, lease: Lease) -> None:
        """Keep *lease*, until it is let go."""
        if self._is_beating is None or not self._is_beating.is_of_this_loop():
            self._held.clear()  # of a loop that was ended in the middle of a saga: nobody drives that any more
            self._is_beating = Gate()
            self._beat_later()
        self._held.add(lease)

    def let_go(self, lease: Lease) -> None:
        """Renew *lease* no more."""
        self._held.discard(lease)

    async def beat(self) -> None:
        """Renew what was not renewed for a while; those that are lost learn of it."""
        asked_at = self._clock.monotonic()
        old = [lease for lease in self._held if lease.renewed_at <= asked_at - self.lease_s / 4]
        if not old:
            return
        try:
            lost = await self._storage.renew([(lease.saga_id, lease.fence) for lease in old], lease_s=self.lease_s)
        except StorageUnavailable as error:
            logger.warning("%d sagas could not be kept: %s", len(old), error)
            return
        for lease in old:
            if lease.saga_id not in lost:
                lease.extend(asked_at, self.lease_s)
            elif lease in self._held:
                lease.lose()

    def _beat_later(self) -> None:
        if isinstance(self._clock, SystemClock):
            start_later(self.lease_s / 3, self._beat_again)
        else:
            start_later(0, self._sleep_and_beat)

    async def _sleep_and_beat(self) -> None:
        await self._clock.sleep(self.lease_s / 3)
        await self._beat_again()

    async def _beat_again(self) -> None:
        gate = self._is_beating
        if gate is None or not gate.is_of_this_loop():
            return  # a later loop has one of its own
        try:
            await self.beat()
        except Exception:
            logger.exception("Sagas could not be kept.")
        if self._held:
            self._beat_later()
        else:
            self._is_beating = None
