"""What was enqueued waits to be sent, as it is, and in order."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from cqrs_core.errors import UnpublishableEnvelope
from cqrs_core.testing.conformance.storage.suite import StorageSuite, check, envelope, envelopes

if TYPE_CHECKING:
    from cqrs_core.storage import Storage

#: The clock of a server may be wrong. That of a time zone is so by half an hour at least, but for those near zero.
_CLOCKS_DIFFER_BY = timedelta(minutes=15)


class EnqueuingChecks(StorageSuite):
    """The outbox, as units write it and as it is looked at."""

    @check
    async def test_envelopes_are_kept_as_they_are(self, storage: Storage) -> None:
        """What waits equals what was enqueued: topic, headers, and every byte; no key is not the empty key."""
        enqueued = [
            envelope(b'{"id": 1}', "order-1", traceparent="00-ab-cd-01"),
            envelope(bytes(range(256)), "ключ", имя="значение", empty=""),
            envelope(b"", None, topic="another.topic_of-mine"),
            envelope(b"\n\r\n", ""),
            envelope(b"\x00", "Ключ", quoted="'\"\\%s:name"),
            envelope(bytes(100_000), "k" * 100, topic="t" * 100),
        ]
        await self.commit(storage, envelopes=enqueued)

        assert enqueued == [record.envelope for record in await self.waiting(storage)]

    @check
    async def test_envelopes_wait_in_the_order_in_which_they_were_given(self, storage: Storage) -> None:
        """Many of them, in several calls, with changes in between, and from one unit to the next."""
        expected = [b"%d" % number for number in range(300)]
        async with self.unit(storage) as unit:
            unit.enqueue(envelopes(*expected[:100]))
            await self.write(unit, "text")
            for body in expected[100:200]:
                unit.enqueue(envelopes(body))
            await unit.commit()
        await self.commit(storage, envelopes=envelopes(*expected[200:]))

        assert expected == await self.bodies(storage)

    @check
    async def test_units_do_not_mix_what_they_enqueue(self, storage: Storage) -> None:
        """Of two at work at once, each writes its own, when it commits, in its order."""
        async with self.unit(storage) as one, self.unit(storage) as other:
            for number in range(3):
                one.enqueue(envelopes(b"one-%d" % number))
                other.enqueue(envelopes(b"other-%d" % number))
            await other.commit()
            by_other = await self.bodies(storage)
            await one.commit()

        assert [b"other-0", b"other-1", b"other-2"] == by_other
        assert [b"one-0", b"one-1", b"one-2"] == [body for body in await self.bodies(storage) if body not in by_other]

    @check
    async def test_enqueuing_nothing_does_nothing(self, storage: Storage) -> None:
        """It does not even begin the unit."""
        async with self.unit(storage) as unit:
            unit.enqueue([])
            is_begun = unit.is_begun
            await unit.commit()

        assert not is_begun
        assert [] == await self.bodies(storage)

    @check
    async def test_of_a_batch_that_does_not_fit_none_is_taken(self, storage: Storage) -> None:
        """It is refused at once, with its topic; what was enqueued before and after it is kept."""
        refused = self.unstorable()
        async with self.unit(storage) as unit:
            with pytest.raises(UnpublishableEnvelope) as caught:
                unit.enqueue([envelope(b"good"), refused, envelope(b"good")])
            is_begun = unit.is_begun
            unit.enqueue(envelopes(b"before"))
            with pytest.raises(UnpublishableEnvelope):
                unit.enqueue([envelope(b"good"), refused])
            unit.enqueue(envelopes(b"after"))
            await unit.commit()

        assert refused.topic == caught.value.topic
        assert not is_begun
        assert [b"before", b"after"] == await self.bodies(storage)

    @check
    async def test_looking_takes_nothing(self, storage: Storage) -> None:
        """Who looks again sees the same messages, at the same positions."""
        await self.commit(storage, envelopes=envelopes(b"1", b"2"))
        first = await storage.outbox.pending()
        second = await storage.outbox.pending()

        assert 2 == len(first)
        assert list(first) == list(second)

    @check
    async def test_pending_gives_no_more_than_the_limit(self, storage: Storage) -> None:
        """The first ones of what waits."""
        await self.commit(storage, envelopes=envelopes(b"1", b"2", b"3"))
        records = await storage.outbox.pending(limit=2)

        assert [b"1", b"2"] == [record.envelope.body for record in records]

    @check
    async def test_pending_begins_behind_a_position(self, storage: Storage) -> None:
        """Without that one; and behind the last there is nothing."""
        await self.commit(storage, envelopes=envelopes(b"1", b"2", b"3", b"4"))
        positions = [record.position for record in await storage.outbox.pending()]
        behind_first = await storage.outbox.pending(after=positions[0], limit=2)
        behind_last = await storage.outbox.pending(after=positions[-1])

        assert [b"2", b"3"] == [record.envelope.body for record in behind_first]
        assert [] == list(behind_last)

    @check
    async def test_later_messages_have_greater_positions(self, storage: Storage) -> None:
        """Greater than 0, from one unit to the next, and with a unit that was rolled back in between."""
        await self.commit(storage, envelopes=envelopes(b"1", b"2"))
        async with self.unit(storage) as unit:
            unit.enqueue(envelopes(b"undone"))
            await unit.flush()
            await unit.rollback()
        await self.commit(storage, envelopes=envelopes(b"3", b"4"))
        positions = [record.position for record in await self.waiting(storage)]

        assert sorted({0, *positions}) == [0, *positions]

    @check
    async def test_positions_are_never_used_twice(self, storage: Storage) -> None:
        """Not when the outbox is empty again, either: who looks behind the last one would overlook the next."""
        await self.commit(storage, envelopes=envelopes(b"1", b"2"))
        old = [record.position for record in await self.waiting(storage)]
        await storage.outbox.lease("conformance", ttl_s=60).remove(old)
        left = await self.bodies(storage)
        await self.commit(storage, envelopes=envelopes(b"3"))
        behind_old = await storage.outbox.pending(after=max(old))

        assert [] == left
        assert [b"3"] == [record.envelope.body for record in behind_old]

    @check
    async def test_created_at_is_when_it_was_written(self, storage: Storage) -> None:
        """Aware, in UTC, and about now: a local time that was taken for one in UTC would be hours away."""
        await self.commit(storage, envelopes=envelopes(b"1"))
        created_at = [record.created_at for record in await self.waiting(storage)]

        assert [timedelta(0)] == [moment.utcoffset() for moment in created_at]
        assert _CLOCKS_DIFFER_BY > abs(datetime.now(timezone.utc) - created_at[0])
