"""What became of a message is told by the error that came of it."""

from __future__ import annotations

import pytest
from aiokafka import errors as kafka

from cqrs_core.broker import SendStatus
from cqrs_kafka.patience import TooSlow
from cqrs_kafka.verdicts import is_about_one, verdict


@pytest.mark.parametrize(
    ("error", "status", "about_one"),
    [
        (kafka.MessageSizeTooLargeError(), SendStatus.PERMANENT, True),
        (kafka.RecordListTooLargeError(), SendStatus.PERMANENT, True),
        (kafka.InvalidTimestampError(), SendStatus.PERMANENT, True),
        (kafka.InvalidTopicError(), SendStatus.PERMANENT, False),
        (kafka.TopicAuthorizationFailedError("orders"), SendStatus.REFUSED, False),
        (kafka.ClusterAuthorizationFailedError(), SendStatus.REFUSED, False),
        (kafka.PolicyViolationError(), SendStatus.REFUSED, True),
        (kafka.UnknownError(), SendStatus.REFUSED, True),  # what the broker calls something that aiokafka does not know
        (kafka.OutOfOrderSequenceNumber(), SendStatus.UNKNOWN, False),
        (kafka.ProducerClosed(), SendStatus.UNKNOWN, False),
        (kafka.NotLeaderForPartitionError(), SendStatus.UNKNOWN, False),
        (kafka.KafkaError("the sender broke"), SendStatus.UNKNOWN, False),
        (kafka.RequestTimedOutError(), SendStatus.UNKNOWN, False),
    ],
)
def test_only_what_the_broker_refused_is_refused(error: Exception, status: SendStatus, *, about_one: bool) -> None:
    """Of anything else it is not known whether it has arrived; a batch is taken apart if one may be at fault."""
    outcome = verdict("orders", error)

    assert status is outcome.status
    assert about_one == is_about_one(error)
    assert outcome.error is not None
    assert error is outcome.error.__cause__
    assert type(error).__name__ in str(outcome.error)


def test_how_long_nobody_answered_is_told() -> None:
    assert "no answer within 30 s." in str(verdict("orders", TooSlow("no answer within 30 s")).error)
