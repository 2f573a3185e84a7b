"""What the checks for storages of sagas share: a storage for each, and how they write and drive sagas by hand."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, TypeVar

from cqrs_core import envelope as names
from cqrs_core.concurrency import sleep
from cqrs_core.envelope import Envelope
from cqrs_core.saga.log import Branch, LogRecord, SagaAction, SagaStatus, SagaStepStatus
from cqrs_core.saga.plan import Standing
from cqrs_core.saga.storage import NewSaga, SagaClaim, SagaWrite
from cqrs_core.testing.conformance.running import as_test, within
from cqrs_core.testing.conformance.suite import Suite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

    from cqrs_core.saga.storage import SagaRecord, SagaStorage
    from cqrs_core.unit_of_work import UnitOfWork

    S = TypeVar("S", bound="SagaSuite")

#: How long a saga is somebody's that is to stay theirs for the whole check.
LONG_S = 3600.0
#: How long one is that is to become due: time passes in earnest, unless the author lets it pass otherwise.
SHORT_S = 0.3
NAME = "ConformanceSaga"


class SagaSuite(Suite):
    """What an author implements, and what the checks use."""

    #: Whether the storage makes units of work in which sagas are written: then :meth:`open_unit` is implemented.
    has_units: ClassVar[bool] = False

    # What authors implement, or change -------------------------------------------------------------------------------

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[SagaStorage]:
        """Give a storage that is ready and empty, and end it afterwards."""
        raise NotImplementedError(f"{type(self).__name__} must implement open_storage()")
        yield  # type: ignore[unreachable] # what makes it a generator

    @asynccontextmanager
    async def open_unit(self, storage: SagaStorage) -> AsyncIterator[UnitOfWork]:  # noqa: ARG002 - for authors
        """Give a unit of work of the storage that *storage* is of, and close it afterwards."""
        raise NotImplementedError(f"{type(self).__name__} must implement open_unit(), or leave has_units as it is")
        yield  # type: ignore[unreachable] # what makes it a generator

    async def sent(self, storage: SagaStorage) -> Sequence[Envelope]:
        """Read what waits in the outbox, if ``has_outbox``."""
        raise NotImplementedError(f"{type(self).__name__} has an outbox: it must implement sent()")

    async def pass_time(self, storage: SagaStorage, seconds: float) -> None:
        """
        Let *seconds* pass: put a clock forward, or subtract them from all times that are stored.

        By itself, the checks ask until they have passed in earnest.
        """

    # What the checks use ---------------------------------------------------------------------------------------------

    async def started(self, storage: SagaStorage, **differing: object) -> NewSaga:
        """Start a saga that somebody drives."""
        new = new_saga(**differing)
        assert await storage.start(new) is None, "A new saga was taken for one that exists."
        return new

    async def claimed(self, storage: SagaStorage, saga_id: uuid.UUID, *, lease_s: float = LONG_S) -> SagaRecord:
        """Claim one saga, as soon as it is due."""
        found: list[SagaRecord] = []

        async def claim() -> bool:
            found.extend(await storage.claim(SagaClaim("claimer", lease_s, saga_id=saga_id)))
            return bool(found)

        await self.until(claim, failure="A saga whose lease has run out did not become due.")
        return found[0]

    async def loaded(self, storage: SagaStorage, saga_id: uuid.UUID) -> SagaRecord:
        """Read a saga that is there."""
        record = await storage.load(saga_id)
        assert record is not None, "A saga that was written is not there."
        return record

    async def until(self, is_so: Callable[[], Awaitable[bool]], *, failure: str) -> None:
        """Ask until it is so."""

        async def ask() -> None:
            while not await is_so():
                await sleep(0)

        await within(self.deadline_s, ask, failure=lambda: failure)


def check(body: Callable[[S, SagaStorage], Coroutine[None, None, None]]) -> Callable[[S, str], None]:
    """Make a test of a method that wants a storage: it runs on a loop of its own, for a limited time."""

    async def main(self: S) -> None:
        async def opened() -> None:
            async with self.open_storage() as storage:
                await body(self, storage)

        await within(5 * self.deadline_s, opened, failure=lambda: f"{body.__name__} did not end.")

    return as_test(body, main)


def new_saga(**differing: object) -> NewSaga:
    """Make a saga that is to be; unless *differing*, one that somebody drives, and long."""
    facts: dict[str, object] = {
        "id": uuid.uuid4(),
        "name": NAME,
        "fingerprint": "0123456789abcdef",
        "status": SagaStatus.RUNNING,
        "step_id": "first",
        "context": '{"name":"Größe"}'.encode(),
        "input_hash": "fedcba9876543210",
        "owner": f"starter/{uuid.uuid4()}",
        "lease_s": LONG_S,
    }
    return NewSaga(**{**facts, **differing})  # type: ignore[arg-type]  # of the right types


def record_of(step_id: str, action: SagaAction = SagaAction.ACT, error: str | None = None) -> LogRecord:
    """Make an entry of a history."""
    status = SagaStepStatus.COMPLETED if error is None else SagaStepStatus.IN_DOUBT
    return LogRecord(step_id, step_id.title(), Branch.FALLBACK, action, status, 2, error)


def step_write(saga_id: uuid.UUID, *, fence: int = 1, version: int = 1, **differing: object) -> SagaWrite:
    """Make the write that the first step is done; unless *differing*."""
    facts: dict[str, object] = {
        "standing": Standing(SagaStatus.RUNNING, 1, Branch.PRIMARY, 1),
        "step_id": "second",
        "claims": 0,
        "log": (record_of("first"),),
        "context": b'{"name":"after the first"}',
    }
    return SagaWrite(saga_id, fence, version, **{**facts, **differing})  # type: ignore[arg-type]  # as above


def envelope(body: bytes) -> Envelope:
    """Make a message of a step."""
    headers = {
        names.ID: str(uuid.uuid4()),
        names.TYPE: "StepDone",
        names.SOURCE: "conformance",
        names.SPEC_VERSION: "1.0",
        names.CONTENT_TYPE: "application/octet-stream",
    }
    return Envelope("conformance", body, None, headers)
