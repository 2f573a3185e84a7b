"""A step with another one in its place, and a breaker: which of the two was done is what is undone."""

import asyncio
import logging

import cqrs_core as cqrs


class OrderContext(cqrs.SagaContext):
    order_id: str
    reservation_id: str | None = None


class PrimaryStep(cqrs.SagaStepHandler[OrderContext, str]):
    async def act(self, context: OrderContext) -> cqrs.SagaStepResult[OrderContext, str]:
        print(f"  asked the warehouse about {context.order_id}")
        raise RuntimeError("Service unavailable")


class FallbackStep(cqrs.SagaStepHandler[OrderContext, str]):
    async def act(self, context: OrderContext) -> cqrs.SagaStepResult[OrderContext, str]:
        context.reservation_id = f"fallback_reservation_{context.order_id}"
        return self.result(context.reservation_id)

    async def compensate(self, context: OrderContext) -> None:
        print(f"  cancelled: {context.reservation_id}")


class Charge(cqrs.SagaStepHandler[OrderContext, None]):
    async def act(self, context: OrderContext) -> cqrs.SagaStepResult[OrderContext, None]:
        if context.order_id == "3":
            raise ValueError("the card was declined")
        return self.result()


#: Of this process; "aiobreaker", of cqrs-breaker, can be shared.
BREAKER = cqrs.LocalCircuitBreaker(fail_max=2, open_for_s=60)


class OrderSaga(cqrs.Saga[OrderContext]):
    steps = [cqrs.Fallback(step=PrimaryStep, fallback=FallbackStep, circuit_breaker=BREAKER), Charge]


async def main() -> None:
    app = cqrs.App("orders")
    app.sagas.bind(OrderContext, OrderSaga)
    async with app:
        for number in ("1", "2", "3"):
            try:
                async for result in app.stream_saga(OrderContext(number)):
                    print(f"  done by {result.step_type.__name__}")
            except ValueError as error:
                print(f"  undone: {error}")


if __name__ == "__main__":
    logging.getLogger("cqrs_core").addHandler(logging.NullHandler())  # it tells of each failure, with its traceback
    asyncio.run(main())
