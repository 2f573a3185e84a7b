"""Runs what a program does beside what it is asked for: it consumes, and it sends what waits in the outbox."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from cqrs_core.concurrency import Gate, open_task_group
from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from cqrs_core.consumer import Consumer
    from cqrs_core.relay import OutboxRelay

#: What there is to run.
LOOPS = ("consumers", "relay")


def chosen_loops(only: Collection[str] | None) -> set[str]:
    """
    Tell which loops *only* means: all, or the one, or those of the names in it.

    Raises:
        InvalidOption: It names something else.
    """
    names: set[str] = set(LOOPS) if only is None else {only} if isinstance(only, str) else set(only)
    for name in names:
        if name not in LOOPS:
            raise InvalidOption("only", name, f"one of the loops: {', '.join(LOOPS)}")
    return names


@asynccontextmanager
async def run_loops(consumers: Sequence[Consumer], relay: OutboxRelay | None) -> AsyncIterator[None]:
    """
    Run until the block is left, and end in good order whatever it raises: the relay first, then the consumers.

    Raises:
        Exception: What the block raised; what ended a loop.
    """
    raised: Exception | None = None
    async with open_task_group() as tasks:
        stopping, relay_stopping, relay_ended = Gate(), Gate(), Gate()

        async def run(relay: OutboxRelay) -> None:
            try:
                await relay.run(relay_stopping)
            finally:
                relay_ended.open()

        for consumer in consumers:
            await consumer.subscribe()
            tasks.start(partial(consumer.run, stopping))
        if relay is not None:
            tasks.start(partial(run, relay))
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised below
            raised = error
        if relay is not None:
            # Before the consumers: what it waits for may be theirs to acknowledge.
            relay_stopping.open()
            await relay_ended.wait()
        stopping.open()
    if raised is not None:
        raise raised
