"""Events that leave: which, where to, under which name, in what form; and what cannot leave."""

from __future__ import annotations

import enum
import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any, Generic, TypeVar, Union

import pytest

import cqrs_core as cqrs
from cqrs_core.broker import Delivery
from cqrs_core.context import CurrentMessage, Handling, being_handled
from cqrs_core.errors import InvalidOption, NotAMessage, UnpublishableEvent
from cqrs_core.incoming import IncomingEvents
from cqrs_core.outgoing import OutgoingEvents
from cqrs_core.serialization import CodecError, UnsupportedType
from cqrs_core.testing import VirtualClock

T = TypeVar("T")
ID = uuid.UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
MOMENT = datetime(2026, 11, 24, 12, 30, 15, 500, tzinfo=timezone.utc)


class OrderPlaced(cqrs.DomainEvent):
    order_id: str
    amount: float = 0.0

    @property
    def region(self) -> str:
        return self.order_id[:2]

    @cached_property
    def country(self) -> str:
        return "de"

    def total(self) -> float:
        return self.amount

    @classmethod
    def make(cls) -> OrderPlaced:
        return cls("1")


class OrderShipped(cqrs.DomainEvent):
    order_id: str


class Joined(cqrs.Response):
    user_id: str


class Left(cqrs.Response):
    user_id: str


class Promoted(Joined):
    level: int = 1


class UserJoined(cqrs.NotificationEvent[Joined]):
    event_name: str = "UserJoined"
    topic: str = "users"


def outgoing(source: str = "shop") -> OutgoingEvents:
    return OutgoingEvents(source, clock=VirtualClock(start=MOMENT))


def publishing(key: Any = None, event_type: Any = OrderPlaced) -> OutgoingEvents:
    events = outgoing()
    events.add("orders", {"OrderPlaced": event_type}, key)
    return events


def notification(**facts: Any) -> cqrs.NotificationEvent[Any]:
    known = {
        "event_name": "Joined",
        "topic": "users",
        "payload": Joined("u"),
        "event_id": ID,
        "event_timestamp": MOMENT,
    }
    return cqrs.NotificationEvent(**{**known, **facts})


# the form ------------------------------------------------------------------------------------------------------------


def test_a_plain_event_is_its_own_body_and_has_the_headers_of_cloudevents() -> None:
    """Exactly these; the id is new, and the conversation begins here."""
    (envelope,) = publishing(key="order_id").envelopes(OrderPlaced("o-1", 1.5))

    assert ("orders", b'{"order_id":"o-1","amount":1.5}', "o-1") == (envelope.topic, envelope.body, envelope.key)
    message_id = envelope.headers["ce_id"]
    assert str(uuid.UUID(message_id)) == message_id
    assert {
        "ce_specversion": "1.0",
        "ce_id": message_id,
        "ce_type": "OrderPlaced",
        "ce_source": "shop",
        "ce_time": "2026-11-24T12:30:15.000500Z",
        "content-type": "application/json",
        "ce_correlationid": message_id,
    } == envelope.headers


def test_a_notification_says_itself_where_it_goes_and_its_payload_is_the_body() -> None:
    """Its own id, name, time, key and headers."""
    event = notification(payload=Joined("u-1"), key="u-1", headers={"tenant": "a", "traceparent": "00-1"})

    (envelope,) = outgoing().envelopes(event)

    assert ("users", b'{"user_id":"u-1"}', "u-1") == (envelope.topic, envelope.body, envelope.key)
    assert {
        "ce_specversion": "1.0",
        "ce_id": str(ID),
        "ce_type": "Joined",
        "ce_source": "shop",
        "ce_time": "2026-11-24T12:30:15.000500Z",
        "content-type": "application/json",
        "ce_correlationid": str(ID),
        "tenant": "a",
        "traceparent": "00-1",
    } == envelope.headers


def test_an_event_is_written_once_for_each_topic_with_an_id_of_its_own() -> None:
    """Two topics, and two names in one of them, for who waits for a new name."""
    events = outgoing()
    events.add("orders", {"OrderPlaced": OrderPlaced, "OrderPlaced.v1": OrderPlaced}, "order_id")
    events.add("audit", {"Placed": OrderPlaced})

    written = events.envelopes(OrderPlaced("o-1"))

    assert [("orders", "OrderPlaced", "o-1"), ("orders", "OrderPlaced.v1", "o-1"), ("audit", "Placed", None)] == [
        (envelope.topic, envelope.headers["ce_type"], envelope.key) for envelope in written
    ]
    assert 3 == len({envelope.id for envelope in written})
    assert 1 == len({envelope.body for envelope in written})
    assert [] == events.problems()


def test_only_the_class_itself_is_published() -> None:
    """Not its children, and not what was never named."""

    class BigOrder(OrderPlaced):
        pass

    events = publishing()

    assert [] == events.envelopes(BigOrder("o-1"))
    assert [] == events.envelopes(OrderShipped("o-1"))
    assert [OrderPlaced] == list(events)
    assert events.goes_to("orders", OrderPlaced)
    assert not events.goes_to("audit", OrderPlaced)
    assert not events.goes_to("orders", cqrs.NotificationEvent[Joined])


@pytest.mark.parametrize(
    ("source", "written"),
    [("my shop", "my%20shop"), ("shop/eu", "shop/eu"), ("café", "caf%C3%A9"), ("", "unnamed"), ("\ud800", "%3F")],
)
def test_the_source_is_a_reference_as_cloudevents_wants_it(source: str, written: str) -> None:
    """A URI reference that is not empty, whatever the App is called."""
    (envelope,) = OutgoingEvents(source).envelopes(notification())

    assert written == envelope.headers["ce_source"]


@pytest.mark.parametrize(
    ("time", "written"),
    [
        (MOMENT, "2026-11-24T12:30:15.000500Z"),
        (MOMENT.replace(microsecond=0), "2026-11-24T12:30:15Z"),
        (MOMENT.replace(tzinfo=None), "2026-11-24T12:30:15.000500Z"),
        (MOMENT.replace(tzinfo=timezone(timedelta(hours=2))), "2026-11-24T10:30:15.000500Z"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "0001-01-01T00:00:00+02:00"),
    ],
)
def test_times_are_written_in_utc(time: datetime, written: str) -> None:
    """RFC 3339; one without an offset is taken for UTC. Before the first day there is no UTC."""
    (envelope,) = outgoing().envelopes(notification(event_timestamp=time))

    assert written == envelope.headers["ce_time"]


@dataclass
class Page(Generic[T]):
    items: list[T]


class EitherHappened(cqrs.NotificationEvent[Union[Joined, Left]]):
    event_name: str = "Either"


class PageRead(cqrs.NotificationEvent[Page[Union[Joined, Left]]]):
    event_name: str = "PageRead"


@pytest.mark.parametrize(
    ("event", "body"),
    [
        (notification(payload=None), b"null"),
        (notification(payload={"a": [1, None, "x"]}), b'{"a":[1,null,"x"]}'),
        (notification(payload=[Joined("u")]), b'[{"user_id":"u"}]'),
        (notification(payload=ID), b'"7c9e6679-7425-40de-944b-e07fc1f90ae7"'),
        (notification(payload=Promoted("u", 2)), b'{"user_id":"u","level":2}'),
        (UserJoined(payload=Promoted("u", 2)), b'{"user_id":"u","level":2}'),
        (EitherHappened(payload=Left("u")), b'{"$type":"Left","user_id":"u"}'),
        (PageRead(payload=Page([Left("u")])), b'{"items":[{"$type":"Left","user_id":"u"}]}'),
    ],
)
def test_payloads_of_every_kind_are_written(event: Any, body: bytes) -> None:
    """By their class; where the event's class says more, a union or type arguments, by that."""
    (envelope,) = outgoing().envelopes(event)

    assert json.loads(body) == json.loads(envelope.body)


# in a conversation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [OrderPlaced("o-1"), notification()])
def test_what_is_published_while_a_message_is_handled_tells_what_led_to_it(event: cqrs.Event) -> None:
    """Its conversation, its cause, and the trace, as they came."""
    headers = {"traceparent": "00-abc", "tracestate": "caf\udce9", "tenant": "not carried on", "ce_id": "7"}
    token = being_handled.set(
        Handling((CurrentMessage(ID, "n", "payments", "shop", None, headers, "conversation", "earlier", 1),))
    )
    try:
        (envelope,) = publishing().envelopes(event)
    finally:
        being_handled.reset(token)

    assert ("conversation", str(ID)) == (envelope.headers["ce_correlationid"], envelope.headers["ce_causationid"])
    assert ("00-abc", "caf\udce9") == (envelope.headers["traceparent"], envelope.headers["tracestate"])
    assert "tenant" not in envelope.headers
    assert "7" != envelope.headers["ce_id"]


def test_a_trace_that_the_event_brings_goes_before_the_one_that_led_to_it() -> None:
    """A program that makes its own spans knows better."""
    token = being_handled.set(
        Handling((CurrentMessage(ID, "n", "t", "g", None, {"traceparent": "theirs"}, "c", None, 1),))
    )
    try:
        (envelope,) = outgoing().envelopes(notification(headers={"traceparent": "own"}))
    finally:
        being_handled.reset(token)

    assert "own" == envelope.headers["traceparent"]


# keys ----------------------------------------------------------------------------------------------------------------


class Level(enum.IntEnum):
    HIGH = 3


class Colour(str, enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (None, None),
        ("o-1", "o-1"),
        ("", ""),
        ("日本", "日本"),
        (7, "7"),
        (-(10**30), "-1000000000000000000000000000000"),
        (Level.HIGH, "3"),
        (Colour.RED, "red"),
        (ID, str(ID)),
    ],
)
def test_a_key_is_text_or_has_one_way_to_be_written(value: Any, key: str | None) -> None:
    """From a field, from a function, or a notification's own: two that are equal are written alike."""
    (by_function,) = publishing(lambda _: value).envelopes(OrderPlaced("o-1"))
    (by_field,) = publishing("order_id").envelopes(OrderPlaced(value)) if isinstance(value, str) else (by_function,)
    (own,) = outgoing().envelopes(notification(key=value))

    assert (key, key, key) == (by_function.key, by_field.key, own.key)
    assert {str, type(None)} >= {type(by_function.key), type(own.key)}


@pytest.mark.parametrize("value", [True, 1.0, b"k", ("a",), Joined("u"), "half \ud800"])
def test_other_keys_are_refused_with_their_type(value: Any) -> None:
    """What is equal might be written differently, and lose its order."""
    for events, event in (
        (publishing(lambda _: value), OrderPlaced("o-1")),
        (outgoing(), notification(key=value)),
    ):
        with pytest.raises(UnpublishableEvent, match="has a key of type") as caught:
            events.envelopes(event)
        assert type(value).__qualname__ in caught.value.problem
        assert type(event) is caught.value.event_type


@pytest.mark.parametrize("key", ["order_id", "amount", "region", "country"])
def test_fields_and_properties_may_give_the_key(key: str) -> None:
    """Whether they fit is seen with each event."""
    assert [] == publishing(key).problems()


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("order_ids", "OrderPlaced has no field 'order_ids' to take its key from. Did you mean 'order_id'?"),
        ("xyz", "OrderPlaced has no field 'xyz' to take its key from."),
        ("total", "OrderPlaced has no field 'total' to take its key from."),
        ("make", "OrderPlaced has no field 'make' to take its key from."),
    ],
)
def test_a_misspelt_key_is_told_with_what_is_close(key: str, problem: str) -> None:
    """When the App starts, and not with the first event; a method is no field."""
    (found,) = publishing(key).problems()

    assert isinstance(found, UnpublishableEvent)
    assert problem == str(found)


class Handmade(cqrs.DomainEvent):
    def __init__(self, order_id: str) -> None:
        self.order_id = order_id

    def to_dict(self) -> dict[str, Any]:
        return {"order_id": self.order_id}

    @classmethod
    def from_dict(cls, **data: Any) -> Handmade:
        return cls(**data)


class Slotted(cqrs.DomainEvent):
    __slots__ = ("order_id",)

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id

    def to_dict(self) -> dict[str, Any]:
        return {"order_id": self.order_id}

    @classmethod
    def from_dict(cls, **data: Any) -> Slotted:
        return cls(**data)


@pytest.mark.parametrize("event_type", [Handmade, Slotted])
def test_a_class_written_by_hand_may_give_a_key_too(event_type: Any) -> None:
    """It does not tell its fields before there is an event."""
    events = publishing("order_id", event_type)

    assert [] == events.problems()
    assert ["o-1"] == [envelope.key for envelope in events.envelopes(event_type("o-1"))]


# what cannot leave ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "value", "text"),
    [
        ("topic", "", "has the topic ''"),
        ("topic", None, "has the topic None"),
        ("topic", "\ud800", "has the topic"),
        ("event_name", "", "has the event_name ''"),
        ("event_name", 5, "has the event_name 5"),
        ("event_name", "\udcff", "has the event_name"),
        ("event_id", None, "has the event_id None. It must be a UUID"),
        ("event_id", str(ID), "It must be a UUID"),
        ("event_timestamp", "2026-11-24", "has the event_timestamp '2026-11-24'"),
        ("headers", None, "has the headers None"),
        ("headers", [("a", "b")], "has the headers"),
        ("headers", {"a": 5}, "has the header 'a' of type int. Headers are text"),
        ("headers", {5: "a"}, "has the header 5"),
        ("headers", {b"a": b"b"}, "has the header b'a' of type bytes"),
        ("headers", {"a": "\udce9"}, "has the header 'a', which is not Unicode text"),
        ("headers", {"\udce9": "a"}, "which is not Unicode text"),
        ("headers", {"ce_id": "7"}, "has the header 'ce_id'. That name is written by the framework"),
        ("headers", {"CE_subject": "7"}, "has the header 'CE_subject'. That name"),
        ("headers", {"cqrs_dead_topic": "7"}, "That name is written by the framework"),
        ("headers", {"Content-Type": "text/plain"}, "That name is written by the framework"),
    ],
)
def test_a_notification_with_facts_that_cannot_be_written_is_refused(fact: str, value: Any, text: str) -> None:
    """With what it is and what it must be; a message without a sound id would pass for a repeated one."""
    with pytest.raises(UnpublishableEvent) as caught:
        outgoing().envelopes(notification(**{fact: value}))

    assert cqrs.NotificationEvent is caught.value.event_type
    assert str(caught.value).startswith("NotificationEvent has the ")
    assert text in str(caught.value)


def test_a_number_that_json_cannot_carry_is_refused_with_its_path() -> None:
    """NaN leaves neither in an event nor in a payload."""
    with pytest.raises(CodecError) as caught:
        publishing().envelopes(OrderPlaced("o-1", float("nan")))
    assert "amount" == caught.value.path

    with pytest.raises(CodecError) as caught:
        outgoing().envelopes(notification(payload={"a": [1, float("inf")]}))
    assert "a[1]" == caught.value.path


class Formless:
    pass


def test_a_payload_without_a_form_in_json_is_refused() -> None:
    """With what to do about it."""
    with pytest.raises(UnsupportedType, match="has no form in JSON"):
        outgoing().envelopes(notification(payload=Formless()))


def test_of_several_topics_none_is_written_if_one_cannot_be() -> None:
    """So that an event is not sent by half."""
    events = publishing("order_id")
    events.add("audit", {"Placed": OrderPlaced}, lambda _: 1.5)

    with pytest.raises(UnpublishableEvent):
        events.envelopes(OrderPlaced("o-1"))


class Secret(cqrs.DomainEvent):
    value: object = field(default_factory=set)
    lock: type = int


@pytest.mark.parametrize(
    ("topic", "names", "key", "expected"),
    [
        ("", {"A": OrderPlaced}, None, [(InvalidOption, "topic is ''")]),
        (None, {"A": OrderPlaced}, None, [(InvalidOption, "topic is None")]),
        ("\ud800", {"A": OrderPlaced}, None, [(InvalidOption, "topic is")]),
        ("t", {}, None, [(InvalidOption, "names is {}. It must be a dict of event classes by their names")]),
        ("t", [OrderPlaced], None, [(InvalidOption, "It must be a dict")]),
        ("", None, None, [(InvalidOption, "topic is ''"), (InvalidOption, "names is None")]),
        ("t", {"": OrderPlaced}, None, [(InvalidOption, "names is ''")]),
        ("t", {5: OrderPlaced}, None, [(InvalidOption, "names is 5")]),
        ("t", {"\udcff": OrderPlaced}, None, [(InvalidOption, "names of events")]),
        ("t", {"A": Joined}, None, [(NotAMessage, "Joined")]),
        ("t", {"A": OrderPlaced("o")}, None, [(NotAMessage, "OrderPlaced")]),
        ("t", {"A": list[int]}, None, [(NotAMessage, "list")]),
        ("t", {"A": UserJoined}, None, [(UnpublishableEvent, "UserJoined is a notification, which says itself where")]),
        ("t", {"A": OrderPlaced}, 5, [(InvalidOption, "key is 5. It must be a field's name, or a function")]),
        ("t", {"A": Secret}, None, [(UnsupportedType, "lock")]),
        ("t", {"A": Joined, "B": OrderPlaced, "": OrderShipped}, None, [(NotAMessage, "J"), (InvalidOption, "''")]),
    ],
)
def test_what_is_wrong_with_a_route_is_told_and_not_raised(topic: Any, names: Any, key: Any, expected: Any) -> None:
    """All of it, when the App starts; what is right is published all the same."""
    events = outgoing()

    events.add(topic, names, key)

    problems = events.problems()
    assert [kind for kind, _ in expected] == [type(problem) for problem in problems]
    assert all(text in str(problem) for (_, text), problem in zip(expected, problems, strict=True))


def test_a_name_means_one_thing_in_a_topic() -> None:
    """Twice the same would be sent twice; two classes under one name could not be told apart."""
    events = publishing()

    events.add("orders", {"OrderPlaced": OrderPlaced})
    events.add("orders", {"OrderPlaced": OrderShipped})
    events.add("audit", {"OrderPlaced": OrderPlaced})

    assert ["OrderPlaced", "OrderPlaced"] == [getattr(problem, "value", None) for problem in events.problems()]
    assert "names that are not published to 'orders' yet" in str(events.problems()[0])
    assert ["orders", "audit"] == [envelope.topic for envelope in events.envelopes(OrderPlaced("o"))]


# there and back ------------------------------------------------------------------------------------------------------


class Traced(cqrs.NotificationEvent[list[Joined]], frozen=True):
    event_name: str = "Traced"
    topic: str = "users"


@pytest.mark.parametrize(
    ("event", "target"),
    [
        (OrderPlaced("o-1", 1.5), OrderPlaced),
        (Handmade("o-1"), Handmade),
        (notification(key="k", headers={"tenant": "é"}), cqrs.NotificationEvent[Joined]),
        (notification(payload=[1, {"a": None}]), cqrs.NotificationEvent[Any]),
        (notification(payload=[1, {"a": None}]), cqrs.NotificationEvent),
        (UserJoined(payload=Joined("u"), event_id=ID), UserJoined),
        (Traced(payload=[Joined("u"), Joined("v")], key="k"), Traced),
        (EitherHappened(payload=Left("u"), topic="t"), EitherHappened),
        (PageRead(payload=Page([Left("u"), Joined("v")])), PageRead),
    ],
)
def test_what_was_written_is_read_again(event: Any, target: Any) -> None:
    """The same event, with all that it knows."""
    events = outgoing()
    if not isinstance(event, cqrs.NotificationEvent):
        events.add("orders", {"Event": type(event)})
    (envelope,) = events.envelopes(event)
    incoming = IncomingEvents(envelope.topic, {envelope.headers["ce_type"]: target}, max_body_bytes=1000)
    assert [] == [*events.problems(), *incoming.problems()]

    arrival = incoming.read(Delivery(envelope, "p", "1"), group="g", attempt=1)

    assert type(event) is type(arrival.event)
    assert event.to_dict() == arrival.event.to_dict()
    assert envelope.id == str(arrival.message.id) == arrival.message.correlation_id
