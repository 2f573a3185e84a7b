"""Without an App: the functions that users of python-cqrs know build one mediator each, to be kept for good."""

import asyncio
from collections.abc import AsyncIterator

import cqrs_core as cqrs
from cqrs_core.bootstrap import bootstrap, bootstrap_events, bootstrap_streaming


class AddWord(cqrs.Request):
    word: str


class Spell(cqrs.Request[str]):
    word: str


class WordAdded(cqrs.DomainEvent):
    word: str


class AddWordHandler(cqrs.RequestHandler[AddWord, None]):
    async def handle(self, request: AddWord) -> None:
        self.events.append(WordAdded(word=request.word))


class SpellHandler(cqrs.StreamingRequestHandler[Spell, str]):
    async def handle(self, request: Spell) -> AsyncIterator[str]:
        for letter in request.word:
            yield letter


class TellAdded(cqrs.EventHandler[WordAdded]):
    async def handle(self, event: WordAdded) -> None:
        print(f"added {event.word}")


async def warm_up() -> None:
    print("once, before the first message")


requests = bootstrap(
    commands_mapper=lambda commands: commands.bind(AddWord, AddWordHandler),
    domain_events_mapper=lambda events: events.bind(WordAdded, TellAdded),
    on_startup=[warm_up],
)
streams = bootstrap_streaming(queries_mapper=lambda queries: queries.bind(Spell, SpellHandler))
events = bootstrap_events(events_mapper=lambda events: events.bind(WordAdded, TellAdded))


async def main() -> None:
    await requests.send(AddWord(word="map"))
    await requests.send(AddWord(word="handler"))
    print([letter async for letter in streams.stream(Spell(word="map"))])
    await events.send(WordAdded(word="elsewhere"))  # such as one that a consumer has received


if __name__ == "__main__":
    asyncio.run(main())
