"""What a relay reads of the outbox, and takes out of it, by its lease."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cqrs_core.concurrency import Gate, run_all, sleep
from cqrs_core.testing.conformance.storage.holders import LONG_S, Holder, alone, settle
from cqrs_core.testing.conformance.storage.suite import StorageSuite, check, envelope, envelopes

if TYPE_CHECKING:
    from cqrs_core.storage import Storage

#: More than a database takes in one statement, if each is a parameter of its own, or if it is written carelessly.
_MANY = 3000
_BESIDE = 20


class FetchingChecks(StorageSuite):
    """Leases of the outbox: reading and removing."""

    @check
    async def test_who_is_alone_is_given_everything(self, storage: Storage) -> None:
        """As it was enqueued, in its order, with a key or without one; and from what is committed later too."""
        enqueued = [envelope(b"%d" % number, f"key-{number % 7}" if number % 3 else None) for number in range(200)]
        enqueued[7] = envelope(b"\xff", "clé", note="bytes that are no text: \udcff\udcfe, \uf8ff")
        await self.commit(storage, envelopes=enqueued[:150])
        holder = await alone(storage)
        await self.commit(storage, envelopes=enqueued[150:])

        assert await self.waiting(storage) == await holder.share()
        assert enqueued == [record.envelope for record in await holder.share()]

    @check
    async def test_a_lease_takes_nothing_before_it_is_renewed(self, storage: Storage) -> None:
        """Who has made one has nothing yet, and nobody has less because of it."""
        await self.commit(storage, envelopes=[envelope(b"", f"{number}") for number in range(100)])
        holder = await alone(storage)
        newcomer = Holder(storage)
        await settle(holder)

        assert [] == await newcomer.bodies()
        assert await self.waiting(storage) == await holder.share()

    @check
    async def test_fetching_takes_nothing(self, storage: Storage) -> None:
        """Who fetches again is given the same: what is on its way may never arrive."""
        await self.commit(storage, envelopes=envelopes(b"1", b"2"))
        holder = await alone(storage)

        assert [b"1", b"2"] == await holder.bodies()
        assert [b"1", b"2"] == await holder.bodies()

    @check
    async def test_fetch_gives_no_more_than_the_limit(self, storage: Storage) -> None:
        """The first ones."""
        await self.commit(storage, envelopes=envelopes(b"1", b"2", b"3"))
        holder = await alone(storage)
        records = await holder.lease.fetch(after=0, limit=2, without=[])

        assert [b"1", b"2"] == [record.envelope.body for record in records]

    @check
    async def test_fetch_begins_behind_a_position(self, storage: Storage) -> None:
        """Without that one; and behind the last there is nothing."""
        await self.commit(storage, envelopes=envelopes(b"1", b"2", b"3", b"4"))
        holder = await alone(storage)
        positions = [record.position for record in await holder.share()]
        behind_first = await holder.lease.fetch(after=positions[0], limit=2, without=[])
        behind_last = await holder.lease.fetch(after=positions[-1], limit=2, without=[])

        assert [b"2", b"3"] == [record.envelope.body for record in behind_first]
        assert [] == list(behind_last)

    @check
    async def test_fetch_leaves_out_keys(self, storage: Storage) -> None:
        """Just these, to their capitals and spaces; messages without a key stay, and others fill the limit."""
        keys = ["a", "A", None, "", "a", "b", "a ", "á", "b", "none"]
        await self.commit(storage, envelopes=[envelope(b"%d" % index, key) for index, key in enumerate(keys)])
        holder = await alone(storage)
        without_two = await holder.lease.fetch(after=0, limit=5, without=["a", "b"])
        without_empty = await holder.lease.fetch(after=0, limit=100, without={""})

        assert ["A", None, "", "a ", "á"] == [record.envelope.key for record in without_two]
        assert ["a", "A", None, "a", "b", "a ", "á", "b", "none"] == [record.envelope.key for record in without_empty]

    @check
    async def test_fetch_leaves_out_many_keys(self, storage: Storage) -> None:
        """When a broker refuses a whole topic, thousands of them wait."""
        await self.commit(storage, envelopes=[envelope(b"1", "key-1"), envelope(b"2", "other"), envelope(b"3")])
        holder = await alone(storage)
        records = await holder.lease.fetch(after=0, limit=10, without=[f"key-{number}" for number in range(_MANY)])

        assert [b"2", b"3"] == [record.envelope.body for record in records]

    @check
    async def test_what_is_committed_late_is_fetched_from_the_beginning(self, storage: Storage) -> None:
        """Though what stands behind it was fetched before: positions may be drawn long before units commit."""
        holder = await alone(storage)
        async with self.unit(storage) as late:
            late.enqueue([envelope(b"late", "key")])
            await late.flush()
            # A storage in which one unit at a time can write lets this one wait for the other.
            overtake = partial(self.commit, storage, envelopes=[envelope(b"soon", "key")])

            async def commit_late() -> None:
                await holder.share()
                await late.commit()

            await self.while_waiting(storage, overtake, commit_late)

        assert {b"late", b"soon"} == set(await holder.bodies())

    @check
    async def test_a_share_may_be_renewed_beside_everything_else(self, storage: Storage) -> None:
        """By another task, while messages are read, postponed and removed."""
        await self.commit(storage, envelopes=[envelope(b"%d" % number, f"{number}") for number in range(_BESIDE)])
        holder = await alone(storage)
        seen: list[list[bytes]] = []

        async def work() -> None:
            for _ in range(_BESIDE):
                records = await holder.share()
                seen.append([record.envelope.body for record in records])
                for record in records[:1]:
                    await holder.lease.postpone(record.position, delay_s=LONG_S, error="refused")
                    await holder.lease.remove([record.position])
                await sleep(0)

        async def keep_renewing() -> None:
            while not done.is_open:
                await holder.lease.renew()
                await sleep(0)

        async def work_to_the_end() -> None:
            try:
                await work()
            finally:
                done.open()

        done = Gate()
        await run_all([work_to_the_end, keep_renewing], limit=2)

        assert [[b"%d" % number for number in range(first, _BESIDE)] for first in range(_BESIDE)] == seen

    # Removing --------------------------------------------------------------------------------------------------------

    @check
    async def test_what_is_removed_is_gone(self, storage: Storage) -> None:
        """For everybody; nothing else is."""
        await self.commit(storage, envelopes=envelopes(b"1", b"2", b"3", b"4"))
        holder = await alone(storage)
        positions = [record.position for record in await holder.share()]
        await holder.lease.remove([positions[2], positions[0]])

        assert [b"2", b"4"] == await holder.bodies()
        assert [b"2", b"4"] == await self.bodies(storage)

    @check
    async def test_what_is_not_there_may_be_removed(self, storage: Storage) -> None:
        """Twice, before it has come, and nothing at all: another relay may have been quicker."""
        await self.commit(storage, envelopes=envelopes(b"1", b"2", b"3"))
        holder = await alone(storage)
        first, second, third = [record.position for record in await holder.share()]
        await holder.lease.remove([first])
        await holder.lease.remove([first, second, second, third + 1000])
        await holder.lease.remove([])

        assert [b"3"] == await holder.bodies()

    @check
    async def test_many_may_be_removed_at_once(self, storage: Storage) -> None:
        """As many as a relay has in a batch, and more."""
        await self.commit(storage, envelopes=envelopes(*[b"%d" % number for number in range(_MANY)]))
        holder = await alone(storage)
        positions = [record.position for record in await self.waiting(storage)]
        await holder.lease.remove(positions[:-1])

        assert [b"%d" % (_MANY - 1)] == await holder.bodies()

    @check
    async def test_what_is_others_may_be_removed(self, storage: Storage) -> None:
        """The broker has it, whoever holds its share by now."""
        await self.commit(storage, envelopes=[envelope(b"%d" % number, f"{number}") for number in range(100)])
        stranger = Holder(storage)
        holder = await alone(storage)
        positions = [record.position for record in await holder.share()]
        await stranger.lease.remove(positions[:50])
        await settle(stranger, holder)
        await stranger.lease.remove(positions[50:99])

        assert [b"99"] == await self.bodies(storage)
        assert [b"99"] == [*await holder.bodies(), *await stranger.bodies()]
