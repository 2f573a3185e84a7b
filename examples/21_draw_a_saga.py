"""A saga as Mermaid text: its way forward and back, everything that may happen, and one of them as it went."""

import asyncio
import uuid

import cqrs_core as cqrs


class OrderContext(cqrs.SagaContext):
    order_id: str


class Reserve(cqrs.SagaStepHandler[OrderContext, None]):
    async def act(self, context: OrderContext) -> cqrs.SagaStepResult[OrderContext, None]:
        print(f"  (reserved for {context.order_id})")
        return self.result()


class Pay(Reserve):
    kind = cqrs.StepKind.PIVOT  # the point of no return


class OrderSaga(cqrs.Saga[OrderContext]):
    steps = [Reserve, Pay]


async def main() -> None:
    drawn = cqrs.SagaMermaid(OrderSaga())
    for diagram in (drawn.sequence(), drawn.class_diagram(), drawn.state()):
        print(diagram)
        print()
    app = cqrs.App("orders")
    app.sagas.bind(OrderContext, OrderSaga)
    async with app:
        saga_id = uuid.uuid4()
        async for _ in app.stream_saga(OrderContext("o-1"), saga_id=saga_id):
            pass
        print(drawn.instance(await app.saga_storage.get_step_history(saga_id)))


if __name__ == "__main__":
    asyncio.run(main())
