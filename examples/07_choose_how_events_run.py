"""Handlers of events run in turn or side by side, and their errors are raised together or logged."""

import asyncio
import logging
from typing import Literal

import cqrs_core as cqrs


class Ship(cqrs.Request[str]):
    parcel: str


class Shipped(cqrs.DomainEvent):
    parcel: str


class ShipHandler(cqrs.RequestHandler[Ship, str]):
    async def handle(self, request: Ship) -> str:
        self.events.append(Shipped(parcel=request.parcel))
        return f"{request.parcel} is on its way"


class WriteMail(cqrs.EventHandler[Shipped]):
    async def handle(self, event: Shipped) -> None:
        print(f"  mail about {event.parcel}: begun")
        await asyncio.sleep(0)  # waits for something; meanwhile others may run
        print(f"  mail about {event.parcel}: sent")


class PrintLabel(cqrs.EventHandler[Shipped]):
    async def handle(self, event: Shipped) -> None:
        print(f"  label for {event.parcel}: begun")
        raise OSError("out of paper")


class PrintErrors(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(f"  log: {record.levelname}: {record.exc_info and record.exc_info[1]!r}")


async def show(side_by_side: int, errors: Literal["raise", "log"]) -> None:
    print(f"At most {side_by_side} at a time, errors: {errors}")
    app = cqrs.App("shipping", max_concurrent_event_handlers=side_by_side, event_errors=errors)
    app.requests.bind(Ship, ShipHandler)
    app.events.bind(Shipped, WriteMail)
    app.events.bind(Shipped, PrintLabel)
    async with app:
        try:
            print(f"  answer: {await app.send(Ship(parcel='p-1'))}")
        except cqrs.EventHandlersFailed as failed:  # the command has taken effect, and all handlers ran
            print(f"  errors: {[str(error) for error in failed.errors]}, answer: {failed.response}")


if __name__ == "__main__":
    logging.getLogger("cqrs_core").addHandler(PrintErrors())
    asyncio.run(show(1, "raise"))
    asyncio.run(show(2, "raise"))
    asyncio.run(show(1, "log"))
