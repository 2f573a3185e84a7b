"""What requests, responses and events are, and what they say about what they carry."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, InitVar, dataclass, field, fields
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar, Generic, Optional, Protocol, TypeVar

import pytest

import cqrs_core as cqrs
from cqrs_core import messages
from cqrs_core.errors import UnresolvedAnnotation
from cqrs_core.messages import Message, payload_type, response_type
from cqrs_core.type_arguments import MISSING

T = TypeVar("T")


class OrderCreated(cqrs.Response):
    order_id: str


class CreateOrder(cqrs.Request[OrderCreated]):
    order_id: str
    amount: Decimal = Decimal(0)
    tags: list[str] = field(default_factory=list)


class CreateGift(CreateOrder):
    wrapping: str = "paper"


class Page(cqrs.Request[list[T]], Generic[T]):
    items: list[T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slotted(cqrs.Request[int]):
    sku: str
    tags: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Loose(cqrs.Request[int]):
    sku: str
    tags: list[str] = field(default_factory=list)


class OrderPlaced(cqrs.DomainEvent):
    order_id: str


class User(cqrs.Response):
    user_id: str


class UserJoined(cqrs.NotificationEvent[User]):
    event_name: str = "UserJoined"


class WhoAmI(cqrs.Request[User]):
    def __init__(self, token: str) -> None:
        self.token = token

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WhoAmI) and self.token == other.token

    __hash__ = None  # type: ignore[assignment]  # not needed


# Undecorated ---------------------------------------------------------------------------------------------------------


def test_a_message_is_finished_with_its_class_statement() -> None:
    """Nothing waits for a first instance: fields, signature, patterns and documentation are there."""

    class Fresh(cqrs.Request[None]):
        a: int
        b: int = 2

    assert ["a", "b"] == [f.name for f in fields(Fresh)]
    assert "(a: 'int', b: 'int' = 2) -> None" == str(inspect.signature(Fresh))
    assert ("a", "b") == Fresh.__match_args__
    assert "Fresh(a: 'int', b: 'int' = 2)" == Fresh.__doc__


def test_a_message_is_made_by_position_and_by_name() -> None:
    """Equal if its fields are; readable in a log."""
    order = CreateOrder("o-1", tags=["new"])

    assert CreateOrder(order_id="o-1", amount=Decimal(0), tags=["new"]) == order
    assert "CreateOrder(order_id='o-1', amount=Decimal('0'), tags=['new'])" == repr(order)


def test_each_instance_has_its_own_default() -> None:
    """``field(default_factory)`` is called for each, and no Field stays behind on the class."""
    assert CreateOrder("o-1").tags is not CreateOrder("o-1").tags
    assert not hasattr(CreateOrder, "tags")


def test_fields_are_inherited() -> None:
    """Those of the parent come first."""
    gift = CreateGift("o-1", Decimal(5), [], "silk")

    assert ("o-1", "silk") == (gift.order_id, gift.wrapping)
    assert ["order_id", "amount", "tags", "wrapping"] == [f.name for f in fields(CreateGift)]


def test_messages_of_different_classes_are_never_equal() -> None:
    """A child with the same values says something else."""

    class Same(CreateOrder):
        pass

    assert CreateOrder("o-1") != Same("o-1")


def test_a_message_may_carry_nothing() -> None:
    """Then its class is all that it says."""

    class Ping(cqrs.Request[None]):
        pass

    class Pong(cqrs.Request[None]):
        pass

    assert Ping() == Ping()
    assert Ping() != Pong()


def test_the_words_of_dataclasses_keep_their_meaning() -> None:
    """``ClassVar``, ``InitVar``, ``KW_ONLY``, ``init=False``, ``__post_init__``, though annotations are strings."""

    class Words(cqrs.Request[None]):
        version: ClassVar[int] = 3
        raw: InitVar[str]
        size: int = field(init=False)
        note: str = field(default="", kw_only=True, repr=False)
        _: dataclasses.KW_ONLY
        last: int = 0

        def __post_init__(self, raw: str) -> None:
            self.size = len(raw)

    words = Words("abc", note="n", last=1)

    assert "Words(size=3, last=1)" == repr(words).rpartition(".")[2]
    assert "(raw: 'InitVar[str]', *, note: 'str' = '', last: 'int' = 0) -> None" == str(inspect.signature(Words))
    assert ["size", "note", "last"] == [f.name for f in fields(Words)]


def test_requests_and_responses_may_be_changed() -> None:
    """As ``@dataclass`` says; events may not."""
    order = CreateOrder("o-1")
    order.order_id = "o-2"

    assert "o-2" == order.order_id


def test_messages_match_patterns() -> None:
    """By position too."""
    match CreateGift("o-1"):
        case CreateGift(order_id, _, _, wrapping):
            assert ("o-1", "paper") == (order_id, wrapping)
        case other:
            pytest.fail(f"{other} did not match")


def test_a_message_may_conform_to_a_protocol() -> None:
    """In both orders of the bases; the protocol's constructor is not meant for it."""

    class HasSku(Protocol):
        sku: str

    class First(cqrs.Request[None], HasSku):
        sku: str

    class Last(HasSku, cqrs.Request[None]):
        sku: str

    assert ("a", "b") == (First("a").sku, Last(sku="b").sku)


EXAMPLES: list[Callable[[], Any]] = [
    lambda: CreateOrder("o", tags=["x"]),
    lambda: CreateGift("o"),
    lambda: Page[int]([1]),
    lambda: Slotted(sku="s"),
    lambda: Loose("s"),
    lambda: OrderPlaced("o"),
    lambda: WhoAmI("t"),
    lambda: UserJoined(payload=User("u"), headers={"a": "b"}, key="k"),
    lambda: cqrs.NotificationEvent[User](event_name="x", payload=User("u")),
]


@pytest.mark.parametrize("make", EXAMPLES, ids=lambda make: type(make()).__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_messages_are_pickled(make: Callable[[], Any], protocol: int) -> None:
    """With and without slots, frozen and not."""
    message = make()

    assert message == pickle.loads(pickle.dumps(message, protocol))


@pytest.mark.parametrize("make", EXAMPLES, ids=lambda make: type(make()).__name__)
def test_messages_are_copied(make: Callable[[], Any]) -> None:
    """A copy is equal, and another."""
    message = make()

    shallow, deep = copy.copy(message), copy.deepcopy(message)

    assert message == shallow == deep
    assert message is not shallow is not deep


@pytest.mark.parametrize("make", [EXAMPLES[0], EXAMPLES[3], EXAMPLES[4]])
def test_a_deep_copy_shares_nothing(make: Callable[[], Any]) -> None:
    """Its lists are its own."""
    message = make()

    assert message.tags is not copy.deepcopy(message).tags


def test_messages_are_replaced_and_taken_apart() -> None:
    """The functions of ``dataclasses`` know them."""
    order = CreateOrder("o-1")

    assert CreateOrder("o-2") == dataclasses.replace(order, order_id="o-2")
    assert {"order_id": "o-1", "amount": Decimal(0), "tags": []} == dataclasses.asdict(order)


if sys.version_info >= (3, 13):

    def test_messages_are_replaced_by_the_copy_module() -> None:
        """From Python 3.13 on."""
        assert CreateOrder("o-2") == copy.replace(CreateOrder("o-1"), order_id="o-2")


# Generic -------------------------------------------------------------------------------------------------------------


def test_a_generic_message_is_made_with_and_without_parameter() -> None:
    """``Page[int]`` leaves its name on the instance, which counts for nothing."""
    named = Page[int]([1])

    assert Page[int] == named.__orig_class__  # type: ignore[attr-defined]  # typing's
    assert Page([1]) == named
    assert {"items": [1]} == dataclasses.asdict(named)


def test_a_frozen_generic_message_is_made_with_parameter_too() -> None:
    """It cannot keep the name, and is made all the same."""

    class Firm(cqrs.Request[T], Generic[T], frozen=True):
        value: T

    assert Firm(1) == Firm[int](1)
    assert not hasattr(Firm[int](1), "__orig_class__")


# Events --------------------------------------------------------------------------------------------------------------


def test_events_are_frozen_and_hashable() -> None:
    """Several handlers see the same instance."""
    event = OrderPlaced("o-1")

    with pytest.raises(FrozenInstanceError):
        event.order_id = "o-2"  # type: ignore[misc]  # that is the mistake

    assert {event} == {OrderPlaced("o-1")}


def test_an_event_of_an_event_is_frozen_too() -> None:
    """Whichever base it has."""

    class Plain(cqrs.Event):
        a: int

    class Child(Plain):
        b: int

    child = Child(1, 2)
    with pytest.raises(FrozenInstanceError):
        child.b = 3  # type: ignore[misc]  # that is the mistake


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def notification(**others: Any) -> Any:
    """Make a notification that differs from another only where it is told to."""
    same = {"event_name": "x", "payload": User("u"), "event_id": uuid.UUID(int=1), "event_timestamp": NOW}
    return cqrs.NotificationEvent(**{**same, **others})


def test_a_notification_needs_a_name_and_a_payload_and_has_defaults_for_the_rest() -> None:
    """No key means no order; headers are its own."""
    event = cqrs.NotificationEvent(event_name="x", payload=1)

    assert ("x", 1, "output_topic", None, {}) == (
        event.event_name,
        event.payload,
        event.topic,
        event.key,
        event.headers,
    )
    assert event.headers is not cqrs.NotificationEvent(event_name="x", payload=1).headers


def test_a_notification_takes_names_only() -> None:
    """Seven fields in a row would be mixed up."""
    kinds = {parameter.kind for parameter in inspect.signature(cqrs.NotificationEvent).parameters.values()}

    assert {inspect.Parameter.KEYWORD_ONLY} == kinds


@pytest.mark.parametrize("given", [{"event_name": "x"}, {"payload": 1}])
def test_a_notification_without_name_or_payload_is_refused(given: dict[str, Any]) -> None:
    """Both say what happened."""
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument"):
        cqrs.NotificationEvent(**given)


def test_each_notification_has_an_id_of_its_own() -> None:
    """Random ones, which need nobody to hand them out."""
    ids = [cqrs.NotificationEvent(event_name="x", payload=1).event_id for _ in range(100)]

    assert 100 == len(set(ids))
    assert {4} == {event_id.version for event_id in ids}


def test_a_notification_is_dated_now_in_utc() -> None:
    """Aware, so that it means the same everywhere."""
    before = datetime.now(timezone.utc)
    event = cqrs.NotificationEvent(event_name="x", payload=1)
    after = datetime.now(timezone.utc)

    assert timedelta(0) == event.event_timestamp.utcoffset()
    assert before <= event.event_timestamp <= after


def test_notifications_are_equal_if_all_fields_are() -> None:
    """Whether a class was named by alias or not."""
    assert notification() == notification()
    assert notification() == cqrs.NotificationEvent[User](**{f.name: getattr(notification(), f.name) for f in FIELDS})


FIELDS = fields(cqrs.NotificationEvent)


@pytest.mark.parametrize(
    "other",
    [
        {"event_name": "y"},
        {"topic": "y"},
        {"payload": User("y")},
        {"key": "y"},
        {"headers": {"y": "y"}},
        {"event_id": uuid.UUID(int=2)},
        {"event_timestamp": NOW + timedelta(seconds=1)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_notifications_differ_if_any_field_does(other: dict[str, Any]) -> None:
    """The payload and the headers too."""
    assert notification() != notification(**other)


def test_every_field_is_compared_above() -> None:
    """A new one must be added there."""
    assert {"event_name", "topic", "payload", "key", "headers", "event_id", "event_timestamp"} == {
        f.name for f in FIELDS if f.compare
    }


def test_a_notification_is_hashed_though_its_payload_cannot_be() -> None:
    """Payload and headers are left out; equal ones have equal hashes."""
    event, other = notification(headers={"a": "b"}), notification(payload=["unhashable"])

    assert hash(event) == hash(other) == hash(notification())
    assert {"payload", "headers"} == {f.name for f in FIELDS if f.hash is False}


def test_a_notification_is_frozen() -> None:
    """As every event."""
    with pytest.raises(FrozenInstanceError):
        notification().topic = "y"


def test_a_named_notification_has_its_name_as_a_default() -> None:
    """And stays keyword-only, hashable and frozen, with the fields that it adds."""

    class Renamed(cqrs.NotificationEvent[User]):
        event_name: str = "Renamed"
        old_name: str

    event = Renamed(payload=User("u"), old_name="old")

    assert ("Renamed", "old") == (event.event_name, event.old_name)
    assert {inspect.Parameter.KEYWORD_ONLY} == {p.kind for p in inspect.signature(Renamed).parameters.values()}
    assert hash(event) == hash(dataclasses.replace(event, payload=User("v")))


def test_a_named_notification_may_be_decorated() -> None:
    """Frozen, as its base is; slots and keywords as it likes."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Renamed(cqrs.NotificationEvent[User]):
        event_name: str = "Renamed"
        old_name: str

    event = Renamed(payload=User("u"), old_name="old")

    assert ("Renamed", "old", User) == (event.event_name, event.old_name, payload_type(Renamed))


def test_the_annotations_of_a_notification_are_readable_at_run_time() -> None:
    """Codecs and frameworks read them, so nothing is imported for type checkers only."""
    hints = typing.get_type_hints(cqrs.NotificationEvent)

    assert {f.name for f in FIELDS} == set(hints)
    assert (Mapping[str, str], uuid.UUID, datetime) == (
        hints["headers"],
        hints["event_id"],
        hints["event_timestamp"],
    )


# What is said about the answer and the payload -----------------------------------------------------------------------


class Users(Page[str]):
    pass


class MoreUsers(Users):
    pass


class MaybePage(Page[Optional[T]], Generic[T]):
    pass


class Fire(cqrs.Request):  # type: ignore[type-arg]  # nothing is said
    pass


class Done(cqrs.Request[None]):
    pass


class Tree(cqrs.Request["Leaf"]):
    children: list[Tree]
    leaf: Leaf


class Trees(cqrs.Request[list["Leaf"]]):
    pass


class Leaf:
    pass


class Lost(cqrs.Request["Nowhere"]):  # type: ignore[name-defined]  # that is the point
    pass


@pytest.mark.parametrize(
    ("request_type", "expected"),
    [
        (CreateOrder, OrderCreated),
        (CreateGift, OrderCreated),
        (Slotted, int),
        (WhoAmI, User),
        (Done, None),
        (Fire, MISSING),
        (cqrs.Request, MISSING),
        (cqrs.Request[int], int),
        (cqrs.Request[None], None),
        (Page, list[T]),
        (Page[str], list[str]),
        (Users, list[str]),
        (MoreUsers, list[str]),
        (MaybePage[int], list[int | None]),
        (cqrs.Request[int | str], int | str),
        (Tree, Leaf),
        (Trees, list[Leaf]),
    ],
    ids=str,
)
def test_a_request_says_what_it_is_answered_with(request_type: Any, expected: Any) -> None:
    """Through generic classes and forward references; nothing said is not ``None``."""
    assert expected == response_type(request_type)


def test_an_answer_that_means_nothing_is_refused() -> None:
    """With the class and the text."""
    with pytest.raises(UnresolvedAnnotation, match="Lost speaks of 'Nowhere'"):
        response_type(Lost)


def test_a_message_may_speak_of_what_is_defined_later() -> None:
    """Its fields are not read before somebody asks."""
    assert [Tree([], Leaf)] == Tree([Tree([], Leaf)], Leaf).children  # type: ignore[arg-type]  # any leaf will do
    assert {"children": list[Tree], "leaf": Leaf} == typing.get_type_hints(Tree)


class Wrapped(cqrs.NotificationEvent[list[T]], Generic[T]):
    event_name: str = "Wrapped"


class LatePayload(cqrs.NotificationEvent["Leaf"]):
    pass


class Unsaid(cqrs.NotificationEvent):  # type: ignore[type-arg]  # nothing is said
    pass


@pytest.mark.parametrize(
    ("event_type", "expected"),
    [
        (UserJoined, User),
        (cqrs.NotificationEvent[User], User),
        (cqrs.NotificationEvent[None], type(None)),
        (Wrapped[int], list[int]),
        (LatePayload, Leaf),
        (cqrs.NotificationEvent, Any),
        (cqrs.NotificationEvent[T], Any),  # type: ignore[valid-type]  # of no class
        (Unsaid, Any),
    ],
    ids=str,
)
def test_a_notification_says_what_its_payload_is(event_type: Any, expected: Any) -> None:
    """Anything, where nothing was said."""
    assert expected == payload_type(event_type)


if sys.version_info >= (3, 12):

    @pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"], ids=["", "future"])
    def test_type_parameters_may_be_written_with_the_class(monkeypatch: pytest.MonkeyPatch, future: str) -> None:
        """PEP 695: such classes are messages as others are."""
        text = """
from dataclasses import dataclass
from cqrs_core import NotificationEvent, Request
class Page[T](Request[list[T]]):
    items: list[T]
class Ints(Page[int]):
    pass
@dataclass(frozen=True, slots=True)
class Firm[T](Request["list[T]"]):
    items: list[T]
class Told[T](NotificationEvent[T]):
    event_name: str = "Told"
"""
        module: Any = types.ModuleType("parametric")
        monkeypatch.setitem(sys.modules, "parametric", module)
        exec(future + text, vars(module))

        assert module.Page([1]) == module.Page[int]([1])
        assert [list[int]] * 3 == [response_type(tp) for tp in (module.Page[int], module.Ints, module.Firm[int])]
        assert not hasattr(module.Firm([1]), "__dict__")
        assert (int, 1) == (payload_type(module.Told[int]), module.Told[int](payload=1).payload)


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Request", "Response", "Event", "DomainEvent", "NotificationEvent"])
def test_users_of_python_cqrs_find_the_names_they_know(name: str) -> None:
    """The very same classes, so that old and new spellings mix."""
    base = getattr(messages, name)

    assert [base] * 3 == [getattr(cqrs, spelling) for spelling in (name, f"I{name}", f"DC{name}")]
    assert [base] * 2 == [getattr(messages, spelling) for spelling in (f"I{name}", f"DC{name}")]


@pytest.mark.parametrize(
    ("cls", "ancestors"),
    [
        (cqrs.Request, {Message}),
        (cqrs.Response, {Message}),
        (cqrs.Event, {Message}),
        (cqrs.DomainEvent, {Message, cqrs.Event}),
        (cqrs.NotificationEvent, {Message, cqrs.Event}),
    ],
)
def test_messages_are_of_one_family(cls: type, ancestors: set[type]) -> None:
    """Events of both kinds are events; a request is none."""
    assert ancestors == {base for base in cls.__mro__[1:] if issubclass(base, Message)}
