"""A person has what was given up sent again, or forgotten, and lets messages go."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cqrs_core.concurrency import run_all
from cqrs_core.outbox_keeper import Selection
from cqrs_core.testing.conformance.storage.holders import LONG_S, SHORT_S, Holder, alone
from cqrs_core.testing.conformance.storage.selections import ALL, of_keys_and_topics, selections
from cqrs_core.testing.conformance.storage.suite import StorageSuite, check, envelope, envelopes

if TYPE_CHECKING:
    from cqrs_core.outbox_keeper import OutboxKeeper
    from cqrs_core.storage import Storage

_YEAR = timedelta(days=365)


class KeepingChecks(StorageSuite):
    """What looks after the outbox for a person; a storage may have none."""

    # Sending again ----------------------------------------------------------------------------------------------------

    @check
    async def test_what_is_requeued_waits_again(self, storage: Storage) -> None:
        """Behind all others, in its order, the same message without attempts; and it is not among the dead any more."""
        keeper = self.keeper(storage)
        enqueued = [envelope(b"1", "a", имя="значение"), envelope(bytes(range(256)), "a"), envelope(b"3", "a")]
        await self.commit(storage, envelopes=enqueued)
        holder = await alone(storage)
        first, second, third = [record.position for record in await holder.share()]
        await holder.lease.postpone(first, delay_s=0, error="refused")
        await holder.lease.bury(second, reason="permanent", error="refused")
        await holder.lease.bury(first, reason="attempts", error="refused")
        count = await keeper.requeue(ALL)
        records = await holder.share()

        assert 2 == count
        assert [enqueued[2], enqueued[0], enqueued[1]] == [record.envelope for record in records]
        assert [0, 0, 0] == [record.attempts for record in records]
        assert third == records[0].position < records[1].position
        assert [] == list(await keeper.look(ALL, among_dead=True))
        assert 0 == (await keeper.status()).dead

    @check
    async def test_what_is_requeued_begins_anew(self, storage: Storage) -> None:
        """Its age, too: what is requeued is no alarm. And it can be given up once more, and requeued."""
        keeper = self.keeper(storage)
        await self.commit(storage, envelopes=envelopes(b"1"))
        holder = await alone(storage)
        (old,) = await holder.share()
        await holder.lease.bury(old.position, reason="permanent", error="refused")

        async def is_late() -> bool:
            await self.commit(storage, envelopes=envelopes(b"later"))
            return (await self.waiting(storage))[-1].created_at > old.created_at

        await self.until(storage, SHORT_S, is_late, failure="What is written later is not younger.")
        for times in (1, 2):
            assert 1 == await keeper.requeue(ALL)

            (new,) = [record for record in await self.waiting(storage) if record.envelope == old.envelope]

            assert new.created_at > old.created_at
            assert new.position > old.position

            await holder.lease.bury(new.position, reason="permanent", error="refused")

            assert 1 == (await keeper.status()).dead, f"It was given up {times + 1} times, and is not dead once."

    @check
    async def test_only_what_was_selected_is_requeued(self, storage: Storage) -> None:
        """The rest stays dead; where there is nothing, nothing happens."""
        keeper = self.keeper(storage)
        holder, enqueued = await alone(storage), of_keys_and_topics()
        for which, expected in selections(enqueued):
            await self.commit(storage, envelopes=enqueued)
            for record in await holder.share():
                await holder.lease.bury(record.position, reason="permanent", error="refused")
            count = await keeper.requeue(which)

            assert len(expected) == count
            assert expected == await holder.bodies(), f"{which} requeued others."

            await _empty(keeper, holder)

    @check
    async def test_two_who_requeue_at_once_do_it_once(self, storage: Storage) -> None:
        """Each message waits again once, whoever has done it."""
        keeper = self.keeper(storage)
        bodies = [b"%d" % number for number in range(50)]
        await self.commit(storage, envelopes=envelopes(*bodies))
        holder = await alone(storage)
        for record in await holder.share():
            await holder.lease.bury(record.position, reason="permanent", error="refused")
        counts: list[int] = []

        async def requeue() -> None:
            counts.append(await keeper.requeue(ALL))

        await run_all([requeue] * 3, limit=3)

        assert len(bodies) == sum(counts)
        assert sorted(bodies) == sorted(await holder.bodies())

    @check
    async def test_what_is_let_go_is_due(self, storage: Storage) -> None:
        """At its old place and without attempts, whether it waits for a person or for its delay; no key is parked."""
        keeper = self.keeper(storage)
        await self.commit(storage, envelopes=[envelope(b"1", "a"), envelope(b"2", "b"), envelope(b"3", "a")])
        holder = await alone(storage)
        before = await holder.share()
        await holder.lease.postpone(before[0].position, delay_s=None, error="refused")
        await holder.lease.postpone(before[1].position, delay_s=LONG_S, error="refused")
        count = await keeper.let_go(ALL)
        status = await keeper.status()

        assert 2 == count
        assert before == await holder.share()
        assert ([], []) == (list(await holder.lease.parked()), list(status.parked))
        assert not status.needs_a_person
        assert 0 == await keeper.let_go(ALL)

    @check
    async def test_only_what_was_selected_is_let_go(self, storage: Storage) -> None:
        """The rest waits on; and the dead stay where they are."""
        keeper = self.keeper(storage)
        holder, enqueued = await alone(storage), of_keys_and_topics()
        for which, expected in selections(enqueued):
            await self.commit(storage, envelopes=enqueued)
            for record in await holder.share():
                await holder.lease.postpone(record.position, delay_s=None, error="refused")
            count = await keeper.let_go(which)

            assert len(expected) == count
            assert expected == await holder.bodies(), f"{which} let others go."

            await _empty(keeper, holder)

    # Forgetting -------------------------------------------------------------------------------------------------------

    @check
    async def test_purge_forgets_what_was_given_up_long_ago(self, storage: Storage) -> None:
        """And nothing that was given up since, however old it is, nor anything that waits."""
        keeper = self.keeper(storage)
        await self.commit(storage, envelopes=envelopes(b"waits", b"early", b"late"))
        holder = await alone(storage)
        _, early, late = [record.position for record in await holder.share()]
        await holder.lease.bury(early, reason="permanent", error="refused")
        too_early = await keeper.purge(_YEAR, ALL)
        purged: list[int] = []

        async def is_purged() -> bool:
            purged.append(await keeper.purge(timedelta(seconds=SHORT_S), ALL))
            return purged[-1] > 0

        await self.until(storage, SHORT_S, is_purged, failure="What was given up was not purged.")
        await holder.lease.bury(late, reason="permanent", error="refused")
        again = await keeper.purge(timedelta(seconds=LONG_S), ALL)

        assert (0, 1, 0) == (too_early, purged[-1], again)
        assert [late] == [entry.record.position for entry in await keeper.look(ALL, among_dead=True)]
        assert [b"waits"] == await self.bodies(storage)

    @check
    async def test_only_what_was_selected_is_purged(self, storage: Storage) -> None:
        """The rest is kept, however old it is."""
        keeper = self.keeper(storage)
        enqueued = of_keys_and_topics()
        await self.commit(storage, envelopes=enqueued)
        holder = await alone(storage)
        for record in await holder.share():
            await holder.lease.bury(record.position, reason="permanent", error="refused")

        async def is_purged() -> bool:
            return await keeper.purge(timedelta(seconds=SHORT_S), Selection(key="a")) > 0

        await self.until(storage, SHORT_S, is_purged, failure="What was given up was not purged.")
        left = await keeper.look(ALL, among_dead=True)

        assert [one.body for one in enqueued if one.key != "a"] == [entry.record.envelope.body for entry in left]


async def _empty(keeper: OutboxKeeper, holder: Holder) -> None:
    """Let nothing wait and nothing be dead."""
    await keeper.requeue(ALL)
    await keeper.let_go(ALL)
    await holder.lease.remove([record.position for record in await holder.share()])
