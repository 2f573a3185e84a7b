"""What is remembered of a saga: where it stands, and what was done."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable
    from datetime import datetime


class _Word(str, Enum):
    """A word that is written as it is, on every Python."""

    #: As that of the text which it is equal to; Enum has one of its own, written in Python.
    __hash__ = str.__hash__

    def __str__(self) -> str:
        return str(self.value)


class SagaStatus(_Word):
    """
    Where a saga stands as a whole.

    ``FAILED`` means that everything is undone; ``SUSPENDED``, that a person is waited for; ``ABANDONED``, that a person
    has given it up as it is.
    """

    PENDING = "pending"
    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    FAILED = "failed"
    SUSPENDED = "suspended"
    ABANDONED = "abandoned"

    @property
    def is_live(self) -> bool:
        """Whether workers go on with it."""
        return self in _LIVE

    @property
    def is_ended(self) -> bool:
        """Whether nobody ever goes on with it."""
        return self in _ENDED


_LIVE = frozenset({SagaStatus.PENDING, SagaStatus.RUNNING, SagaStatus.COMPENSATING})
_ENDED = frozenset({SagaStatus.COMPLETED, SagaStatus.FAILED, SagaStatus.ABANDONED})


class SagaAction(_Word):
    """What was done with a step; ``ADMIN``: a person decided something about the saga."""

    ACT = "act"
    COMPENSATE = "compensate"
    ADMIN = "admin"


class SagaStepStatus(_Word):
    """What became of it; ``IN_DOUBT``: it failed, and may have taken effect."""

    COMPLETED = "completed"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"


class Branch(IntEnum):
    """Which side of a step is at work: ``LEAVING`` is the primary being undone, so that the fallback can begin."""

    PRIMARY = 0
    LEAVING = 1
    FALLBACK = 2


class LogRecord(NamedTuple):
    """
    One thing that was done, to be written with the change that it led to.

    Attributes:
        step_id: By which the step is known.
        step_name: The name of the handler's class, for people.
        branch: Which side of the step it was.
        attempt: How many drivers have had a try at it.
        error: What went wrong, as text; what a person gave as the reason.
    """

    step_id: str
    step_name: str
    branch: Branch
    action: SagaAction
    status: SagaStepStatus
    attempt: int = 1
    error: str | None = None


class SagaLogEntry(NamedTuple):
    """
    One thing that was done.

    Attributes:
        saga_id: With which saga.
        seq: Later entries of a saga have greater numbers.
        timestamp: When it was written, in UTC, aware.
        step_id: As for :class:`LogRecord`; so are the others.
    """

    saga_id: uuid.UUID
    seq: int
    timestamp: datetime
    step_id: str
    step_name: str
    branch: Branch
    action: SagaAction
    status: SagaStepStatus
    attempt: int
    error: str | None

    @property
    def details(self) -> str | None:
        """What went wrong, as python-cqrs calls it."""
        return self.error


class Done(NamedTuple):
    """A side of a step that has taken effect, or may have, and is not undone."""

    step_id: str
    branch: Branch


def acted(history: Iterable[SagaLogEntry]) -> list[str]:
    """List the ids of the steps that were done, the first first; undone since or not."""
    done = (
        entry.step_id
        for entry in history
        if entry.action is SagaAction.ACT and entry.status is SagaStepStatus.COMPLETED
    )
    return list(dict.fromkeys(done))


def still_done(history: Iterable[SagaLogEntry]) -> list[Done]:
    """Tell what would have to be undone, the first that was done first."""
    done: list[Done] = []
    for entry in history:
        side = Done(entry.step_id, entry.branch)
        if entry.action is SagaAction.COMPENSATE and entry.status is SagaStepStatus.COMPLETED:
            done = [other for other in done if other != side]
        elif entry.action is SagaAction.ACT and entry.status is not SagaStepStatus.FAILED and side not in done:
            done.append(side)
    return done
