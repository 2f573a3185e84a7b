"""One request, many answers, each handed out when it is there; and what happens when nobody wants the rest."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import cqrs_core as cqrs


class CountDown(cqrs.Request[int]):
    start: int


class Counted(cqrs.DomainEvent):
    number: int


class CountDownHandler(cqrs.StreamingRequestHandler[CountDown, int]):
    async def handle(self, request: CountDown) -> AsyncIterator[int]:
        try:
            for number in range(request.start, -1, -1):
                self.events.append(Counted(number=number))  # handled before the number is handed out
                yield number
        finally:
            print("  the handler is closed")


class TellCounted(cqrs.EventHandler[Counted]):
    async def handle(self, event: Counted) -> None:
        print(f"  event {event.number}")


app = cqrs.App("launch")
app.requests.bind(CountDown, CountDownHandler)
app.events.bind(Counted, TellCounted)


async def main() -> None:
    async with app:
        print("To the end:")
        async for number in app.stream(CountDown(start=2)):
            print(f"  {number}")
        print("Left early:")
        async with aclosing(app.stream(CountDown(start=1000))) as numbers:  # closes the handler at once
            print(f"  {await anext(numbers)}")


if __name__ == "__main__":
    asyncio.run(main())
