"""Errors at the border: brokers that do not take a message, and messages that make no sense."""

from __future__ import annotations

from cqrs_core.errors.base import CqrsError, name_of


class BrokerUnavailable(CqrsError, ConnectionError):
    """
    A broker cannot be reached, and has not taken what it was given. Try again later.

    Attributes:
        problem: What happened, with the broker's name.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class OutcomeUnknown(CqrsError, TimeoutError):
    """
    It is not known whether a broker has a message: no answer came in time, or only some of its groups have it.

    Attributes:
        topic: Where the message was to go.
        problem: What happened.
    """

    def __init__(self, topic: str, problem: str) -> None:
        self.topic = topic
        self.problem = problem
        super().__init__(
            f"Whether the broker has a message for {topic!r} is not known: {problem} Sending it again is safe if its "
            "consumers know repeated messages by their id."
        )


class SubscriptionClosed(CqrsError, RuntimeError):
    """
    A subscription was asked for messages after it was closed, or while that happened.

    Attributes:
        group: Whose member it was.
    """

    def __init__(self, group: str) -> None:
        self.group = group
        super().__init__(
            f"The subscription of the group {group!r} was closed, or its broker stopped: it receives nothing more. "
            "Subscribe again."
        )


class NotReadable(CqrsError, TypeError):
    """
    A broker cannot read a topic from its beginning.

    Attributes:
        broker: It.
    """

    def __init__(self, broker: object) -> None:
        self.broker = broker
        super().__init__(
            f"{name_of(type(broker))} cannot read a topic from its beginning, which looking after dead letters needs: "
            "it has no open_reader()."
        )


class MessageRefused(CqrsError, ValueError):
    """
    A broker does not want this message.

    Attributes:
        topic: Where it was to go.
        problem: What is wrong with it, and what to do.
        is_permanent: Whether sending it again would be in vain.
    """

    def __init__(self, topic: str, problem: str, *, is_permanent: bool) -> None:
        self.topic = topic
        self.problem = problem
        self.is_permanent = is_permanent
        super().__init__(f"The broker refused a message for {topic!r}: {problem}")


class BrokerNotStarted(CqrsError, RuntimeError):
    """
    A broker was used before it was started, or after it was stopped.

    Attributes:
        broker: Which.
    """

    def __init__(self, broker: object) -> None:
        self.broker = broker
        super().__init__(f"{broker!r} is not started. Use it inside `async with app:`, or call its start() before.")


class UnreadableMessage(CqrsError, ValueError):
    """
    A message that arrived cannot be understood; it goes to the dead letters, as it came.

    Attributes:
        topic: Where it came from.
        position: Where it stands there.
        problem: What is wrong with it, with the path to the fault.
    """

    def __init__(self, topic: str, position: str, problem: str) -> None:
        self.topic = topic
        self.position = position
        self.problem = problem
        super().__init__(f"The message at {position} of {topic!r} cannot be read: {problem}")


class UnknownEventName(UnreadableMessage):
    """
    A message that arrived is of a kind that this program does not consume.

    Attributes:
        name: What the event is called.
    """

    def __init__(self, topic: str, position: str, name: str, problem: str) -> None:
        self.name = name
        super().__init__(topic, position, problem)


class UnreadableEventClass(CqrsError, TypeError):
    """
    A class of notifications cannot be made of the messages that are to be consumed; found when an App starts.

    Attributes:
        event_type: The class.
        field: What it needs, and a message does not bring.
    """

    def __init__(self, event_type: type, field: str) -> None:
        self.event_type = event_type
        self.field = field
        super().__init__(
            f"{name_of(event_type)} needs {field!r}, which no message brings: the body of a notification is its "
            "payload. Give the field a default, or make it a field of the payload."
        )


class UnpublishableEvent(CqrsError, ValueError):
    """
    An event cannot leave the process as it is.

    Attributes:
        event_type: Its class.
        problem: What is wrong with it, and what to do.
    """

    def __init__(self, event_type: type, problem: str) -> None:
        self.event_type = event_type
        self.problem = problem
        super().__init__(f"{name_of(event_type)} {problem}")


class BatchFailed(CqrsError, RuntimeError):
    """
    To be raised by a handler of batches: what came before *index* is done, the event there failed.

    Raise it ``from`` the error that stopped the batch.

    Attributes:
        index: Where in the batch the failed event stands, from 0.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        super().__init__(f"Event {index} of the batch failed; those before it are done.")


class UnhandledEvent(CqrsError, LookupError):
    """
    An event is consumed from a topic, and nothing would happen with it; found when an App starts.

    Attributes:
        target: Its class, or alias.
        topic: Where it would come from.
    """

    def __init__(self, target: object, topic: str) -> None:
        self.target = target
        self.topic = topic
        name = name_of(target)
        super().__init__(
            f"{name} is consumed from {topic!r}, but nothing handles it: its messages would be acknowledged and "
            f"forgotten. Bind a handler: app.events.bind({name}, YourHandler); or do not consume it."
        )


class PublishedAndConsumed(CqrsError, ValueError):
    """
    An App publishes an event to a topic, and consumes it from there; found when the App starts.

    Attributes:
        event_type: The class of the event.
        topic: The topic.
    """

    def __init__(self, event_type: type, topic: str) -> None:
        self.event_type = event_type
        self.topic = topic
        name = name_of(event_type)
        super().__init__(
            f"{name} is published to {topic!r} and consumed from it by the same App: its handlers would run when it is "
            "emitted, and again when it arrives. Leave one out, or consume it in an App of its own, or make it a "
            "NotificationEvent, which is handled only where it arrives."
        )
