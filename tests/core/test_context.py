"""The message that is being handled."""

from __future__ import annotations

import dataclasses
import uuid

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core.concurrency import open_task_group
from cqrs_core.context import CurrentMessage, Handling, being_handled, current_message, current_messages, is_consuming


def message(name: str) -> CurrentMessage:
    return CurrentMessage(uuid.UUID(int=1), name, "orders", "shop", None, {}, "correlation", None, 1)


def test_outside_a_consumer_there_is_no_current_message() -> None:
    """Not even inside a request; it has the same name at the top."""
    assert current_message() is None
    assert current_message is cqrs.current_message


async def test_each_task_has_its_own_current_message_and_what_it_starts_has_it_too() -> None:
    """Messages that are handled side by side do not see each other."""
    seen: dict[str, list[str | None]] = {"a": [], "b": []}

    async def handle(name: str) -> None:
        async def look() -> None:
            here = current_message()
            seen[name].append(here and here.name)

        token = being_handled.set(Handling((message(name),)))
        try:
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
                await look()
            async with open_task_group() as group:
                group.start(look)
        finally:
            being_handled.reset(token)
        await look()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(handle, "a")
        tasks.start_soon(handle, "b")

    assert {"a": [*["a"] * 4, None], "b": [*["b"] * 4, None]} == seen
    assert current_message() is None


@pytest.mark.parametrize(
    ("names", "is_inside", "known"),
    [(None, False, ()), ((), True, ()), (("a",), True, ("a",)), (("a", "b"), True, ("a", "b"))],
)
def test_of_a_batch_each_message_is_known_and_none_is_the_current_one(
    names: tuple[str, ...] | None,
    is_inside: bool,  # noqa: FBT001 - a parameter
    known: tuple[str, ...],
) -> None:
    """Outside a consumer, between two messages in it, with one, with several."""
    token = being_handled.set(None if names is None else Handling(tuple(map(message, names))))
    try:
        one, many = current_message(), current_messages()
        assert is_inside == is_consuming()
    finally:
        being_handled.reset(token)

    assert known == tuple(each.name for each in many)
    assert (many[0] if len(many) == 1 else None) is one


def test_a_handler_cannot_change_it() -> None:
    """It is a fact."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        message("a").attempt = 2  # type: ignore[misc]  # it cannot be changed
