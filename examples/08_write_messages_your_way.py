"""An undecorated class, options in the class line, a dataclass decorator, or a class written by hand."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cqrs_core as cqrs


class Plain(cqrs.Request[str]):  # undecorated: a dataclass by itself
    text: str
    tags: list[str] = field(default_factory=list[str])


class Options(cqrs.Request[str], frozen=True, kw_only=True):  # the same, with options that type checkers heed
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)  # decorated; slots need the decorator
class Decorated(cqrs.Request[str]):
    text: str


class ByHand(cqrs.Request[str]):  # its own __init__: left as it is
    def __init__(self, text: str) -> None:
        self.text = text.upper()

    def to_dict(self) -> dict[str, Any]:
        return {"text": self.text}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ByHand":
        return cls(data["text"])


class EchoHandler(cqrs.RequestHandler[Plain | Options | Decorated | ByHand, str]):
    async def handle(self, request: Plain | Options | Decorated | ByHand) -> str:
        return f"{type(request).__name__} says {request.text}"


app = cqrs.App("messages")
app.requests.add(EchoHandler)  # bound to each request that its type parameter names


async def main() -> None:
    async with app:
        for request in (Plain("one", tags=["a"]), Options(text="two"), Decorated(text="three"), ByHand("four")):
            print(await app.send(request))
    print(Plain("one", tags=["a"]), Plain("one") == Plain("one"))
    print(hasattr(Decorated(text="three"), "__dict__"))
    print(ByHand.from_dict(ByHand("four").to_dict()).text)


if __name__ == "__main__":
    asyncio.run(main())
