"""The contract of a dependency injection container: who makes handlers, and what they need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


@runtime_checkable
class Container(Protocol):
    """
    Makes objects by their type. Any object with this method is a container.

    It may offer more, each ability a protocol of its own below; whatever is offered is used:

    * :class:`ScopingContainer`: one scope is opened for each attempt at handling a message;
    * :class:`SynchronousContainer`: what needs neither awaiting nor a scope is made without either;
    * :class:`KnowingContainer`: handlers that the container does not know are built from what it does know.
    """

    async def resolve(self, wanted: type[T]) -> T:
        """
        Make, or fetch, an object of the type *wanted*.

        Raises:
            Exception: Whatever says that it cannot be made; it reaches the one who sent the message.
        """
        ...


@runtime_checkable
class Scope(Container, Protocol):
    """What is made for one attempt at handling a message, and ended with it."""

    async def aclose(self, error: BaseException | None = None) -> None:
        """
        End what was made in this scope, the youngest first.

        Args:
            error: What the attempt raised, for those who end differently then, such as by a rollback. It is raised
                again by the caller.
        """
        ...


@runtime_checkable
class ScopingContainer(Container, Protocol):
    """A container with objects that live as long as the handling of one message."""

    def scope(self, values: Mapping[type, Any] | None = None) -> Scope:
        """
        Open a scope: what is resolved from it is shared inside it. It is closed by its ``aclose``, once.

        Args:
            values: Objects that come from outside and are found in this scope by their type.
        """
        ...


@runtime_checkable
class SynchronousContainer(Container, Protocol):
    """A container that can say, before the first message, that something is made without awaiting."""

    def provider(self, wanted: type[T]) -> Callable[[], T] | None:
        """
        Give a function that makes what ``resolve(wanted)`` would, for use any number of times.

        Returns:
            The function; ``None`` if making it needs an ``await`` or a scope.
        """
        ...


@runtime_checkable
class KnowingContainer(Container, Protocol):
    """A container that can say what it is able to make."""

    def provides(self, wanted: type) -> bool:
        """Tell whether ``resolve(wanted)`` can be expected to succeed."""
        ...
