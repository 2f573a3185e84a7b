"""What becomes of messages that the broker refuses: they wait, and their keys with them, or are taken out for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.outbox import ParkedKey
from cqrs_core.testing.conformance.storage.holders import LONG_S, SHORT_S, Holder, alone, settle, shares_of
from cqrs_core.testing.conformance.storage.suite import StorageSuite, check, envelope, envelopes

if TYPE_CHECKING:
    from cqrs_core.outbox import OutboxLease
    from cqrs_core.storage import Storage

#: What a broker may say: no database keeps all of it, and none may choke on it.
_ERROR = "ValueError: 'ключ' \"%s\" \\ \x00 🚫 " + "x" * 100_000
#: What is left of an hour's delay before a check must have ended, and what rounding adds.
_ABOUT_AN_HOUR = (LONG_S - 600, LONG_S + 1)


class PostponingChecks(StorageSuite):
    """Leases of the outbox: messages that wait, keys that are parked, and the dead."""

    @check
    async def test_what_is_postponed_is_not_due(self, storage: Storage) -> None:
        """Alone: the others of its key are, and are left out by who asks; and it stays in the outbox."""
        enqueued = [envelope(b"%d" % number, key) for number, key in enumerate(["a", "b", "a", None, None])]
        await self.commit(storage, envelopes=enqueued)
        holder = await alone(storage)
        positions = [record.position for record in await holder.share()]
        await holder.lease.postpone(positions[0], delay_s=LONG_S, error="refused")
        await holder.lease.postpone(positions[3], delay_s=LONG_S, error="refused")
        more = await holder.lease.fetch(after=0, limit=2, without=[])

        assert [b"1", b"2", b"4"] == await holder.bodies()
        assert [b"1", b"2"] == [record.envelope.body for record in more]
        assert positions == [record.position for record in await self.waiting(storage)]

    @check
    async def test_what_is_postponed_is_due_after_its_delay(self, storage: Storage) -> None:
        """At its old place, and its key is not parked any more."""
        await self.commit(storage, envelopes=[envelope(b"1", "a"), envelope(b"2", "a"), envelope(b"3", "b")])
        holder = await alone(storage)
        before = await holder.share()
        await holder.lease.postpone(before[0].position, delay_s=SHORT_S, error="refused")

        async def is_due() -> bool:
            return len(await holder.share()) == len(before)

        await self.until(storage, SHORT_S, is_due, failure="A message that was postponed did not become due.")

        assert [record.position for record in before] == [record.position for record in await holder.share()]
        assert [] == [one for one in await holder.lease.parked() if one.delay_s is None or one.delay_s > 0]

    @check
    async def test_what_is_postponed_without_a_delay_waits_for_a_person(self, storage: Storage) -> None:
        """Not due when others are, and its key stays parked; who holds it cannot be told by when."""
        await self.commit(storage, envelopes=[envelope(b"halted", "a"), envelope(b"due", "b")])
        holder = await alone(storage)
        halted, due = await holder.share()
        await holder.lease.postpone(halted.position, delay_s=None, error="refused")
        await holder.lease.postpone(due.position, delay_s=SHORT_S, error="refused")

        async def is_any_due() -> bool:
            return bool(await holder.share())

        await self.until(storage, SHORT_S, is_any_due, failure="A message that was postponed did not become due.")

        assert [b"due"] == await holder.bodies()
        assert ParkedKey("a", None) in await holder.lease.parked()

    @check
    async def test_attempts_are_counted(self, storage: Storage) -> None:
        """One each time, of that message alone, and to be seen by who fetches it next."""
        await self.commit(storage, envelopes=envelopes(b"1", b"2"))
        holder = await alone(storage)
        story = [[record.attempts for record in await holder.share()]]
        for _ in range(3):
            await self._refuse_first(storage, holder)
            story.append([record.attempts for record in await holder.share()])

        assert [[0, 0], [1, 0], [2, 0], [3, 0]] == story

    @check
    async def test_an_error_may_say_anything(self, storage: Storage) -> None:
        """However long, in whatever characters: a relay that cannot write it down would stop."""
        await self.commit(storage, envelopes=envelopes(b"1", b"2", b"3"))
        holder = await alone(storage)
        first, second, _ = await holder.share()
        await holder.lease.postpone(first.position, delay_s=LONG_S, error=_ERROR)
        await holder.lease.bury(second.position, reason="permanent", error=_ERROR)

        assert [b"3"] == await holder.bodies()

    @check
    async def test_what_is_gone_may_be_postponed_and_buried(self, storage: Storage) -> None:
        """Another relay may have been quicker. It does not come back."""
        await self.commit(storage, envelopes=[envelope(b"1", "a"), envelope(b"2", "b")])
        holder = await alone(storage)
        first, second = await holder.share()
        await holder.lease.remove([first.position])
        await holder.lease.postpone(first.position, delay_s=LONG_S, error="refused")
        await holder.lease.postpone(second.position + 1000, delay_s=None, error="refused")

        assert [] == list(await holder.lease.parked())
        assert [b"2"] == await self.bodies(storage)

        await holder.lease.bury(first.position, reason="permanent", error="refused")

        assert [b"2"] == await self.bodies(storage)

    # Parked keys -----------------------------------------------------------------------------------------------------

    @check
    async def test_keys_of_postponed_messages_are_parked(self, storage: Storage) -> None:
        """With what is left of the delay; nobody waits for messages without a key."""
        enqueued = [envelope(b"%d" % number, key) for number, key in enumerate(["a", "", None, "free"])]
        await self.commit(storage, envelopes=enqueued)
        holder = await alone(storage)
        at_first = list(await holder.lease.parked())
        positions = [record.position for record in await holder.share()]
        for position, delay_s in zip(positions, (LONG_S, None, LONG_S), strict=False):
            await holder.lease.postpone(position, delay_s=delay_s, error="refused")
        parked = await _parked(holder.lease)

        assert [] == at_first
        assert {"a", ""} == set(parked)
        assert parked[""] is None
        assert _is_about_an_hour(parked["a"])

    @check
    async def test_a_key_is_parked_for_its_first_message(self, storage: Storage) -> None:
        """If two of them wait, as when two relays have sent the key: the later one must not go first."""
        await self.commit(storage, envelopes=[envelope(b"%d" % number, "ab"[number % 2]) for number in range(4)])
        holder = await alone(storage)
        first_a, first_b, second_a, second_b = [record.position for record in await holder.share()]
        for position, delay_s in ((second_a, LONG_S), (first_a, None), (first_b, LONG_S), (second_b, None)):
            await holder.lease.postpone(position, delay_s=delay_s, error="refused")
        parked = await _parked(holder.lease)

        assert {"a", "b"} == set(parked)
        assert parked["a"] is None
        assert _is_about_an_hour(parked["b"])

    @check
    async def test_keys_are_parked_with_who_holds_them(self, storage: Storage) -> None:
        """Each is listed to the one that would be given its messages, whoever has postponed them."""
        keys = {f"key-{number}" for number in range(60)}
        await self.commit(storage, envelopes=[envelope(b"", key) for key in keys])
        holders = [Holder(storage), Holder(storage)]
        await settle(*holders)
        shares = await shares_of(holders, await self.waiting(storage))
        for record in await self.waiting(storage):
            await holders[0].lease.postpone(record.position, delay_s=LONG_S, error="refused")
        parked = [set(await _parked(holder.lease)) for holder in holders]

        assert [{record.envelope.key for record in share} for share in shares] == parked

    @check
    async def test_what_waits_goes_to_who_takes_over(self, storage: Storage) -> None:
        """With its attempts, and with its delay: the next relay must not let followers overtake it."""
        await self.commit(storage, envelopes=[envelope(b"1", "a"), envelope(b"2", "b")])
        first = await alone(storage)
        long, short = await first.share()
        await first.lease.postpone(long.position, delay_s=LONG_S, error="refused")
        await first.lease.postpone(short.position, delay_s=0, error="refused")
        await first.release()
        second = await alone(storage)

        async def is_due() -> bool:
            return bool(await second.share())

        await self.until(storage, 0, is_due, failure="A message that was postponed by no time did not become due.")

        assert [(b"2", 1)] == [(record.envelope.body, record.attempts) for record in await second.share()]
        assert _is_about_an_hour((await _parked(second.lease))["a"])

    # The dead --------------------------------------------------------------------------------------------------------

    @check
    async def test_what_is_buried_is_not_in_the_outbox(self, storage: Storage) -> None:
        """Its key is not parked for it, though it was; what stands behind it goes on."""
        await self.commit(storage, envelopes=[envelope(b"1", "a"), envelope(b"2", "a"), envelope(b"3", "b")])
        holder = await alone(storage)
        first, _, third = await holder.share()
        await holder.lease.postpone(first.position, delay_s=LONG_S, error="refused")
        await holder.lease.bury(first.position, reason="attempts", error="refused")
        await holder.lease.bury(third.position, reason="permanent", error="refused")

        assert [b"2"] == await holder.bodies()
        assert [b"2"] == await self.bodies(storage)
        assert [] == list(await holder.lease.parked())

    @check
    async def test_what_is_buried_is_kept_among_the_dead(self, storage: Storage) -> None:
        """As it was enqueued, with the reason and the error, for a person; once, though it is buried twice."""
        enqueued = [envelope(b"1", "a", имя="значение"), envelope(bytes(range(256)))]
        await self.commit(storage, envelopes=enqueued)
        holder = await alone(storage)
        first, second = [record.position for record in await holder.share()]
        await holder.lease.bury(first, reason="attempts", error="OSError: full")
        await holder.lease.bury(second, reason="permanent", error="OSError: too long")
        await holder.lease.bury(second, reason="permanent", error="OSError: too long")

        expected = [(enqueued[0], "attempts", "OSError: full"), (enqueued[1], "permanent", "OSError: too long")]
        assert expected == await self.dead(storage)

    async def _refuse_first(self, storage: Storage, holder: Holder) -> None:
        """Postpone the first message by no time, and wait for that to pass."""
        before = await holder.share()
        await holder.lease.postpone(before[0].position, delay_s=0, error="refused")

        async def is_due() -> bool:
            return len(await holder.share()) == len(before)

        await self.until(storage, 0, is_due, failure="A message that was postponed by no time did not become due.")


async def _parked(lease: OutboxLease) -> dict[str, float | None]:
    """Read the keys that are parked; each is listed once."""
    parked = await lease.parked()
    delays = {one.key: one.delay_s for one in parked}

    assert len(delays) == len(parked), "A key is listed twice as parked."

    return delays


def _is_about_an_hour(delay_s: float | None) -> bool:
    least, most = _ABOUT_AN_HOUR
    return delay_s is not None and least < delay_s <= most
