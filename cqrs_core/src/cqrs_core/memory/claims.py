"""What units of work are about to accept, and who waits for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cqrs_core.concurrency import Gate
from cqrs_core.errors import CqrsError

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Hashable, Iterator, Sequence

    #: What a group has of a message.
    Receipt = tuple[str, uuid.UUID]


class Deadlock(CqrsError, RuntimeError):
    """
    Units of work would have waited for each other for ever, each for a message that another has accepted.

    Nothing of this call was accepted. Roll back, and try again: the others go on.

    Attributes:
        group: Whose messages these are.
    """

    def __init__(self, group: str) -> None:
        self.group = group
        super().__init__(
            f"A unit of work that accepts messages of the group {group!r} would wait for one that waits for it. It "
            "failed, so that the other goes on: roll it back and try again, or accept all messages in one call."
        )


class Claims:
    """
    Messages that units have accepted without having ended.

    Who wants one of them waits, and gets it before those who come later: a unit that was rolled back because of a
    deadlock, and is tried again at once, would otherwise run into the same one.
    """

    def __init__(self, accepted: Collection[Receipt]) -> None:
        """
        Begin without any.

        Args:
            accepted: What nobody can claim any more. It is looked at each time, and may change.
        """
        self._accepted = accepted
        self._holders: dict[Receipt, Hashable] = {}
        self._requests: dict[Hashable, _Request] = {}  # by units that wait, in the order of their coming

    async def claim(self, unit: Hashable, wanted: Sequence[Receipt]) -> Collection[Receipt]:
        """
        Give *unit* those of *wanted* that are neither accepted nor its own, once nobody else claims any of them.

        Until then it gets none, so that those who want the same ones in another order do not stop each other.

        Raises:
            Deadlock: Another unit claims one of them, and waits for this one.
        """
        if next(self._in_the_way(unit, wanted), None) is None:
            return self._grant(unit, wanted)
        if unit in self._all_in_the_way(unit, wanted):
            raise Deadlock(wanted[0][0])
        request = self._requests[unit] = _Request(wanted, Gate())
        try:
            await request.gate.wait()
        except BaseException:  # cancelled, though it may have been granted in the same moment
            self._requests.pop(unit, None)
            self.release(request.granted)
            raise
        return request.granted

    def release(self, receipts: Collection[Receipt]) -> None:
        """End the claims on *receipts*, and let those go on who have waited for them."""
        for receipt in receipts:
            self._holders.pop(receipt, None)
        for unit, request in list(self._requests.items()):
            if next(self._in_the_way(unit, request.wanted), None) is None:
                del self._requests[unit]
                request.granted = self._grant(unit, request.wanted)
                request.gate.open()

    def release_all(self) -> None:
        """End all claims, as of units that somebody forgot to close."""
        self.release(list(self._holders))

    def _grant(self, unit: Hashable, wanted: Sequence[Receipt]) -> Collection[Receipt]:
        granted = [receipt for receipt in wanted if receipt not in self._accepted and receipt not in self._holders]
        self._holders.update(dict.fromkeys(granted, unit))
        return granted

    def _in_the_way(self, unit: Hashable, wanted: Sequence[Receipt]) -> Iterator[Hashable]:
        """Go through the others that claim what *unit* wants."""
        for receipt in wanted:
            holder = self._holders.get(receipt)
            if holder is not None and holder is not unit:
                yield holder

    def _all_in_the_way(self, unit: Hashable, wanted: Sequence[Receipt]) -> set[Hashable]:
        """Find those that *unit* would wait for, those that they wait for, and so on."""
        found: set[Hashable] = set()
        left = list(self._in_the_way(unit, wanted))
        while left:
            other = left.pop()
            if other not in found:
                found.add(other)
                request = self._requests.get(other)
                left += self._in_the_way(other, request.wanted) if request is not None else ()
        return found


@dataclass(eq=False, slots=True)
class _Request:
    """What one unit waits for; it does so in one call at a time."""

    wanted: Sequence[Receipt]
    gate: Gate
    granted: Collection[Receipt] = ()
