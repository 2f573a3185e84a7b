"""Several relays share the outbox: each key has one of them, and who comes, goes or dies is made up for."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from cqrs_core.concurrency import run_all, sleep
from cqrs_core.testing.conformance.storage.holders import SHORT_S, Holder, alone, settle, shares_of
from cqrs_core.testing.conformance.storage.suite import StorageSuite, check, envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.outbox import OutboxRecord
    from cqrs_core.storage import Storage

#: So many that shares which are equal in number hold about as many of them.
_KEYS = 400


class SharingChecks(StorageSuite):
    """Leases of the outbox: who has which share of the keys."""

    @check
    async def test_relays_share_the_keys(self, storage: Storage) -> None:
        """One, two and three of them: each message is somebody's, none is two's, and those of a key are together."""
        all_records = await self._many(storage, messages_of_a_key=2)
        holders: list[Holder] = []
        for _ in range(3):
            holders.append(Holder(storage, name=f"relay-{len(holders)}"))
            await settle(*holders)

            await shares_of(holders, all_records)

    @check
    async def test_shares_are_fair(self, storage: Storage) -> None:
        """Each of two, and of three, has half of an equal part of the messages at least."""
        all_records = await self._many(storage)
        holders = [Holder(storage)]
        for count in (2, 3):
            holders.append(Holder(storage))
            await settle(*holders)
            smallest = min(map(len, await shares_of(holders, all_records)))

            assert smallest >= len(all_records) / count / 2

    @check
    async def test_two_of_one_name_are_two(self, storage: Storage) -> None:
        """The name is for people: two processes of one machine may bear the same."""
        all_records = await self._many(storage)
        holders = [Holder(storage, name="relay"), Holder(storage, name="relay")]
        await settle(*holders)
        await shares_of(holders, all_records)
        await holders[0].release()
        await holders[1].renew()

        assert all_records == await holders[1].share()

    @check
    async def test_relays_may_come_at_once(self, storage: Storage) -> None:
        """All renew and rebalance at the same time, and none is in another's way."""
        all_records = await self._many(storage)
        holders = [Holder(storage, name=f"relay-{number}") for number in range(4)]
        await run_all([partial(settle, holder) for holder in holders], limit=len(holders))
        await settle(*holders)

        await shares_of(holders, all_records)

    # Who comes, and who goes ------------------------------------------------------------------------------------------

    @check
    async def test_renew_tells_that_a_relay_has_come(self, storage: Storage) -> None:
        """Who has more than its share now is told so, and has less after it has rebalanced."""
        all_records = await self._many(storage)
        first, second = await alone(storage), Holder(storage)
        await second.renew()
        is_told = await first.lease.renew()
        has_grown = await first.lease.rebalance()

        assert (True, False) == (is_told, has_grown)
        assert len(await first.share()) < len(all_records)

    @check
    async def test_renew_tells_that_a_relay_has_gone(self, storage: Storage) -> None:
        """Who may take its share is told so, and rebalancing answers that there is more to read."""
        all_records = await self._many(storage)
        first, second = await alone(storage), Holder(storage)
        await settle(first, second)
        await first.release()
        is_told = await second.lease.renew()
        has_grown = await second.lease.rebalance()

        assert (True, True) == (is_told, has_grown)
        assert all_records == await second.share()

    @check
    async def test_renew_tells_that_nothing_has_changed(self, storage: Storage) -> None:
        """Who rebalances all the same has what it had."""
        all_records = await self._many(storage)
        holders = [Holder(storage) for _ in range(3)]
        await settle(*holders)
        before = await shares_of(holders, all_records)
        told = [await holder.lease.renew() for holder in holders]
        grown = [await holder.lease.rebalance() for holder in holders]

        assert [False] * 3 == told
        assert [False] * 3 == grown
        assert before == await shares_of(holders, all_records)

    @check
    async def test_what_is_released_goes_to_others_at_once(self, storage: Storage) -> None:
        """To whoever renews next; who has released it is given nothing of it any more, and may come again."""
        all_records = await self._many(storage)
        first, second = await alone(storage), Holder(storage)
        await settle(first, second)
        await first.release()
        after_release = await first.share()
        await second.renew()
        taken_over = await second.share()
        await settle(first, second)

        assert [] == after_release
        assert all_records == taken_over
        await shares_of([first, second], all_records)

    @check
    async def test_release_is_harmless_without_a_share(self, storage: Storage) -> None:
        """Before the first one, and twice: a relay that stops does not know what became of its last call."""
        all_records = await self._many(storage)
        holder, stranger = await alone(storage), Holder(storage)
        await stranger.release()
        await stranger.renew()
        await stranger.release()
        await stranger.release()
        await settle(holder)

        assert all_records == await holder.share()

    # Who dies, and who was only thought dead --------------------------------------------------------------------------

    @check
    async def test_a_share_is_kept_until_it_lapses(self, storage: Storage) -> None:
        """Though its relay does nothing for a while, and others renew all the time."""
        all_records = await self._many(storage)
        quiet, busy = await alone(storage), Holder(storage)
        await settle(quiet, busy)
        before = await shares_of([quiet, busy], all_records)
        await settle(busy)

        assert before == await shares_of([quiet, busy], all_records)

    @check
    async def test_each_renewal_keeps_a_share(self, storage: Storage) -> None:
        """However long it is held: of who renews in time, nothing is taken."""
        all_records = await self._many(storage)
        while not await self._keeps_renewing(storage, all_records):
            await sleep(0)

    @check
    async def test_a_share_that_is_not_renewed_goes_to_others(self, storage: Storage) -> None:
        """When it has lapsed: who died does not keep its keys for ever. The others are told so."""
        all_records = await self._many(storage)
        dying, other = Holder(storage, ttl_s=SHORT_S), Holder(storage)
        await dying.renew()
        await other.renew()

        await self._until_all_is_held_by(other, storage, all_records)

    @check
    async def test_who_was_thought_dead_does_not_keep_what_others_have(self, storage: Storage) -> None:
        """It renews when its share has lapsed and is another's: then none is given what another is given."""
        all_records = await self._many(storage)
        frozen, other = Holder(storage, ttl_s=SHORT_S), Holder(storage)
        await frozen.renew()
        at_once: list[int] = []
        in_the_end: list[int] = []
        took_s = SHORT_S
        while took_s >= SHORT_S:  # it has lapsed again meanwhile, so nobody knows what it has
            await self._until_all_is_held_by(other, storage, all_records)
            began = monotonic()
            await frozen.renew()
            await other.renew()
            at_once = await _positions(frozen, other)
            await frozen.renew()
            in_the_end = await _positions(frozen, other)
            took_s = monotonic() - began

        assert len(set(at_once)) == len(at_once)
        assert len(set(in_the_end)) == len(in_the_end)

    async def _many(self, storage: Storage, *, messages_of_a_key: int = 1) -> list[OutboxRecord]:
        """Enqueue messages of many keys, and some without one."""
        keys = [f"key-{number}" for number in range(_KEYS)] * messages_of_a_key
        await self.commit(storage, envelopes=[envelope(b"", key) for key in [*keys, *[None] * 20]])
        return await self.waiting(storage)

    async def _until_all_is_held_by(
        self, holder: Holder, storage: Storage, all_records: Sequence[OutboxRecord]
    ) -> None:
        """Let others' shares lapse, and *holder* take them."""

        async def has_all() -> bool:
            await holder.renew()
            return await holder.share() == all_records

        await self.until(storage, SHORT_S, has_all, failure="A share that was not renewed did not go to others.")

    async def _keeps_renewing(self, storage: Storage, all_records: Sequence[OutboxRecord]) -> bool:
        """
        Hold everything for longer than a share is kept, while another would take it.

        Returns:
            Whether it was renewed in time; if not, as on a busy machine, nothing was to be seen.
        """
        holder, other = Holder(storage, ttl_s=SHORT_S), Holder(storage)
        longest_s = 0.0
        began = monotonic()
        await holder.renew()
        await other.renew()
        for _ in range(3):
            await self.pass_time(storage, SHORT_S / 2)
            last_began, began = began, monotonic()
            await holder.lease.renew()
            longest_s = max(longest_s, monotonic() - last_began)
        await other.renew()
        records = await holder.share()
        longest_s = max(longest_s, monotonic() - began)
        await holder.release()
        await other.release()
        is_in_time = longest_s < SHORT_S

        assert not is_in_time or all_records == records

        return is_in_time


async def _positions(*holders: Holder) -> list[int]:
    """Read where the messages stand that any of *holders* is given, as often as they are."""
    return [record.position for holder in holders for record in await holder.share()]
