"""A saga that its driver has left is gone on with: nothing is done twice, and its history tells what was done."""

import asyncio
import contextlib
import uuid

import cqrs_core as cqrs


class OrderContext(cqrs.SagaContext):
    order_id: str
    notes: str = ""


class Reserve(cqrs.SagaStepHandler[OrderContext, None]):
    async def act(self, context: OrderContext) -> cqrs.SagaStepResult[OrderContext, None]:
        context.notes = "reserved"
        print("  reserves")
        return self.result()


class Charge(cqrs.SagaStepHandler[OrderContext, None]):
    async def act(self, context: OrderContext) -> cqrs.SagaStepResult[OrderContext, None]:
        # The same in every attempt: the bank books it once, whatever happens to this process.
        key = cqrs.current_step().idempotency_key
        print(f"  charges what is {context.notes}, with a key (of version {key.version})")
        return self.result()


class OrderSaga(cqrs.Saga[OrderContext]):
    steps = [Reserve, Charge]


async def main() -> None:
    storage, container = cqrs.MemorySagaStorage(), cqrs.SimpleContainer()
    mediator = cqrs.bootstrap.bootstrap_sagas(
        di_container=container,
        sagas_mapper=lambda sagas: sagas.bind(OrderContext, OrderSaga),
        saga_storage=storage,
    )
    saga_id = uuid.uuid4()
    async with contextlib.aclosing(mediator.stream(OrderContext("o-1"), saga_id=saga_id)) as results:
        async for _ in results:
            break  # whoever runs it is asked to stop, and leaves it between two steps
    print("Somebody else goes on:")
    await cqrs.recover_saga(
        saga=OrderSaga(), saga_id=saga_id, context_builder=OrderContext, container=container, storage=storage
    )
    for entry in await storage.get_step_history(saga_id):
        print(f"  {entry.step_name} - {entry.action} - {entry.status}")
    print("Started again, with the same id, it is done, and nothing is:")
    print([result async for result in mediator.stream(OrderContext("o-1"), saga_id=saga_id)])


if __name__ == "__main__":
    asyncio.run(main())
