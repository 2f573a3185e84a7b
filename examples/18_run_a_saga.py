"""Steps that are all done in the end, or all undone in reverse: an order is reserved and paid, or nothing is left."""

import asyncio
import uuid

import cqrs_core as cqrs


class OrderContext(cqrs.SagaContext):
    order_id: str
    total_amount: float
    reservation_id: str | None = None


class StockReserved(cqrs.DomainEvent):
    order_id: str


class ReserveInventory(cqrs.SagaStepHandler[OrderContext, str]):
    async def act(self, context: OrderContext) -> cqrs.SagaStepResult[OrderContext, str]:
        context.reservation_id = f"r-{context.order_id}"
        self.events.append(StockReserved(context.order_id))
        return self.result(context.reservation_id)

    async def compensate(self, context: OrderContext) -> None:
        print(f"  released: {context.reservation_id}")


class ProcessPayment(cqrs.SagaStepHandler[OrderContext, str]):
    async def act(self, context: OrderContext) -> cqrs.SagaStepResult[OrderContext, str]:
        if context.order_id == "gold":
            raise ValueError("the card was declined")
        return self.result(f"paid {context.total_amount}")


class OrderSaga(cqrs.Saga[OrderContext]):
    steps = [ReserveInventory, ProcessPayment]


class TellTheWarehouse(cqrs.EventHandler[StockReserved]):
    async def handle(self, event: StockReserved) -> None:
        print(f"  the warehouse knows of {event.order_id}")


async def main() -> None:
    app = cqrs.App("orders")
    app.sagas.bind(OrderContext, OrderSaga)
    app.events.bind(StockReserved, TellTheWarehouse)
    async with app:
        for context in (OrderContext("tea", 3.5), OrderContext("gold", 5000.0)):
            try:
                async for result in app.stream_saga(context, saga_id=uuid.uuid4()):
                    print(f"  {result.step_type.__name__}: {result.response}")
            except ValueError as error:
                print(f"  nothing is left of {context.order_id}, because {error}")


if __name__ == "__main__":
    asyncio.run(main())
