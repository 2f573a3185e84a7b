"""Positions that were passed, and may still be filled."""

from __future__ import annotations

from cqrs_core.relay.gaps import Gaps

ALL = 1_000_000


def test_what_lies_between_positions_is_a_gap_until_it_is_seen() -> None:
    """From what was reached before; and before the very first, from a little below it."""
    gaps = Gaps()
    gaps.note([5, 7], reached=0, now=0.0)
    assert [1, 2, 3, 4, 6] == list(gaps.before(ALL))
    gaps.note([3, 10], reached=7, now=1.0)
    assert [1, 2, 4, 6, 8, 9] == list(gaps.before(ALL))


def test_what_was_read_again_makes_no_gaps() -> None:
    """Behind what was reached, what is missing was sent."""
    gaps = Gaps()
    gaps.note([200], reached=150, now=0.0)
    gaps.note([120, 160], reached=200, now=0.0)
    assert list(range(151, 160)) + list(range(161, 200)) == list(gaps.before(ALL))


def test_gaps_are_forgotten_after_a_while() -> None:
    """A transaction that was rolled back never fills its own."""
    gaps = Gaps()
    gaps.note([103], reached=100, now=0.0)
    gaps.note([106], reached=103, now=59.0)
    assert [101, 102, 104, 105] == list(gaps.before(ALL))
    gaps.note([], reached=106, now=60.0)
    assert [104, 105] == list(gaps.before(ALL))


def test_there_are_never_too_many() -> None:
    """The newest are the likeliest."""
    gaps = Gaps()
    gaps.note([10_000], reached=1, now=0.0)
    gaps.note([10_010], reached=10_000, now=0.0)
    assert 1000 == len(gaps.before(ALL))
    assert [10_009, 10_008] == sorted(gaps.before(ALL))[:-3:-1]


def test_only_gaps_before_a_position_are_asked_for() -> None:
    """What stands behind is read in its order; read apart from that, it would overtake what stands between."""
    gaps = Gaps()
    gaps.note([3, 6], reached=0, now=0.0)

    assert [1, 2] == list(gaps.before(3))
    assert [1, 2, 4] == list(gaps.before(4))
