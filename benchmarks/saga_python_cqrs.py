"""The same sagas with python-cqrs, in the environment where that is installed; a :class:`peer.Peer` runs it."""

# Types are checked where python-cqrs is not installed.
# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sys
from importlib.metadata import version
from itertools import repeat
from typing import TYPE_CHECKING, Any

import cqrs
from blocks import Block, Work, timed
from cqrs.handlers.saga import SagaStepHandler
from cqrs.saga.models import SagaContext
from cqrs.saga.saga import Saga
from cqrs.saga.storage.memory import MemorySagaStorage
from peer import serve
from python_cqrs import TrivialContainer

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclasses.dataclass
class Order(SagaContext):
    order_id: str
    reserved: str | None = None
    paid: str | None = None
    shipped: str | None = None


class Reserve(SagaStepHandler[Order, None]):
    async def act(self, context: Order) -> Any:
        context.reserved = "r-1"
        return self._generate_step_result(None)

    async def compensate(self, context: Order) -> None:
        pass


class Pay(Reserve):
    async def act(self, context: Order) -> Any:
        context.paid = "p-1"
        return self._generate_step_result(None)


class Ship(Reserve):
    async def act(self, context: Order) -> Any:
        context.shipped = "s-1"
        return self._generate_step_result(None)


class Declined(Reserve):
    async def act(self, context: Order) -> Any:  # noqa: ARG002 - it does nothing
        raise ValueError("declined")


class OrderSaga(Saga[Order]):
    steps = [Reserve, Pay, Ship]


class FailingSaga(Saga[Order]):
    steps = [Reserve, Pay, Declined]


def running(saga: type[Saga[Order]]) -> Callable[[], Work]:
    """Make, for each block, a mediator with an empty storage: it keeps every saga, and would slow down."""

    def make() -> Work:
        saga_map = cqrs.SagaMap()
        saga_map.bind(Order, saga)

        class Container(TrivialContainer):
            async def resolve(self, wanted: type) -> object:
                return wanted()

        mediator = cqrs.SagaMediator(saga_map, Container(), storage=MemorySagaStorage())

        async def work(count: int) -> None:
            for _ in repeat(None, count):
                try:
                    async for _result in mediator.execute(Order("o-1")):
                        pass
                except ValueError:
                    pass

        return work

    return make


def main() -> None:
    """Serve orders until stdin ends."""
    blocks: dict[str, Block] = {}
    loop = asyncio.new_event_loop()
    for key, make in {"saga": running(OrderSaga), "saga_failing": running(FailingSaga)}.items():

        def block(count: int, make: Callable[[], Work] = make) -> float:
            return timed(make(), loop, lambda: logging.disable(logging.CRITICAL))(count)

        blocks[key] = block
    serve(blocks, {"version": version("python-cqrs"), "python": sys.version.split()[0]})
    loop.close()


if __name__ == "__main__":
    main()
