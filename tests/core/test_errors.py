"""What all errors have in common."""

from __future__ import annotations

import inspect
import sys

import pytest

import cqrs_core as cqrs
from cqrs_core import errors

ERRORS = [member for name, member in vars(errors).items() if name in errors.__all__ and inspect.isclass(member)]


def test_there_are_errors_to_speak_of() -> None:
    """The list that the other tests go through is not empty."""
    assert 30 < len(ERRORS)


#: The base itself; and the group, for which Python 3.10 has no built-in.
WITHOUT_BUILTIN = {cqrs.CqrsError} | ({errors.EventHandlersFailed} if sys.version_info < (3, 11) else set())


@pytest.mark.parametrize("error", [error for error in ERRORS if error not in WITHOUT_BUILTIN])
def test_every_error_derives_from_the_base_and_from_what_a_stranger_would_catch(error: type[Exception]) -> None:
    """STYLE: CqrsError and a built-in; the docstring tells what happened."""
    builtin = {base for base in error.__mro__ if base.__module__ == "builtins"}

    assert issubclass(error, cqrs.CqrsError)
    assert error.__doc__
    assert {Exception, BaseException, object} < builtin


def test_the_text_of_a_key_error_is_not_quoted() -> None:
    """KeyError shows the repr of its argument; ours do not."""
    error = errors.DuplicateHandler(int, str, bytes)

    assert str(error).startswith("int is bound to str and to bytes. ")


def test_failed_event_handlers_are_told_with_number_and_kinds() -> None:
    """The text names the types of the errors, and not what they say."""
    error = errors.EventHandlersFailed([ValueError("secret"), KeyError("secret"), ValueError("secret")], "answer")

    assert str(error).startswith("3 event handlers failed (ValueError, KeyError); the others ran")
    assert "secret" not in str(error)
    assert ("answer", 3) == (error.response, len(error.errors))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups are of Python 3.11")
def test_failed_event_handlers_are_an_exception_group() -> None:
    """``except*`` takes it apart; the parts keep the response."""
    failure = errors.EventHandlersFailed([ValueError("a"), KeyError("b")], "answer")

    matching, rest = failure.split(ValueError)

    assert isinstance(matching, errors.EventHandlersFailed)
    assert isinstance(rest, errors.EventHandlersFailed)
    assert (["a"], "answer") == ([str(error) for error in matching.errors], matching.response)
    assert ["b"] == [error.args[0] for error in rest.errors]


# at the border -------------------------------------------------------------------------------------------------------


class Paid(cqrs.DomainEvent):
    pass


@pytest.mark.parametrize(
    ("error", "facts", "text"),
    [
        (errors.BrokerUnavailable("kafka://a:9092: refused"), {"problem": "kafka://a:9092: refused"}, "kafka://a:9092"),
        (
            errors.OutcomeUnknown("orders", "No answer came within 2.5 s."),
            {"topic": "orders", "problem": "No answer came within 2.5 s."},
            (
                "Whether the broker has a message for 'orders' is not known: No answer came within 2.5 s. Sending it "
                "again is safe if its consumers know repeated messages by their id."
            ),
        ),
        (
            errors.MessageRefused("orders", "it is too large", is_permanent=True),
            {"topic": "orders", "problem": "it is too large", "is_permanent": True},
            "The broker refused a message for 'orders': it is too large",
        ),
        (
            errors.BrokerNotStarted("<broker>"),
            {"broker": "<broker>"},
            "'<broker>' is not started. Use it inside `async with app:`, or call its start() before.",
        ),
        (
            errors.UnreadableMessage("orders", "0:5", "a: expected int"),
            {"topic": "orders", "position": "0:5", "problem": "a: expected int"},
            "The message at 0:5 of 'orders' cannot be read: a: expected int",
        ),
        (
            errors.UnknownEventName("orders", "0:5", "Paid", "it is unknown"),
            {"topic": "orders", "position": "0:5", "problem": "it is unknown", "name": "Paid"},
            "The message at 0:5 of 'orders' cannot be read: it is unknown",
        ),
        (
            errors.UnreadableEventClass(Paid, "tenant"),
            {"event_type": Paid, "field": "tenant"},
            (
                "Paid needs 'tenant', which no message brings: the body of a notification is its payload. Give the "
                "field a default, or make it a field of the payload."
            ),
        ),
        (
            errors.UnpublishableEvent(Paid, "has no key."),
            {"event_type": Paid, "problem": "has no key."},
            "Paid has no key.",
        ),
        (errors.BatchFailed(3), {"index": 3}, "Event 3 of the batch failed; those before it are done."),
        (
            errors.UnhandledEvent(Paid, "orders"),
            {"target": Paid, "topic": "orders"},
            (
                "Paid is consumed from 'orders', but nothing handles it: its messages would be acknowledged and "
                "forgotten. Bind a handler: app.events.bind(Paid, YourHandler); or do not consume it."
            ),
        ),
        (
            errors.PublishedAndConsumed(Paid, "orders"),
            {"event_type": Paid, "topic": "orders"},
            (
                "Paid is published to 'orders' and consumed from it by the same App: its handlers would run when it is "
                "emitted, and again when it arrives. Leave one out, or consume it in an App of its own, or make it a "
                "NotificationEvent, which is handled only where it arrives."
            ),
        ),
        (errors.TaskGroupClosed(), {}, "The task group is closed: start tasks before its block is left."),
    ],
    ids=lambda part: type(part).__name__ if isinstance(part, Exception) else "",
)
def test_an_error_at_the_border_carries_its_facts_and_says_what_to_do(
    error: Exception, facts: dict[str, object], text: str
) -> None:
    """Facts are attributes; the text is for people."""
    assert facts == {name: getattr(error, name) for name in facts}
    assert text in str(error)


def test_what_strangers_would_catch_at_the_border() -> None:
    """A broker that is away: ConnectionError; an answer that does not come: TimeoutError; bad data: ValueError."""
    assert issubclass(errors.BrokerUnavailable, ConnectionError)
    assert issubclass(errors.OutcomeUnknown, TimeoutError)
    assert issubclass(errors.UnknownEventName, errors.UnreadableMessage)
    for error in (errors.MessageRefused, errors.UnreadableMessage, errors.UnpublishableEvent):
        assert issubclass(error, ValueError)


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (Paid, "Paid"),
        (cqrs.NotificationEvent[Paid], "NotificationEvent[Paid]"),
        (list[int], "list[int]"),
        (dict[str, list[Paid]], "dict[str, list[Paid]]"),
        (len, "len"),
        (5, "5"),
        (None, "None"),
    ],
)
def test_things_are_named_as_their_authors_wrote_them(thing: object, name: str) -> None:
    """An alias with its arguments, for which something else may be bound; no module in front."""
    assert name == errors.name_of(thing)
    assert f"app.events.bind({name}, YourHandler)" in str(errors.UnhandledEvent(thing, "orders"))
