"""Messages that are pydantic models: checked when they are made. Needs ``pip install "cqrs-core[pydantic]"``."""

import asyncio

from pydantic import BaseModel, Field, ValidationError

import cqrs_core as cqrs


class Booked(cqrs.PydanticResponse):
    seats: int


class Book(cqrs.PydanticRequest[Booked]):
    seats: int = Field(ge=1)


class SeatsBooked(BaseModel, cqrs.DomainEvent, frozen=True):  # any model may be a message: put a base beside BaseModel
    seats: int


class BookHandler(cqrs.RequestHandler[Book, Booked]):
    async def handle(self, request: Book) -> Booked:
        self.events.append(SeatsBooked(seats=request.seats))
        return Booked(seats=request.seats)


class TellBooked(cqrs.EventHandler[SeatsBooked]):
    async def handle(self, event: SeatsBooked) -> None:
        print(event.model_dump_json())


app = cqrs.App("cinema")
app.requests.bind(Book, BookHandler)
app.events.bind(SeatsBooked, TellBooked)


async def main() -> None:
    async with app:
        print(repr(await app.send(Book.model_validate_json('{"seats": "2"}'))))
        try:
            Book(seats=0)
        except ValidationError as error:
            print(error.errors()[0]["msg"])


if __name__ == "__main__":
    asyncio.run(main())
