"""The work with sagas in a database, as all contestants do it: one after the other, or many at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from database import Piece

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: How many sagas run at once, by the names of the blocks.
WAYS = {"alone": 1, "at_once": 50}
#: How many each of them has.
STEPS = 3


class WronglyRun(Exception):
    """What was measured is not what was to be."""


def pieces(run: Callable[[], Awaitable[int]]) -> dict[str, Piece]:
    """
    Make the pieces of work, one for each of :data:`WAYS`.

    Args:
        run: Runs a new saga to its end, and tells how many steps were done.
    """
    return {key: _piece(run, limit) for key, limit in WAYS.items()}


def _piece(run: Callable[[], Awaitable[int]], limit: int) -> Piece:
    async def work(supplies: range) -> None:
        left = iter(supplies)

        async def run_next() -> None:
            for _ in left:  # all have this iterator
                done = await run()
                if done != STEPS:
                    raise WronglyRun(f"{done} of {STEPS} steps were done.")

        await asyncio.gather(*[run_next() for _ in range(limit)])

    return Piece(lambda count: range(count * limit), work)
