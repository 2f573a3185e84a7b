"""Finds the handlers that an event reaches, by its class and, for notifications, that of its payload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_origin

from cqrs_core.maps import binding_keys
from cqrs_core.messages import NotificationEvent, payload_type
from cqrs_core.type_arguments import union_members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cqrs_core.reactions import Reaction


class ReactionMap:
    """The handlers of events, with what is put around them, as the wiring has found them."""

    def __init__(self, *, is_polymorphic: bool) -> None:
        """
        Begin with none.

        Args:
            is_polymorphic: Whether an event reaches the handlers of its base classes too, the most specific first.
        """
        self._is_polymorphic = is_polymorphic
        #: By class of events, or (class of notifications, class of payload): what was bound to exactly that.
        self._bound: dict[Any, list[Reaction]] = {}

    def __len__(self) -> int:
        """Count what handlers are bound to."""
        return len(self._bound)

    def clear(self) -> None:
        """Begin again."""
        self._bound.clear()

    def add(self, target: Any, reaction: Reaction) -> None:  # noqa: ANN401 - a class, or NotificationEvent[P]
        """Let *reaction* be one of those to *target*."""
        for key in binding_keys(target):
            self._bound.setdefault(key, []).append(reaction)

    def of(self, event_type: type) -> tuple[Reaction, ...]:
        """Find what an event of *event_type* reaches: each handler once."""
        return self._find(event_type.__mro__ if self._is_polymorphic else (event_type,))

    def of_notification(self, event_type: type, payload_class: Any) -> tuple[Reaction, ...]:  # noqa: ANN401 - or Any
        """Find what a notification of *event_type* reaches that comes with a payload of *payload_class*."""
        return self._find(self._notification_keys(event_type, payload_class))

    def has_any_for(self, target: Any) -> bool:  # noqa: ANN401 - as for add
        """Tell whether an event of *target*, with any payload that this allows, would reach a handler."""
        event_type = get_origin(target) or target
        if not issubclass(event_type, NotificationEvent):
            return bool(self.of(event_type))
        payload = payload_type(target)
        if payload is Any:  # of which some may have handlers
            return any(issubclass(event_type, key[0] if isinstance(key, tuple) else key) for key in self._bound)
        members = (get_origin(member) or member for member in union_members(payload))
        return any(self.of_notification(event_type, member) for member in members)

    def _notification_keys(self, event_type: type, payload_class: Any) -> Iterator[Any]:  # noqa: ANN401 - as above
        payload_types = payload_class.__mro__ if self._is_polymorphic else (payload_class,)
        for base in event_type.__mro__:
            if base is event_type or self._is_polymorphic:
                yield base
            # bind(NotificationEvent[P], ...) serves subclasses of NotificationEvent as well: P decides.
            yield from ((base, payload) for payload in (*payload_types, Any))

    def _find(self, keys: Iterable[Any]) -> tuple[Reaction, ...]:
        first: dict[type, Reaction] = {}
        for key in keys:
            for reaction in self._bound.get(key, ()):
                first.setdefault(reaction.handler, reaction)
        return tuple(first.values())
