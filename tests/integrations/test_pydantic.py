"""Requests, responses and events that are pydantic models; and what pydantic sees in those that are not."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
import types
import warnings
from decimal import Decimal
from typing import Any, Generic, TypeVar

import pytest

pydantic = pytest.importorskip("pydantic")

import cqrs_core as cqrs  # noqa: E402 - after the question whether pydantic is there
from cqrs_core.errors import CqrsError, ExtraMissing  # noqa: E402 - without the library none of it is run
from cqrs_core.integrations.pydantic import PydanticRequest, PydanticResponse  # noqa: E402 - without the library none of it is run
from cqrs_core.messages import payload_type, response_type  # noqa: E402 - without the library none of it is run

T = TypeVar("T")
P = TypeVar("P")


class User(PydanticResponse):
    user_id: int
    name: str = pydantic.Field(default="", max_length=5)


class FindUser(PydanticRequest[User]):
    user_id: int = pydantic.Field(gt=0)


class Page(PydanticRequest[list[T]], Generic[T]):
    items: list[T]


class IntPage(Page[int]):
    pass


class Late(PydanticRequest["Later"]):
    pass


class Nothing(PydanticRequest[None]):
    pass


class Unsaid(PydanticRequest):
    pass


class Later(PydanticResponse):
    pass


class CreateOrder(cqrs.Request[User]):
    order_id: str
    amount: Decimal = Decimal(0)
    tags: list[str] = dataclasses.field(default_factory=list)


class Joined(cqrs.Response):
    user_id: int


class UserJoined(cqrs.NotificationEvent[Joined]):
    event_name: str = "UserJoined"


# PydanticRequest and PydanticResponse --------------------------------------------------------------------------------


def test_a_request_may_be_a_model() -> None:
    """It checks and converts what it is made of."""
    assert FindUser(user_id=7) == FindUser(user_id="7")  # type: ignore[arg-type]  # that is converted
    assert FindUser(user_id=7) == FindUser.model_validate_json(b'{"user_id": 7}')


@pytest.mark.parametrize(
    ("model", "values", "place"),
    [
        (FindUser, {"user_id": 0}, "user_id"),
        (FindUser, {}, "user_id"),
        (User, {"user_id": 1, "name": "too long"}, "name"),
    ],
)
def test_a_wrong_value_is_refused_by_the_model(model: Any, values: dict[str, Any], place: str) -> None:
    """With pydantic's own error."""
    with pytest.raises(pydantic.ValidationError) as caught:
        model(**values)

    assert [(place,)] == [error["loc"] for error in caught.value.errors()]


@pytest.mark.parametrize(
    ("model", "base"), [(FindUser, cqrs.Request), (Page[int], cqrs.Request), (User, cqrs.Response)], ids=str
)
def test_a_model_is_a_message_and_no_dataclass(model: type, base: type) -> None:
    """The instances are the model's."""
    assert issubclass(model, base)
    assert not dataclasses.is_dataclass(model)
    assert pydantic.BaseModel.__eq__ is model.__eq__


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (FindUser, User),
        (Page[int], list[int]),
        (Page[User], list[User]),
        (IntPage, list[int]),
        (Page, list[T]),
        (PydanticRequest[int], int),
        (Late, Later),
        (Nothing, None),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_model_says_what_it_is_answered_with(model: Any, expected: Any) -> None:
    """Its ``Page[int]`` is a class of its own, and is read by what pydantic notes on it."""
    assert expected == response_type(model)


def test_a_model_that_says_nothing_leaves_the_variable_open() -> None:
    """For wiring, that is as good as nothing."""
    assert isinstance(response_type(Unsaid), TypeVar)


def test_a_generic_model_checks_by_its_parameter() -> None:
    """``Page[int]`` refuses what ``Page[str]`` takes."""
    assert ["x"] == Page[str](items=["x"]).items

    with pytest.raises(pydantic.ValidationError):
        Page[int](items=["x"])


@pytest.mark.parametrize("model", [FindUser(user_id=1), User(user_id=1), IntPage(items=[1])], ids=repr)
def test_models_are_pickled_and_copied(model: Any) -> None:
    """As other messages."""
    assert model == pickle.loads(pickle.dumps(model)) == copy.deepcopy(model)


def test_a_model_may_be_frozen() -> None:
    """In the class line, which then is pydantic's."""

    class Firm(PydanticRequest[User], frozen=True):
        user_id: int

    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Firm(user_id=1).user_id = 2  # type: ignore[misc]  # that is the mistake


# BaseModel beside the bases ------------------------------------------------------------------------------------------


def model(*bases: Any, **class_line: Any) -> Any:
    names = {"__annotations__": {"a": int}, "__module__": __name__}
    return types.new_class("M", bases, class_line, lambda body: body.update(names))


@pytest.mark.parametrize(
    "base", [cqrs.Request, cqrs.Request[int], cqrs.Response, cqrs.Event, cqrs.DomainEvent], ids=str
)
@pytest.mark.parametrize("is_model_first", [True, False])
@pytest.mark.filterwarnings("ignore:Classes should inherit from `BaseModel` before")
def test_base_model_may_come_first_or_last(base: Any, *, is_model_first: bool) -> None:
    """Either way it is a model and a message."""
    made = model(pydantic.BaseModel, base) if is_model_first else model(base, pydantic.BaseModel)

    assert made(a=1) == made.model_validate_json('{"a": 1}')
    assert "(*, a: int) -> None" == str(inspect.signature(made))
    assert isinstance(made(a=1), getattr(base, "__origin__", base))
    assert not dataclasses.is_dataclass(made)


def test_base_model_first_is_recommended_and_warns_of_nothing() -> None:
    """Behind a request, which is generic, pydantic warns."""
    with warnings.catch_warnings(record=True) as silent:
        warnings.simplefilter("always")
        model(pydantic.BaseModel, cqrs.Request[int])

    with pytest.warns(pydantic.warnings.GenericBeforeBaseModelWarning, match="inherit from `BaseModel` before"):
        model(cqrs.Request[int], pydantic.BaseModel)

    assert [] == silent


def test_a_model_of_an_event_is_mutable_unless_it_says_otherwise() -> None:
    """Being frozen is the model's affair."""
    loose, firm = model(pydantic.BaseModel, cqrs.DomainEvent), model(pydantic.BaseModel, cqrs.DomainEvent, frozen=True)

    changed = loose(a=1)
    changed.a = 2
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        firm(a=1).a = 2
    assert 2 == changed.a


# What pydantic sees in undecorated messages --------------------------------------------------------------------------


def test_pydantic_checks_an_undecorated_message_as_a_dataclass() -> None:
    """So web frameworks take it as a body."""
    adapter = pydantic.TypeAdapter(CreateOrder)

    order = adapter.validate_json(b'{"order_id": "o-1", "amount": "1.5"}')

    assert CreateOrder("o-1", Decimal("1.5")) == order
    assert {"order_id": "o-1", "amount": Decimal("1.5"), "tags": []} == adapter.dump_python(order)


def test_a_message_may_be_a_field_of_a_model() -> None:
    """And the other way round."""

    class Body(pydantic.BaseModel):
        order: CreateOrder

    class Wrapped(cqrs.Request[None]):
        user: User

    assert CreateOrder("o-1") == Body.model_validate({"order": {"order_id": "o-1"}}).order
    assert Wrapped(User(user_id=1)) == pydantic.TypeAdapter(Wrapped).validate_python({"user": {"user_id": "1"}})


def test_pydantic_fills_the_payload_of_a_named_alias() -> None:
    """``NotificationEvent[Joined]`` says what it is."""
    adapter = pydantic.TypeAdapter(cqrs.NotificationEvent[Joined])

    event = adapter.validate_json(b'{"event_name": "x", "payload": {"user_id": 1}}')

    assert Joined(1) == event.payload


@dataclasses.dataclass(frozen=True)
class PlainEvent(Generic[P]):
    payload: P


@dataclasses.dataclass(frozen=True)
class PlainJoined(PlainEvent[Joined]):
    pass


def test_pydantic_treats_a_child_of_a_named_alias_as_any_generic_dataclass() -> None:
    """It does not look through the child for what P is, so the payload may stay a dictionary."""
    payload = {"user_id": 1}

    expected = pydantic.TypeAdapter(PlainJoined).validate_python({"payload": payload}).payload
    actual = pydantic.TypeAdapter(UserJoined).validate_python({"payload": payload}).payload

    assert expected == actual
    assert Joined is payload_type(UserJoined)


# pydantic.dataclasses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [cqrs.Request[int], cqrs.Response, cqrs.DomainEvent], ids=str)
def test_a_pydantic_dataclass_is_a_message_that_says_so(base: Any) -> None:
    """``automatic=False`` leaves the class to the decorator."""

    @pydantic.dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Checked(base, automatic=False):  # type: ignore[misc]  # a base that is known when it runs
        a: int

    checked = Checked(a="1")

    assert (1, False) == (checked.a, hasattr(checked, "__dict__"))
    assert "(*, a: 'int') -> None" == str(inspect.signature(Checked))


@pytest.mark.parametrize("base", [cqrs.Request, cqrs.Request[int]], ids=str)
def test_a_request_that_forgot_to_say_so_is_refused_by_pydantic(base: Any) -> None:
    """It copies what it takes for a finished dataclass, and its copy of a generic class cannot be made."""
    with pytest.raises(TypeError, match="cannot be empty"):

        @pydantic.dataclasses.dataclass
        class Forgotten(base):  # type: ignore[misc]  # a base that is known when it runs
            a: int


def test_an_event_that_forgot_to_say_so_is_refused_where_pydantic_does_not_freeze_it() -> None:
    """The copy is a child of the event, which is frozen."""
    with pytest.raises(TypeError, match="is not frozen, but its base"):

        @pydantic.dataclasses.dataclass
        class Forgotten(cqrs.DomainEvent):
            a: int


def test_a_response_that_forgot_to_say_so_loses_its_options() -> None:
    """A known limit: the copy inherits the finished constructor, and is a dataclass that checks all the same."""

    @pydantic.dataclasses.dataclass(kw_only=True)
    class Forgotten(cqrs.Response):
        a: int

    assert "(a: 'int') -> None" == str(inspect.signature(Forgotten))


# The extra -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["PydanticRequest", "PydanticResponse"])
def test_the_package_has_the_models_when_they_are_asked_for(name: str) -> None:
    """The same classes as in the module."""
    assert getattr(sys.modules[PydanticRequest.__module__], name) is getattr(cqrs, name)


@pytest.mark.parametrize("name", ["PydanticRequest", "PydanticResponse"])
def test_without_pydantic_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whoever asks needs the extra; the rest of the package does not."""
    monkeypatch.setitem(sys.modules, "pydantic", None)
    monkeypatch.delitem(sys.modules, "cqrs_core.integrations.pydantic")
    monkeypatch.delitem(vars(cqrs), name, raising=False)

    with pytest.raises(ExtraMissing, match=r'pip install "cqrs-core\[pydantic\]"') as caught:
        getattr(cqrs, name)

    assert (name, "pydantic") == (caught.value.wanted, caught.value.package)
    assert (True, True) == (isinstance(caught.value, CqrsError), isinstance(caught.value, ImportError))
