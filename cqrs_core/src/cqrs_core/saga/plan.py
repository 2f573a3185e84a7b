"""
What comes next in a saga, and where it stands then. Nothing here does anything: facts in, facts out.

The promises of the engine stand or fall with this file, so it is tested as a table of all that can happen.

Source:
    H. Garcia-Molina and K. Salem, "Sagas", SIGMOD 1987; pivot and retriable steps: C. Richardson, "Microservices
    Patterns", 2018, chapter 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias

from cqrs_core.saga.log import Branch, SagaStatus


class StepKind(str, Enum):
    """Whether a step can be undone: see :class:`cqrs_core.saga.steps.SagaStepHandler`."""

    COMPENSABLE = "compensable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"

    def __str__(self) -> str:
        return str(self.value)


#: The kinds of the steps of a saga, in order.
Kinds: TypeAlias = Sequence[StepKind]


class Standing(NamedTuple):
    """
    Where a saga stands.

    Attributes:
        status: As a whole.
        cursor: How many steps are done, which is the number of the one at work; while everything is undone, how many
            are left to undo.
        branch: Which side of the step is at work.
        attempt: How many drivers may have begun the step; 0: surely none has.
        suspended_from: While it is suspended, the direction that it had.
    """

    status: SagaStatus
    cursor: int = 0
    branch: Branch = Branch.PRIMARY
    attempt: int = 0
    suspended_from: SagaStatus | None = None


class Happened(Enum):
    """What a driver, or a person, has to tell."""

    __hash__ = object.__hash__  # each is equal to itself alone; Enum has one of its own, written in Python

    CLAIMED = "a driver has taken it"
    LEFT = "its driver has left it, before anything was begun"
    DROPPED = "its driver has left it in the middle of a step"
    ACTED = "the step is done"
    REFUSED = "the step has failed, and has not taken effect"
    DOUBTED = "the step has failed, and may have taken effect"
    UNDONE = "a step is undone"
    NOT_UNDONE = "a step could not be undone"
    GAVE_UP = "nobody can go on with it"
    # What people decide.
    RETRIED = "it is to go on as it was"
    TURNED = "it is to be undone"
    SKIPPED = "the step at work is to be taken for done"
    ABANDONED = "it is given up as it is"


class IllegalTransition(RuntimeError):
    """Something was told of a saga that cannot happen where it stands: a fault of the engine."""

    def __init__(self, standing: Standing, happened: Happened) -> None:
        super().__init__(f"{standing} and {happened.value}: that cannot be.")


def follow(
    standing: Standing, happened: Happened, kinds: Kinds, *, undoable: int = 0, passes_on: bool = False
) -> Standing:
    """
    Tell where a saga stands when something has happened.

    Args:
        standing: Where it stood.
        happened: What has happened.
        kinds: Of its steps.
        undoable: How many sides of steps are done and not undone, those in doubt not counted.
        passes_on: Of a primary that failed, whether its fallback is for that error.

    Raises:
        IllegalTransition: It cannot have.
    """
    transition = _TRANSITIONS.get((standing.status, happened))
    if transition is None:
        raise IllegalTransition(standing, happened)
    return transition(standing, happened, kinds, undoable, passes_on)


def can_turn(standing: Standing, kinds: Kinds) -> bool:
    """Tell whether there is a way back: no pivot is done, or may be, and no retriable step was begun."""
    begun = kinds[: standing.cursor + (standing.attempt > 0)]
    return all(kind is StepKind.COMPENSABLE for kind in begun)


def _claimed(standing: Standing, *_: object) -> Standing:
    status = SagaStatus.RUNNING if standing.status is SagaStatus.PENDING else standing.status
    return standing._replace(status=status, attempt=standing.attempt + 1)


def _left(standing: Standing, happened: Happened, *_: object) -> Standing:
    # Whoever leaves was counted, and has not begun; those before may have.
    if standing.attempt == 0:
        raise IllegalTransition(standing, happened)
    return standing._replace(attempt=standing.attempt - 1)


def _dropped(standing: Standing, *_: object) -> Standing:
    return standing


def _acted(standing: Standing, happened: Happened, kinds: Kinds, *_: object) -> Standing:
    if standing.branch is Branch.LEAVING:
        raise IllegalTransition(standing, happened)
    done = standing.cursor + 1
    if done == len(kinds):
        return Standing(SagaStatus.COMPLETED, done)
    return Standing(SagaStatus.RUNNING, done, Branch.PRIMARY, 1)


def _failed(
    standing: Standing,
    happened: Happened,
    kinds: Kinds,
    undoable: int,
    passes_on: bool,  # noqa: FBT001 - as above
) -> Standing:
    kind, is_in_doubt = kinds[standing.cursor], happened is Happened.DOUBTED
    if standing.branch is Branch.LEAVING:
        raise IllegalTransition(standing, happened)
    if passes_on and standing.branch is Branch.PRIMARY and not is_in_doubt:
        return Standing(SagaStatus.RUNNING, standing.cursor, Branch.FALLBACK, 1)
    if kind is StepKind.RETRIABLE or (kind is StepKind.PIVOT and is_in_doubt):
        # There is no way back, or nobody knows whether there is one.
        return _suspended(standing)
    if passes_on and standing.branch is Branch.PRIMARY:
        return Standing(SagaStatus.RUNNING, standing.cursor, Branch.LEAVING, 1)
    return _turning(undoable + is_in_doubt)


def _turning(left: int) -> Standing:
    # The first undo comes after this is durable: whoever goes on then never goes forward again.
    return Standing(SagaStatus.COMPENSATING if left else SagaStatus.FAILED, left, Branch.PRIMARY, 1 if left else 0)


def _primary_undone(standing: Standing, happened: Happened, *_: object) -> Standing:
    if standing.branch is not Branch.LEAVING:
        raise IllegalTransition(standing, happened)
    return Standing(SagaStatus.RUNNING, standing.cursor, Branch.FALLBACK, 1)


def _primary_not_undone(standing: Standing, happened: Happened, *_: object) -> Standing:
    if standing.branch is not Branch.LEAVING:
        raise IllegalTransition(standing, happened)
    return _suspended(standing)


def _undone(standing: Standing, *_: object) -> Standing:
    return _turning(standing.cursor - 1)


def _suspended(standing: Standing, *_: object) -> Standing:
    return standing._replace(status=SagaStatus.SUSPENDED, suspended_from=standing.status)


def _retried(standing: Standing, *_: object) -> Standing:
    return standing._replace(status=standing.suspended_from or SagaStatus.RUNNING, suspended_from=None)


def _turned(standing: Standing, happened: Happened, kinds: Kinds, undoable: int, _: object) -> Standing:
    forward = standing.suspended_from or standing.status
    if forward is SagaStatus.COMPENSATING or not can_turn(standing, kinds):
        raise IllegalTransition(standing, happened)
    # Of the step at work, nobody knows: it is undone as well, and so is a primary that was being left.
    return _turning(undoable + (standing.attempt > 0 or standing.branch is Branch.LEAVING))


def _skipped(standing: Standing, happened: Happened, kinds: Kinds, undoable: int, passes_on: bool) -> Standing:  # noqa: FBT001 - as above
    going = _retried(standing)
    if going.status is SagaStatus.COMPENSATING:
        return _undone(going)
    if going.branch is Branch.LEAVING:
        return _primary_undone(going, happened)
    return _acted(going, happened, kinds, undoable, passes_on)


def _abandoned(standing: Standing, *_: object) -> Standing:
    return standing._replace(status=SagaStatus.ABANDONED, suspended_from=None)


_P, _R, _C, _S = SagaStatus.PENDING, SagaStatus.RUNNING, SagaStatus.COMPENSATING, SagaStatus.SUSPENDED
#: Everything that can happen. What is not here cannot; of what has ended, nothing can.
_TRANSITIONS: dict[tuple[SagaStatus, Happened], Callable[[Standing, Happened, Kinds, int, bool], Standing]] = {
    (_P, Happened.CLAIMED): _claimed,
    (_R, Happened.CLAIMED): _claimed,
    (_C, Happened.CLAIMED): _claimed,
    (_R, Happened.LEFT): _left,
    (_C, Happened.LEFT): _left,
    (_R, Happened.DROPPED): _dropped,
    (_C, Happened.DROPPED): _dropped,
    (_R, Happened.ACTED): _acted,
    (_R, Happened.REFUSED): _failed,
    (_R, Happened.DOUBTED): _failed,
    (_R, Happened.UNDONE): _primary_undone,
    (_R, Happened.NOT_UNDONE): _primary_not_undone,
    (_C, Happened.UNDONE): _undone,
    (_C, Happened.NOT_UNDONE): _suspended,
    (_P, Happened.GAVE_UP): _suspended,
    (_R, Happened.GAVE_UP): _suspended,
    (_C, Happened.GAVE_UP): _suspended,
    (_P, Happened.TURNED): _turned,
    (_R, Happened.TURNED): _turned,
    (_S, Happened.RETRIED): _retried,
    (_S, Happened.TURNED): _turned,
    (_S, Happened.SKIPPED): _skipped,
    (_S, Happened.ABANDONED): _abandoned,
}
