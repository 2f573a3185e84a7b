"""Constructors are filled by their annotations: one for all, one per message, a factory that cleans up, a fake."""

import asyncio
from collections.abc import AsyncIterator

import cqrs_core as cqrs


class Clock:
    today = "Monday"


class Holiday(Clock):
    today = "a holiday"


class Session:
    def __init__(self, url: str) -> None:
        self.url = url


class Notes:
    def __init__(self, session: Session, clock: Clock) -> None:  # not registered: built by its constructor
        self.session, self.clock = session, clock


class AddNote(cqrs.Request):
    text: str


class AddNoteHandler(cqrs.RequestHandler[AddNote, None]):
    def __init__(self, notes: Notes, session: Session) -> None:
        self._notes, self._session = notes, session

    async def handle(self, request: AddNote) -> None:
        is_shared = self._notes.session is self._session
        print(f"  it is {self._notes.clock.today}: {request.text} (one session for the whole message: {is_shared})")


async def open_session(clock: Clock) -> AsyncIterator[Session]:  # a factory; it is injected too
    print(f"  session opened on {clock.today}")
    yield Session("memory://notes")
    print("  session closed")  # the message has been handled


async def main() -> None:
    container = cqrs.SimpleContainer()
    container.singleton(Clock)  # one for as long as the container lives
    container.scoped(Session, open_session)  # one for each message
    app = cqrs.App("notes", container=container)
    app.requests.bind(AddNote, AddNoteHandler)
    async with app:
        await app.send(AddNote(text="buy milk"))
        with container.override(Clock, Holiday()):  # in a test
            await app.send(AddNote(text="sleep in"))


if __name__ == "__main__":
    asyncio.run(main())
