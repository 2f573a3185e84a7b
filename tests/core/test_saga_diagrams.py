"""Mermaid text for sagas; that the real Mermaid takes it is shown by tests/mermaid."""

from __future__ import annotations

import pytest

import cqrs_core as cqrs
from cqrs_core.errors import InvalidSaga


class Order(cqrs.SagaContext):
    order_id: str
    paid: bool = False


class Paid(cqrs.Response):
    ok: bool


class Reserve(cqrs.SagaStepHandler[Order, None]):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:
        return self.result()


class Pay(cqrs.SagaStepHandler[Order, Paid]):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, Paid]:
        return self.result(Paid(ok=True))


class Invoice(Pay):
    pass


class Ship(Reserve):
    kind = cqrs.StepKind.PIVOT


class OrderSaga(cqrs.Saga[Order]):
    steps = [Reserve, cqrs.Fallback(Pay, Invoice), Ship]


def test_a_sequence_shows_the_way_forward_and_the_way_back() -> None:
    """Both sides of a fallback; what is undone, the last first."""
    assert """\
sequenceDiagram
    participant C as OrderSaga
    participant S1 as Reserve
    participant S2 as Pay
    participant S3 as Invoice
    participant S4 as Ship
    C->>S1: act(Order)
    S1-->>C: None
    alt Pay succeeds
        C->>S2: act(Order)
        S2-->>C: Paid
    else it fails, or its circuit is open
        C->>S3: act(Order)
        S3-->>C: Paid
    end
    Note over S4: the point of no return
    C->>S4: act(Order)
    S4-->>C: None
    opt a step fails, and there is a way back
        C->>S3: compensate(Order)
        C->>S2: compensate(Order)
        C->>S1: compensate(Order)
    end""" == cqrs.SagaMermaid(OrderSaga()).sequence()


def test_a_state_diagram_shows_everything_that_may_happen() -> None:
    assert """\
stateDiagram-v2
    state "act Reserve" as A1
    state "undo Reserve" as U1
    state "act Pay" as A2
    state "act Pay, by its fallback" as F2
    state "undo Pay" as U2
    state "act Ship" as A3
    [*] --> A1
    A1 --> A2 : done
    A1 --> FAILED : fails
    A1 --> U1 : in doubt
    U1 --> FAILED : undone
    U1 --> SUSPENDED : cannot be undone
    A2 --> A3 : done
    A2 --> F2 : fails
    F2 --> A3 : done
    F2 --> U1 : fails
    F2 --> U2 : in doubt
    A2 --> U2 : in doubt
    U2 --> F2 : before the fallback
    U2 --> U1 : undone
    U2 --> SUSPENDED : cannot be undone
    A3 --> COMPLETED : done
    A3 --> U2 : fails
    A3 --> SUSPENDED : in doubt
    COMPLETED --> [*]
    FAILED --> [*]""" == cqrs.SagaMermaid(OrderSaga).state()


def test_a_class_diagram_shows_steps_in_order_and_what_they_work_on() -> None:
    diagram = cqrs.SagaMermaid(OrderSaga).class_diagram()

    for line in (
        'class Saga["OrderSaga"] {',
        "+act(Order) Paid",
        "+order_id: str",
        "Saga --> H2 : 2",
        "H2 --> H3 : fallback",
        "H2 ..> M2 : answers",
    ):
        assert line in diagram


async def test_one_run_is_shown_with_what_became_of_it() -> None:
    storage = cqrs.MemorySagaStorage()
    mediator = cqrs.bootstrap.bootstrap_sagas(
        sagas_mapper=lambda sagas: sagas.bind(Order, OrderSaga), saga_storage=storage
    )
    saga_id, *_ = [result.saga_id async for result in mediator.stream(Order("o-1"))]
    assert saga_id is not None
    history = await storage.get_step_history(saga_id)

    assert """\
flowchart LR
    B(["OrderSaga"])
    E1["act Reserve<br>completed"]
    B --> E1
    class E1 completed
    E2["act Pay<br>completed"]
    E1 --> E2
    class E2 completed
    E3["act Ship<br>completed"]
    E2 --> E3
    class E3 completed""" == "\n".join(cqrs.SagaMermaid(OrderSaga).instance(history).splitlines()[:-3])


def test_what_is_no_saga_cannot_be_drawn() -> None:
    with pytest.raises(InvalidSaga, match="does not derive from Saga"):
        cqrs.SagaMermaid(Reserve)  # type: ignore[arg-type] # the fault
