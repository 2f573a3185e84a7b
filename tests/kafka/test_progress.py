"""How far a group has come: everything before what is told is done, in whatever order it was."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from cqrs_kafka.progress import MOST_OPEN, Progress


def progress(*offsets: int, committed: int | None = 0) -> Progress:
    """Make one that has received *offsets*."""
    made = Progress(TopicPartition("orders", 3))
    made.committed = committed
    made.moved_to(committed or 0)
    for offset in offsets:
        made.received(offset)
    return made


def test_it_is_called_by_topic_and_number() -> None:
    assert "orders/3" == progress().name


@pytest.mark.parametrize(
    ("done", "to_commit"),
    [
        ([], None),  # 0 is open, and nothing is before it
        ([0], 1),
        ([0, 1], 2),
        ([1], None),
        ([1, 0], 2),
        ([0, 2], 1),
        ([0, 1, 2], 3),  # what comes next
        ([2, 1, 0], 3),
        ([0, 0], 1),  # once is enough
        ([7], None),  # was never received
    ],
)
def test_only_what_is_done_without_a_gap_is_told(done: list[int], to_commit: int | None) -> None:
    made = progress(0, 1, 2)
    for offset in done:
        made.acknowledged(offset)

    assert to_commit == made.to_commit


def test_offsets_that_are_not_there_are_no_gap() -> None:
    """Kafka leaves some out: where topics are compacted, and where transactions end."""
    made = progress(0, 4, 9)
    made.acknowledged(0)
    assert 4 == made.to_commit  # nothing is before it but what is done
    made.acknowledged(4)
    made.acknowledged(9)

    assert 10 == made.to_commit


def test_what_was_told_is_not_told_again() -> None:
    made = progress(0)
    made.acknowledged(0)
    made.committed = made.to_commit

    assert made.to_commit is None


def test_where_it_goes_on_elsewhere_that_is_told() -> None:
    """When nothing is open: what lies before is given up."""
    made = progress(0)
    made.acknowledged(0)
    made.moved_to(50)

    assert 50 == made.to_commit


def test_behind_one_that_is_never_done_not_everything_is_received() -> None:
    made = progress(*range(MOST_OPEN))
    for offset in range(1, MOST_OPEN):
        made.acknowledged(offset)
    assert not made.is_wanted

    made.acknowledged(0)

    assert made.is_wanted


@given(st.permutations(range(30)), st.integers(0, 30))
def test_nothing_before_what_is_told_is_open(order: list[int], count: int) -> None:
    made = progress(*range(30))
    for offset in order[:count]:
        made.acknowledged(offset)

    told = made.to_commit or 0
    assert set(range(told)) <= set(order[:count])
    assert 30 == told or told not in order[:count]
