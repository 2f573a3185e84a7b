"""What becomes of an event, put together once for each class: its handlers here, other processes, both, or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cqrs_core.messages import Event, NotificationEvent
from cqrs_core.reactions import one_after_the_other, put_off, put_out, put_out_too, refuse

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from cqrs_core.reaction_map import ReactionMap
    from cqrs_core.reactions import Plan, Reaction
    from cqrs_core.wiring import HandlerSource


class EventPlans:
    """
    The plans of one emitter.

    Attributes:
        emitted: By class: what becomes of events that are emitted.
        arriving: The same for those that arrive, which do not go out again; for notifications by the payload's class
            as well.
    """

    def __init__(
        self, reactions: ReactionMap, source: HandlerSource, *, published: Container[type], is_plain: bool
    ) -> None:
        """
        Begin with none.

        Args:
            reactions: What handles which event.
            source: Makes the handlers.
            published: Classes of events that go to other processes as well.
            is_plain: Whether handlers run as they come, if nothing is put around them.
        """
        self._reactions = reactions
        self._source = source
        self._published = published
        self._is_plain = is_plain
        self.emitted: dict[type, Plan] = {}
        self.arriving: dict[Any, Plan] = {}

    def of_emitted(self, event_type: type[Event]) -> Plan:
        """Put together what becomes of an event that was emitted."""
        if issubclass(event_type, NotificationEvent):
            plan: Plan = put_out
        elif event_type in self._published:
            plan = put_out_too(self._to_handle(event_type))
        else:
            plan = self._to_handle(event_type)
        self.emitted[event_type] = plan
        return plan

    def of_arriving(self, event: Event) -> Plan:
        """Put together what becomes of an event that has arrived."""
        event_type = type(event)
        if not isinstance(event, NotificationEvent):
            plan = self._to_handle(event_type)
            self.arriving[event_type] = plan
            return plan
        key = (event_type, type(event.payload))
        if key not in self.arriving:
            self.arriving[key] = self._of(self._reactions.of_notification(*key))
        return self.arriving[key]

    def _to_handle(self, event_type: type) -> Plan:
        if Event not in event_type.__mro__:
            return refuse
        return self._of(self._reactions.of(event_type))

    def _of(self, reactions: Sequence[Reaction]) -> Plan:
        if self._is_plain and not any(reaction.middlewares or reaction.guard for reaction in reactions):
            return one_after_the_other(reactions, [self._source.maker(reaction.handler) for reaction in reactions])
        return put_off(reactions)
