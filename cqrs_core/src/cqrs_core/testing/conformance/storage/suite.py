"""What the checks for storages share: a storage for each, and what they do in its units of work."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, TypeVar

import pytest

from cqrs_core import envelope as names
from cqrs_core.concurrency import Gate, open_task_group, sleep
from cqrs_core.concurrency.loops import running_trio
from cqrs_core.envelope import Envelope
from cqrs_core.storage import outbox_keeper_of
from cqrs_core.testing.conformance.running import as_test, run_on, within
from cqrs_core.testing.conformance.suite import Suite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
    from datetime import timedelta

    from cqrs_core.outbox import OutboxRecord
    from cqrs_core.outbox_keeper import OutboxKeeper
    from cqrs_core.storage import Storage
    from cqrs_core.unit_of_work import UnitOfWork

    S = TypeVar("S", bound="StorageSuite")
    T = TypeVar("T")

GROUP = "conformance"
#: What stands for business data where a storage has none.
_TEXTS = "conformance-texts"
#: How often a unit that failed is tried again: far more often than two that stand in each other's way need it.
_TRIES = 20
_ROUNDS = 20


class StorageSuite(Suite):
    """
    What an author implements, and what the checks use.

    Attributes:
        is_durable: Whether the storage keeps what was committed while it is stopped.
    """

    is_durable: ClassVar[bool] = False

    # What authors implement, or change -------------------------------------------------------------------------------

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[Storage]:
        """Give a storage that is started and empty, and stop it afterwards; the check may have stopped it already."""
        raise NotImplementedError(f"{type(self).__name__} must implement open_storage()")
        yield  # type: ignore[unreachable] # what makes it a generator

    async def write(self, unit: UnitOfWork, text: str) -> None:
        """Change business data within *unit*: insert *text*, say. Leave it out if the storage has no such data."""
        unit.enqueue([Envelope(_TEXTS, text.encode(), headers=_headers())])

    async def written(self, storage: Storage) -> set[str]:
        """Read, outside any unit, what :meth:`write` has changed and was committed."""
        records = await _all_pending(storage)
        return {record.envelope.body.decode() for record in records if record.envelope.topic == _TEXTS}

    def unstorable(self) -> Envelope:
        """Make a message that does not fit into the outbox."""
        return envelope(b"1", topic="t" * 100_000)

    async def age(self, storage: Storage, by: timedelta) -> None:  # noqa: ARG002 - for those who implement it
        """Make all that was accepted older: subtract *by* from its times, or put a clock forward."""
        pytest.skip(f"{type(self).__name__} does not implement age()")

    async def pass_time(self, storage: Storage, seconds: float) -> None:
        """
        Let *seconds* pass for leases and delays: put a clock forward, or subtract them from all times in the outbox.

        By itself, it asks the storage until they have passed in earnest.
        """
        end = monotonic() + seconds
        while monotonic() < end:
            await storage.outbox.pending(limit=1)
            await sleep(0)

    async def dead(self, storage: Storage) -> list[tuple[Envelope, str, str]]:  # noqa: ARG002 - as above
        """Read what was buried, in the order of its positions: each message, the reason, and the error."""
        pytest.skip(f"{type(self).__name__} does not implement dead()")

    # What the checks use ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def unit(self, storage: Storage) -> AsyncIterator[UnitOfWork]:
        """Open a unit, and close it when the block ends."""
        unit = storage.unit_of_work()
        try:
            yield unit
        finally:
            await unit.close()

    def keeper(self, storage: Storage) -> OutboxKeeper:
        """Give what looks after the outbox, if there is anything that does."""
        keeper = outbox_keeper_of(storage)
        if keeper is None:
            pytest.skip(f"{type(storage).__name__} has no outbox_keeper: `cqrs outbox` does not work with it.")
        return keeper

    async def commit(self, storage: Storage, *, texts: Iterable[str] = (), envelopes: Sequence[Envelope] = ()) -> None:
        """Write *texts* and enqueue *envelopes* in one unit."""
        async with self.unit(storage) as unit:
            for text in texts:
                await self.write(unit, text)
            unit.enqueue(envelopes)
            await unit.commit()

    async def waiting(self, storage: Storage) -> list[OutboxRecord]:
        """Look at all that waits to be sent, but for what stands for business data."""
        return [record for record in await _all_pending(storage) if record.envelope.topic != _TEXTS]

    async def bodies(self, storage: Storage) -> list[bytes]:
        """Look at what is in those that wait to be sent."""
        return [record.envelope.body for record in await self.waiting(storage)]

    async def accept(self, storage: Storage, ids: Sequence[uuid.UUID], *, group: str = GROUP) -> set[uuid.UUID]:
        """Accept *ids* in a unit that is committed, and give those that were new."""
        async with self.unit(storage) as unit:
            new = await unit.accept(group, ids)
            await unit.commit()
        return set(new)

    async def attempt(self, storage: Storage, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Do *work* in a unit and commit it; if that fails, as it may for a deadlock, do it again in another one."""
        tries = 1
        while True:
            try:
                async with self.unit(storage) as unit:
                    result = await work(unit)
                    await unit.commit()
            except Exception:
                if tries == _TRIES:
                    raise
            else:
                return result
            tries += 1

    async def while_waiting(
        self, storage: Storage, wait: Callable[[], Awaitable[None]], then: Callable[[], Awaitable[None]]
    ) -> None:
        """Begin *wait* in another task, give it every opportunity to end, do *then*, and see that it ends at last."""
        begun = Gate()

        async def begin() -> None:
            begun.open()
            await wait()

        async def race() -> None:
            async with open_task_group() as tasks:
                tasks.start(begin)
                await begun.wait()
                # As far from here to the storage as from there: who does not wait is back by now.
                for _ in range(_ROUNDS):
                    await storage.outbox.pending(limit=1)
                    await sleep(0)
                await then()

        await within(self.deadline_s, race, failure=lambda: "Who waited for a unit to end did not go on.")

    async def until(
        self, storage: Storage, seconds: float, is_so: Callable[[], Awaitable[bool]], *, failure: str
    ) -> None:
        """Let *seconds* pass, and ask until it is so: the clock of a server is not quite that of this machine."""
        await self.pass_time(storage, seconds)

        async def ask() -> None:
            while not await is_so():
                await sleep(0)

        await within(self.deadline_s, ask, failure=lambda: failure)

    async def in_another_task(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work* in a task of its own."""
        async with open_task_group() as tasks:
            tasks.start(work)

    def on_another_loop(self, main: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do what *main* does on a second event loop, in another thread, while this one stands still."""
        backend = "asyncio" if running_trio() is None else "trio"

        async def limited() -> None:
            await within(self.deadline_s, main, failure=lambda: "On the second event loop, nothing ended.")

        with ThreadPoolExecutor(1) as threads:
            threads.submit(run_on, backend, limited).result()


def check(body: Callable[[S, Storage], Coroutine[None, None, None]]) -> Callable[[S, str], None]:
    """Make a test of a method that wants a storage: it runs on a loop of its own, for a limited time."""

    async def main(self: S) -> None:
        async def opened() -> None:
            async with self.open_storage() as storage:
                await body(self, storage)

        await within(5 * self.deadline_s, opened, failure=lambda: f"{body.__name__} did not end.")

    return as_test(body, main)


class Failed(Exception):
    """What goes wrong in a savepoint."""


@asynccontextmanager
async def undone_savepoint(unit: UnitOfWork) -> AsyncIterator[None]:
    """Open a savepoint, raise at its end, and catch that around it."""
    with suppress(Failed):
        async with unit.savepoint():
            yield
            raise Failed


def envelope(body: bytes, key: str | None = None, *, topic: str = GROUP, **headers: str) -> Envelope:
    """Make a message with a new id, and with the headers that those of the framework have."""
    return Envelope(topic, body, key, {**_headers(), **headers})


def envelopes(*bodies: bytes) -> list[Envelope]:
    """Make one message of each."""
    return [envelope(body) for body in bodies]


def new_ids(count: int) -> list[uuid.UUID]:
    """Name messages that nobody has accepted."""
    return [uuid.uuid4() for _ in range(count)]


def _headers() -> dict[str, str]:
    return {
        names.ID: str(uuid.uuid4()),
        names.TYPE: "ConformanceChecked",
        names.SOURCE: "conformance",
        names.SPEC_VERSION: "1.0",
        names.CONTENT_TYPE: "application/octet-stream",
    }


async def _all_pending(storage: Storage) -> list[OutboxRecord]:
    records: list[OutboxRecord] = []
    last = 0
    while more := await storage.outbox.pending(after=last):
        assert last < more[-1].position, f"pending(after={last}) gave {more[-1].position} last: that would never end."
        last = more[-1].position
        records += more
    return records
