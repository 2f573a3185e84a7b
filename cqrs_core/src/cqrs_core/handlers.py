"""The bases that handlers derive from, one for each way of handling a message."""

from __future__ import annotations

import abc
from contextvars import ContextVar
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from cqrs_core.messages import Event, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from typing import Any

Req = TypeVar("Req", bound="Request[Any]", contravariant=True)
Res = TypeVar("Res", covariant=True)
E = TypeVar("E", bound=Event, contravariant=True)


class EventSource:
    """
    What all handlers have in common: events that they gather while they work, and that the mediator takes from them.

    Handlers append to :attr:`events`; the list is made at its first use, so no ``super().__init__()`` is needed. A
    subclass may keep a list of its own and override :attr:`events`. If what that returns is a copy, and objects of the
    class serve more than once (as a streaming handler does, with every item), it overrides :meth:`clear_events` too.
    """

    #: The events gathered and not yet taken. For the mediator; handlers use :attr:`events`.
    pending_events: Sequence[Event] = ()

    def __init_subclass__(cls, **others: object) -> None:
        super().__init_subclass__(**others)
        # An override costs a call for each message; with the events kept here, looking at them costs nothing.
        if cls.events is not EventSource.events:
            cls.pending_events = property(lambda self: self.events)  # type: ignore[assignment]  # only ever read
            cls.take_events = _take_from_override  # type: ignore[method-assign]  # same contract
        elif cls.clear_events is not EventSource.clear_events:
            cls.take_events = _take_from_override  # type: ignore[method-assign]  # same contract

    @property
    def events(self) -> list[Event]:
        """The events that this object has gathered for the message it is handling."""
        events = self.pending_events
        if not isinstance(events, list):
            events = []
            self._keep(events)
        return events

    if not TYPE_CHECKING:  # type checkers would want every override to be writable as well

        @events.setter
        def events(self, events: list[Event]) -> None:
            self._keep(events)

    def _keep(self, events: Sequence[Event]) -> None:
        try:
            self.pending_events = events
        except AttributeError:  # a frozen dataclass
            object.__setattr__(self, "pending_events", events)

    def clear_events(self) -> None:
        """Forget the gathered events; called when the mediator has taken them from an override of :attr:`events`."""
        events = self.events
        if isinstance(events, list):  # an override may return a tuple, made anew for each message
            events.clear()

    def take_events(self) -> Sequence[Event]:
        """Hand over the gathered events and forget them, so that an object that serves again never repeats them."""
        events = self.pending_events
        if events:
            self._keep(())
        return events


def _take_from_override(self: EventSource) -> Sequence[Event]:
    events = tuple(self.events or ())
    self.clear_events()
    return events


class RequestHandler(EventSource, abc.ABC, Generic[Req, Res]):
    """Handles a command or a query, and answers it."""

    @abc.abstractmethod
    async def handle(self, request: Req) -> Res:
        """
        Do what *request* asks for.

        Events for others go to ``self.events``; they are handled after this returns, and dropped if it raises.
        """


class StreamingRequestHandler(EventSource, abc.ABC, Generic[Req, Res]):
    """Handles a request by many answers, one after the other."""

    @abc.abstractmethod
    def handle(self, request: Req) -> AsyncIterator[Res]:
        """
        Yield the answers: an ``async def`` with ``yield``.

        Events gathered so far are handled before each answer is handed out, and once more at the end. A consumer that
        stops early closes this generator, so a ``finally`` here runs.
        """


class CORRequestHandler(EventSource, abc.ABC, Generic[Req, Res]):
    """One link of a chain of responsibility: answers a request, or lets the next link try."""

    @abc.abstractmethod
    async def handle(self, request: Req) -> Res | None:
        """Answer *request*, or ``return await self.next(request)``."""

    async def next(self, request: Req) -> Res | None:
        """
        Let the rest of the chain handle *request*.

        Returns:
            What the next link answers; ``None`` at the end of the chain, and outside a mediator.
        """
        rest = rest_of_chain.get()
        return None if rest is None else await rest.handle(request)


class EventHandler(EventSource, abc.ABC, Generic[E]):
    """Reacts to an event. An event may have any number of handlers."""

    @abc.abstractmethod
    async def handle(self, event: E) -> None:
        """
        React to *event*.

        Events for others go to ``self.events``, as in a request handler; they are handled after this returns.
        """


class EventBatchHandler(EventSource, abc.ABC, Generic[E]):
    """Reacts to many events at once, such as by one statement to a database; for events from a broker."""

    @abc.abstractmethod
    async def handle(self, events: Sequence[E]) -> None:
        """
        React to all of *events*, which are at least one, in the order in which they arrived.

        Raises:
            BatchFailed: The events before its ``index`` are done, and so is what was emitted; the event there failed.
            Exception: None is done. All are tried again; in the end each by itself, so that only those at fault go to
                the dead letters.
        """


class RestOfChain(Protocol):
    """The links of one running chain that have not been tried yet."""

    async def handle(self, request: Any) -> Any:  # noqa: ANN401 - of the chain's own types
        """Try them in order."""
        ...


#: Belongs to the running chain, not to handler objects: a container may share those between chains.
rest_of_chain: ContextVar[RestOfChain | None] = ContextVar("rest_of_chain", default=None)
