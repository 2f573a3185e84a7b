"""A handler that fails is tried again, then replaced by another, and spared while what it needs is down."""

import asyncio
import logging

import cqrs_core as cqrs


class GetPrice(cqrs.Request[str]):
    sku: str


class Supplier:
    """A service that is down, and counts its calls."""

    calls = 0

    async def ask(self, sku: str) -> str:
        self.calls += 1
        raise ConnectionError(f"no answer about {sku}")


class AskTheSupplier(cqrs.RequestHandler[GetPrice, str]):
    def __init__(self, supplier: Supplier) -> None:
        self._supplier = supplier

    async def handle(self, request: GetPrice) -> str:
        return await self._supplier.ask(request.sku)


class LookIntoTheCatalogue(cqrs.RequestHandler[GetPrice, str]):
    async def handle(self, request: GetPrice) -> str:
        return f"{request.sku}: 9.50, as printed last year"


async def main() -> None:
    supplier = Supplier()
    container = cqrs.SimpleContainer()
    container.instance(Supplier, supplier)
    app = cqrs.App("prices", container=container)
    app.requests.bind(
        GetPrice,
        cqrs.RequestHandlerFallback(
            AskTheSupplier,
            LookIntoTheCatalogue,
            failure_exceptions=(ConnectionError, TimeoutError),
            circuit_breaker=cqrs.LocalCircuitBreaker(fail_max=2, open_for_s=60),  # or "aiobreaker", of cqrs-breaker
        ),
        retry=cqrs.RetryPolicy(max_attempts=3, delay_s=0.01),
        timeout_s=2,
    )
    async with app:
        for number in range(4):
            print(await app.send(GetPrice(f"sku-{number}")), f"(calls so far: {supplier.calls})")


if __name__ == "__main__":
    logging.getLogger("cqrs_core").addHandler(logging.NullHandler())  # it tells of each failure, with its traceback
    asyncio.run(main())
