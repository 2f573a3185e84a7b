"""The real Mermaid reads what cqrs_core.diagrams writes, and understands it as it was meant."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import new_class
from typing import Any, Literal, NoReturn

import pytest

from cqrs_core import (
    CoRMermaid,
    CORRequestHandler,
    Fallback,
    Request,
    Response,
    Saga,
    SagaContext,
    SagaMermaid,
    SagaStepHandler,
    SagaStepResult,
    Step,
    StepKind,
)
from cqrs_core.saga.log import Branch, SagaAction, SagaLogEntry, SagaStepStatus

HERE = Path(__file__).parent
HOSTILE_NAMES = [
    *("end", "class", "alt", "else", "note", "style", "classDef", "direction", "wrap", "wrap: x", "__proto__"),
    *('quo"te', "quo'te", "back`tick", "back\\slash", "semi;colon", "co:lon", "at@", "dollar$", "star*", "line\nbreak"),
    *("hash#1;", "#35;", "a&amp;b", "tilde~x~", "gen<T>", "<script>", "{", "}", "a{b}", "(a)", "[a]", "x]", '"]'),
    *("%% comment", "%%{init}%%", "---", "a-->>b", "a <|-- b"),
    *("注文ハンドラ", "Größe", "\N{PARTY POPPER}", "Very" * 60),
]

Read = Callable[[list[str]], list[dict[str, Any]]]


class Pay(Request["Paid"]):
    lines: list[dict[str, int]]
    note: str | None = None
    currency: Literal["{EUR}", "U~S~D"] = "{EUR}"


class Paid(Response):
    ok: bool


class Card(CORRequestHandler[Pay, Paid]):
    async def handle(self, request: Pay) -> Paid | None:
        return await self.next(request)


class Cash(CORRequestHandler[Pay, Paid]):
    async def handle(self, request: Pay) -> Paid | None:
        return await self.next(request)


@pytest.fixture(scope="module")
def read(pytestconfig: pytest.Config, without: Callable[[str], NoReturn]) -> Read:
    """Give a function that lets Mermaid read diagrams; its packages are installed once, into pytest's cache."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        without("Mermaid is read by Node.js: node and npm are not installed")
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("mermaid")
    wanted = (HERE / "package.json").read_text(encoding="utf-8")
    installed = folder / "installed.json"  # written last: a broken installation is begun anew
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        shutil.copy(HERE / "package.json", folder)
        options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run([str(npm), "install", *options], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            without(f"npm install failed:\n{done.stderr}")
        installed.write_text(wanted, encoding="utf-8")
    script = shutil.copy(HERE / "parse.mjs", folder)

    def run(diagrams: list[str]) -> list[dict[str, Any]]:
        done = subprocess.run(
            [str(node), str(script)], input=json.dumps(diagrams), capture_output=True, encoding="utf-8", check=True
        )
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers

    return run


def test_a_broken_diagram_is_reported(read: Read) -> None:
    """Otherwise the other tests here would prove nothing."""
    raw = [f'classDiagram\n    class H1["{name}"]' for name in HOSTILE_NAMES]
    good, broken_sequence, broken_classes, *unescaped = read(
        ["classDiagram\n    class A", "sequenceDiagram\n    alt open", "classDiagram\n    class A {", *raw]
    )

    assert "error" not in good
    assert "Parse error" in broken_sequence["error"]
    assert "Parse error" in broken_classes["error"]
    well_read = [a.get("classes", [{}])[0].get("label") == n for a, n in zip(unescaped, HOSTILE_NAMES, strict=True)]
    assert not all(well_read)  # hostile they are


def test_a_chain_is_read_as_it_is_drawn(read: Read) -> None:
    sequence, classes = read([CoRMermaid([Card, Cash]).sequence(), CoRMermaid([Card, Cash]).class_diagram()])

    assert [["C", "Mediator"], ["H1", "Card"], ["H2", "Cash"]] == sequence["actors"]
    assert [
        ["C", "H1", "handle(Pay)"],
        ["H1", "C", "Paid"],
        ["H1", "H2", "next(Pay)"],
        ["H2", "H1", "Paid"],
        ["H2", "H1", "None"],
        ["H1", "C", "what H2 returned"],
    ] == [message for message in sequence["messages"] if message[0]]
    labels = {found["id"]: found["label"] for found in classes["classes"]}
    assert {"CORRequestHandler", "Card", "Cash", "Pay", "Paid"} == set(labels.values())
    arrows = [[labels[one], labels[other], title] for one, other, title in classes["relations"]]
    assert ["Card", "Cash", "next"] in arrows
    assert ["Cash", "Paid", "answers"] in arrows
    (pay,) = (found for found in classes["classes"] if found["label"] == "Pay")
    assert [
        "+lines: list[dict[str, int]]",
        "+note: str | None",
        "+currency: Literal['{EUR}', 'U~S~D']",
    ] == pay["members"]


def test_hostile_handler_names_are_shown_as_they_are(read: Read) -> None:
    chain = [type(name, (Card,), {}) for name in HOSTILE_NAMES]
    sequence, classes = read([CoRMermaid(chain).sequence(), CoRMermaid(chain).class_diagram()])

    assert ["Mediator", *HOSTILE_NAMES] == [shown for _, shown in sequence["actors"]]
    conditions = [text for start, _, text in sequence["messages"] if start is None and text.endswith(" answers")]
    assert [f"{name} answers" for name in HOSTILE_NAMES] == conditions
    labels = [found["label"] for found in classes["classes"]]
    assert set(HOSTILE_NAMES) < set(labels)


def test_hostile_message_and_field_names_are_shown_as_they_are(read: Read) -> None:
    annotations = {name: Literal[name] for name in HOSTILE_NAMES if not name.startswith("_")}
    requests: list[Any] = [type(name, (), {"__annotations__": {}}) for name in HOSTILE_NAMES]
    requests[0].__annotations__ = annotations
    base: Any = CORRequestHandler
    chain = [new_class(f"Handler{at}", (base[request, request],)) for at, request in enumerate(requests)]
    sequence, classes = read([CoRMermaid(chain).sequence(), CoRMermaid(chain).class_diagram()])

    asked = [text for start, _, text in sequence["messages"] if start and text.startswith(("handle(", "next("))]
    assert HOSTILE_NAMES == [text.partition("(")[2].removesuffix(")") for text in asked]
    boxes = [found for found in classes["classes"] if found["id"].startswith("M")]
    assert HOSTILE_NAMES == [found["label"] for found in boxes]
    fields = [f"+{name}: Literal[{name!r}]" for name in annotations]
    assert fields == boxes[0]["members"]


class Order(SagaContext):
    order_id: str
    prices: dict[str, list[int]]


class Reserve(SagaStepHandler[Order, Paid]):
    async def act(self, context: Order) -> SagaStepResult[Order, Paid]:
        return self.result(Paid(ok=True))


class Charge(Reserve):
    pass


class Invoice(Reserve):
    pass


class Ship(Reserve):
    kind = StepKind.PIVOT


class Notify(Reserve):
    kind = StepKind.RETRIABLE


class OrderSaga(Saga[Order]):
    steps = [Reserve, Fallback(Charge, Invoice), Ship, Notify]


def entry(name: str, action: SagaAction, status: SagaStepStatus, branch: Branch = Branch.PRIMARY) -> SagaLogEntry:
    return SagaLogEntry(uuid.uuid4(), 1, datetime.now(timezone.utc), name, name, branch, action, status, 1, None)


def test_a_saga_is_read_as_it_is_drawn(read: Read) -> None:
    drawn = SagaMermaid(OrderSaga)
    history = [
        entry("Reserve", SagaAction.ACT, SagaStepStatus.COMPLETED),
        entry("Invoice", SagaAction.ACT, SagaStepStatus.IN_DOUBT, Branch.FALLBACK),
        entry("Reserve", SagaAction.COMPENSATE, SagaStepStatus.FAILED),
    ]
    sequence, classes, state, instance = read(
        [drawn.sequence(), drawn.class_diagram(), drawn.state(), drawn.instance(history)]
    )

    assert ["OrderSaga", "Reserve", "Charge", "Invoice", "Ship", "Notify"] == [name for _, name in sequence["actors"]]
    calls = [(start, end, text) for start, end, text in sequence["messages"] if start == "C" and end]
    assert [f"S{at}" for at in (1, 2, 3, 4, 5, 3, 2, 1)] == [end for _, end, _ in calls]
    assert ["act(Order)"] * 5 + ["compensate(Order)"] * 3 == [text for _, _, text in calls]
    labels = {found["id"]: found["label"] for found in classes["classes"]}
    assert {"OrderSaga", "Reserve", "Charge", "Invoice", "Ship", "Notify", "Order", "Paid"} == set(labels.values())
    arrows = [[labels[one], labels[other], title] for one, other, title in classes["relations"]]
    assert ["OrderSaga", "Ship", "3"] in arrows
    assert ["Charge", "Invoice", "fallback"] in arrows
    (order,) = (found for found in classes["classes"] if found["label"] == "Order")
    assert ["+order_id: str", "+prices: dict[str, list[int]]"] == order["members"]
    assert ["U2", ["undo Charge"]] in state["states"]
    assert ["A3", "SUSPENDED", "in doubt"] in state["ways"]
    assert ["U2", "F2", "before the fallback"] in state["ways"]
    assert [
        ["B", "OrderSaga", []],
        ["E1", "act Reserve<br>completed", ["completed"]],
        ["E2", "act Invoice, the fallback<br>in doubt", ["in_doubt"]],
        ["E3", "compensate Reserve<br>failed", ["failed"]],
    ] == instance["nodes"]
    assert [["B", "E1"], ["E1", "E2"], ["E2", "E3"]] == instance["edges"]


def test_hostile_names_of_steps_are_shown_as_they_are(read: Read) -> None:
    steps = [Step(type(name, (Reserve,), {}), id=name[:200]) for name in HOSTILE_NAMES]
    saga = new_class('A "saga"; of {all}', (Saga[Order],), exec_body=lambda body: body.update(steps=steps))
    drawn = SagaMermaid(saga)
    history = [entry(name, SagaAction.ACT, SagaStepStatus.COMPLETED) for name in HOSTILE_NAMES]
    sequence, classes, state, instance = read(
        [drawn.sequence(), drawn.class_diagram(), drawn.state(), drawn.instance(history)]
    )

    assert ['A "saga"; of {all}', *HOSTILE_NAMES] == [shown for _, shown in sequence["actors"]]
    assert set(HOSTILE_NAMES) < {found["label"] for found in classes["classes"]}
    shown = {text for _, texts in state["states"] for text in texts}
    assert {f"act {name[:200]}" for name in HOSTILE_NAMES} <= shown
    assert [f"act {name}<br>completed" for name in HOSTILE_NAMES] == [text for _, text, _ in instance["nodes"][1:]]
