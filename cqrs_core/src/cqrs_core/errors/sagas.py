"""Errors of sagas: of their definitions, of those who start them, and of those who drive them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.errors.base import CqrsError, name_of
from cqrs_core.errors.storing import StorageUnavailable

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence


class InvalidSaga(CqrsError, TypeError):
    """
    A saga cannot work as it was written.

    Attributes:
        saga: Its class.
        problems: Everything that is wrong, one sentence each, with the cure.
    """

    def __init__(self, saga: type, problems: Sequence[str]) -> None:
        self.saga = saga
        self.problems = tuple(problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"The saga {name_of(saga)} cannot work:\n{listed}")


class SagaNotBound(CqrsError, LookupError):
    """
    It cannot be told which saga is meant.

    Attributes:
        context_type: The class of the context that was given.
    """

    def __init__(self, context_type: type, cure: str = "") -> None:
        self.context_type = context_type
        name = name_of(context_type)
        cure = cure or f"Bind one before the mediator is built: SagaMap.bind({name}, YourSaga)."
        super().__init__(f"No saga is bound to {name}. {cure}")


class SagaNotFound(CqrsError, LookupError):
    """
    No saga is stored under an id.

    Attributes:
        saga_id: The id.
    """

    def __init__(self, saga_id: uuid.UUID) -> None:
        self.saga_id = saga_id
        super().__init__(f"There is no saga {saga_id} in this storage: it was never started, or was purged.")


class SagaAlreadyExists(CqrsError, ValueError):
    """
    A saga was to be started under the id of one that was started with something else.

    Attributes:
        saga_id: The id.
    """

    def __init__(self, saga_id: uuid.UUID, problem: str) -> None:
        self.saga_id = saga_id
        super().__init__(
            f"The saga {saga_id} exists already, {problem}. Nothing was changed. Use an id of its own for each saga."
        )


class SagaFailed(CqrsError, RuntimeError):
    """
    A saga has failed, and everything that it had done is undone.

    Whoever ran the step that failed gets the error of that step instead; this is for all others.

    Attributes:
        saga_id: Which saga.
        error: What the step raised, as text.
    """

    def __init__(self, saga_id: uuid.UUID, error: str) -> None:
        self.saga_id = saga_id
        self.error = error
        super().__init__(f"The saga {saga_id} has failed, and all that it had done is undone. The reason: {error}")


class SagaSuspended(CqrsError, RuntimeError):
    """
    A saga waits for a person: it can neither go on nor be undone without one.

    Attributes:
        saga_id: Which saga.
        reason: Why.
    """

    def __init__(self, saga_id: uuid.UUID, reason: str) -> None:
        self.saga_id = saga_id
        self.reason = reason
        super().__init__(
            f"The saga {saga_id} is suspended: {reason} Mend the cause, then let it go on with SagaAdministration."
        )


class SagaAbandoned(CqrsError, RuntimeError):
    """
    A saga was given up by a person as it is: what it had done is neither completed nor undone.

    Attributes:
        saga_id: Which saga.
        error: What went wrong before, as text.
    """

    def __init__(self, saga_id: uuid.UUID, error: str) -> None:
        self.saga_id = saga_id
        self.error = error
        super().__init__(
            f"The saga {saga_id} was given up as it is, half done or half undone; who has decided it, and why, is in "
            f"its history. What went wrong before: {error}"
        )


class SagaNotClaimable(CqrsError, RuntimeError):
    """
    A saga was to be recovered that is not there for the taking.

    Attributes:
        saga_id: Which saga.
    """

    def __init__(self, saga_id: uuid.UUID, problem: str) -> None:
        self.saga_id = saga_id
        super().__init__(f"The saga {saga_id} cannot be recovered now: {problem}")


class SagaFenced(CqrsError, RuntimeError):
    """
    Another worker has taken a saga over: what this one still wanted to write was refused, and changed nothing.

    Attributes:
        saga_id: Which saga.
    """

    def __init__(self, saga_id: uuid.UUID) -> None:
        self.saga_id = saga_id
        super().__init__(
            f"The saga {saga_id} was taken over by another worker, which goes on with it. There is nothing to do; if "
            "it happens often, steps hold the event loop for longer than the lease."
        )


class SagaStorageUnavailable(StorageUnavailable):
    """
    What a saga has done could not be written for as long as it was ours; whoever recovers it does the step again.

    Attributes:
        saga_id: Which saga.
    """

    def __init__(self, saga_id: uuid.UUID, problem: str) -> None:
        self.saga_id = saga_id
        super().__init__(f"The storage of the saga {saga_id}", problem)


class SagaUnrunnable(CqrsError, RuntimeError):
    """
    A saga that was claimed cannot be run by this program.

    Attributes:
        saga_id: Which saga.
        reason: Why.
        is_suspended: Whether it waits for a person now; or it was left to others.
    """

    def __init__(self, saga_id: uuid.UUID, reason: str) -> None:
        self.saga_id = saga_id
        self.reason = reason
        self.is_suspended = False
        super().__init__(f"The saga {saga_id} cannot be run here: {reason}")


class SagaChanged(CqrsError, RuntimeError):
    """
    A saga was to be changed by hand, and has changed since it was looked at.

    Attributes:
        saga_id: Which saga.
    """

    def __init__(self, saga_id: uuid.UUID, problem: str = "it has changed since it was looked at") -> None:
        self.saga_id = saga_id
        super().__init__(f"The saga {saga_id} was left as it is: {problem}. Look at it again, and decide anew.")


class SagasNotKept(CqrsError, TypeError):
    """
    The storage of a program keeps no sagas, and the program has some.

    Attributes:
        storage: The class of the storage.
    """

    def __init__(self, storage: type) -> None:
        self.storage = storage
        super().__init__(
            f"{name_of(storage)} keeps no sagas: its attribute `sagas` is no SagaStorage. Use one that does, such as "
            "MemoryStorage or cqrs_sqla's."
        )


class StepInDoubt(CqrsError, RuntimeError):
    """To be raised by a step that failed and may have taken effect all the same: it is then undone as well."""


class WrongStepResult(CqrsError, TypeError):
    """
    A step returned something else than its result.

    Attributes:
        step: The class of the step.
    """

    def __init__(self, step: type, returned: object) -> None:
        self.step = step
        super().__init__(
            f"{name_of(step)}.act returned an object of type {name_of(type(returned))}. "
            "End it with `return self.result(response)`."
        )


class NotInStep(CqrsError, LookupError):
    """The current step of a saga was asked for where none runs."""

    def __init__(self) -> None:
        super().__init__("No step of a saga runs here: current_step() is for what act() and compensate() call.")
