"""What handlers bring with them: the list of events."""

from __future__ import annotations

import pytest

import cqrs_core as cqrs


class Done(cqrs.DomainEvent):
    what: str


class Do(cqrs.Request[None]):
    pass


class Plain(cqrs.RequestHandler[Do, None]):
    async def handle(self, request: Do) -> None:
        return None


class WithConstructor(Plain):
    def __init__(self) -> None:  # no super().__init__()
        self.ready = True


class WithSlots(Plain):
    __slots__ = ("ready",)


class WithOwnList(Plain):
    def __init__(self) -> None:
        self._events: list[cqrs.Event] = [Done("own")]

    @property
    def events(self) -> list[cqrs.Event]:
        return self._events


class WithTuple(Plain):
    @property
    def events(self) -> list[cqrs.Event]:
        return (Done("made anew"),)  # type: ignore[return-value]  # as some write it


class WithClearing(Plain):
    cleared = 0

    def clear_events(self) -> None:
        self.cleared += 1
        super().clear_events()


class ByMixin:
    @property
    def events(self) -> list[cqrs.Event]:
        return [Done("mixed in")]


class WithMixin(ByMixin, Plain):
    pass


@pytest.mark.parametrize("handler_class", [Plain, WithConstructor, WithSlots])
def test_the_base_brings_the_list_whatever_the_subclass_does(handler_class: type[Plain]) -> None:
    """No super().__init__() is needed, and slots of one's own are no obstacle; each object has its own list."""
    handler = handler_class()
    handler.events.append(Done("a"))
    handler.events.append(Done("b"))

    assert [Done("a"), Done("b")] == handler.events
    assert [] == handler_class().events


def test_looking_makes_no_events() -> None:
    """Before anybody appends, there is nothing to take."""
    handler = Plain()

    assert not handler.pending_events
    assert () == tuple(handler.take_events())


def test_events_are_taken_once() -> None:
    """What was taken is forgotten, and the list goes on empty."""
    handler = Plain()
    handler.events.append(Done("a"))

    assert [Done("a")] == list(handler.take_events())
    assert [] == list(handler.take_events())
    handler.events.append(Done("b"))
    assert [Done("b")] == list(handler.pending_events)


@pytest.mark.parametrize(
    ("handler_class", "first", "then"),
    [
        (WithOwnList, [Done("own")], []),  # its list is emptied
        (WithTuple, [Done("made anew")], [Done("made anew")]),  # it says so anew for each message
        (WithMixin, [Done("mixed in")], [Done("mixed in")]),
    ],
)
def test_an_overridden_events_property_is_taken_as_it_is(
    handler_class: type[Plain], first: list[cqrs.Event], then: list[cqrs.Event]
) -> None:
    """The mediator takes what it finds; a list is emptied."""
    handler = handler_class()

    assert first == list(handler.pending_events)
    assert first == list(handler.take_events())
    assert then == list(handler.take_events())


def test_an_overridden_clear_events_is_called() -> None:
    """Also where the list is the base's."""
    handler = WithClearing()
    handler.events.append(Done("a"))

    assert [Done("a")] == list(handler.take_events())
    assert (1, []) == (handler.cleared, handler.events)
