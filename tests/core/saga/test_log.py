"""What the history of a saga says of what would have to be undone."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone

import pytest

from cqrs_core.saga.log import Branch, Done, SagaAction, SagaLogEntry, SagaStatus, SagaStepStatus, still_done

ACT, UNDO = SagaAction.ACT, SagaAction.COMPENSATE
OK, FAILED, DOUBT = SagaStepStatus.COMPLETED, SagaStepStatus.FAILED, SagaStepStatus.IN_DOUBT
FIRST, OTHER = Branch.PRIMARY, Branch.FALLBACK


def entry(step: str, branch: Branch, action: SagaAction, status: SagaStepStatus) -> SagaLogEntry:
    return SagaLogEntry(uuid.uuid4(), 1, datetime.now(timezone.utc), step, step, branch, action, status, 1, "why")


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], []),
        ([("a", FIRST, ACT, OK), ("b", FIRST, ACT, OK)], [("a", FIRST), ("b", FIRST)]),
        ([("a", FIRST, ACT, OK), ("b", FIRST, ACT, FAILED)], [("a", FIRST)]),
        ([("a", FIRST, ACT, OK), ("b", FIRST, ACT, DOUBT)], [("a", FIRST), ("b", FIRST)]),
        ([("a", FIRST, ACT, OK), ("a", FIRST, UNDO, OK)], []),
        ([("a", FIRST, ACT, OK), ("a", FIRST, UNDO, FAILED)], [("a", FIRST)]),
        ([("a", FIRST, ACT, DOUBT), ("a", FIRST, UNDO, OK), ("a", OTHER, ACT, OK)], [("a", OTHER)]),
        ([("a", FIRST, ACT, FAILED), ("a", OTHER, ACT, OK)], [("a", OTHER)]),
        ([("a", FIRST, ACT, DOUBT), ("a", FIRST, ACT, OK)], [("a", FIRST)]),
        ([("a", FIRST, SagaAction.ADMIN, OK)], []),
    ],
)
def test_what_was_done_or_may_have_been_and_is_not_undone(
    history: list[tuple[str, Branch, SagaAction, SagaStepStatus]], expected: list[tuple[str, Branch]]
) -> None:
    assert [Done(*side) for side in expected] == still_done(entry(*facts) for facts in history)


def test_words_are_written_as_they_are() -> None:
    """On every Python: f-strings of enums of texts have changed between versions."""
    assert "suspended in_doubt act" == f"{SagaStatus.SUSPENDED} {DOUBT} {ACT}"


def test_details_are_the_error_as_python_cqrs_calls_it() -> None:
    assert "why" == entry("a", FIRST, ACT, FAILED).details
