"""One saga, as its driver has it, and one attempt at what it is at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cqrs_core.concurrency import open_cancel_scope
from cqrs_core.errors import SagaFenced, SagaStorageUnavailable, SagaUnrunnable
from cqrs_core.saga.current import running_step
from cqrs_core.saga.plan import Happened, follow

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from cqrs_core.messages import Event
    from cqrs_core.saga.attempt import Attempt
    from cqrs_core.saga.current import CurrentStep
    from cqrs_core.saga.leases import Lease
    from cqrs_core.saga.log import Done
    from cqrs_core.saga.plan import Standing
    from cqrs_core.saga.runnable import RunnableSaga
    from cqrs_core.saga.storage import SagaWrite

#: What is kept of an error: it is for people.
_LONGEST_ERROR = 2000


class Run:
    """
    One saga, while somebody drives it.

    Attributes:
        id: Under which it is stored.
        saga: What is done in it.
        lease: By which it is ours.
        version: How often it was written.
        standing: Where it stands, as it is stored.
        context: What its steps know; of a step that failed, nothing is left in it.
        kept: The same, as it is stored.
        unknown: What is stored and not known to the class of the context.
        done: What would have to be undone, the first that was done first.
        failure: What the last step that failed has raised.
        error: What has gone wrong last, here or elsewhere, with a step or with undoing one, as text.
        asked: What the storage was asked to write, and is not known to have written: its answer did not come, or it is
            for a unit of work to commit. With it, what ``done`` is then, and when it was asked.
        is_begun: Whether something was begun that is not written yet: an attempt at a step, or at undoing one.
        is_in_doubt: Whether an attempt at the step at work may have taken effect.
        claims: How often it was claimed since a step was last done.
        fingerprint: What is to be stored as the fingerprint with the next write; ``None``: it stays.
    """

    __slots__ = (
        "asked",
        "claims",
        "context",
        "done",
        "error",
        "failure",
        "fingerprint",
        "id",
        "is_begun",
        "is_in_doubt",
        "kept",
        "lease",
        "saga",
        "standing",
        "unknown",
        "version",
    )

    def __init__(  # noqa: PLR0917 - made for every saga: named arguments would cost as much again
        self,
        saga_id: uuid.UUID,
        saga: RunnableSaga,
        lease: Lease,
        version: int,
        standing: Standing,
        context: Any,  # noqa: ANN401 - of the saga's own class
        kept: bytes,
    ) -> None:
        self.id = saga_id
        self.saga = saga
        self.lease = lease
        self.version = version
        self.standing = standing
        self.context = context
        self.kept = kept
        self.unknown: dict[str, Any] = {}
        self.done: list[Done] = []
        self.failure: Exception | None = None
        self.error: str | None = None
        self.asked: tuple[SagaWrite, list[Done], float] | None = None
        self.is_begun = False
        self.is_in_doubt = False
        self.claims = 0
        self.fingerprint: str | None = None

    def left(self) -> Standing:
        """Tell where it stands if its driver leaves it now."""
        return follow(self.standing, Happened.DROPPED if self.is_begun else Happened.LEFT, self.saga.kinds)

    def encoded(self) -> bytes:
        """
        Write the context as it is now.

        Raises:
            CodecError: A step has put something into it that JSON cannot carry.
        """
        return self.saga.form.encode(self.context, self.unknown)

    def restore_context(self) -> None:
        """Undo what a step that failed has changed in the context."""
        self.saga.form.restore(self.context, self.kept)

    def fresh_context(self) -> Any:  # noqa: ANN401 - of the saga's own class
        """Make a context as it is stored, for those whose changes are not kept."""
        return self.saga.form.decode(self.kept)


async def attempt_guarded(
    run: Run,
    current: CurrentStep,
    attempt: Attempt,
    context: Any,  # noqa: ANN401 - of the saga's own class
) -> tuple[Any, Sequence[Event]] | None:
    """
    Make one attempt, which ends early if another driver takes the saga over.

    Returns:
        What it gives; ``None``: the saga is another's by now.
    """
    lease = run.lease
    outcome: tuple[Any, Sequence[Event]] | None = None
    token = running_step.set(current)
    try:
        with open_cancel_scope() as lease.scope:
            outcome = await attempt(context, current)
    except SagaFenced as error:
        if error.saga_id != run.id:
            raise
        return None
    finally:
        lease.scope = None
        running_step.reset(token)
    return None if lease.is_lost else outcome


def with_done(done: list[Done], this: Done) -> list[Done]:
    """Add what would have to be undone, unless it is there already."""
    return done if this in done else [*done, this]


def is_end_of(run: Run, error: Exception) -> bool:
    """Tell whether *error* says that *run* is not ours any more, or cannot be written, or not be run here."""
    return isinstance(error, (SagaFenced, SagaStorageUnavailable, SagaUnrunnable)) and error.saga_id == run.id


def error_text(error: BaseException) -> str:
    """Write an error for people."""
    return f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
