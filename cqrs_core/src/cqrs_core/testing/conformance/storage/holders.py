"""What stands for relays in the checks: each has a lease, and does with it all that a relay does, but for sending."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.outbox import OutboxRecord
    from cqrs_core.storage import Storage

#: How long a share is kept that is to be kept for the whole check.
LONG_S = 3600.0
#: How long one is kept that is to lapse: time passes in earnest, unless the author lets it pass otherwise.
SHORT_S = 0.3
#: So often each renews until all have what is theirs: once to be seen, once to give, once to take, and once to spare.
_ROUNDS = 4


class Holder:
    """
    Who holds a share of the outbox.

    Attributes:
        lease: What it does so by.
    """

    def __init__(self, storage: Storage, *, name: str = "conformance", ttl_s: float = LONG_S) -> None:
        self.lease = storage.outbox.lease(name, ttl_s=ttl_s)
        self._is_new = True

    async def renew(self) -> bool:
        """Renew, and rebalance if that is called for, or the first time; tells whether the share has grown."""
        if not await self.lease.renew() and not self._is_new:
            return False
        self._is_new = False
        return await self.lease.rebalance()

    async def release(self) -> None:
        """Give the share up; the next time is a first one again."""
        await self.lease.release()
        self._is_new = True

    async def share(self) -> list[OutboxRecord]:
        """Read all that is due of the share, in several pieces."""
        records: list[OutboxRecord] = []
        last = 0
        while more := await self.lease.fetch(after=last, limit=70, without=()):
            assert last < more[-1].position, f"fetch(after={last}) gave {more[-1].position} last: that never ends."
            last = more[-1].position
            records += more
        return records

    async def bodies(self) -> list[bytes]:
        """Read what is in them."""
        return [record.envelope.body for record in await self.share()]


async def settle(*holders: Holder) -> None:
    """Let each renew as often as it takes until nothing changes any more."""
    for _ in range(_ROUNDS):
        for holder in holders:
            await holder.renew()


async def alone(storage: Storage) -> Holder:
    """Make one that holds everything."""
    holder = Holder(storage)
    await holder.renew()
    return holder


async def shares_of(holders: Sequence[Holder], all_records: Sequence[OutboxRecord]) -> list[list[OutboxRecord]]:
    """Read the share of each; every one of *all_records* is in just one of them, and those of one key are together."""
    shares = [await holder.share() for holder in holders]
    given = sorted(record.position for share in shares for record in share)

    assert [record.position for record in all_records] == given, "A message was given to two, or to nobody."

    _assert_keys_are_together(shares)
    return shares


def _assert_keys_are_together(shares: Sequence[Sequence[OutboxRecord]]) -> None:
    holders_of: dict[str, set[int]] = {}
    for number, share in enumerate(shares):
        for record in share:
            if record.envelope.key is not None:
                holders_of.setdefault(record.envelope.key, set()).add(number)
    torn = [key for key, numbers in holders_of.items() if len(numbers) > 1]

    assert [] == torn, "Messages of one key were given to two."
