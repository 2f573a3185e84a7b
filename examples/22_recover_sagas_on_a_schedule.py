"""A program looks now and then for sagas whose drivers have died, and ends them; they are kept in SQLite."""

import asyncio
import contextlib
import tempfile

import cqrs_core as cqrs
from cqrs_core.saga.storage import SagaQuery
from cqrs_sqla import SqlAlchemyStorage, make_engine


class Order(cqrs.SagaContext):
    item: str


class Reserve(cqrs.SagaStepHandler[Order, str]):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, str]:
        return self.result(f"r-{context.item}")

    async def compensate(self, context: Order) -> None:
        print(f"  {context.item} is released")


class Charge(cqrs.SagaStepHandler[Order, None]):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:
        if context.item == "gold":
            raise ValueError("the card was declined")
        return self.result()


class OrderSaga(cqrs.Saga[Order]):
    steps = [Reserve, Charge]


async def recover_what_is_due(storage: SqlAlchemyStorage) -> None:
    """Go on with each; any number of processes may. `cqrs run shop:app --only sagas` does it by itself."""
    for record in await storage.sagas.find(SagaQuery(overdue_s=0.0)):
        with contextlib.suppress(ValueError):
            await cqrs.recover_saga(saga=OrderSaga, saga_id=record.id, storage=storage.sagas)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        storage = SqlAlchemyStorage(make_engine(f"sqlite:///{folder}/orders.db"), owns_engine=True)
        await storage.create()
        mediator = cqrs.bootstrap.bootstrap_sagas(
            sagas_mapper=lambda sagas: sagas.bind(Order, OrderSaga), saga_storage=storage.sagas
        )
        for item in ("tea", "gold"):
            async with contextlib.aclosing(mediator.stream(Order(item))) as results:
                await anext(results)  # whoever runs it has to stop, and leaves it in the middle
        await recover_what_is_due(storage)
        print(sorted(record.status.value for record in await storage.sagas.find(SagaQuery())))
        await storage.stop()


if __name__ == "__main__":
    asyncio.run(main())
