"""The message that is being handled."""

from __future__ import annotations

import dataclasses
import uuid

import anyio
import pytest

import cqrs_core as cqrs
from cqrs_core.concurrency import open_task_group
from cqrs_core.context import CurrentMessage, being_handled, current_message


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

        token = being_handled.set((message(name),))
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


def test_a_handler_cannot_change_it() -> None:
    """It is a fact."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        message("a").attempt = 2  # type: ignore[misc]
