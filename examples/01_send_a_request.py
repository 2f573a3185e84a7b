"""A request, its handler, and an answer whose type is known."""

import asyncio

import cqrs_core as cqrs


class Greeting(cqrs.Response):
    text: str


class Greet(cqrs.Request[Greeting]):  # answered by a Greeting; no decorator: it behaves as a dataclass
    name: str


class GreetHandler(cqrs.RequestHandler[Greet, Greeting]):
    async def handle(self, request: Greet) -> Greeting:
        return Greeting(text=f"Good morning, {request.name}.")


class Forget(cqrs.Request):  # answered by nothing: a plain command
    name: str


class ForgetHandler(cqrs.RequestHandler[Forget, None]):
    async def handle(self, request: Forget) -> None:
        print(f"{request.name}? Never heard of.")


app = cqrs.App("greetings")
app.requests.bind(Greet, GreetHandler)
app.requests.bind(Forget, ForgetHandler)


async def main() -> None:
    async with app:  # the wiring is checked here, before the first message
        greeting = await app.send(Greet(name="Ada"))  # mypy and pyright know: a Greeting
        print(greeting.text)
        await app.send(Forget(name="Ada"))


if __name__ == "__main__":
    asyncio.run(main())
