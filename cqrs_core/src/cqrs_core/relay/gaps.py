"""The positions that were passed while there was nothing to be seen: a message may be committed there late."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Of more, the oldest are forgotten: they are found by looking from the beginning, if out of their order.
_MOST = 1000
#: How long after a position was drawn its transaction may still be committed, in seconds.
_KEPT_S = 60.0
#: A transaction that is open when a relay begins may have drawn a position before the first that is to be seen.
_BEFORE_THE_FIRST = 100


class Gaps:
    """
    Positions that may still be filled.

    A message is seen when its transaction is committed, which may be after one with a higher position. Of one key, its
    writers being serialised, the later message is never to be seen without the earlier: it is enough to look at both
    places at one moment.
    """

    def __init__(self) -> None:
        #: When each was passed, the oldest first.
        self._passed: dict[int, float] = {}

    def before(self, position: int) -> Sequence[int]:
        """
        Tell where to look again, if everything behind *position* is read anyway.

        What is to be seen behind it now is left to be read in its order, together with what stands between.
        """
        return [passed for passed in self._passed if passed <= position]

    def note(self, seen: Sequence[int], *, reached: int, now: float) -> int:
        """
        Note what was read.

        Args:
            seen: Positions, in their order.
            reached: Up to where everything had been read before.
            now: The time of a monotonic clock.

        Returns:
            How many gaps it has filled.
        """
        before = len(self._passed)
        for position in seen:
            self._passed.pop(position, None)
        filled = before - len(self._passed)
        if seen and seen[-1] > reached:
            first = reached + 1 if reached else max(1, seen[0] - _BEFORE_THE_FIRST)
            there = set(seen)
            for position in range(max(first, seen[-1] - _MOST), seen[-1]):
                if position not in there:
                    self._passed[position] = now
        while self._passed:
            oldest = next(iter(self._passed))
            if len(self._passed) <= _MOST and self._passed[oldest] > now - _KEPT_S:
                break
            del self._passed[oldest]
        return filled
