"""Many conversations with a Redis at once, in as few round trips as the longest of them needs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Key = TypeVar("Key")


class Pipeline(Protocol):
    """What is used of a pipeline of ``redis.Redis``: each method but the last puts a command in it."""

    def get(self, name: str) -> object:
        """Read a key: text if the client decodes it, ``None`` if there is no such key."""
        ...

    def pttl(self, name: str) -> object:
        """Tell the milliseconds that a key has left; less than nothing if there is none."""
        ...

    def set(self, name: str, value: str, *, px: int, nx: bool = False) -> object:
        """Write a key that expires in *px* milliseconds; with *nx* only if there is none, else it gives ``None``."""
        ...

    def delete(self, name: str) -> object:
        """Delete a key."""
        ...

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        """Send all of them, and wait for the replies, in order; what the server refuses is an exception among them."""
        ...


class RedisClient(Protocol):
    """What is used of a ``redis.Redis``."""

    def pipeline(self, *, transaction: bool) -> Pipeline:
        """Begin a pipeline; nothing is sent before it is executed."""
        ...


#: Puts one command into a pipeline.
Command = Callable[[Pipeline], object]
#: Yields the commands of one round trip, and is sent the replies; an error is thrown into it.
Conversation = Generator[Sequence[Command], list[Any], T]


def converse(client: RedisClient, conversations: Mapping[Key, Conversation[None]]) -> dict[Key, Exception]:
    """
    Hold *conversations* to their ends, all at once.

    Returns:
        Which of them failed, and by what: the server refused one of its commands. The others are not concerned.

    Raises:
        Exception: What the client raises if the server does not answer; then none goes on.
    """
    failed: dict[Key, Exception] = {}
    asking: dict[Key, Sequence[Command]] = {}

    def go_on(key: Key, step: Callable[[], Sequence[Command]]) -> None:
        try:
            asking[key] = step()
        except StopIteration:
            pass
        except Exception as error:  # noqa: BLE001 - clients have errors of their own
            failed[key] = error

    for key, conversation in conversations.items():
        go_on(key, partial(next, conversation))
    try:
        while asking:
            asked = dict(asking)
            asking.clear()
            replies = iter(_replies(client, asked.values()))
            for key, commands in asked.items():
                own = [next(replies) for _ in commands]
                refusal = next((reply for reply in own if isinstance(reply, Exception)), None)
                talk = conversations[key]
                go_on(key, partial(talk.send, own) if refusal is None else partial(talk.throw, refusal))
    finally:
        for conversation in conversations.values():
            conversation.close()
    return failed


def _replies(client: RedisClient, asked: Iterable[Sequence[Command]]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for commands in asked:
        for command in commands:
            command(pipeline)
    return pipeline.execute(raise_on_error=False)
