"""
Measures what a saga costs in the memory of one process: beside the bare calls of its steps, and beside python-cqrs.

``python benchmarks/saga.py --make-peer FOLDER``; ``nox -s bench`` does so in its own environments. Three steps without
events, made by the same container on both sides. Times are processor time, as in ``dispatch.py``.
"""

from __future__ import annotations

import logging
import sys
from itertools import repeat
from typing import TYPE_CHECKING, Any

import comparing
from comparing import Row
from ours import ScopedContainer, TrivialContainer
from reporting import open_peer, options, report, table

import cqrs_core as cqrs
from cqrs_core.bootstrap import bootstrap_sagas

if TYPE_CHECKING:
    from blocks import Work

#: How many times as fast as the peer a row must be; rows that are not named here are only told.
PEER_BARS = {"saga": 2.5}


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


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and tell the exit code."""
    chosen = options("Measures what a saga costs.", arguments)
    logging.getLogger("cqrs_core").setLevel(logging.CRITICAL)  # as for the peer
    peer = open_peer(chosen, "saga_python_cqrs.py")
    results, beside = comparing.measure(rows(), PEER_BARS, rounds=chosen.rounds, seconds=chosen.seconds, peer=peer)
    print(table("in memory", "bare µs", "x bare", results), flush=True)
    return report(chosen, results, beside, peer)


if __name__ == "__main__":
    sys.exit(main())
