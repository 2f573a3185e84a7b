"""Runs what a program does beside what it is asked for: it consumes, sends what waits in the outbox, drives sagas."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from cqrs_core.concurrency import Gate, open_task_group
from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

    from cqrs_core.consumer import Consumer
    from cqrs_core.relay import OutboxRelay
    from cqrs_core.saga.worker import SagaRecoveryWorker

#: What there is to run.
LOOPS = ("consumers", "relay", "sagas")


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
async def run_loops(
    consumers: Sequence[Consumer], relay: OutboxRelay | None, sagas: SagaRecoveryWorker | None = None
) -> AsyncIterator[None]:
    """
    Run until the block is left, and end in good order whatever it raises: sagas, the relay, then the consumers.

    Raises:
        Exception: What the block raised; what ended a loop.
    """
    raised: Exception | None = None
    async with open_task_group() as tasks:
        stopping = Gate()
        # What a loop brings may be for the one behind it: what sagas emit is sent, and what is sent, acknowledged.
        in_order = [_Ending(loop.run) for loop in (sagas, relay) if loop is not None]
        for consumer in consumers:
            await consumer.subscribe()
            tasks.start(partial(consumer.run, stopping))
        for loop in reversed(in_order):
            tasks.start(loop.run)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised below
            raised = error
        for loop in in_order:
            await loop.end()
        stopping.open()
    if raised is not None:
        raise raised


class _Ending:
    """A loop whose end is waited for."""

    def __init__(self, run: Callable[[Gate], Awaitable[None]]) -> None:
        self._run = run
        self._stopping = Gate()
        self._ended = Gate()

    async def run(self) -> None:
        """Run until :meth:`end` is called."""
        try:
            await self._run(self._stopping)
        finally:
            self._ended.open()

    async def end(self) -> None:
        """Let the loop end, and wait until it has."""
        self._stopping.open()
        await self._ended.wait()
