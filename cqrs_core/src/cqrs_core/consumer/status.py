"""How a consumer does, for whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerStatus:
    """
    How one member of a group does: from what it knows by itself, without asking anybody.

    Attributes:
        group: Whose member it is.
        in_flight: How many messages, or batches, are being handled now.
        received: How many messages it has received that are not done, those in flight and those that wait for their
            turn, their next attempt, or their time.
        lag: By partition that this member has, how many messages are not done, also those that it has not received, as
            of the last answer of the broker. ``None`` if the broker does not tell, or it has not joined yet.
        counts: What has happened so far, by name: see :attr:`.loop.Consumer.counts`.
    """

    group: str
    in_flight: int
    received: int
    lag: Mapping[str, int] | None
    counts: Mapping[str, int]

    @property
    def total_lag(self) -> int | None:
        """How many messages are not done in all partitions of this member together; ``None``: not known."""
        return None if self.lag is None else sum(self.lag.values())
