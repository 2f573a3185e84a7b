"""Mermaid text for chains; that the real Mermaid takes it is shown by tests/mermaid."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace, new_class
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Optional, TypeVar, Union

import pytest

from cqrs_core import CoRMermaid, CORRequestHandler, Request, RequestHandler, Response
from cqrs_core.diagrams import annotation_text, escape, fields_of
from cqrs_core.errors import CqrsError, NotAChain

if TYPE_CHECKING:  # as in a module that does so for its annotations
    from decimal import Decimal  # noqa: TC004 - the point of a test

T = TypeVar("T")


class Pay(Request["Paid"]):
    lines: list[dict[str, int]]
    note: str | None = None


class Paid(Response):
    ok: bool


class Handler(CORRequestHandler[Pay, Paid]):
    async def handle(self, request: Pay) -> Paid | None:
        return await self.next(request)


class Card(Handler):
    pass


class Undeclared(CORRequestHandler):  # type: ignore[type-arg]  # the point
    async def handle(self, request: Any) -> Any:
        return await self.next(request)


def lines_of(diagram: str) -> list[str]:
    return [line.strip() for line in diagram.splitlines()]


def test_a_sequence_shows_that_each_link_answers_or_passes_on() -> None:
    """The answer of a later link travels back through those before it."""
    assert """\
sequenceDiagram
    participant C as Mediator
    participant H1 as Card
    participant H2 as Undeclared
    C->>H1: handle(Pay)
    alt Card answers
        H1-->>C: Paid
    else passes it on
        H1->>H2: next(request)
        alt Undeclared answers
            H2-->>H1: response
        else does not
            H2-->>H1: None
        end
        H1-->>C: what H2 returned
    end""" == CoRMermaid([Card, Undeclared]).sequence()


def test_a_class_diagram_shows_handlers_messages_and_their_relations() -> None:
    assert """\
classDiagram
    class CORRequestHandler {
        <<abstract>>
        +events: list[Event]
        +handle(request) response | None
        +next(request) response | None
    }
    class H1["Card"] {
        +handle(request: Pay) Paid | None
    }
    class H2["Handler"] {
        +handle(request: Pay) Paid | None
    }
    class H3["Undeclared"] {
        +handle(request) response | None
    }
    class M1["Pay"] {
        +lines: list[dict[str, int]]
        +note: str | None
    }
    class M2["Paid"] {
        +ok: bool
    }
    H2 <|-- H1
    CORRequestHandler <|-- H2
    CORRequestHandler <|-- H3
    H1 --> H3 : next
    H1 ..> M1 : handles
    H1 ..> M2 : answers""" == CoRMermaid([Card, Undeclared]).class_diagram()


def test_handlers_of_one_name_are_kept_apart_by_their_modules() -> None:
    one, other = (type("Card", (Handler,), {"__module__": module}) for module in "ab")

    diagram = CoRMermaid([one, other]).sequence()

    assert "participant H1 as a.Card" in diagram
    assert "participant H2 as b.Card" in diagram
    assert {'class H1["a.Card"] {', 'class H3["b.Card"] {'} < set(lines_of(CoRMermaid([one, other]).class_diagram()))


def test_a_message_and_a_handler_of_one_name_are_kept_apart() -> None:
    handler = new_class("Pay", (CORRequestHandler[Pay, Paid],), {}, lambda body: body.update(__module__="handlers"))

    diagram = lines_of(CoRMermaid([handler]).class_diagram())

    assert 'class H1["handlers.Pay"] {' in diagram
    assert f'class M1["{__name__}.Pay"] {{' in diagram


def test_a_handler_that_is_tried_twice_is_one_class_with_two_turns() -> None:
    chain = CoRMermaid([Card, Undeclared, Card])

    assert "participant H3 as Card" in chain.sequence()
    assert 1 == chain.class_diagram().count('["Card"]')
    assert "H3 --> H1 : next" in lines_of(chain.class_diagram())


def test_long_names_are_not_cut() -> None:
    """Names that are cut look alike; Mermaid widens its boxes."""
    name = "HandlerOfAVeryLongName" * 10

    assert f"participant H1 as {name}" in CoRMermaid([type(name, (Handler,), {})]).sequence()


def test_a_long_chain_is_drawn() -> None:
    links = [type(f"Link{at}", (Handler,), {}) for at in range(1500)]

    assert 1500 == lines_of(CoRMermaid(links).sequence()).count("end")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("order_id: int", "order_id#58; int"),
        ("list[dict[str, int]] | None", "list[dict[str, int]] | None"),
        ("Größe注文", "Größe注文"),
        ('"<#;~{}%>\n', "#34;#60;#35;#59;#126;#123;#125;#37;#62;#10;"),
    ],
)
def test_what_mermaid_would_obey_is_escaped(text: str, written: str) -> None:
    assert written == escape(text)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (None, "None"),
        (type(None), "None"),
        (Any, "Any"),
        (T, "T"),
        ("Later", "Later"),
        (list["Later"], "list[Later]"),  # type: ignore[name-defined]  # noqa: F821 - the point
        (Optional["Later"], "Later | None"),  # noqa: F821 - the point
        (str | None, "str | None"),
        (Union[int, list[str]], "int | list[str]"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Callable[[int, str], None], "Callable[[int, str], None]"),
        (Callable[..., int], "Callable[..., int]"),
        (Literal["a", 1, None], "Literal['a', 1, None]"),
        (Annotated[int, "cents"], "int"),
        (SimpleNamespace(__name__=1), "namespace(__name__=1)"),
    ],
)
def test_annotations_are_written_as_an_author_would(annotation: Any, text: str) -> None:
    assert text == annotation_text(annotation)


def test_fields_of_a_generic_message_have_its_arguments() -> None:
    class Page(Request[list[T]], Generic[T]):
        items: list[T]
        first: T
        size: int = 10

    class Users(Page[str]):
        pass

    assert {"items": list[int], "first": int, "size": int} == fields_of(Page[int])
    assert {"items": list[str], "first": str, "size": int} == fields_of(Users)


def test_fields_are_those_of_the_class_and_its_bases() -> None:
    """A hand-written class has the fields that it annotates, without the private ones."""

    class Base:
        a: int
        _secret: int

    class Derived(Base):
        b: str

    @dataclass
    class Data(Base):
        c: float

    assert {"a": int, "b": str} == fields_of(Derived)
    assert {"c": float} == fields_of(Data)


def test_a_field_whose_type_cannot_be_found_is_shown_as_written() -> None:
    """A diagram is drawn all the same: its reader does not need the class."""

    class Bill(Request[Paid]):
        total: Decimal

    handler = new_class("BillHandler", (CORRequestHandler[Bill, Paid],))

    assert "+total: Decimal" in lines_of(CoRMermaid([handler]).class_diagram())


def test_each_member_of_a_union_has_its_box_and_pythons_classes_have_none() -> None:
    class Other(Request[Paid]):
        pass

    handler = new_class("Both", (CORRequestHandler[Pay | Other, Paid | int | None],))

    diagram = lines_of(CoRMermaid([handler]).class_diagram())

    assert "+handle(request#58; Pay | Other) Paid | int | None" not in diagram
    assert "+handle(request: Pay | Other) Paid | int | None" in diagram
    assert ["H1 ..> M1 : handles", "H1 ..> M2 : handles", "H1 ..> M3 : answers"] == diagram[-3:]
    assert 'class M2["Other"]' in diagram


def test_type_parameters_are_found_through_a_generic_base() -> None:
    class AnyRequest(CORRequestHandler[T, Paid]):  # type: ignore[type-var]  # any will do
        async def handle(self, request: T) -> Paid | None:
            return await self.next(request)

    handler = new_class("Concrete", (AnyRequest[Pay],))

    assert "C->>H1: handle(Pay)" in lines_of(CoRMermaid([handler]).sequence())
    assert "C->>H1: handle(request)" in lines_of(CoRMermaid([AnyRequest]).sequence())


class NoChainHandler(RequestHandler[Pay, Paid]):
    async def handle(self, request: Pay) -> Paid:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("handlers", "strangers", "named"),
    [
        ([], (), "nothing"),
        ([Card, int], (int,), "int"),
        ([NoChainHandler], (NoChainHandler,), "NoChainHandler"),
        ([CORRequestHandler], (CORRequestHandler,), "CORRequestHandler"),
        ([list[int]], (list[int],), "list"),
        (7, (7,), "7"),
    ],
)
def test_what_is_no_chain_is_refused(handlers: Any, strangers: tuple[object, ...], named: str) -> None:
    with pytest.raises(NotAChain, match=f"No chain can be drawn of {named}.*as RequestMap.bind takes it") as caught:
        CoRMermaid(handlers)

    assert strangers == caught.value.strangers
    assert isinstance(caught.value, (CqrsError, TypeError))


def test_drawing_runs_nothing() -> None:
    """No object of a handler is made."""

    class Explosive(Handler):
        def __init__(self) -> None:
            sys.exit("made")

    chain = CoRMermaid([Explosive])

    assert chain.sequence()
    assert chain.class_diagram()
