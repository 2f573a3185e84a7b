"""How a topic is consumed: what is in order with what, and which options mean nothing."""

from __future__ import annotations

from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core.broker import Delivery
from cqrs_core.consumer import Consumption
from cqrs_core.envelope import Envelope
from cqrs_core.errors import InvalidOption
from cqrs_core.incoming import IncomingEvents


class Paid(cqrs.DomainEvent):
    order_id: str


def consumption(**options: Any) -> Consumption:
    incoming = IncomingEvents("payments", {"Paid": Paid}, max_body_bytes=100)
    return Consumption(**{"incoming": incoming, "dead_letter_topic": "dead", **options})


@pytest.mark.parametrize(
    ("order", "key", "lane"),
    [
        ("key", "k", "k"),
        ("key", "", ""),
        ("key", None, None),
        ("partition", "k", ""),
        ("partition", None, ""),
        ("none", "k", None),
        ("none", None, None),
    ],
)
def test_what_is_in_order_shares_a_lane(order: str, key: str | None, lane: str | None) -> None:
    """By key, messages without one have no order; by partition, all of one have one."""
    delivery = Delivery(Envelope("payments", b"", key), "p", "1")

    assert lane == consumption(order=order).lane_of(delivery)


async def handle_batch(events: Any) -> None:
    """Take many."""


@pytest.mark.parametrize(
    ("order", "key", "lane"),
    [("key", "k", "k"), ("key", None, ""), ("partition", "k", ""), ("none", "k", ""), ("none", None, "")],
)
def test_for_batches_what_has_no_order_is_together(order: str, key: str | None, lane: str) -> None:
    """A batch is of one lane: each in its own, there would only be batches of one."""
    delivery = Delivery(Envelope("payments", b"", key), "p", "1")

    assert lane == consumption(order=order, handle_batch=handle_batch).lane_of(delivery)


def test_what_is_not_said_means_in_order_by_key_five_attempts_and_unknown_names_skipped() -> None:
    """The defaults, none of which is wrong."""
    plain = consumption()

    assert ("key", "skip", None, 100) == (plain.order, plain.on_unknown, plain.handle_batch, plain.max_batch_size)
    assert 5 == plain.retry.max_attempts
    assert [] == plain.problems()


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("order", "keys", "'key', 'partition' or 'none'"),
        ("order", [], "'key', 'partition' or 'none'"),
        ("on_unknown", "ignore", "'skip' or 'dead_letter'"),
        ("retry", 5, "a RetryPolicy"),
        ("retry", cqrs.RetryPolicy, "a RetryPolicy"),
        ("max_batch_size", 0, "a whole number, at least 1"),
        ("max_batch_size", "9", "a whole number, at least 1"),
        ("dead_letter_topic", "", "the name of another topic"),
        ("dead_letter_topic", "payments", "the name of another topic"),
        ("dead_letter_topic", None, "the name of another topic"),
    ],
)
def test_an_option_that_means_nothing_is_told_with_what_it_may_be(option: str, value: object, expected: str) -> None:
    """As an error that is not raised, so that everything wrong is told at once."""
    (problem,) = consumption(**{option: value}).problems()

    assert isinstance(problem, InvalidOption)
    assert (option, value) == (problem.option, problem.value)
    assert expected in problem.expected


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """The events that it understands included."""
    incoming = IncomingEvents("payments", {"": Paid}, max_body_bytes=0)

    problems = consumption(incoming=incoming, order="x", max_batch_size=-1).problems()

    options = [problem.option for problem in problems if isinstance(problem, InvalidOption)]
    assert ["max_body_bytes", "names", "order", "max_batch_size"] == options
