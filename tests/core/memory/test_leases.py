"""How relays share the outbox of the memory storage, to the slot and to the second."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.envelope import Envelope
from cqrs_core.errors import InvalidOption
from cqrs_core.memory import MemoryStorage
from cqrs_core.memory.leases import Slots
from cqrs_core.outbox import ParkedKey
from cqrs_core.relay import OutboxRelay, RelayOptions
from cqrs_core.resilience import RetryPolicy
from cqrs_core.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from cqrs_core.memory.leases import MemoryLease

TTL_S = 30.0


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@asynccontextmanager
async def started(clock: VirtualClock, *envelopes: Envelope) -> AsyncIterator[MemoryStorage]:
    storage = MemoryStorage(clock=clock)
    await storage.start()
    unit = storage.unit_of_work()
    unit.enqueue(envelopes)
    await unit.commit()
    yield storage
    await storage.stop()


async def held_by(storage: MemoryStorage, name: str = "relay", *, ttl_s: float = TTL_S) -> MemoryLease:
    lease = storage.outbox.lease(name, ttl_s=ttl_s)
    await lease.renew()
    await lease.rebalance()
    return lease


async def bodies(lease: MemoryLease) -> list[bytes]:
    return [record.envelope.body for record in await lease.fetch(after=0, limit=100, without=())]


# Slots ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relays", "shares"),
    [
        (1, [64]),
        (2, [32, 32]),
        (3, [22, 22, 20]),  # 64 / 3, rounded up; the last has what is left
        (5, [13, 13, 13, 13, 12]),
        (64, [1] * 64),
        (65, [1] * 64 + [0]),  # one stands by
    ],
)
def test_each_has_no_more_than_its_share(clock: VirtualClock, relays: int, shares: list[int]) -> None:
    """All slots divided by all relays, rounded up: so none is left over."""
    slots = Slots(clock)
    names = [f"relay-{number}" for number in range(relays)]
    for _ in range(2):  # the first time, those who came first still have too many when the others come
        for name in names:
            slots.renew(name, TTL_S)
            slots.rebalance(name)
    for name in names:
        slots.rebalance(name)

    assert shares == sorted((len(slots.owned_by(name)) for name in names), reverse=True)


def test_who_has_a_fair_share_keeps_it_when_another_comes(clock: VirtualClock) -> None:
    """As few slots as can be change hands: what is on its way is sent twice then, if somebody is slow."""
    slots = Slots(clock)
    slots.renew("first", TTL_S)
    slots.rebalance("first")
    before = slots.owned_by("first")
    slots.renew("second", TTL_S)
    slots.rebalance("first")

    assert before[:32] == slots.owned_by("first")


async def test_a_share_lapses_to_the_second(clock: VirtualClock) -> None:
    """At 30 s after the last renewal, not before."""
    slots = Slots(clock)
    slots.renew("relay", TTL_S)
    slots.rebalance("relay")
    story = []
    for seconds in (29, 0.9, 0.1):
        await clock.advance(seconds)
        story.append(len(slots.owned_by("relay")))

    assert [64, 64, 0] == story


async def test_who_has_lapsed_takes_what_is_free_and_tells_so(clock: VirtualClock) -> None:
    """Though nobody else was there meanwhile: it cannot know."""
    async with started(clock, Envelope("topic", b"1")) as storage:
        lease = await held_by(storage)
        await clock.advance(TTL_S)
        lapsed = await bodies(lease)
        without_renewing = await lease.rebalance()
        is_told = await lease.renew()
        has_grown = await lease.rebalance()

        assert ([], False, True, True) == (lapsed, without_renewing, is_told, has_grown)
        assert [b"1"] == await bodies(lease)


async def test_a_lease_does_not_outlive_the_storage(clock: VirtualClock) -> None:
    """It may be renewed when that is started again; till then, it is not counted."""
    async with started(clock) as storage:
        lease = await held_by(storage)
        await storage.stop()
        await storage.start()
        has_none = repr(lease)
        await lease.renew()
        await lease.rebalance()

        assert ["MemoryLease('relay', slots=0)", "MemoryLease('relay', slots=64)"] == [has_none, repr(lease)]


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan")])
def test_a_share_for_no_time_is_refused(ttl_s: float) -> None:
    with pytest.raises(InvalidOption, match=r"^ttl_s is .*\. It must be more than 0\.$"):
        MemoryStorage().outbox.lease("relay", ttl_s=ttl_s)


# What waits, and what is dead ----------------------------------------------------------------------------------------


async def test_delays_are_kept_to_the_second(clock: VirtualClock) -> None:
    """What is parked is so for what is left of the delay, and not at its end."""
    async with started(clock, Envelope("topic", b"1", "key")) as storage:
        lease = await held_by(storage, ttl_s=1000)
        await lease.postpone(1, delay_s=60, error="refused")
        await clock.advance(59)
        before_end = (await lease.parked(), await bodies(lease))
        await clock.advance(1)
        at_end = (await lease.parked(), await bodies(lease))

    assert ([ParkedKey("key", 1.0)], []) == before_end
    assert ([], [b"1"]) == at_end


async def test_what_was_refused_can_be_looked_at(clock: VirtualClock) -> None:
    """What waits and what is dead, each with what the broker said; nothing of it outlives the storage."""
    async with started(clock, Envelope("topic", b"1"), Envelope("topic", b"2")) as storage:
        lease = await held_by(storage)
        await lease.postpone(1, delay_s=None, error="OSError: full")
        await lease.postpone(2, delay_s=0, error="OSError: full")
        await lease.bury(2, reason="permanent", error="OSError: too long")
        refusals = {position: refusal.error for position, refusal in storage.outbox.records.refusals.items()}
        dead = [(one.record.position, one.record.attempts, one.reason, one.error) for one in storage.outbox.dead]
        await storage.stop()

        assert {1: "OSError: full"} == refusals
        assert [(2, 1, "permanent", "OSError: too long")] == dead
        assert ({}, []) == (storage.outbox.records.refusals, storage.outbox.dead)


# With a relay --------------------------------------------------------------------------------------------------------


class Courier:
    """A broker that refuses what it is told to."""

    keeps_order_after_failure = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.refused: set[bytes] = set()

    async def send_many(self, envelopes: Sequence[Envelope]) -> list[SendOutcome]:
        outcomes = [
            SendOutcome(SendStatus.REFUSED, OSError("full"))
            if envelope.body in self.refused
            else SendOutcome(SendStatus.DELIVERED)
            for envelope in envelopes
        ]
        self.sent += [one.body for one, outcome in zip(envelopes, outcomes, strict=True) if outcome.is_delivered]
        return outcomes


async def test_a_relay_sends_what_was_committed(clock: VirtualClock) -> None:
    """And nothing is left of it, nor of its share."""
    courier = Courier()
    async with started(clock, *[Envelope("topic", b"%d" % n, f"{n % 5}") for n in range(20)]) as storage:
        relay = OutboxRelay(storage.outbox.lease("relay", ttl_s=TTL_S), courier, clock=clock)  # type: ignore[arg-type] # a part of one
        sent = await relay.run_once()

        assert 20 == sent
        assert [b"%d" % n for n in range(20)] == courier.sent
        assert [] == list(await storage.outbox.pending())


async def test_a_key_that_was_halted_goes_on_when_somebody_lets_it(clock: VirtualClock) -> None:
    """Until its refusal is deleted; then it is sent in its order."""
    courier = Courier()
    courier.refused = {b"a1"}
    options = RelayOptions(on_dead="halt", retry=RetryPolicy(max_attempts=1))
    async with started(
        clock, Envelope("topic", b"a1", "a"), Envelope("topic", b"b1", "b"), Envelope("topic", b"c1")
    ) as storage:
        lease = storage.outbox.lease("relay", ttl_s=TTL_S)
        relay = OutboxRelay(lease, courier, options=options, clock=clock)  # type: ignore[arg-type] # a part of one
        await relay.run_once()
        unit = storage.unit_of_work()
        unit.enqueue([Envelope("topic", b"a2", "a")])
        await unit.commit()
        await relay.run_once()
        before = list(courier.sent)
        courier.refused.clear()
        storage.outbox.records.refusals.clear()
        await relay.run_once()

    assert [b"b1", b"c1"] == before
    assert [b"b1", b"c1", b"a1", b"a2"] == courier.sent
