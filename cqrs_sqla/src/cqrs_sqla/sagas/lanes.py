"""Makes few statements of what many write at once: each waits for its own, and pays for a part of one."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from cqrs_core.concurrency import run_shielded
from cqrs_core.errors import StorageUnavailable
from cqrs_sqla.failures import told_by

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

    from cqrs_sqla.relaying.lines import Line

    #: Writes some of a kind together, and gives what to tell each: an error, to be raised there.
    Perform = Callable[[sa.Connection, Sequence[Any]], Sequence[object]]

#: Of one statement: with more, nothing is won, and each waits for all.
_MOST = 256
_MOST_BYTES = 2**20


class Wish(NamedTuple):
    """
    What one wants written.

    Attributes:
        perform: Writes it; what has the same is written together.
        item: What it is given.
        saga_id: Of which saga: of one saga, one thing at a time is written.
        size: About how long it is, in bytes.
    """

    perform: Perform
    item: Any
    saga_id: uuid.UUID
    size: int


class Lanes:
    """
    Connections on which things are written, those together that wait at the same time.

    While a lane is busy, what comes waits for the next that is free, which takes all of it. Nothing waits for company:
    a saga that is the only one here writes at once.

    Args:
        lines: The connections.
        name: What the database is called in errors.
    """

    def __init__(self, lines: Sequence[Line], name: str) -> None:
        self._name = name
        self._free = list(lines)
        self._lines = tuple(lines)
        self._waiting: list[tuple[Wish, asyncio.Future[object]]] = []
        self._is_called = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def write(self, wish: Wish) -> object:
        """
        Have something written, and wait for that.

        A cancellation arrives after it: to be interrupted, it is too late.

        Raises:
            StorageUnavailable: It may have been written.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._begin(loop)
        answer: asyncio.Future[object] = loop.create_future()
        self._waiting.append((wish, answer))
        self._call(loop)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            await run_shielded(partial(_ended, answer))
            raise

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forget what was on a loop that has ended: nobody waits for it any more."""
        self._loop = loop
        self._waiting = []
        self._free = list(self._lines)
        self._is_called = False

    def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let a lane begin, in a moment: what others bring until then goes with it."""
        if self._free and not self._is_called:
            self._is_called = True
            line = self._free.pop()
            task = loop.create_task(self._serve(line))
            self._tasks.add(task)
            task.add_done_callback(partial(self._end, line))

    async def _serve(self, line: Line) -> None:
        while self._waiting:
            batch = self._take()
            self._is_called = False
            await self._write(line, batch)
        # At once, and not when somebody is told of the end: who comes meanwhile calls a lane that is free.
        self._is_called = False
        self._free.append(line)

    def _end(self, line: Line, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is not None:
            # The loop ends, perhaps before this has begun. Those who wait do so until they are told.
            self._is_called = False
            self._free.append(line)
            self._refuse(self._waiting)
            self._waiting = []

    def _take(self) -> list[tuple[Wish, asyncio.Future[object]]]:
        """Take what can be written together with the first, in the order in which it came."""
        perform = self._waiting[0][0].perform
        taken: list[tuple[Wish, asyncio.Future[object]]] = []
        left: list[tuple[Wish, asyncio.Future[object]]] = []
        sagas: set[uuid.UUID] = set()
        size = 0
        for pair in self._waiting:
            wish = pair[0]
            fits = not taken or (len(taken) < _MOST and size + wish.size <= _MOST_BYTES)
            if wish.perform is perform and fits and wish.saga_id not in sagas:
                taken.append(pair)
                size += wish.size
            else:
                left.append(pair)
            sagas.add(wish.saga_id)  # what comes later for the same saga stays behind
        self._waiting = left
        return taken

    async def _write(self, line: Line, batch: Sequence[tuple[Wish, asyncio.Future[object]]]) -> None:
        try:
            answers = await self._answers(line, [wish for wish, _ in batch])
        except BaseException:
            self._refuse(batch)
            raise
        for (_, future), answer in zip(batch, answers, strict=True):
            _settle(future, answer)

    async def _answers(self, line: Line, wishes: Sequence[Wish]) -> Sequence[object]:
        try:
            return await _perform(line, wishes)
        except StorageUnavailable as error:
            return [error if len(wishes) == 1 else self._as_told(error) for _ in wishes]
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the others are written
            return [error] if len(wishes) == 1 else [await self._alone(line, wish) for wish in wishes]

    def _as_told(self, error: StorageUnavailable) -> StorageUnavailable:
        """Make an error of its own for each who waits: who raises it adds to it."""
        told = StorageUnavailable(self._name, told_by(error.__cause__ or error))
        told.__cause__ = error
        return told

    def _refuse(self, batch: Sequence[tuple[Wish, asyncio.Future[object]]]) -> None:
        for _, future in batch:
            _settle(future, StorageUnavailable(self._name, "its event loop has ended."))

    @staticmethod
    async def _alone(line: Line, wish: Wish) -> object:
        try:
            return (await _perform(line, [wish]))[0]
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            return error


async def _perform(line: Line, wishes: Sequence[Wish]) -> Sequence[object]:
    perform = wishes[0].perform
    items = [wish.item for wish in wishes]
    return await line.run(lambda connection: perform(connection, items))


async def _ended(answer: asyncio.Future[object]) -> None:
    await asyncio.wait([answer])


def _settle(future: asyncio.Future[object], answer: object) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
