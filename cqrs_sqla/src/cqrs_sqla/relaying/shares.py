"""What is a fair share of the slots, and what a relay has to change to come to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cqrs_sqla.slots import SLOTS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


@dataclass(frozen=True, slots=True)
class Division:
    """
    How the slots are divided, as one relay sees it.

    Attributes:
        relays: How many relays live, the one that looks among them.
        mine: The slots that it has.
        free: Those that nobody has any more.
    """

    relays: int
    mine: Collection[int]
    free: Collection[int]

    @property
    def surplus(self) -> Sequence[int]:
        """What is more than a fair share."""
        return sorted(self.mine)[self._fair :]

    @property
    def wanted(self) -> int:
        """How many of the free ones belong to a fair share."""
        return min(len(self.free), max(0, self._fair - len(self.mine)))

    @property
    def is_fair(self) -> bool:
        """Whether there is nothing to change."""
        return not self.surplus and not self.wanted

    @property
    def _fair(self) -> int:
        # Rounded up: else some slots would be nobody's.
        return -(-SLOTS // max(self.relays, 1))
