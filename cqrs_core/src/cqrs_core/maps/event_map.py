"""Which handlers an event has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from cqrs_core.errors import CqrsError, MapFrozen
from cqrs_core.handlers import EventHandler
from cqrs_core.maps.bindings import EventBinding, declared_messages, handler_classes
from cqrs_core.maps.checks import event_problems
from cqrs_core.messages import Event
from cqrs_core.resilience.policies import HandlerFallback, Policies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cqrs_core.pipeline import EventMiddleware
    from cqrs_core.resilience import EventHandlerFallback, RetryPolicy

E = TypeVar("E", bound=Event)


class EventMap:
    """Binds events to their handlers; an event may have any number of them, and they run in the order of binding."""

    def __init__(self) -> None:
        self._bindings: list[EventBinding] = []
        self._problems: list[CqrsError] = []
        self._is_frozen = False

    def bind(
        self,
        event: type[E],
        handler: type[EventHandler[E]] | EventHandlerFallback,
        *,
        middlewares: Iterable[EventMiddleware] = (),
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """
        Add *handler* to those of *event*. What is wrong with it is reported when the mediator is built.

        Args:
            event: A class of events, or ``NotificationEvent[P]``: then the payload's type decides, so that
                ``NotificationEvent(payload=P(...))`` and a subclass with that payload are served as well.
            handler: A handler class; or an ``EventHandlerFallback`` of two such.
            middlewares: For this event only, outermost first, inside those that wrap all events.
            retry: When an attempt of this handler that failed is repeated, in the scope of its message.
            timeout_s: Seconds that the handler has for one attempt, more than 0.

        Raises:
            MapFrozen: A mediator has been built from this map.
        """
        if self._is_frozen:
            raise MapFrozen(type(self).__name__, event)
        rules = handler if isinstance(handler, HandlerFallback) else None
        primary: Any = handler if rules is None else rules.primary
        fallback = None if rules is None else rules.fallback
        policies = Policies(retry, timeout_s, rules)
        self._bindings.append(EventBinding(event, primary, fallback, policies, tuple(middlewares or ())))

    def add(
        self,
        handler: type[EventHandler[Any]],
        *,
        middlewares: Iterable[EventMiddleware] = (),
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Bind *handler* to the event, or each of the union, that its type parameter names; else as :meth:`bind`."""
        for event in declared_messages(handler, (EventHandler,), self._problems):
            self.bind(event, handler, middlewares=middlewares, retry=retry, timeout_s=timeout_s)

    def freeze(self) -> None:
        """Refuse changes from now on."""
        self._is_frozen = True

    def problems(self) -> list[CqrsError]:
        """Tell everything that is wrong with the bindings: errors, none of them raised."""
        return [*self._problems, *event_problems(self._bindings)]

    def handlers(self) -> list[type]:
        """List the handler classes that were bound, each once; what is none is left to :meth:`problems`."""
        return handler_classes(handler for binding in self._bindings for handler in binding.handlers)

    def __iter__(self) -> Iterator[EventBinding]:
        """Iterate over the bindings, in the order in which they were made."""
        return iter(tuple(self._bindings))

    def __len__(self) -> int:
        """Count the bindings."""
        return len(self._bindings)
