"""A person looks at the outbox: how it does, what waits in it, and what was given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.outbox import ParkedKey
from cqrs_core.outbox_keeper import Selection
from cqrs_core.testing.conformance.storage.holders import LONG_S, SHORT_S, Holder, alone, settle
from cqrs_core.testing.conformance.storage.selections import ALL, of_keys_and_topics, selections
from cqrs_core.testing.conformance.storage.suite import StorageSuite, check, envelope, envelopes

if TYPE_CHECKING:
    from cqrs_core.outbox import OutboxRecord
    from cqrs_core.storage import Storage


class LookingChecks(StorageSuite):
    """What a person sees of the outbox; a storage may show nothing."""

    # How it does ------------------------------------------------------------------------------------------------------

    @check
    async def test_an_outbox_that_was_never_used_needs_nobody(self, storage: Storage) -> None:
        """Nothing waits, nothing is dead, and no relay has a share."""
        status = await self.keeper(storage).status()

        assert (None, 0, 0, 0) == (status.oldest_age_s, status.waiting, status.halted, status.dead)
        assert ([], []) == (list(status.parked), list(status.relays))
        assert status.free_slots == status.slots > 0
        assert not status.needs_a_person

    @check
    async def test_status_tells_the_age_of_the_oldest(self, storage: Storage) -> None:
        """In seconds: the first thing to look at, since it grows whatever it is that does not go on."""
        keeper = self.keeper(storage)
        await self.commit(storage, envelopes=envelopes(b"old"))

        async def is_old() -> bool:
            return ((await keeper.status()).oldest_age_s or 0.0) >= SHORT_S

        await self.until(storage, SHORT_S, is_old, failure="A message that waits did not grow older.")
        await self.commit(storage, envelopes=envelopes(b"new"))
        age_s = (await keeper.status()).oldest_age_s

        assert age_s is not None
        assert SHORT_S <= age_s < LONG_S

        (old, _) = await keeper.look(ALL)
        await (await alone(storage)).lease.remove([old.record.position])
        age_s = (await keeper.status()).oldest_age_s

        assert age_s is not None
        assert -1.0 <= age_s < LONG_S

    @check
    async def test_status_counts_what_waits_and_what_is_dead(self, storage: Storage) -> None:
        """What was refused waits, too; and nothing is counted further than was asked for."""
        keeper = self.keeper(storage)
        await self.commit(storage, envelopes=envelopes(b"1", b"2", b"3", b"4", b"5"))
        holder = await alone(storage)
        first, second, third, *_ = [record.position for record in await holder.share()]
        await holder.lease.bury(first, reason="permanent", error="refused")
        await holder.lease.bury(second, reason="permanent", error="refused")
        await holder.lease.postpone(third, delay_s=LONG_S, error="refused")
        status, short = await keeper.status(), await keeper.status(count_to=1)

        assert (3, 2) == (status.waiting, status.dead)
        assert status.counted_to > 3
        assert (1, 1, 1) == (short.waiting, short.dead, short.counted_to)
        assert status.needs_a_person

    @check
    async def test_status_tells_which_keys_are_parked(self, storage: Storage) -> None:
        """Each once, those that wait for a person first; and counts their messages, without a key too."""
        keeper = self.keeper(storage)
        keys = ["later", "halted", None, "later", "free"]
        await self.commit(storage, envelopes=[envelope(b"", key) for key in keys])
        holder = await alone(storage)
        later, halted, keyless, second, _ = [record.position for record in await holder.share()]
        await holder.lease.postpone(later, delay_s=LONG_S, error="refused")
        await holder.lease.postpone(second, delay_s=LONG_S, error="refused")
        retried = await keeper.status()
        for position in (halted, keyless):
            await holder.lease.postpone(position, delay_s=None, error="refused")
        status, short = await keeper.status(), await keeper.status(count_to=1)

        assert (0, False) == (retried.halted, retried.needs_a_person)
        assert (2, True) == (status.halted, status.needs_a_person)
        assert ["halted", "later"] == [one.key for one in status.parked]
        assert [None, True] == [_is_to_come(one.delay_s) for one in status.parked]
        assert [ParkedKey("halted", None)] == list(short.parked)

    @check
    async def test_status_tells_a_key_that_waits_for_a_person_behind_a_retry(self, storage: Storage) -> None:
        """A person has to know, though an earlier message of the key is only tried again."""
        keeper = self.keeper(storage)
        await self.commit(storage, envelopes=[envelope(b"", key) for key in ("later", "both", "both")])
        holder = await alone(storage)
        later, first, second = [record.position for record in await holder.share()]
        for position in (later, first):
            await holder.lease.postpone(position, delay_s=LONG_S, error="refused")
        await holder.lease.postpone(second, delay_s=None, error="refused")

        assert ["both", "later"] == [one.key for one in (await keeper.status()).parked]
        assert ParkedKey("both", None) == (await keeper.status()).parked[0]

    @check
    async def test_status_tells_who_shares_the_outbox(self, storage: Storage) -> None:
        """By names, with the slots of each; who has released its share, or let it lapse, is not there."""
        keeper = self.keeper(storage)
        first, second = Holder(storage, name="anna"), Holder(storage, name="berta", ttl_s=SHORT_S)
        await settle(first, second)
        both = await keeper.status()

        assert [True, True] == [any(name in one.name for one in both.relays) for name in ("anna", "berta")]
        assert both.slots == both.free_slots + sum(one.slots for one in both.relays)
        assert any(one.slots for one in both.relays)

        await first.release()

        async def has_lapsed() -> bool:
            status = await keeper.status()
            return not status.relays and status.free_slots == status.slots

        await self.until(storage, SHORT_S, has_lapsed, failure="A relay that was silent did not cease to be counted.")

    # Looking at messages ----------------------------------------------------------------------------------------------

    @check
    async def test_what_waits_can_be_looked_at(self, storage: Storage) -> None:
        """As it was enqueued, with what has become of it; and that changes nothing."""
        keeper = self.keeper(storage)
        enqueued = [envelope(b"1", "a", имя="значение"), envelope(bytes(range(256))), envelope(b"3", "b")]
        await self.commit(storage, envelopes=enqueued)
        holder = await alone(storage)
        first, second, _ = [record.position for record in await holder.share()]
        await holder.lease.postpone(first, delay_s=LONG_S, error="OSError: full")
        await holder.lease.postpone(second, delay_s=None, error="OSError: too long")
        entries = await keeper.look(ALL)

        assert enqueued == [entry.record.envelope for entry in entries]
        assert list(map(_facts, await self.waiting(storage))) == [_facts(entry.record) for entry in entries]
        assert [1, 1, 0] == [entry.record.attempts for entry in entries]
        assert ["OSError: full", "OSError: too long", None] == [entry.error for entry in entries]
        assert [True, None, False] == [_is_to_come(entry.delay_s) for entry in entries]
        assert [(None, None)] * 3 == [(entry.failed_at, entry.reason) for entry in entries]
        assert [b"3"] == await holder.bodies()

    @check
    async def test_the_dead_can_be_looked_at(self, storage: Storage) -> None:
        """By their positions, with why and when they were given up; those that wait are not among them."""
        keeper = self.keeper(storage)
        enqueued = [envelope(b"1", "a", имя="значение"), envelope(bytes(range(256))), envelope(b"3", "b")]
        await self.commit(storage, envelopes=enqueued)
        holder = await alone(storage)
        first, second, third = await holder.share()
        await holder.lease.bury(second.position, reason="permanent", error="OSError: too long")
        await holder.lease.bury(first.position, reason="attempts", error="OSError: full")
        entries = await keeper.look(ALL, among_dead=True)

        assert enqueued[:2] == [entry.record.envelope for entry in entries]
        assert [first.position, second.position] == [entry.record.position for entry in entries]
        assert ["attempts", "permanent"] == [entry.reason for entry in entries]
        assert ["OSError: full", "OSError: too long"] == [entry.error for entry in entries]
        assert [None, None] == [entry.delay_s for entry in entries]
        assert all(entry.failed_at and entry.failed_at >= entry.record.created_at for entry in entries)
        assert [third.position] == [entry.record.position for entry in await keeper.look(ALL)]

    @check
    async def test_one_looks_at_what_was_selected(self, storage: Storage) -> None:
        """By the id, the key and the topic, compared exactly, and all that is given; a page at a time."""
        keeper = self.keeper(storage)
        enqueued = of_keys_and_topics()
        await self.commit(storage, envelopes=enqueued * 2)
        holder = await alone(storage)
        for record in (await holder.share())[len(enqueued) :]:
            await holder.lease.bury(record.position, reason="permanent", error="refused")
        for among_dead in (False, True):
            for which, expected in selections(enqueued):
                found = await keeper.look(which, among_dead=among_dead)

                assert expected == [entry.record.envelope.body for entry in found], f"{which} found others."

            page = await keeper.look(ALL, among_dead=among_dead, limit=2)
            rest = await keeper.look(ALL, among_dead=among_dead, after=page[-1].record.position)
            both = await keeper.look(Selection(key="a"), among_dead=among_dead, limit=2)

            assert [b"0", b"1"] == [entry.record.envelope.body for entry in page]
            assert [one.body for one in enqueued[2:]] == [entry.record.envelope.body for entry in rest]
            assert [b"0", b"2"] == [entry.record.envelope.body for entry in both]


def _facts(record: OutboxRecord) -> tuple[object, ...]:
    """Leave the attempts out, which not everybody tells who looks."""
    return record.position, record.envelope, record.created_at


def _is_to_come(delay_s: float | None) -> bool | None:
    """Tell whether there is something to wait for; ``None``: there is a person to wait for."""
    return None if delay_s is None else delay_s > 0
