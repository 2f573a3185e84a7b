"""
Takes committed events from the outbox to the broker: each at least once, those of one key in their order.

:mod:`.loop` reads, :mod:`.sending` hands a batch over in order, :mod:`.refusals` decides about what is refused,
:mod:`.parking` knows the keys that wait, and :mod:`.bell` ends the waiting when there is something to do.
"""

from __future__ import annotations

from cqrs_core.bell import Bell
from cqrs_core.relay.loop import OutboxRelay
from cqrs_core.relay.options import OnDead, RelayOptions

__all__ = ["Bell", "OnDead", "OutboxRelay", "RelayOptions"]
