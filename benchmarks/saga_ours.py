"""The sagas that are measured, with our own framework, and the pieces of work with them in memory."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from comparing import Row
from ours import ScopedContainer, TrivialContainer

import cqrs_core as cqrs
from cqrs_core.bootstrap import bootstrap_sagas

if TYPE_CHECKING:
    from blocks import Work


class Order(cqrs.SagaContext):
    order_id: str
    reserved: str | None = None
    paid: str | None = None
    shipped: str | None = None


class Reserve(cqrs.SagaStepHandler[Order, None]):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:
        context.reserved = "r-1"
        return self.result()

    async def compensate(self, context: Order) -> None:
        pass


class Pay(Reserve):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:
        context.paid = "p-1"
        return self.result()


class Ship(Reserve):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:
        context.shipped = "s-1"
        return self.result()


class Declined(Reserve):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:  # noqa: ARG002 - it does nothing
        raise ValueError("declined")


class OrderSaga(cqrs.Saga[Order]):
    steps = [Reserve, Pay, Ship]


class FailingSaga(cqrs.Saga[Order]):
    steps = [Reserve, Pay, Declined]


def rows() -> list[Row]:
    """Put the pieces of work together."""
    trivial, scoped = TrivialContainer(), ScopedContainer()
    return [
        Row("saga", "saga, 3 steps", None, bare, running(trivial, OrderSaga)),
        Row("saga_scope", "saga, 3 steps, with scopes", None, bare, running(scoped, OrderSaga)),
        Row("saga_failing", "saga, undone at the third step", None, bare, running(trivial, FailingSaga)),
    ]


def running(container: Any, saga: type[cqrs.Saga[Order]]) -> Work:
    """Run a saga to its end, so many times."""
    mediator = bootstrap_sagas(
        container,
        sagas_mapper=lambda sagas: sagas.bind(Order, saga),
        saga_storage=cqrs.MemorySagaStorage(max_finished=1000),
    )

    async def work(count: int) -> None:
        for _ in repeat(None, count):
            try:
                async for _result in mediator.stream(Order("o-1")):
                    pass
            except ValueError:
                pass

    return work


async def bare(count: int) -> None:
    """Call the steps of a saga, and nothing else."""
    for _ in repeat(None, count):
        context = Order("o-1")
        for step in (Reserve, Pay, Ship):
            await step().act(context)
