"""Messages that are msgspec Structs or attrs classes."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import types
from decimal import Decimal
from typing import Any, Generic, TypeVar

import pytest

msgspec = pytest.importorskip("msgspec")
attrs = pytest.importorskip("attrs")

import cqrs_core as cqrs  # noqa: E402 - after the question whether the libraries are there
from cqrs_core.errors import InvalidMessageClass  # noqa: E402 - without the library none of it is run
from cqrs_core.messages import response_type  # noqa: E402 - without the library none of it is run

T = TypeVar("T")

BASES = [cqrs.Request, cqrs.Request[int], cqrs.Response, cqrs.Event, cqrs.DomainEvent]


class Answer(cqrs.Response):
    value: int


class CreateOrder(cqrs.Request[Answer]):
    order_id: str
    amount: Decimal = Decimal(0)


class UserJoined(cqrs.NotificationEvent[Answer]):
    event_name: str = "UserJoined"


class FindUser(msgspec.Struct, cqrs.Request[Answer], frozen=True, kw_only=True):
    user_id: int


class StructPage(msgspec.Struct, cqrs.Request[list[T]], Generic[T]):
    items: list[T]


class IntPage(StructPage[int]):
    pass


@attrs.define(kw_only=True)
class AttrsFindUser(cqrs.Request[Answer], automatic=False):
    user_id: int = attrs.field(validator=attrs.validators.gt(0))
    tags: list[str] = attrs.field(factory=list)


# msgspec -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", BASES, ids=str)
@pytest.mark.parametrize("is_struct_first", [True, False])
def test_a_struct_may_come_first_or_last(base: Any, *, is_struct_first: bool) -> None:
    """Either way it is a message, without ``__dict__``, and no dataclass."""
    bases = (msgspec.Struct, base) if is_struct_first else (base, msgspec.Struct)
    names = {"__annotations__": {"a": int}, "__module__": __name__}
    made: Any = types.new_class("M", bases, {}, lambda body: body.update(names))

    assert made(1) == msgspec.json.decode(b'{"a": 1}', type=made)
    assert isinstance(made(1), getattr(base, "__origin__", base))
    assert (False, False) == (hasattr(made(1), "__dict__"), dataclasses.is_dataclass(made))


def test_the_class_line_of_a_struct_is_msgspecs() -> None:
    """Its metaclass takes the options."""
    assert "(*, user_id: int)" == str(inspect.signature(FindUser))

    with pytest.raises(AttributeError, match="immutable"):
        FindUser(user_id=1).user_id = 2  # type: ignore[misc]  # that is the mistake


@pytest.mark.parametrize("make", [lambda: FindUser(user_id=1), lambda: IntPage([1])])
def test_structs_are_pickled_and_copied(make: Any) -> None:
    """As other messages."""
    struct = make()

    assert struct == pickle.loads(pickle.dumps(struct)) == copy.deepcopy(struct)


@pytest.mark.parametrize(
    ("struct", "expected"),
    [(FindUser, Answer), (StructPage[str], list[str]), (IntPage, list[int]), (AttrsFindUser, Answer)],
    ids=str,
)
def test_classes_of_libraries_say_what_they_are_answered_with(struct: Any, expected: Any) -> None:
    """As other messages."""
    assert expected == response_type(struct)


def test_msgspec_reads_and_writes_an_undecorated_message_as_a_dataclass() -> None:
    """So its codecs may be used for it."""
    order = CreateOrder("o-1", Decimal("1.5"))

    data = msgspec.json.encode(order)

    assert b'{"order_id":"o-1","amount":"1.5"}' == data
    assert order == msgspec.json.decode(data, type=CreateOrder)


@pytest.mark.parametrize("event_type", [UserJoined, cqrs.NotificationEvent[Answer]], ids=str)
def test_msgspec_fills_the_payload_of_a_notification(event_type: Any) -> None:
    """Of a named alias, and of a child of one."""
    event = msgspec.json.decode(b'{"event_name": "x", "payload": {"value": 1}}', type=event_type)

    assert Answer(1) == event.payload


# attrs ---------------------------------------------------------------------------------------------------------------


def test_an_attrs_class_is_a_message_that_says_so() -> None:
    """``automatic=False`` leaves the class to the decorator: keywords, factories, slots and validators are its own."""
    request = AttrsFindUser(user_id=1)

    assert AttrsFindUser(user_id=1, tags=[]) == request
    assert (False, False) == (hasattr(request, "__dict__"), dataclasses.is_dataclass(AttrsFindUser))
    with pytest.raises(ValueError, match="must be > 0"):
        AttrsFindUser(user_id=0)


@pytest.mark.parametrize("decorate", [attrs.define, attrs.frozen, attrs.define(slots=False, frozen=True)], ids=str)
@pytest.mark.parametrize("base", BASES, ids=str)
def test_every_base_can_be_an_attrs_class(base: Any, decorate: Any) -> None:
    """Frozen or not, with slots or without."""

    @decorate
    class Said(base, automatic=False):  # type: ignore[misc]  # a base that is known when it runs
        a: int

    assert Said(1) == Said(a=1)
    assert ["a"] == [attribute.name for attribute in attrs.fields(Said)]


def test_a_child_of_an_attrs_class_need_not_say_so_again() -> None:
    """It inherits a constructor that is no dataclass's."""

    @attrs.define
    class Child(AttrsFindUser):
        note: str = attrs.field(kw_only=True)

    assert ("n", []) == (Child(user_id=1, note="n").note, Child(user_id=1, note="n").tags)


@pytest.mark.parametrize("decorate", [attrs.define, attrs.define(kw_only=True)], ids=["plain", "keywords"])
@pytest.mark.parametrize("base", BASES, ids=str)
def test_an_attrs_class_that_forgot_to_say_so_is_refused_with_the_cure(base: Any, decorate: Any) -> None:
    """It would take the generated methods for the author's, and write none of its own."""
    with pytest.raises(InvalidMessageClass, match=r"such as attrs\.define, write automatic=False") as caught:

        @decorate
        class Forgotten(base):  # type: ignore[misc]  # a base that is known when it runs
            a: int

    assert "Forgotten" == caught.value.message_class.__name__


@pytest.mark.parametrize(
    ("base", "error", "text"),
    [
        (cqrs.Request[int], InvalidMessageClass, "write automatic=False"),
        (cqrs.Response, InvalidMessageClass, "write automatic=False"),
        (cqrs.Event, ValueError, "Can't freeze a class with a custom __setattr__"),
    ],
    ids=str,
)
def test_a_frozen_attrs_class_that_forgot_to_say_so_is_refused(base: Any, error: type[Exception], text: str) -> None:
    """An event is frozen already, so there attrs itself speaks first, before it makes the copy."""
    with pytest.raises(error, match=text):

        @attrs.frozen
        class Forgotten(base):  # type: ignore[misc]  # a base that is known when it runs
            a: int


def test_an_attrs_class_without_slots_that_forgot_to_say_so_loses_its_options() -> None:
    """A known limit: no copy is made, so nothing tells that attrs was there."""

    @attrs.define(slots=False, kw_only=True)
    class Forgotten(cqrs.Response):
        a: int

    assert "(a: 'int') -> None" == str(inspect.signature(Forgotten))
