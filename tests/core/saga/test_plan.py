"""Everything that can happen to a saga, and where it stands then."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from cqrs_core.saga.log import Branch, SagaStatus
from cqrs_core.saga.plan import Happened, IllegalTransition, Standing, StepKind, can_turn, follow

P, R, C = SagaStatus.PENDING, SagaStatus.RUNNING, SagaStatus.COMPENSATING
COMPLETED, FAILED, S, ABANDONED = (
    SagaStatus.COMPLETED,
    SagaStatus.FAILED,
    SagaStatus.SUSPENDED,
    SagaStatus.ABANDONED,
)
FIRST, LEAVING, OTHER = Branch.PRIMARY, Branch.LEAVING, Branch.FALLBACK
UNDOABLE = (StepKind.COMPENSABLE, StepKind.COMPENSABLE, StepKind.COMPENSABLE)
#: Step 0 can be undone, 1 is the point of no return, 2 has to succeed.
PIVOTED = (StepKind.COMPENSABLE, StepKind.PIVOT, StepKind.RETRIABLE)

H = Happened
#: Where it stood, what happened, (undoable, passes on); where it stands.
TABLE = [
    # Taken, and left.
    (UNDOABLE, Standing(P), H.CLAIMED, 0, False, Standing(R, 0, FIRST, 1)),
    (UNDOABLE, Standing(R, 1, FIRST, 1), H.CLAIMED, 1, False, Standing(R, 1, FIRST, 2)),
    (UNDOABLE, Standing(R, 1, OTHER, 2), H.CLAIMED, 1, False, Standing(R, 1, OTHER, 3)),
    (UNDOABLE, Standing(C, 2, FIRST, 1), H.CLAIMED, 2, False, Standing(C, 2, FIRST, 2)),
    (UNDOABLE, Standing(R, 1, FIRST, 1), H.LEFT, 1, False, Standing(R, 1, FIRST, 0)),
    (UNDOABLE, Standing(R, 1, FIRST, 3), H.LEFT, 1, False, Standing(R, 1, FIRST, 2)),
    (UNDOABLE, Standing(R, 1, FIRST, 1), H.DROPPED, 1, False, Standing(R, 1, FIRST, 1)),
    (UNDOABLE, Standing(C, 2, FIRST, 1), H.LEFT, 2, False, Standing(C, 2, FIRST, 0)),
    (UNDOABLE, Standing(C, 2, FIRST, 1), H.DROPPED, 2, False, Standing(C, 2, FIRST, 1)),
    # Forward: the intent to begin the next step is written with the end of this one.
    (UNDOABLE, Standing(R, 0, FIRST, 1), H.ACTED, 0, False, Standing(R, 1, FIRST, 1)),
    (UNDOABLE, Standing(R, 1, OTHER, 3), H.ACTED, 1, False, Standing(R, 2, FIRST, 1)),
    (UNDOABLE, Standing(R, 2, FIRST, 1), H.ACTED, 2, False, Standing(COMPLETED, 3)),
    # A step has failed, and has not taken effect: those before it are undone.
    (UNDOABLE, Standing(R, 2, FIRST, 1), H.REFUSED, 2, False, Standing(C, 2, FIRST, 1)),
    (UNDOABLE, Standing(R, 0, FIRST, 1), H.REFUSED, 0, False, Standing(FAILED, 0)),
    (UNDOABLE, Standing(R, 1, OTHER, 1), H.REFUSED, 1, False, Standing(C, 1, FIRST, 1)),
    (PIVOTED, Standing(R, 1, FIRST, 1), H.REFUSED, 1, False, Standing(C, 1, FIRST, 1)),
    # It may have: it is undone as well; a point of no return cannot be.
    (UNDOABLE, Standing(R, 2, FIRST, 1), H.DOUBTED, 2, False, Standing(C, 3, FIRST, 1)),
    (UNDOABLE, Standing(R, 0, FIRST, 1), H.DOUBTED, 0, False, Standing(C, 1, FIRST, 1)),
    (PIVOTED, Standing(R, 1, FIRST, 1), H.DOUBTED, 1, False, Standing(S, 1, FIRST, 1, R)),
    # Behind the point of no return there is no way back.
    (PIVOTED, Standing(R, 2, FIRST, 1), H.REFUSED, 2, False, Standing(S, 2, FIRST, 1, R)),
    (PIVOTED, Standing(R, 2, FIRST, 1), H.DOUBTED, 2, False, Standing(S, 2, FIRST, 1, R)),
    # To the fallback; of a primary that may have taken effect, after it was undone.
    (UNDOABLE, Standing(R, 1, FIRST, 1), H.REFUSED, 1, True, Standing(R, 1, OTHER, 1)),
    (UNDOABLE, Standing(R, 1, FIRST, 2), H.DOUBTED, 1, True, Standing(R, 1, LEAVING, 1)),
    (UNDOABLE, Standing(R, 1, LEAVING, 1), H.UNDONE, 1, False, Standing(R, 1, OTHER, 1)),
    (UNDOABLE, Standing(R, 1, LEAVING, 1), H.NOT_UNDONE, 1, False, Standing(S, 1, LEAVING, 1, R)),
    (UNDOABLE, Standing(R, 1, OTHER, 1), H.REFUSED, 1, True, Standing(C, 1, FIRST, 1)),
    (PIVOTED, Standing(R, 1, FIRST, 1), H.REFUSED, 1, True, Standing(R, 1, OTHER, 1)),
    (PIVOTED, Standing(R, 1, FIRST, 1), H.DOUBTED, 1, True, Standing(S, 1, FIRST, 1, R)),
    (PIVOTED, Standing(R, 2, FIRST, 1), H.REFUSED, 2, True, Standing(R, 2, OTHER, 1)),
    (PIVOTED, Standing(R, 2, FIRST, 1), H.DOUBTED, 2, True, Standing(S, 2, FIRST, 1, R)),
    # Backward, to the end.
    (UNDOABLE, Standing(C, 3, FIRST, 2), H.UNDONE, 3, False, Standing(C, 2, FIRST, 1)),
    (UNDOABLE, Standing(C, 1, FIRST, 1), H.UNDONE, 1, False, Standing(FAILED, 0)),
    (UNDOABLE, Standing(C, 2, FIRST, 5), H.NOT_UNDONE, 2, False, Standing(S, 2, FIRST, 5, C)),
    # Nobody can go on.
    (UNDOABLE, Standing(P), H.GAVE_UP, 0, False, Standing(S, 0, FIRST, 0, P)),
    (UNDOABLE, Standing(R, 1, FIRST, 5), H.GAVE_UP, 1, False, Standing(S, 1, FIRST, 5, R)),
    (UNDOABLE, Standing(C, 1, FIRST, 5), H.GAVE_UP, 1, False, Standing(S, 1, FIRST, 5, C)),
    # People.
    (UNDOABLE, Standing(P), H.TURNED, 0, False, Standing(FAILED, 0)),
    (UNDOABLE, Standing(R, 2, FIRST, 1), H.TURNED, 2, False, Standing(C, 3, FIRST, 1)),
    (UNDOABLE, Standing(R, 2, FIRST, 0), H.TURNED, 2, False, Standing(C, 2, FIRST, 1)),
    (UNDOABLE, Standing(R, 1, LEAVING, 0), H.TURNED, 1, False, Standing(C, 2, FIRST, 1)),
    (UNDOABLE, Standing(S, 2, FIRST, 1, R), H.TURNED, 2, False, Standing(C, 3, FIRST, 1)),
    (UNDOABLE, Standing(S, 2, FIRST, 1, R), H.RETRIED, 2, False, Standing(R, 2, FIRST, 1)),
    (UNDOABLE, Standing(S, 2, FIRST, 1, C), H.RETRIED, 2, False, Standing(C, 2, FIRST, 1)),
    (UNDOABLE, Standing(S, 0, FIRST, 0, P), H.RETRIED, 0, False, Standing(P, 0, FIRST, 0)),
    (UNDOABLE, Standing(S, 1, FIRST, 3, R), H.SKIPPED, 1, False, Standing(R, 2, FIRST, 1)),
    (UNDOABLE, Standing(S, 2, FIRST, 3, R), H.SKIPPED, 2, False, Standing(COMPLETED, 3)),
    (UNDOABLE, Standing(S, 1, LEAVING, 1, R), H.SKIPPED, 1, False, Standing(R, 1, OTHER, 1)),
    (UNDOABLE, Standing(S, 2, FIRST, 1, C), H.SKIPPED, 2, False, Standing(C, 1, FIRST, 1)),
    (UNDOABLE, Standing(S, 1, FIRST, 1, C), H.SKIPPED, 1, False, Standing(FAILED, 0)),
    (UNDOABLE, Standing(S, 2, FIRST, 1, C), H.ABANDONED, 2, False, Standing(ABANDONED, 2, FIRST, 1)),
]

ILLEGAL = [
    (UNDOABLE, Standing(R, 1, FIRST, 0), H.LEFT),
    (UNDOABLE, Standing(R, 1, LEAVING, 1), H.ACTED),
    (UNDOABLE, Standing(R, 1, LEAVING, 1), H.REFUSED),
    (UNDOABLE, Standing(R, 1, LEAVING, 1), H.DOUBTED),
    (UNDOABLE, Standing(R, 1, FIRST, 1), H.UNDONE),
    (UNDOABLE, Standing(R, 1, FIRST, 1), H.NOT_UNDONE),
    (UNDOABLE, Standing(S, 2, FIRST, 1, C), H.TURNED),
    (PIVOTED, Standing(R, 1, FIRST, 1), H.TURNED),
    (PIVOTED, Standing(S, 2, FIRST, 0, R), H.TURNED),
]


@pytest.mark.parametrize(("kinds", "standing", "happened", "undoable", "passes_on", "expected"), TABLE)
def test_what_happens_leads_there(  # noqa: PLR0917 - the columns of the table
    kinds: tuple[StepKind, ...],
    standing: Standing,
    happened: Happened,
    undoable: int,
    passes_on: bool,  # noqa: FBT001 - one column of a table
    expected: Standing,
) -> None:
    assert expected == follow(standing, happened, kinds, undoable=undoable, passes_on=passes_on)


@pytest.mark.parametrize(("kinds", "standing", "happened"), ILLEGAL)
def test_what_cannot_happen_there_is_a_fault_of_the_engine(
    kinds: tuple[StepKind, ...], standing: Standing, happened: Happened
) -> None:
    with pytest.raises(IllegalTransition):
        follow(standing, happened, kinds, undoable=standing.cursor)


def test_what_the_table_does_not_name_cannot_happen() -> None:
    """Of what has ended, nothing can; nor can anything else that is not in the table above."""
    named = {(standing.status, happened) for _, standing, happened, *_ in TABLE}
    for status, happened in product(SagaStatus, Happened):
        if (status, happened) not in named:
            with pytest.raises(IllegalTransition):
                follow(Standing(status, 1, FIRST, 1), happened, UNDOABLE, undoable=1)


def reachable(kinds: tuple[StepKind, ...]) -> Iterator[tuple[Standing, Happened, Standing]]:
    """Go through everything that can ever come of a new saga, with up to two claims of a step."""
    seen = {Standing(P), Standing(R, 0, FIRST, 1)}
    left = list(seen)
    while left:
        standing = left.pop()
        done = min(standing.cursor, len(kinds))
        for happened, passes_on in product(Happened, (False, True)):
            try:
                following = follow(standing, happened, kinds, undoable=done, passes_on=passes_on)
            except IllegalTransition:
                continue
            yield standing, happened, following
            if following not in seen and following.attempt <= 2:
                seen.add(following)
                left.append(following)


@pytest.mark.parametrize("kinds", [UNDOABLE, PIVOTED, UNDOABLE[:1], PIVOTED[1:]])
def test_once_turned_round_a_saga_never_goes_forward(kinds: tuple[StepKind, ...]) -> None:
    """Promise 5, for everything that can ever happen: no way leads from COMPENSATING to RUNNING, by people neither."""
    for standing, happened, following in reachable(kinds):
        direction = standing.suspended_from or standing.status
        if direction is C:
            assert (following.suspended_from or following.status) in (C, FAILED, ABANDONED), (standing, happened)


@pytest.mark.parametrize("kinds", [UNDOABLE, PIVOTED, UNDOABLE[:1], PIVOTED[1:]])
def test_what_has_ended_stays_as_it_is(kinds: tuple[StepKind, ...]) -> None:
    """Promise 6, the first half: nothing leads out of COMPLETED, FAILED and ABANDONED."""
    starts = {standing.status for standing, _, _ in reachable(kinds)}

    assert not any(status.is_ended for status in starts)


@pytest.mark.parametrize("kinds", [UNDOABLE, PIVOTED, PIVOTED[1:]])
def test_behind_the_point_of_no_return_nothing_is_undone(kinds: tuple[StepKind, ...]) -> None:
    for standing, happened, following in reachable(kinds):
        is_behind = any(kind is not StepKind.COMPENSABLE for kind in kinds[: standing.cursor])
        if (standing.suspended_from or standing.status) is R and is_behind:
            assert following.status is not C, (standing, happened)


def test_there_is_a_way_back_as_long_as_all_that_was_begun_can_be_undone() -> None:
    assert can_turn(Standing(R, 2, FIRST, 1), UNDOABLE)
    assert can_turn(Standing(R, 1, FIRST, 0), PIVOTED)
    assert not can_turn(Standing(R, 1, FIRST, 1), PIVOTED)
    assert not can_turn(Standing(R, 2, FIRST, 0), PIVOTED)


def test_statuses_say_whether_anybody_goes_on() -> None:
    assert [P, R, C] == [status for status in SagaStatus if status.is_live]
    assert [COMPLETED, FAILED, ABANDONED] == [status for status in SagaStatus if status.is_ended]
