"""Events that arrive: what is understood, in whose forms, and what is wrong with the rest."""

from __future__ import annotations

import enum
import json
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Generic, Optional, TypeVar

import pytest

import cqrs_core as cqrs
from cqrs_core.broker import Delivery
from cqrs_core.context import CurrentMessage
from cqrs_core.envelope import Envelope
from cqrs_core.errors import (
    CqrsError,
    InvalidOption,
    NotAMessage,
    UnknownEventName,
    UnreadableEventClass,
    UnreadableMessage,
)
from cqrs_core.incoming import Arrival, IncomingEvents
from cqrs_core.serialization import CodecError, UnsupportedType

T = TypeVar("T")
ID = uuid.UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
UTC = timezone.utc


class Paid(cqrs.DomainEvent):
    order_id: str
    amount: float = 0.0


class Joined(cqrs.Response):
    user_id: str


class UserJoined(cqrs.NotificationEvent[Joined]):
    event_name: str = "UserJoined"


class Page(cqrs.DomainEvent, Generic[T]):
    items: list[T]


NAMES: dict[str, Any] = {
    "Paid": Paid,
    "Paid.v1": Paid,
    "Joined": cqrs.NotificationEvent[Joined],
    "UserJoined": UserJoined,
    "Anything": cqrs.NotificationEvent,
    "Page": Page[Joined],
}


def incoming(names: Any = NAMES, *, max_body_bytes: Any = 100_000) -> IncomingEvents:
    return IncomingEvents("payments", names, max_body_bytes=max_body_bytes)


def read(
    body: bytes | str, headers: dict[str, str] | None = None, *, names: Any = NAMES, key: str | None = None
) -> Arrival:
    data = body if isinstance(body, bytes) else body.encode()
    delivery = Delivery(Envelope("payments", data, key, headers or {}), "payments-0", "0:5")
    return incoming(names).read(delivery, group="shop", attempt=3)


def unreadable(body: bytes | str, headers: dict[str, str] | None = None, *, names: Any = NAMES) -> UnreadableMessage:
    with pytest.raises(UnreadableMessage) as caught:
        read(body, headers, names=names)
    assert ("payments", "0:5") == (caught.value.topic, caught.value.position)
    assert str(caught.value).startswith("The message at 0:5 of 'payments' cannot be read: ")
    return caught.value


# plain events and notifications --------------------------------------------------------------------------------------


def test_a_plain_event_is_its_body_and_the_message_around_it_is_told() -> None:
    """Everything that the headers say, the reserved ones included."""
    headers = {
        "ce_id": str(ID),
        "ce_type": "Paid",
        "ce_correlationid": "conversation",
        "ce_causationid": "cause",
        "tenant": "a",
    }

    event, message = read('{"order_id": "o-1", "amount": 2}', headers, key="o-1")

    assert Paid("o-1", 2.0) == event
    assert (
        CurrentMessage(
            *(ID, "Paid", "payments", "shop", "o-1"),
            headers,
            correlation_id="conversation",
            causation_id="cause",
            attempt=3,
        )
        == message
    )


def test_two_names_may_mean_one_class() -> None:
    """So that an event can be renamed; the message tells which it was. Its handlers are looked for once."""
    events = [read('{"order_id": "o-1"}', {"ce_type": name}) for name in ("Paid", "Paid.v1")]

    assert [Paid("o-1"), Paid("o-1")] == [arrival.event for arrival in events]
    assert ["Paid", "Paid.v1"] == [arrival.message.name for arrival in events]
    assert 5 == len(incoming().targets)
    assert [] == incoming().problems()


def test_a_generic_event_is_read_with_its_arguments() -> None:
    """Its items are of the class that was named."""
    assert Page([Joined("u")]) == read('{"items": [{"user_id": "u"}]}', {"ce_type": "Page"}).event


@pytest.mark.parametrize(("name", "cls"), [("Joined", cqrs.NotificationEvent), ("UserJoined", UserJoined)])
def test_a_notification_is_made_of_the_payload_and_the_headers(name: str, cls: type) -> None:
    """Of the class that was named; the program's headers only, the others are facts of their own."""
    headers = {
        "ce_id": str(ID),
        "ce_type": name,
        "ce_time": "2026-11-24T12:30:15.5+02:00",
        "CE_Subject": "s",
        "cqrs_dead_topic": "d",
        "Content-Type": "x",
        "content-type": "application/json",
        "tenant": "a",
        "traceparent": "00-1",
    }

    event = read('{"user_id": "u"}', headers, key="u").event

    assert cls is type(event)
    expected: Any = cls(
        event_name=name,
        topic="payments",
        payload=Joined("u"),
        key="u",
        headers={"tenant": "a", "traceparent": "00-1"},
        event_id=ID,
        event_timestamp=datetime(2026, 11, 24, 10, 30, 15, 500_000, tzinfo=UTC),
    )
    assert expected == event


def test_the_payload_of_a_notification_that_says_nothing_of_it_is_taken_as_it_is() -> None:
    """Whatever JSON it is."""
    event: Any = read('[1, {"a": null}]', {"ce_type": "Anything"}).event

    assert [1, {"a": None}] == event.payload


def test_unknown_fields_of_an_event_are_ignored() -> None:
    """Others may add fields first."""
    assert Paid("o-1") == read('{"order_id": "o-1", "currency": "EUR"}', {"ce_type": "Paid"}).event


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-24T12:30:15Z", datetime(2026, 11, 24, 12, 30, 15, tzinfo=UTC)),
        ("2026-11-24T12:30:15.123456789+05:30", datetime(2026, 11, 24, 7, 0, 15, 123_456, tzinfo=UTC)),
        ("2026-11-24T12:30:15", datetime(2026, 11, 24, 12, 30, 15, tzinfo=UTC)),
    ],
)
def test_times_are_in_utc(text: str, moment: datetime) -> None:
    """However they were written; one without offset is taken for UTC."""
    event: Any = read('{"user_id": "u"}', {"ce_type": "Joined", "ce_time": text}).event

    assert (moment, UTC) == (event.event_timestamp, event.event_timestamp.tzinfo)


def test_a_message_without_a_time_is_of_now() -> None:
    """Its sender did not say when."""
    before = datetime.now(UTC)
    event: Any = read('{"user_id": "u"}', {"ce_type": "Joined"}).event

    assert before <= event.event_timestamp <= datetime.now(UTC)


# ids -----------------------------------------------------------------------------------------------------------------


def id_of(headers: dict[str, str], body: str = '{"order_id": "o-1"}') -> uuid.UUID:
    return read(body, {"ce_type": "Paid", **headers}).message.id


@pytest.mark.parametrize("text", [str(ID), str(ID).upper()])
def test_an_id_that_is_unique_by_itself_is_taken_as_it_is(text: str) -> None:
    """A UUID, in its usual form."""
    assert ID == id_of({"ce_id": text, "ce_source": "whoever"})


# An inbox keeps them: should one of these change, messages that were handled would be handled again.
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"ce_id": "7", "ce_source": "//shop"}, "db33c546-c31d-555d-a996-cf1b1d19e4e7"),
        ({"ce_id": "7"}, "54eaa943-c34b-5ae8-a2c5-9d263481d677"),
        ({}, "76e16ae5-fc73-58d4-9868-74758ec3b41c"),
    ],
)
def test_other_ids_are_made_and_are_the_same_for_ever(headers: dict[str, str], expected: str) -> None:
    """Of ce_source and ce_id; of topic and position where there is no id."""
    assert uuid.UUID(expected) == id_of(headers)


def test_two_messages_never_share_an_id_by_chance() -> None:
    """Ids are unique per source; one that looks like a number of a UUID's length is still one of its source's."""
    digits = "0" * 31 + "1"
    ids = [
        id_of(headers)
        for headers in (
            {},
            {"ce_id": ""},
            {"ce_id": "0:5", "ce_source": "payments"},
            {"ce_id": digits, "ce_source": "a"},
            {"ce_id": digits, "ce_source": "b"},
            {"ce_id": "b\nc", "ce_source": "a"},
            {"ce_id": "c", "ce_source": "a\nb"},
            {"ce_id": "{" + str(ID) + "}"},
            {"ce_id": "urn:uuid:" + str(ID)},
            {"ce_id": str(ID)},
        )
    ]

    assert ids[0] == ids[1]
    assert 9 == len(set(ids))


def test_the_same_message_has_the_same_id_each_time() -> None:
    """Whoever reads it."""
    assert id_of({}) == id_of({})
    assert id_of({"ce_id": "x", "ce_source": "é"}) == id_of({"ce_id": "x", "ce_source": "é"})


def test_a_message_begins_a_conversation_if_it_is_of_none() -> None:
    """Its id is what the others will be known by."""
    message = read('{"order_id": "o-1"}', {"ce_type": "Paid", "ce_id": str(ID), "ce_correlationid": ""}).message

    assert (str(ID), None) == (message.correlation_id, message.causation_id)


# what is wrong -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ('{"order_id": "o-1"'.encode("utf-16"), "not JSON"),
        (b'{"order_id": "o-1"}}', "not JSON"),
        (b'{"order_id": "o-1", "amount": NaN}', "amount: expected a finite number"),
        (b'{"order_id": "o-1", "amount": -Infinity}', "amount: expected a finite number"),
        (b'{"order_id": "o-1", "amount": 1e999}', "amount: expected a finite number"),
        (b'{"order_id": "\\ud800"}', "order_id: text that is not Unicode"),
        (b'{"order_id": 5}', "order_id: expected str, got int"),
        (b"{}", "order_id: "),
        (b"[]", "expected Paid, got list"),
        (b"null", "expected Paid"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_makes_no_sense_is_told_with_the_path_to_the_fault(body: bytes, problem: str) -> None:
    """And with the codec's error as its cause."""
    with pytest.raises(UnreadableMessage) as caught:
        IncomingEvents("payments", NAMES, max_body_bytes=1_000_000).read(
            Delivery(Envelope("payments", body, None, {"ce_type": "Paid"}), "p", "0:5"), group="g", attempt=1
        )

    assert problem in caught.value.problem
    assert isinstance(caught.value.__cause__, CodecError)
    assert not isinstance(caught.value, UnknownEventName)


def test_no_bytes_at_all_give_anything_but_an_event_or_an_error() -> None:
    """With headers of CloudEvents or without, as text or not."""
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["user_id", "order_id", "eventName", "payload", "event_name", "x"]), inner
            )
        ),
        max_leaves=8,
    )
    whole = st.fixed_dictionaries(
        {"eventName": st.sampled_from([*NAMES, "Other"]) | anything, "payload": anything},
        optional={"eventId": anything, "eventTimestamp": anything | st.just("0001-01-01T00:00:00+05:00")},
    )
    texts = (
        st.sampled_from([*NAMES, "", "\udcff", "application/json", str(ID), "9999-12-31T23:59:59-05:00"]) | st.text()
    )
    names = ["ce_type", "ce_id", "ce_time", "ce_source", "content-type", "ce_correlationid", "other"]
    headers = st.dictionaries(st.sampled_from(names), texts)

    @hypothesis.given(st.binary() | (anything | whole).map(lambda value: json.dumps(value).encode()), headers)
    @hypothesis.settings(deadline=None, max_examples=300)
    def run(body: bytes, headers: dict[str, str]) -> None:
        try:
            arrival = read(body, headers)
        except UnreadableMessage as error:
            assert error.problem  # noqa: PT017 - either is right
        else:
            assert isinstance(arrival.event, cqrs.Event)
            arrival.message.correlation_id.encode()

    run()


@pytest.mark.parametrize(("size", "is_read"), [(30, True), (31, False)])
def test_a_body_that_is_too_large_is_not_parsed(size: int, is_read: bool) -> None:  # noqa: FBT001 - a parameter
    """The limit itself is allowed."""
    body = b'{"order_id": "o-1"}'.ljust(size)
    delivery = Delivery(Envelope("payments", body, None, {"ce_type": "Paid"}), "p", "1")
    events = incoming(max_body_bytes=30)

    if is_read:
        assert Paid("o-1") == events.read(delivery, group="g", attempt=1).event
        return
    with pytest.raises(UnreadableMessage, match="its body has 31 bytes, and 30 are allowed \\(max_body_bytes\\)"):
        events.read(delivery, group="g", attempt=1)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; charset=utf-8", "application/vnd.shop.paid+json", " application/json ;x"],
)
def test_json_is_read_under_any_of_its_names(content_type: str) -> None:
    """With parameters or without."""
    assert Paid("o") == read('{"order_id": "o"}', {"ce_type": "Paid", "content-type": content_type}).event


@pytest.mark.parametrize("content_type", ["application/avro", "text/plain", "", "json", "application/jsonx"])
def test_what_is_no_json_by_its_own_words_is_not_parsed(content_type: str) -> None:
    """Though it may look like it."""
    error = unreadable('{"order_id": "o"}', {"ce_type": "Paid", "content-type": content_type})

    assert f"its content-type is '{content_type}', and only JSON is read here" == error.problem


@pytest.mark.parametrize(
    "name",
    ["ce_type", "ce_id", "ce_source", "ce_time", "ce_correlationid", "ce_causationid", "ce_subject", "content-type"],
)
def test_a_header_of_cloudevents_that_is_not_text_makes_a_message_unreadable(name: str) -> None:
    """It would be taken for something, here or further on."""
    error = unreadable('{"order_id": "o"}', {"ce_type": "Paid", name: "caf\udce9"})

    assert f"its header '{name}' is not text in UTF-8" == error.problem
    error.problem.encode()


def test_another_header_that_is_not_text_is_carried_through_untouched() -> None:
    """A value or a name: the program may know what it is."""
    headers = {"ce_type": "Joined", "legacy": "caf\udce9", "\udcff": "x"}

    event, message = read('{"user_id": "u"}', headers)

    assert headers == message.headers
    assert isinstance(event, cqrs.NotificationEvent)
    assert {"legacy": "caf\udce9", "\udcff": "x"} == event.headers


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-24", "1764000000", "0001-01-01T00:00:00+05:00"])
def test_a_time_that_is_none_makes_a_message_unreadable(text: str) -> None:
    """Before the first day there is no UTC."""
    error = unreadable('{"user_id": "u"}', {"ce_type": "Joined", "ce_time": text})

    assert error.problem.startswith("its time is no time: ")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"order_id": "o"}', {"ce_type": "Refunded"}),
        (b"\x00avro", {"ce_type": "Refunded", "content-type": "application/avro"}),
        (b"x" * 100_001, {"ce_type": "Refunded"}),
        (b"{}", {"ce_type": "Refunded", "ce_id": "\udcff", "ce_time": "?"}),
        (b'{"eventName": "Refunded", "payload": {}, "eventTimestamp": "?"}', {}),
        (b'{"event_name": "Refunded", "payload": {}}', {}),
    ],
)
def test_of_a_name_that_is_not_consumed_nothing_else_is_looked_at(body: bytes, headers: dict[str, str]) -> None:
    """A topic may carry what is not for us, in whatever form: it is unknown, and not broken."""
    error = unreadable(body, headers)

    assert isinstance(error, UnknownEventName)
    assert "Refunded" == error.name
    assert "it is called 'Refunded', which is not consumed. Consumed are: Anything, Joined, Page, Paid, Paid.v1" in (
        error.problem
    )


def test_a_name_that_is_very_long_is_shown_cut() -> None:
    """It comes from outside; the error still knows all of it."""
    error = unreadable("{}", {"ce_type": "x" * 5000})

    assert isinstance(error, UnknownEventName)
    assert 5000 == len(error.name)
    assert len(error.problem) < 300


class Picky(cqrs.NotificationEvent[Joined]):
    def __post_init__(self) -> None:
        raise LookupError("secret")


def test_a_class_that_refuses_a_message_makes_it_unreadable_whatever_it_raises() -> None:
    """It must not end the consumer; the text names the kind, and not what it says."""
    error = unreadable('{"user_id": "u"}', {"ce_type": "Picky"}, names={"Picky": Picky})

    assert "Picky cannot be made of it (LookupError)" == error.problem
    assert isinstance(error.__cause__, LookupError)


# python-cqrs ---------------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    DARK_RED = "dark_red"


@dataclass
class Price:
    net_amount: Decimal
    vat_rate: float


@dataclass
class Line:
    article_id: uuid.UUID
    unit_price: Price
    line_2: str
    gift_note: Optional[str] = None


@dataclass
class OrderPlaced:
    order_id: uuid.UUID
    placed_at: datetime
    due_on: date
    at_time: time
    lead_time: timedelta
    order_lines: list[Line]
    more_lines: Optional[list[Line]]
    by_name: dict[str, Line]
    line_counts: dict[uuid.UUID, int]
    ship_to: Optional[Line]
    bill_to: Optional[Line]
    main_colour: Colour
    seen_by: set[uuid.UUID]
    first_pair: tuple[int, Line]
    raw_data: bytes
    any_thing: Any
    is_gift: bool
    double__under: int
    already_ID: int  # noqa: N815 - each of these is written in its own way
    _private: int = field(default=0)


#: What python-cqrs 5.3.0 sent for DCNotificationEvent(event_name="OrderPlaced", payload=OrderPlaced(...)), whose fields
#: are those above.
FROM_DATACLASSES = (
    b'{"eventName":"OrderPlaced","payload":{"orderId":"0f8fad5bd9cb469fa16570867728950e",'
    b'"placedAt":"2026-11-24T12:30:15.123456","dueOn":"2026-12-01","atTime":"08:30:00",'
    b'"leadTime":"1 day, 2:00:03.000004","orderLines":[{"articleId":"00000000000000000000000000000007",'
    b'"unitPrice":{"netAmount":"10.50","vatRate":0.2},"line2":"second","giftNote":null},'
    b'{"articleId":"00000000000000000000000000000007","unitPrice":{"netAmount":"10.50","vatRate":0.2},'
    b'"line2":"second","giftNote":null}],"moreLines":[{"articleId":"00000000000000000000000000000007",'
    b'"unitPrice":{"netAmount":"10.50","vatRate":0.2},"line2":"second","giftNote":null}],'
    b'"byName":{"first_line":{"articleId":"00000000000000000000000000000007",'
    b'"unitPrice":{"netAmount":"10.50","vatRate":0.2},"line2":"second","giftNote":null}},'
    b'"lineCounts":{"00000000000000000000000000000009":1},"shipTo":{"articleId":"00000000000000000000000000000007",'
    b'"unitPrice":{"netAmount":"10.50","vatRate":0.2},"line2":"second","giftNote":null},"billTo":null,'
    b'"mainColour":"dark_red","seenBy":["00000000000000000000000000000005"],'
    b'"firstPair":[1,{"articleId":"00000000000000000000000000000007","unitPrice":{"netAmount":"10.50","vatRate":0.2},'
    b'"line2":"second","giftNote":null}],"rawData":"AAE=","anyThing":{"some_key":1},"isGift":true,"doubleUnder":1,'
    b'"alreadyID":2,"_private":3},"eventId":"7c9e6679742540de944be07fc1f90ae7",'
    b'"eventTimestamp":"2026-11-24T12:30:15","topic":"orders"}'
)
#: What it sent for a UserJoined(DCNotificationEvent[Joined]) with a time of its own, in UTC+2.
FROM_A_SUBCLASS = (
    b'{"eventName":"UserJoined","payload":{"userId":"u-5"},"eventId":"7c9e6679742540de944be07fc1f90ae7",'
    b'"eventTimestamp":"2026-11-24T12:30:15+02:00","topic":"users"}'
)
#: What it sent for a PydanticNotificationEvent of pydantic models.
FROM_PYDANTIC = (
    b'{"payload":{"order_id":"0f8fad5b-d9cb-469f-a165-70867728950e","placed_at":"2026-11-24T12:30:15.123456",'
    b'"order_lines":[{"article_id":"00000000-0000-0000-0000-000000000007","gift_note":null}],'
    b'"by_name":{"first_line":{"article_id":"00000000-0000-0000-0000-000000000007","gift_note":"x"}}},'
    b'"event_id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","event_timestamp":"2026-11-24T12:30:15.000005",'
    b'"event_name":"OrderPlaced","topic":"orders"}'
)


def test_what_python_cqrs_writes_of_dataclasses_is_understood() -> None:
    """Names, UUIDs and durations are in its own form, however deep; the id and the time are in the body."""
    line = Line(uuid.UUID(int=7), Price(Decimal("10.50"), 0.2), "second")
    placed = OrderPlaced(
        order_id=uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e"),
        placed_at=datetime(2026, 11, 24, 12, 30, 15, 123_456),  # noqa: DTZ001 - as it was sent
        due_on=date(2026, 12, 1),
        at_time=time(8, 30),
        lead_time=timedelta(days=1, hours=2, seconds=3, microseconds=4),
        order_lines=[line, line],
        more_lines=[line],
        by_name={"first_line": line},
        line_counts={uuid.UUID(int=9): 1},
        ship_to=line,
        bill_to=None,
        main_colour=Colour.DARK_RED,
        seen_by={uuid.UUID(int=5)},
        first_pair=(1, line),
        raw_data=b"\x00\x01",
        any_thing={"some_key": 1},
        is_gift=True,
        double__under=1,
        already_ID=2,
        _private=3,
    )

    event, message = read(FROM_DATACLASSES, names={"OrderPlaced": cqrs.NotificationEvent[OrderPlaced]}, key="k")

    assert (
        cqrs.NotificationEvent(
            event_name="OrderPlaced",
            topic="payments",  # where it came from, whatever the body says
            payload=placed,
            key="k",
            event_id=ID,
            event_timestamp=datetime(2026, 11, 24, 12, 30, 15, tzinfo=UTC),
        )
        == event
    )
    assert (ID, "OrderPlaced", str(ID)) == (message.id, message.name, message.correlation_id)


def test_a_subclass_there_is_a_subclass_here() -> None:
    """A time with an offset is not guessed at."""
    event: Any = read(FROM_A_SUBCLASS).event

    assert (UserJoined, Joined("u-5"), ID) == (type(event), event.payload, event.event_id)
    assert datetime(2026, 11, 24, 10, 30, 15, tzinfo=UTC) == event.event_timestamp


@dataclass
class LineModel:
    article_id: uuid.UUID
    gift_note: Optional[str]


@dataclass
class OrderModel:
    order_id: uuid.UUID
    placed_at: datetime
    order_lines: list[LineModel]
    by_name: dict[str, LineModel]


def test_what_python_cqrs_writes_of_pydantic_models_is_understood() -> None:
    """In snake_case, UUIDs as ever."""
    event: Any = read(FROM_PYDANTIC, names={"OrderPlaced": cqrs.NotificationEvent[OrderModel]}).event

    assert [LineModel(uuid.UUID(int=7), None)] == event.payload.order_lines
    assert {"first_line": LineModel(uuid.UUID(int=7), "x")} == event.payload.by_name
    assert (ID, datetime(2026, 11, 24, 12, 30, 15, 5, tzinfo=UTC)) == (event.event_id, event.event_timestamp)


def test_a_plain_event_may_be_made_of_its_payload() -> None:
    """The notification around it is left out."""
    arrival = read('{"eventName": "Paid", "payload": {"orderId": "o-1"}}')

    assert Paid("o-1") == arrival.event
    assert id_of({}) == arrival.message.id  # it has none: where it stands


@pytest.mark.parametrize(
    ("given", "like"),
    [
        (f'"{ID}"', {"ce_id": str(ID)}),
        (f'"{ID.hex}"', {"ce_id": str(ID)}),
        ('"7"', {"ce_id": "7", "ce_source": "payments"}),
        ("null", {}),
        ("7", {}),
        ('""', {}),
    ],
)
def test_its_ids_are_as_unique_as_others(given: str, like: dict[str, str]) -> None:
    """A UUID as it is, another one within the topic; what is none: where it stands."""
    body = '{"event_name": "Paid", "payload": {"order_id": "o"}, "event_id": %s}'

    assert id_of(like) == read(body % given).message.id


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{}", "it has no header ce_type, and its body is not a notification as python-cqrs writes it"),
        ('{"eventName": "Paid"}', "with event_name and payload"),
        ('{"payload": {}}', "with event_name and payload"),
        ('{"eventName": 5, "payload": {}}', "with event_name and payload"),
        ("[]", "expected dict, got list"),
        ("nonsense", "not JSON"),
        ('{"eventName": "Paid", "payload": {"orderId": 5}}', "payload.order_id: expected str, got int"),
        ('{"event_name": "Paid", "payload": {"orderId": "o"}}', "payload.order_id: "),
        ('{"eventName": "Page", "payload": {"items": [{"userId": 1}]}}', "payload.items[0].user_id: expected str"),
        ('{"eventName": "Paid", "payload": {"orderId": "o"}, "eventTimestamp": 5}', "its time is no time: "),
        ('{"eventName": "Paid", "payload": {"orderId": "o", "amount": NaN}}', "payload.amount: expected a finite"),
    ],
)
def test_what_is_wrong_with_a_whole_notification_is_told_with_the_path(body: str, problem: str) -> None:
    """From the whole body on."""
    assert problem in unreadable(body).problem


@dataclass
class Tree:
    sub_trees: list[Tree] = field(default_factory=list)


@pytest.mark.parametrize("depth", [50, 150, 300, 900])
def test_a_body_that_is_nested_too_deeply_is_refused_and_nothing_breaks(depth: int) -> None:
    """How deep is too deep depends on the Python; it is read or refused."""
    body = '{"eventName": "Tree", "payload": ' + '{"subTrees": [' * depth + "]}" * depth + "}"

    try:
        event: Any = read(body, names={"Tree": cqrs.NotificationEvent[Tree]}).event
    except UnreadableMessage as error:
        assert "nested too deeply" in error.problem  # noqa: PT017 - either is right
        assert depth > 50
    else:
        assert isinstance(event.payload, Tree)


def test_headers_that_are_not_text_are_refused_here_too() -> None:
    """Only ce_type is missing."""
    assert "'ce_correlationid' is not text" in unreadable(FROM_A_SUBCLASS, {"ce_correlationid": "\udcff"}).problem
    assert "only JSON is read here" in unreadable(FROM_A_SUBCLASS, {"content-type": "application/avro"}).problem


# wiring --------------------------------------------------------------------------------------------------------------


class Demanding(cqrs.NotificationEvent[Joined]):
    tenant: str


class Fixed(cqrs.NotificationEvent[Joined]):
    event_name: str = field(default="Fixed", init=False)
    tenant: str = "none"


class Locked(cqrs.DomainEvent):
    lock: type = int


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, [(InvalidOption, "names is {}. It must be a dict of event classes by their names")]),
        (None, [(InvalidOption, "names is None")]),
        ([Paid], [(InvalidOption, "It must be a dict")]),
        ({"": Paid}, [(InvalidOption, "names is ''")]),
        ({5: Paid}, [(InvalidOption, "names is 5")]),
        ({"\udcff": Paid}, [(InvalidOption, "names of events")]),
        ({"A": Joined}, [(NotAMessage, "Joined")]),
        ({"A": int}, [(NotAMessage, "int")]),
        ({"A": None}, [(NotAMessage, "None")]),
        ({"A": list[Paid]}, [(NotAMessage, "list")]),
        ({"A": Locked}, [(UnsupportedType, "lock")]),
        ({"A": cqrs.NotificationEvent[Locked]}, [(UnsupportedType, "lock")]),
        ({"A": Demanding}, [(UnreadableEventClass, "Demanding needs 'tenant', which no message brings")]),
        ({"A": int, "B": Paid, "": Paid}, [(NotAMessage, "int"), (InvalidOption, "names is ''")]),
    ],
)
def test_what_is_wrong_with_the_names_is_told_and_not_raised(names: Any, expected: Any) -> None:
    """All of it, when the App starts."""
    problems: list[CqrsError] = incoming(names).problems()

    assert [kind for kind, _ in expected] == [type(problem) for problem in problems]
    assert all(text in str(problem) for (_, text), problem in zip(expected, problems, strict=True))


@pytest.mark.parametrize("limit", [0, -1, 1.5, "9", None])
def test_a_limit_that_means_nothing_is_told(limit: Any) -> None:
    """It is a number of bytes."""
    (problem,) = incoming(max_body_bytes=limit).problems()

    assert f"max_body_bytes is {limit!r}. It must be a whole number, at least 1." == str(problem)


def test_a_class_that_knows_its_own_name_need_not_be_told() -> None:
    """Fields that its constructor does not take are left to it."""
    event: Any = read('{"user_id": "u"}', {"ce_type": "Renamed"}, names={"Renamed": Fixed}).event

    assert ("Fixed", "none", Joined("u")) == (event.event_name, event.tenant, event.payload)
