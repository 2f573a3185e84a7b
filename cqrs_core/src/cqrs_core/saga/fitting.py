"""Whether a saga that another version of its class has begun fits this one, and where it stands in that."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cqrs_core.saga.log import Branch, acted, still_done

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cqrs_core.saga.definition import Definition
    from cqrs_core.saga.log import SagaLogEntry
    from cqrs_core.saga.storage import SagaRecord


class Fit(NamedTuple):
    """
    How a stored saga fits a definition.

    Attributes:
        cursor: The number of the step at work, as the definition counts them.
        problem: Why it does not fit; ``None``: it does.
    """

    cursor: int
    problem: str | None = None


def fit_of(
    definition: Definition,
    record: SagaRecord,
    history: Sequence[SagaLogEntry],
    *,
    may_be_begun: bool,
    goes_on: bool = True,
) -> Fit:
    """
    Tell where a saga that went forward stands in *definition*, which is not the one that wrote it.

    Args:
        definition: Of the class as it is now.
        record: The saga as it is stored.
        history: What was done.
        may_be_begun: Whether the step at work may have been.
        goes_on: Whether it is to go on, and not to be undone.
    """
    done = acted(history)
    cursor = definition.cursor_after(done)
    problem = definition.misfit(done, record.step_id if may_be_begun else None)
    if problem is not None:
        return Fit(cursor, problem)
    if goes_on and cursor == len(definition.steps):
        return Fit(cursor, f"it has done all that {definition.name} has to do")
    lost = [
        side.step_id
        for side in still_done(history)
        if definition.must_be_undone(side.step_id) and not definition.undoes(side)
    ]
    if goes_on and record.branch is not Branch.PRIMARY and definition.steps[cursor].fallback is None:
        lost.append(record.step_id)
    return Fit(cursor, f"the fallback of {', '.join(lost)} is gone" if lost else None)
