"""Messages as dicts, and back: ``to_dict`` and ``from_dict``, which every base has."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

import cqrs_core as cqrs
from cqrs_core.serialization import CodecError, UnsupportedType


class Line(cqrs.Response):
    sku: str
    price: Decimal


class Order(cqrs.Request[Line]):
    order_id: uuid.UUID
    lines: list[Line]
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decorated(cqrs.Request[None]):
    lines: tuple[Line, ...]


class Placed(cqrs.DomainEvent):
    at: datetime


class Shipped(cqrs.NotificationEvent[Line]):
    event_name: str = "Shipped"


class Loose(cqrs.NotificationEvent):  # type: ignore[type-arg]  # as users of python-cqrs write it
    event_name: str = "Loose"


class ByHand(cqrs.IRequest[None]):
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id


class WithItsOwn(ByHand):
    def to_dict(self) -> dict[str, Any]:
        return {"user_id": self.user_id}

    @classmethod
    def from_dict(cls, **data: Any) -> WithItsOwn:
        return cls(data["user_id"])


LINE = Line("a", Decimal("1.50"))


@pytest.mark.parametrize(
    "message",
    [
        LINE,
        Order(uuid.uuid4(), [LINE, LINE], "n"),
        Decorated(lines=(LINE,)),
        Placed(datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        Shipped(payload=LINE, key="k", headers={"a": "b"}),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_survives_a_round_trip_through_json(message: Any) -> None:
    """Nested messages, UUIDs, decimals and timestamps come back as what they were."""
    text = json.dumps(message.to_dict())

    assert message == type(message).from_dict(**json.loads(text))


def test_a_dict_holds_what_json_has_under_the_fields_own_names() -> None:
    """No camel case, decimals as text."""
    order_id = uuid.UUID(int=1)

    assert {
        "order_id": "00000000-0000-0000-0000-000000000001",
        "lines": [{"sku": "a", "price": "1.50"}],
        "note": None,
    } == Order(order_id, [LINE]).to_dict()


def test_an_unknown_field_is_refused_in_a_request_and_ignored_in_responses_and_events() -> None:
    """DESIGN 5: a misspelt command is a mistake; an event of a newer sender is not."""
    with pytest.raises(CodecError, match="nothing: unknown field; there are order_id, lines, note"):
        Order.from_dict(order_id=str(uuid.uuid4()), lines=[], nothing=1)

    assert Line("b", Decimal(2)) == Line.from_dict(sku="b", price="2", colour="red")
    assert Placed(datetime(2026, 1, 1)) == Placed.from_dict(at="2026-01-01T00:00:00", by="me")  # noqa: DTZ001 - naive stays naive


def test_what_does_not_fit_is_refused_with_the_path_to_it() -> None:
    """The error says where and what, and is a CqrsError and a ValueError."""
    with pytest.raises(CodecError) as caught:
        Order.from_dict(order_id=str(uuid.uuid4()), lines=[{"sku": "a", "price": "1"}, {"sku": 5, "price": "1"}])

    assert ("lines[1].sku", "expected str, got int") == (caught.value.path, caught.value.problem)
    assert isinstance(caught.value, cqrs.CqrsError)


@pytest.mark.parametrize("event_class", [cqrs.NotificationEvent, cqrs.NotificationEvent[Line], Loose])
def test_a_payload_is_written_by_its_own_class_however_the_event_was_made(event_class: Any) -> None:
    """Nobody has to say what the payload is to have it written."""
    event = event_class(event_name="Shipped", payload={"sku": "a"} if event_class is Loose else LINE)

    assert {"sku": "a"}.items() <= event.to_dict()["payload"].items()


def test_a_class_that_makes_its_own_instances_is_told_to_write_the_two_methods() -> None:
    """Its fields are not known to anybody else."""
    with pytest.raises(UnsupportedType, match=r"Write to_dict\(self\) and from_dict\(cls, \*\*data\) on it"):
        ByHand("u-1").to_dict()
    with pytest.raises(UnsupportedType):
        ByHand.from_dict(user_id="u-1")


def test_a_class_with_its_own_two_methods_keeps_them() -> None:
    """Also as a field of another message."""
    assert {"user_id": "u-1"} == WithItsOwn("u-1").to_dict()
    assert "u-1" == WithItsOwn.from_dict(user_id="u-1").user_id
