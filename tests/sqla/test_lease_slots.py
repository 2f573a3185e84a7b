"""Who has which slots: what is fair, who joins, leaves and dies, and what a clock may do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_core.concurrency import run_all
from cqrs_sqla.relaying import SqlAlchemyOutboxLease
from cqrs_sqla.relaying.shares import Division
from cqrs_sqla.slots import SLOTS
from cqrs_sqla.tables import Tables

TTL_S = 3600.0
ALL = range(SLOTS)


# What is fair, without a database -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relays", "mine", "free", "surplus", "wanted"),
    [
        (1, [], ALL, [], 64),
        (1, ALL, [], [], 0),
        (2, ALL, [], list(range(32, 64)), 0),
        (2, range(32), range(32, 64), [], 0),
        (2, [], range(10), [], 10),  # 32 would be fair, and 10 are free
        (3, range(22), [], [], 0),  # 64 / 3 = 21.3
        (3, range(21), [63], [], 1),
        (3, range(23), [], [22], 0),
        (64, [5, 3], [], [5], 0),
        (100, [], [1, 2], [], 1),  # who comes too late has nothing, and stands by
    ],
)
def test_a_share_is_fair(relays: int, mine: Any, free: Any, surplus: list[int], wanted: int) -> None:
    """All slots by the number of relays, rounded up, so that each slot is somebody's."""
    division = Division(relays, mine, free)

    assert surplus == division.surplus
    assert wanted == division.wanted
    assert division.is_fair == (not surplus and not wanted)


# In the database ------------------------------------------------------------------------------------------------------


class Relays:
    """Relays without a broker, and what the tables say of them."""

    def __init__(self, engine: AsyncEngine, tables: Tables) -> None:
        self.engine = engine
        self.tables = tables
        self.leases: list[SqlAlchemyOutboxLease] = []

    def join(self, *, ttl_s: float = TTL_S) -> SqlAlchemyOutboxLease:
        lease = SqlAlchemyOutboxLease(self.engine, self.tables, "relay", ttl_s=ttl_s)
        self.leases.append(lease)
        return lease

    async def settle(self, *leases: SqlAlchemyOutboxLease) -> None:
        for _ in range(3):
            for lease in leases:
                if await lease.renew():
                    await lease.rebalance()

    async def counts(self) -> list[int]:
        """How many slots each has, by the table."""
        owner = self.tables.outbox_slot.c.owner
        async with self.engine.connect() as connection:
            found = Counter(await connection.scalars(sa.select(owner)))
        return [found.get(lease.node, 0) for lease in self.leases]

    async def nodes(self) -> set[str]:
        async with self.engine.connect() as connection:
            return set(await connection.scalars(sa.select(self.tables.outbox_relay.c.node)))

    async def execute(self, statement: Any) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(statement)


@pytest.fixture
def relays(engine: AsyncEngine, tables: Tables) -> Relays:
    return Relays(engine, tables)


async def test_slots_follow_who_joins_leaves_and_dies(relays: Relays) -> None:
    """They are divided evenly each time; who is gone for good is forgotten."""
    story: list[list[int]] = []
    first = relays.join()
    await relays.settle(first)
    story.append(await relays.counts())
    second, third = relays.join(), relays.join(ttl_s=0.001)
    await run_all([lambda: relays.settle(first), lambda: relays.settle(second)], limit=2)
    await relays.settle(first, second)
    story.append(await relays.counts())
    await third.renew()  # and dies: it counts no longer than that, and never gets anything
    await relays.settle(first, second)
    story.append(await relays.counts())
    await second.release()
    await relays.settle(first)
    story.append(await relays.counts())

    assert [[64], [32, 32, 0], [32, 32, 0], [64, 0, 0]] == story
    assert {first.node} == await relays.nodes()


async def test_a_slot_that_is_missing_is_made(relays: Relays) -> None:
    """Who takes the tables over from a backup, or empties one, need not know what has to be in it."""
    slot = relays.tables.outbox_slot
    lease = relays.join()
    await relays.settle(lease)
    await relays.execute(sa.delete(slot).where(slot.c.slot.in_([0, 17, 63])))
    await relays.settle(lease)

    assert [SLOTS] == await relays.counts()


async def test_a_clock_that_jumps_ahead_costs_nothing_but_the_share(relays: Relays) -> None:
    """What has lapsed by the database's clock may be taken; who had it sees that, and comes to its share again."""
    tables = relays.tables
    first, second = relays.join(), relays.join()
    await relays.settle(first)
    long_ago = sa.text("UPDATE outbox_slot SET until = '2000-01-01 00:00:00.000000'")
    await relays.execute(long_ago)
    await relays.execute(sa.delete(tables.outbox_relay))
    await second.renew()
    await second.rebalance()
    taken = await relays.counts()
    is_told = await first.renew()
    has_grown = await first.rebalance()
    await relays.settle(second, first)

    assert [0, 64] == taken
    assert (False, False) == (is_told, has_grown)
    assert [32, 32] == await relays.counts()


async def test_who_gives_up_leaves_alone_what_has_become_anothers(relays: Relays) -> None:
    """Between looking and giving up, what has lapsed may be taken."""
    slot = relays.tables.outbox_slot
    first, second = relays.join(), relays.join()
    await relays.settle(first)
    await second.renew()
    await relays.execute(sa.update(slot).where(slot.c.slot >= 40).values(owner=second.node))
    await first.renew()
    await first.rebalance()

    assert [32, 24] == await relays.counts()


async def test_what_was_taken_without_an_answer_is_held_after_the_next_rebalancing(relays: Relays) -> None:
    """The connection may break when a share has been taken: renewing tells of it, and only rebalancing gives it."""
    slot = relays.tables.outbox_slot
    lease = relays.join()
    await lease.renew()
    await relays.execute(sa.update(slot).values(owner=lease.node))
    is_told = await lease.renew()
    held_before = repr(lease)
    has_grown = await lease.rebalance()

    assert is_told
    assert "slots=0" in held_before
    assert has_grown
    assert "slots=64" in repr(lease)


async def test_many_relays_may_come_at_once(relays: Relays) -> None:
    """More than there are slots for would stand by; eight have eight each."""
    leases = [relays.join() for _ in range(8)]

    async def settle(lease: SqlAlchemyOutboxLease) -> None:
        await relays.settle(lease)

    await run_all([lambda lease=lease: settle(lease) for lease in leases], limit=len(leases))
    await relays.settle(*leases)

    assert [8] * 8 == await relays.counts()
