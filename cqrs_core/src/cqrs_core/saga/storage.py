"""The contract of a storage of sagas: every write is one transaction, and only who holds the saga can make one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from cqrs_core.errors import SagaAlreadyExists, SagasNotKept
from cqrs_core.saga.plan import Standing

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Sequence
    from datetime import datetime, timedelta

    from cqrs_core.envelope import Envelope
    from cqrs_core.saga.log import Branch, LogRecord, SagaLogEntry, SagaStatus
    from cqrs_core.storage import Storage
    from cqrs_core.unit_of_work import UnitOfWork


class NewSaga(NamedTuple):
    """
    A saga that is to be.

    Attributes:
        id: Under which it is stored; there is one of each id.
        name: Of its class.
        fingerprint: Of its definition.
        status: ``PENDING``: whoever claims it begins; ``RUNNING``: who starts it drives it, and has it claimed.
        step_id: Of the first step, which is the one at work.
        context: What its steps know, as JSON in UTF-8.
        input_hash: Of the context that it was started with: 16 characters.
        owner: Who drives it; new for each start, so that a start whose answer was lost can be repeated.
        lease_s: For how many seconds it is theirs. A pending one is due at once.
    """

    id: uuid.UUID
    name: str
    fingerprint: str
    status: SagaStatus
    step_id: str
    context: bytes
    input_hash: str
    owner: str
    lease_s: float


@dataclass(frozen=True, slots=True)
class SagaRecord:
    """
    A saga, as it is stored.

    Attributes:
        id: Under which it is stored.
        name: Of its class.
        fingerprint: Of the definition that wrote it last.
        status: Where it stands as a whole; so are ``cursor``, ``branch``, ``attempt`` and ``suspended_from`` as for
            :class:`cqrs_core.saga.plan.Standing`.
        step_id: Of the step at work; empty if there is none.
        context: What its steps know, as of the last that is done.
        input_hash: As it was started.
        version: How often it was written: 1 when it is new.
        fence: How often it changed hands: 1 when it is new. Each write tells the one that it knows.
        owner: Who has it; ``None``: nobody.
        wake_at: When anybody may take it, in UTC, aware, by the clock of the storage; ``None``: nobody may.
        claims: How often it was claimed since a step was last done.
        error: What went wrong last, as text.
        created_at: When it was started, in UTC, aware.
        updated_at: When it was last written.
    """

    id: uuid.UUID
    name: str
    fingerprint: str
    status: SagaStatus
    cursor: int
    branch: Branch
    attempt: int
    suspended_from: SagaStatus | None
    step_id: str
    context: bytes
    input_hash: str
    version: int
    fence: int
    owner: str | None
    wake_at: datetime | None
    claims: int
    error: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def standing(self) -> Standing:
        """Where it stands."""
        return Standing(self.status, self.cursor, self.branch, self.attempt, self.suspended_from)


class SagaWrite(NamedTuple):
    """
    A change of a saga: all of it, or nothing.

    Attributes:
        saga_id: Of which saga.
        fence: That the writer knows; so is *version*.
        standing: Where the saga stands now.
        step_id: Of the step at work now.
        claims: What to set ``claims`` to.
        log: What was done, to be added to its history in this order.
        context: What to set it to; ``None``: it stays.
        fingerprint: As *context*.
        error: As *context*.
        wake_in_s: In how many seconds anybody may take it; ``None``: that stays. Of a status that is not live, nobody
            ever may, and nobody has it.
        is_released: Whether nobody has it from now on.
        envelopes: Messages to be sent if, and only if, this is committed; only where ``has_outbox``.
    """

    saga_id: uuid.UUID
    fence: int
    version: int
    standing: Standing
    step_id: str
    claims: int
    log: Sequence[LogRecord] = ()
    context: bytes | None = None
    fingerprint: str | None = None
    error: str | None = None
    wake_in_s: float | None = None
    is_released: bool = False
    envelopes: Sequence[Envelope] = ()


class SagaClaim(NamedTuple):
    """
    Which sagas somebody wants to take.

    Attributes:
        owner: Who takes them.
        lease_s: For how many seconds.
        limit: How many at most; those that have been due for longest first.
        names: Only sagas of these names; ``None``: of any.
        saga_id: Only this one.
        overdue_s: Only those that have been due for so many seconds.
    """

    owner: str
    lease_s: float
    limit: int = 1
    names: Collection[str] | None = None
    saga_id: uuid.UUID | None = None
    overdue_s: float = 0.0


class SagaStorage(Protocol):
    """
    Keeps sagas. What an author writes; ``cqrs_core.testing.conformance`` checks it.

    Times are those of the storage's own clock. A saga is *due* when its ``wake_at`` has come.
    """

    @property
    def is_durable(self) -> bool:
        """Whether it keeps what was written when the process ends."""
        ...

    @property
    def has_outbox(self) -> bool:
        """Whether ``SagaWrite.envelopes`` are sent."""
        ...

    async def start(self, new: NewSaga, *, within: UnitOfWork | None = None) -> SagaRecord | None:
        """
        Write a saga, unless there is one of its id, which is never changed by this.

        Args:
            new: What is to be written: version 1, fence 1, attempt 1 if it runs, else 0.
            within: A unit of work of the same storage: it is written when that is committed, or not at all. What the
                unit itself has started is there already. If another commits one of the id meanwhile, this call waits
                for that and gives it; or the commit does as :func:`check_same_start` does.

        Returns:
            ``None``: it is written; also if the same call, of the same ``owner``, has written it before, as when its
            answer was lost. Else what there is.

        Raises:
            StorageUnavailable: It may have been written. The call may be repeated.
        """
        ...

    async def write(self, write: SagaWrite, *, within: UnitOfWork | None = None) -> None:
        """
        Change a saga whose ``fence`` and ``version`` are those of *write*, and count its version up.

        Position, context, history and messages are one transaction. A write that has been made is made once: if the
        fence is that of *write*, the version one more, and the saga stands as *write* says, this very call was made
        before, and its answer was lost.

        Args:
            write: The change.
            within: As for :meth:`start`; the guard is checked now, and holds until the commit.

        Raises:
            SagaFenced: It is another's by now, or was changed. Nothing was written.
            StorageUnavailable: It may have been written. The call may be repeated.
        """
        ...

    async def claim(self, claim: SagaClaim) -> Sequence[SagaRecord]:
        """
        Take live sagas that are due, as *claim* says; of several who try at once, one gets each.

        Of what is taken, ``fence``, ``version`` and ``claims`` are one more than before, and so is what
        ``plan.follow(standing, CLAIMED)`` says. What others try to take at the same time is passed over, not waited
        for.

        Returns:
            Them, as they are now.

        Raises:
            StorageUnavailable: Some may have been taken; they become due again.
        """
        ...

    async def renew(self, held: Collection[tuple[uuid.UUID, int]], *, lease_s: float) -> Collection[uuid.UUID]:
        """
        Keep sagas for another *lease_s* seconds, all in one statement.

        Args:
            held: Their ids, and the fences by which they are held. Versions do not matter, and are not changed.
            lease_s: For how long from now.

        Returns:
            Those that are lost: others have them, or they have no owner any more.

        Raises:
            StorageUnavailable: Some may have been kept.
        """
        ...

    async def load(self, saga_id: uuid.UUID) -> SagaRecord | None:
        """
        Read a saga; ``None``: there is none.

        Raises:
            StorageUnavailable: It cannot be read.
        """
        ...

    async def get_step_history(self, saga_id: uuid.UUID) -> Sequence[SagaLogEntry]:
        """
        Read what was done, the first first; nothing if there is no such saga.

        Raises:
            StorageUnavailable: It cannot be read.
        """
        ...


class SagaQuery(NamedTuple):
    """
    Which sagas are meant.

    Attributes:
        name: Of this name; ``None``: of any.
        statuses: With one of these; empty: with any.
        overdue_s: Only those that have been due for so many seconds; ``None``: whether due or not.
        limit: How many at most; those that were written longest ago first.
    """

    name: str | None = None
    statuses: Collection[SagaStatus] = ()
    overdue_s: float | None = None
    limit: int = 100


class SagaChange(NamedTuple):
    """
    What a person has decided about a saga.

    Attributes:
        saga_id: Which saga.
        version: That the person has looked at.
        standing: Where it stands from now on.
        step_id: Of the step at work then.
        log: What is added to its history.
        context: What to set it to; ``None``: it stays.
    """

    saga_id: uuid.UUID
    version: int
    standing: Standing
    step_id: str
    log: Sequence[LogRecord]
    context: bytes | None = None


class SagaKeeper(Protocol):
    """What a storage of sagas also does: for those who look after them."""

    async def find(self, query: SagaQuery) -> Sequence[SagaRecord]:
        """Look for sagas, without taking them."""
        ...

    async def change(self, change: SagaChange) -> SagaRecord:
        """
        Change a saga by hand: whoever drives it is fenced out, and if it is live, it is due at once.

        ``version`` and ``fence`` are counted up, ``claims`` begins at 0, ``owner`` is nobody.

        Raises:
            SagaChanged: Its version is another by now. Nothing was changed.
            SagaNotFound: There is none.
        """
        ...

    async def purge(self, older_than: timedelta, *, limit: int = 1000) -> int:
        """Forget sagas that ended so long ago, at most *limit*, with their histories; tells how many."""
        ...


def check_same_start(existing: SagaRecord, new: NewSaga) -> None:
    """
    Let *new* pass if what there is under its id was started as the same saga, with the same context.

    Raises:
        SagaAlreadyExists: It was started as something else.
    """
    if existing.name != new.name:
        raise SagaAlreadyExists(new.id, f"as a {existing.name}")
    if existing.input_hash != new.input_hash:
        raise SagaAlreadyExists(new.id, "and was started with another context")


def sagas_of(storage: Storage) -> SagaStorage:
    """
    Give the sagas of a program's storage.

    Raises:
        SagasNotKept: It keeps none.
    """
    sagas = storage.sagas
    if sagas is None or missing_saga_methods(sagas):
        raise SagasNotKept(type(storage))
    return cast("SagaStorage", sagas)  # it has the methods


def missing_saga_methods(thing: object) -> list[str]:
    """List what *thing* lacks of a :class:`SagaStorage`; whether it does what those promise, only the suite tells."""
    facts = [name for name in ("is_durable", "has_outbox") if not hasattr(thing, name)]
    methods = ("start", "write", "claim", "renew", "load", "get_step_history")
    lacking = [name for name in methods if isinstance(thing, type) or not callable(getattr(thing, name, None))]
    return [*facts, *lacking]
