"""What a relay has of the outbox: nothing of it is sent but while it is held."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from cqrs_core.concurrency import Gate
from cqrs_core.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from cqrs_core.clock import Clock
    from cqrs_core.outbox import OutboxLease

logger = logging.getLogger(__name__)

#: A share is not used for this part of its time before it ends: the clock here and that of the storage differ.
_MARGIN = 0.2
#: More often than the share needs it: what a relay that has come waits for, another has to give up.
_RENEW_EVERY_S = 2.0


class Share:
    """
    The share of one relay.

    Args:
        lease: What is renewed; then it holds for *ttl_s* seconds.
        ttl_s: For how long.
        clock: Measures that.
    """

    def __init__(self, lease: OutboxLease, *, ttl_s: float, clock: Clock) -> None:
        self._lease = lease
        self._ttl_s = ttl_s
        self._clock = clock
        self._held_until = -math.inf
        self._wants_rebalance = True
        self._renewal: Gate | None = None

    async def hold(self) -> bool:
        """
        See to it that the share is held, and is a fair one; nothing may be on its way to the broker.

        Returns:
            Whether it has grown: then there may be messages at any position.

        Raises:
            StorageUnavailable: It may not be held any more.
        """
        if self._clock.monotonic() >= self._held_until:
            await self._renew()
        if not self._wants_rebalance:
            return False
        self._wants_rebalance = False
        try:
            return await self._lease.rebalance()
        except BaseException:
            self._wants_rebalance = True
            raise

    async def keep_renewing(self, on_unfair: Callable[[], None]) -> None:
        """Renew it for ever, beside the sending; *on_unfair* is called when :meth:`hold` has something to do."""
        while True:
            await self._clock.sleep(min(self._ttl_s / 3, _RENEW_EVERY_S))
            try:
                await self._renew()
            except StorageUnavailable as error:
                logger.warning("The share of the outbox could not be renewed: %s", error)
            if self._wants_rebalance:
                on_unfair()

    async def _renew(self) -> None:
        while self._renewal is not None:
            await self._renewal.wait()
            if self._clock.monotonic() < self._held_until:
                return
        self._renewal = Gate()
        try:
            began = self._clock.monotonic()
            self._wants_rebalance = await self._lease.renew() or self._wants_rebalance
            self._held_until = began + (1 - _MARGIN) * self._ttl_s
        finally:
            renewal, self._renewal = self._renewal, None
            renewal.open()
