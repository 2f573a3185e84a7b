"""What is special about the memory storage; what every storage does is checked in tests/conformance."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cqrs_core.concurrency import Gate, open_cancel_scope, open_task_group, sleep
from cqrs_core.envelope import Envelope
from cqrs_core.errors import CqrsError, InvalidOption, NotProvided, StorageUnavailable, UnpublishableEnvelope
from cqrs_core.memory import Deadlock, MemoryStorage
from cqrs_core.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from cqrs_core.memory.unit import MemoryUnitOfWork

GROUP = "orders"


@asynccontextmanager
async def started(clock: VirtualClock | None = None) -> AsyncIterator[MemoryStorage]:
    storage = MemoryStorage(clock=clock)
    await storage.start()
    yield storage
    await storage.stop()


def named(count: int) -> list[uuid.UUID]:
    return [uuid.uuid4() for _ in range(count)]


async def enqueue(storage: MemoryStorage, *bodies: bytes) -> None:
    unit = storage.unit_of_work()
    unit.enqueue([Envelope("topic", body) for body in bodies])
    await unit.commit()


def test_it_provides_nothing_and_takes_nothing() -> None:
    """What handlers keep in objects of their own is not part of its units."""
    storage = MemoryStorage()

    assert ((), None) == (storage.provides, storage.takes)


# Starting and stopping -----------------------------------------------------------------------------------------------


async def test_it_forgets_everything_when_the_last_one_stops_it() -> None:
    """Several Apps may share one; the first that stops does not take it from the others."""
    storage = MemoryStorage()
    await storage.start()
    await storage.start()
    await enqueue(storage, b"1")
    (message_id,) = named(1)
    unit = storage.unit_of_work()
    await unit.accept(GROUP, [message_id])
    await unit.commit()

    await storage.stop()
    kept = len(await storage.outbox.pending())
    await storage.stop()
    left = len(await storage.outbox.pending())
    await storage.start()

    assert (1, 0) == (kept, left)
    assert [message_id] == await storage.unit_of_work().accept(GROUP, [message_id])


async def test_positions_go_on_after_a_stop() -> None:
    """None is used twice, though everything was forgotten."""
    storage = MemoryStorage()
    positions = []
    for _ in range(2):
        await storage.start()
        await enqueue(storage, b"1", b"2")
        positions += [record.position for record in await storage.outbox.pending()]
        await storage.stop()

    assert [1, 2, 3, 4] == positions


async def test_a_storage_that_is_not_started_is_not_used() -> None:
    storage = MemoryStorage()
    await storage.stop()

    with pytest.raises(StorageUnavailable, match="it is not started, or was stopped."):
        storage.unit_of_work()


async def test_a_unit_that_was_not_closed_keeps_nobody_waiting_after_a_stop() -> None:
    storage = MemoryStorage()
    await storage.start()
    (message_id,) = named(1)
    await storage.unit_of_work().accept(GROUP, [message_id])
    await storage.stop()
    await storage.start()

    assert [message_id] == await storage.unit_of_work().accept(GROUP, [message_id])


# Making --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["", "memory://"])
def test_an_address_says_that_it_is_one_and_no_more(address: str) -> None:
    assert isinstance(MemoryStorage.from_url(address), MemoryStorage)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: MemoryStorage.from_url("memory://shop"), "address is 'memory://shop'. It must be 'memory://' and no"),
        (lambda: MemoryStorage(max_message_bytes=0), "max_message_bytes is 0. It must be at least 1."),
    ],
)
def test_an_option_that_means_nothing_is_refused(make: Callable[[], MemoryStorage], text: str) -> None:
    with pytest.raises(InvalidOption, match=f"^{text}"):
        make()


# The outbox ----------------------------------------------------------------------------------------------------------


async def test_a_body_that_is_too_long_is_refused_with_the_cure() -> None:
    storage = MemoryStorage.from_url("memory://", max_message_bytes=10)
    await storage.start()
    unit = storage.unit_of_work()
    unit.enqueue([Envelope("topic", bytes(10))])

    with pytest.raises(UnpublishableEnvelope) as caught:
        unit.enqueue([Envelope("topic", bytes(11), headers={"ce_type": "OrderPlaced"})])

    assert ("OrderPlaced", "topic") == (caught.value.name, caught.value.topic)
    assert (
        "OrderPlaced for 'topic' cannot be kept in the outbox: its body has 11 bytes, and this memory storage takes "
        "10. Send where the content is to be found, or raise max_message_bytes."
    ) == str(caught.value)


async def test_messages_bear_the_time_of_their_commit() -> None:
    clock = VirtualClock()
    async with started(clock) as storage:
        unit = storage.unit_of_work()
        unit.enqueue([Envelope("topic", b"1")])
        await clock.advance(60)
        await unit.commit()
        (record,) = await storage.outbox.pending()

    assert clock.now() == record.created_at


# The inbox -----------------------------------------------------------------------------------------------------------


async def test_purge_forgets_what_is_older_to_the_second() -> None:
    """What is just as old as asked for stays."""
    clock = VirtualClock()
    ids = named(3)
    async with started(clock) as storage:
        for message_id in ids:  # 20, 10 and 0 seconds old in the end
            unit = storage.unit_of_work()
            await unit.accept(GROUP, [message_id])
            await unit.commit()
            await clock.advance(10 if message_id is not ids[-1] else 0)
        forgotten = await storage.inbox.purge(timedelta(seconds=10))

        assert 1 == forgotten
        assert ids[:1] == await storage.unit_of_work().accept(GROUP, ids)


async def test_others_run_between_two_batches_of_purge() -> None:
    """Of 5 messages, 2 at a time, there are 3: 2 + 2 + 1."""
    clock = VirtualClock()
    turns = 0
    async with started(clock) as storage:
        unit = storage.unit_of_work()
        await unit.accept(GROUP, named(5))
        await unit.commit()
        await clock.advance(1)

        async def count() -> None:
            nonlocal turns
            while True:
                await sleep(0)
                turns += 1

        async with open_task_group() as tasks:
            tasks.start(count)
            await sleep(0)
            turns = 0
            forgotten = await storage.inbox.purge(timedelta(0), batch_size=2)
            tasks.cancel()

    assert 5 == forgotten
    assert 2 <= turns


async def test_a_batch_of_none_is_refused() -> None:
    async with started() as storage:
        with pytest.raises(InvalidOption, match="batch_size is 0. It must be at least 1."):
            await storage.inbox.purge(timedelta(0), batch_size=0)


# Who waits for whom --------------------------------------------------------------------------------------------------


class Race:
    """Units that accept at the same time, each in a task of its own; what happens is written down."""

    def __init__(self, storage: MemoryStorage) -> None:
        self.units: dict[str, MemoryUnitOfWork] = {name: storage.unit_of_work() for name in "ABC"}
        self.story: list[str] = []

    def asks(self, name: str, *ids: uuid.UUID) -> Callable[[], Coroutine[None, None, None]]:
        async def ask() -> None:
            try:
                new = await self.units[name].accept(GROUP, ids)
                self.story.append(f"{name} has {len(new)} of {len(ids)}")
            except Deadlock:
                self.story.append(f"{name} would wait for itself")

        return ask


async def settle() -> None:
    """Let everybody run who can: nothing here takes more turns."""
    for _ in range(10):
        await sleep(0)


async def test_who_waits_gets_it_before_who_comes_later() -> None:
    """Though the later one runs first: a unit that is tried again after a deadlock would not let the other pass."""
    (wanted,) = named(1)
    async with started() as storage, open_task_group() as tasks:
        race = Race(storage)
        await race.units["A"].accept(GROUP, [wanted])
        tasks.start(race.asks("B", wanted))
        await settle()
        await race.units["A"].rollback()
        tasks.start(race.asks("A", wanted))
        await settle()
        before_end = list(race.story)
        await race.units["B"].commit()

    assert ["B has 1 of 1"] == before_end
    assert ["B has 1 of 1", "A has 0 of 1"] == race.story


async def test_who_waits_for_several_holds_none_of_them() -> None:
    """So it is in nobody's way meanwhile."""
    taken, free = named(2)
    async with started() as storage, open_task_group() as tasks:
        race = Race(storage)
        await race.units["A"].accept(GROUP, [taken])
        tasks.start(race.asks("B", free, taken))
        await settle()
        await race.asks("C", free)()
        await race.units["A"].commit()
        await settle()
        before_end = list(race.story)
        await race.units["C"].rollback()

    assert ["C has 1 of 1"] == before_end
    assert ["C has 1 of 1", "B has 1 of 2"] == race.story


async def test_who_would_wait_for_itself_fails() -> None:
    """By whatever detour: A waits for B, B for C, and C would wait for A. C is rolled back, and the others go on."""
    a, b, c = named(3)
    async with started() as storage, open_task_group() as tasks:
        race = Race(storage)
        for name, held in zip("ABC", (a, b, c), strict=True):
            await race.units[name].accept(GROUP, [held])
        tasks.start(race.asks("A", b))
        tasks.start(race.asks("B", c))
        await settle()
        await race.asks("C", a)()
        await race.units["C"].rollback()
        await settle()
        await race.units["B"].commit()

    assert ["C would wait for itself", "B has 1 of 1", "A has 0 of 1"] == race.story


async def test_who_was_let_go_on_waits_for_nobody() -> None:
    """Not even before its task runs again: who then waits for it does not wait for itself."""
    a, b = named(2)
    async with started() as storage, open_task_group() as tasks:
        race = Race(storage)
        await race.units["A"].accept(GROUP, [a])
        await race.units["B"].accept(GROUP, [b])
        tasks.start(race.asks("A", b))
        await settle()
        await race.units["B"].commit()
        tasks.start(race.asks("B", a))
        await settle()
        await race.units["A"].rollback()

    assert ["A has 0 of 1", "B has 1 of 1"] == race.story


async def test_two_may_wait_for_the_same_unit() -> None:
    """That is no circle, though they are met twice on the way."""
    a, b, c = named(3)
    async with started() as storage, open_task_group() as tasks:
        race = Race(storage)
        await race.units["A"].accept(GROUP, [a])
        await race.units["B"].accept(GROUP, [b])
        tasks.start(race.asks("B", a))
        await settle()
        tasks.start(race.asks("C", a, b, c))
        await settle()
        await race.units["A"].commit()
        await settle()
        await race.units["B"].commit()

    assert ["B has 0 of 1", "C has 1 of 3"] == race.story


async def test_what_is_granted_to_who_is_cancelled_at_that_moment_is_free() -> None:
    """The grant and the cancellation arrive together."""
    (wanted,) = named(1)
    asking = Gate()
    async with started() as storage:
        first, second = storage.unit_of_work(), storage.unit_of_work()
        await first.accept(GROUP, [wanted])

        async def ask() -> None:
            with open_cancel_scope() as scope:
                scopes.append(scope)
                asking.open()
                await second.accept(GROUP, [wanted])
            await second.rollback()

        scopes: list = []
        async with open_task_group() as tasks:
            tasks.start(ask)
            await asking.wait()
            await settle()
            scopes[0].cancel()
            await first.rollback()

        assert [wanted] == await storage.unit_of_work().accept(GROUP, [wanted])


async def test_a_savepoint_that_is_undone_lets_others_go_on() -> None:
    """The unit need not have ended."""
    kept, undone = named(2)
    async with started() as storage, open_task_group() as tasks:
        race = Race(storage)
        await race.units["A"].accept(GROUP, [kept])
        with pytest.raises(LookupError):
            async with race.units["A"].savepoint():
                await race.units["A"].accept(GROUP, [undone])
                tasks.start(race.asks("B", undone))
                await settle()
                raise LookupError
        await settle()

    assert ["B has 1 of 1"] == race.story


def test_a_deadlock_says_what_to_do() -> None:
    error = Deadlock("orders")

    assert isinstance(error, CqrsError)
    assert "orders" == error.group
    assert str(error).endswith("roll it back and try again, or accept all messages in one call.")


# What it does not have -----------------------------------------------------------------------------------------------


async def test_a_unit_gives_nothing() -> None:
    async with started() as storage:
        with pytest.raises(NotProvided):
            storage.unit_of_work().get(dict)
