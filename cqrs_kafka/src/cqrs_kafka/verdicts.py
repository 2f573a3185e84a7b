"""What became of a message that the client, or the broker, did not take: errors of aiokafka as those of the core."""

from __future__ import annotations

from aiokafka import errors as kafka

from cqrs_core.broker import SendOutcome, SendStatus
from cqrs_core.errors import BrokerUnavailable, MessageRefused, OutcomeUnknown
from cqrs_kafka.patience import TooSlow

DELIVERED = SendOutcome(SendStatus.DELIVERED)
NOT_SENT = SendOutcome(SendStatus.NOT_SENT)

#: Whatever is tried, the broker will not take it.
_FOR_GOOD = (
    kafka.InvalidTimestampError,
    kafka.InvalidTopicError,
    kafka.MessageSizeTooLargeError,
    kafka.RecordListTooLargeError,
    kafka.UnsupportedForMessageFormatError,
)
#: The broker said no; somebody may change its mind. `UnknownError` stands for what aiokafka has no name for, such as a
#: record without key in a topic that is compacted.
_FOR_NOW = (
    kafka.ClusterAuthorizationFailedError,
    kafka.InvalidRequiredAcksError,
    kafka.PolicyViolationError,
    kafka.TopicAuthorizationFailedError,
    kafka.UnknownError,
)

#: Whoever asks, or where it goes, is at fault: no message of the batch would pass alone.
_ABOUT_ALL = (
    kafka.ClusterAuthorizationFailedError,
    kafka.InvalidRequiredAcksError,
    kafka.InvalidTopicError,
    kafka.TopicAuthorizationFailedError,
)


def refused(topic: str, problem: str, *, is_permanent: bool) -> SendOutcome:
    """Say that a message is not wanted."""
    status = SendStatus.PERMANENT if is_permanent else SendStatus.REFUSED
    return SendOutcome(status, MessageRefused(topic, problem, is_permanent=is_permanent))


def not_reached(error: BrokerUnavailable) -> SendOutcome:
    """Say that a message did not leave."""
    return SendOutcome(SendStatus.UNAVAILABLE, error)


def unknown(topic: str, problem: str) -> SendOutcome:
    """Say that a message left, and that no answer came."""
    return SendOutcome(SendStatus.UNKNOWN, OutcomeUnknown(topic, problem))


def is_refusal(error: BaseException) -> bool:
    """Tell whether the broker has looked at a message, and said no."""
    return isinstance(error, _FOR_GOOD + _FOR_NOW)


def is_about_one(error: BaseException) -> bool:
    """Tell whether the broker may have refused a whole batch for one of its messages."""
    return is_refusal(error) and not isinstance(error, _ABOUT_ALL)


def verdict(topic: str, error: BaseException) -> SendOutcome:
    """Judge a message that was handed to the client, by the error that came of it."""
    name = type(error).__name__
    if is_refusal(error):
        problem = f"{name}. {_CURES.get(type(error), '')}".rstrip()
        outcome = refused(topic, problem, is_permanent=isinstance(error, _FOR_GOOD))
    elif isinstance(error, TooSlow):
        outcome = unknown(topic, f"{error}.")
    else:
        outcome = unknown(topic, f"the client gave it up with {name}.")
    if outcome.error is not None:
        outcome.error.__cause__ = error
    return outcome


_CURES = {
    kafka.MessageSizeTooLargeError: "It is larger than the topic allows: raise its max.message.bytes, or send where "
    "the content is to be found.",
    kafka.TopicAuthorizationFailedError: "This user may not write there: give it the right (ACL).",
    kafka.UnknownError: "The broker gives its reason in its log; a compacted topic, for one, takes no message without "
    "a key.",
}
