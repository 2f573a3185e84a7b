"""Errors of storages, and of the units of work over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cqrs_core.errors.base import CqrsError, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class StorageUnavailable(CqrsError, ConnectionError):
    """
    The storage cannot be reached, or does not let this program in.

    Attributes:
        storage: What it is called, without secrets.
    """

    def __init__(self, storage: str, problem: str) -> None:
        self.storage = storage
        super().__init__(
            f"{storage} cannot be reached: {problem} Check its address, its credentials, and that it is up."
        )


class StorageUnusable(CqrsError, RuntimeError):
    """
    The storage lacks something that it needs, such as a table.

    Attributes:
        storage: What it is called, without secrets.
        problems: What is wrong, one sentence each, with the cure.
    """

    def __init__(self, storage: str, problems: Sequence[str]) -> None:
        self.storage = storage
        self.problems = tuple(problems)
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{storage} cannot be used:\n{listed}")


class RelayRefused(CqrsError, RuntimeError):
    """
    A relay was to send an outbox that somebody else sends. Nothing was sent.

    Attributes:
        sent_by: Who that is.
    """

    def __init__(self, sent_by: str) -> None:
        self.sent_by = sent_by
        super().__init__(
            f"The outbox is sent by {sent_by}, as the option sent_by of its storage says, so there is nothing for a "
            "relay to do. Run the other loops alone, without settings for a relay; or leave the option out, if relays "
            "are to send it."
        )


class UnpublishableEnvelope(CqrsError, ValueError):
    """
    A message does not fit into the outbox.

    Attributes:
        name: What its event is called.
        topic: Where it was to go.
        problem: What does not fit.
    """

    def __init__(self, name: str, topic: str, problem: str) -> None:
        self.name = name
        self.topic = topic
        self.problem = problem
        super().__init__(f"{name} for {topic!r} cannot be kept in the outbox: {problem}")


class UnitOfWorkShared(CqrsError, RuntimeError):
    """
    A message was sent inside a unit of work by another task than the one that the unit belongs to.

    Attributes:
        message_type: The class of the message.
    """

    def __init__(self, message_type: type) -> None:
        self.message_type = message_type
        super().__init__(
            f"{name_of(message_type)} was sent by another task than the one that handles the message around it. A unit "
            "of work is one transaction, and for one task: send one after the other, or emit an event instead. (Before "
            "Python 3.12, asyncio.wait_for runs its call in a task of its own.)"
        )


class UnitOfWorkOver(CqrsError, RuntimeError):
    """Something that belongs to a unit of work was used after that had been committed or rolled back."""

    def __init__(self) -> None:
        super().__init__(
            "The unit of work that this belongs to is over, so nothing would ever commit it. What a handler leaves "
            "behind, such as a task, must send a command of its own."
        )


class UnitOfWorkRolledBack(CqrsError, RuntimeError):
    """
    A unit of work could not be committed, because something inside it had failed, though the error was caught.

    Nothing took effect. ``__cause__`` is what had failed.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason} Nothing was committed: what had been begun cannot be told apart from the rest. Let the error "
            "through; or do by an event what may fail without harm."
        )


class CommitInDoubt(CqrsError, ConnectionError):
    """
    The connection broke while a transaction was being committed: it may have taken effect, or not.

    It is not tried again. Look whether it took effect; a consumed message comes again, and is then known by its inbox.

    Attributes:
        storage: What it is called, without secrets.
    """

    def __init__(self, storage: str) -> None:
        self.storage = storage
        super().__init__(
            f"The connection to {storage} broke during a commit, so whether it took effect is not known. Look for what "
            "it should have changed before you repeat it."
        )


class StreamInsideUnit(CqrsError, RuntimeError):
    """
    A stream was begun inside a unit of work, which commits as a whole and cannot hand out items meanwhile.

    Attributes:
        request_type: The class of the request, or of the context of a saga.
    """

    def __init__(self, request_type: type, cure: str = "Emit an event, or send a command that is no stream.") -> None:
        self.request_type = request_type
        super().__init__(
            f"{name_of(request_type)} cannot be streamed inside the handling of another message: each item is "
            f"committed before it is handed out. {cure}"
        )


class ContainerWithoutScopes(CqrsError, TypeError):
    """
    The container has no scopes, so what belongs to one unit of work cannot reach the handlers.

    Attributes:
        container: It.
    """

    def __init__(self, container: object) -> None:
        self.container = container
        super().__init__(
            f"{name_of(type(container))} has no scopes, so the storage cannot give each message a unit of its own. "
            "Give it a method scope(values) as cqrs_core.container.ScopingContainer has it, or leave it out."
        )


class ProvidedTwice(CqrsError, ValueError):
    """
    The container and the storage both provide a type, and which one handlers would get is a guess.

    Attributes:
        provided: The type.
    """

    def __init__(self, provided: type) -> None:
        self.provided = provided
        super().__init__(
            f"{name_of(provided)} comes from the storage, and is registered in the container too. Take it out of the "
            "container; or, if the storage can work with the container's, tell it so (session_from='container')."
        )


class NotProvidedByContainer(CqrsError, LookupError):
    """
    The storage was told to work with what the container makes, and the container does not make it.

    Attributes:
        wanted: The type.
    """

    def __init__(self, wanted: type) -> None:
        self.wanted = wanted
        super().__init__(
            f"The storage is to work with the container's {name_of(wanted)}, but that has none. Register it there, one "
            "for each scope; or let the storage make it (leave session_from out)."
        )
