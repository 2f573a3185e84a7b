"""
Takes committed events from the outbox to the broker: each at least once, those of one key in their order.

:mod:`.loop` holds a :mod:`.share` of the keys, lets :mod:`.reading` say what comes next, and :mod:`.sending` hand it
over in order. :mod:`.refusals` decides about what is refused, :mod:`.parking` knows the keys that wait, and
:mod:`.figures` tells those who look on. A :class:`cqrs_core.bell.Bell` ends the waiting when there is something to do.
"""

from __future__ import annotations

from cqrs_core.relay.figures import METRICS
from cqrs_core.relay.loop import OutboxRelay
from cqrs_core.relay.options import OnDead, RelayOptions

__all__ = ["METRICS", "OnDead", "OutboxRelay", "RelayOptions"]
