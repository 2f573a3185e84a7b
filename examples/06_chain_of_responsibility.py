"""Several handlers for one request: each answers it, or lets the next one try."""

import asyncio

import cqrs_core as cqrs


class Price(cqrs.Request[str | None]):
    item: str


class Asked(cqrs.DomainEvent):
    who: str


class Cache(cqrs.CORRequestHandler[Price, str]):
    async def handle(self, request: Price) -> str | None:
        self.events.append(Asked(who="the cache"))
        return "2.50 (cached)" if request.item == "tea" else await self.next(request)


class Catalogue(cqrs.CORRequestHandler[Price, str]):
    async def handle(self, request: Price) -> str | None:
        self.events.append(Asked(who="the catalogue"))
        if request.item == "coffee":
            return "3.20"
        found = await self.next(request)  # the end of the chain answers None
        return found and f"{found}, not in the catalogue"


class Guess(cqrs.CORRequestHandler[Price, str]):
    async def handle(self, request: Price) -> str | None:
        return None if request.item == "love" else await self.next(request) or "about 5"


class TellAsked(cqrs.EventHandler[Asked]):
    async def handle(self, event: Asked) -> None:
        print(f"  asked {event.who}")


app = cqrs.App("prices")
app.requests.bind(Price, [Cache, Catalogue, Guess])  # a list, tried in this order
app.events.bind(Asked, TellAsked)  # the events of all links that ran arrive


async def main() -> None:
    async with app:
        for item in ("tea", "coffee", "cake", "love"):
            print(f"{item}: {await app.send(Price(item=item))}")


if __name__ == "__main__":
    asyncio.run(main())
