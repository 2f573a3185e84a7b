"""Middlewares run around handlers: of every request, of one type of it, of events."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import cqrs_core as cqrs

LIMIT = 50


class Withdraw(cqrs.Request[int]):
    amount: int


class Withdrawn(cqrs.DomainEvent):
    amount: int


class WithdrawHandler(cqrs.RequestHandler[Withdraw, int]):
    async def handle(self, request: Withdraw) -> int:
        self.events.append(Withdrawn(amount=request.amount))
        return 100 - request.amount


class Announce(cqrs.EventHandler[Withdrawn]):
    async def handle(self, event: Withdrawn) -> None:
        print(f"    {event.amount} taken")


async def tell_request(request: object, handle: Callable[[Any], Awaitable[Any]]) -> object:
    print(f"> {request}")
    response = await handle(request)
    print(f"< {response}")
    return response


async def tell_event(event: object, handle: Callable[[Any], Awaitable[Any]]) -> None:
    print(f"  > {event}")
    await handle(event)  # one handler of the event


async def refuse_much(request: Withdraw, handle: Callable[[Withdraw], Awaitable[int]]) -> int:
    return await handle(request) if request.amount <= LIMIT else 100  # not called: answered in the handler's place


app = cqrs.App("bank", middlewares=[tell_request], event_middlewares=[tell_event])
app.requests.bind(Withdraw, WithdrawHandler, middlewares=[refuse_much])  # inside those for every request
app.events.bind(Withdrawn, Announce)


async def main() -> None:
    async with app:
        for amount in (30, 80):
            await app.send(Withdraw(amount=amount))


if __name__ == "__main__":
    asyncio.run(main())
