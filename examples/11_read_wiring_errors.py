"""Several mistakes, made on purpose: all are reported at once, before the first message, each with its cure."""

import asyncio

import cqrs_core as cqrs


class Alarm:
    def __init__(self, pin: str) -> None: ...  # who knows the pin?


class Open(cqrs.Request[str]):
    door: str


class Close(cqrs.Request[str]):
    door: str


class Lock(cqrs.Request[str]):
    door: str


class Opened(cqrs.DomainEvent): ...


class OpenHandler(cqrs.RequestHandler[Open, str]):
    def __init__(self, alarm: Alarm) -> None: ...

    async def handle(self, request: Open) -> str:
        return f"{request.door} is open"


class CloseHandler(cqrs.RequestHandler[Close, int]):  # Close promises a str
    async def handle(self, request: Close) -> int:
        return len(request.door)


class NotAsync(cqrs.EventHandler[Opened]):
    def handle(self, event: Opened) -> None: ...  # type: ignore[override]  # forgotten: async


async def main() -> None:
    app = cqrs.App("doors")
    app.requests.bind(Open, OpenHandler)
    app.requests.bind(Open, OpenHandler)  # twice
    app.requests.bind(Close, CloseHandler)  # of another answer
    app.requests.bind(Lock, OpenHandler)  # type: ignore[misc]  # of another request; mypy sees this one too
    app.events.bind(Opened, NotAsync)
    try:
        async with app:
            pass
    except cqrs.WiringError as error:
        print(error)
        print(f"for programs: {', '.join(type(problem).__name__ for problem in error.problems)}")


if __name__ == "__main__":
    asyncio.run(main())
