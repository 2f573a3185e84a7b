"""Measures contestants in alternating blocks, so that what the machine does meanwhile hits all of them alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncio

#: Does one piece of work so many times.
Work = Callable[[int], Awaitable[object]]
#: Does one piece of work so many times, and tells the seconds of processor time that it took.
Block = Callable[[int], float]


class Spread(NamedTuple):
    """The middle of many measurements, and the quartiles around it."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, median, high)


def timed(work: Work, loop: asyncio.AbstractEventLoop, rest: Callable[[], object] = lambda: None) -> Block:
    """
    Make a block of *work*: on *loop*, without the garbage collector, by the clock that stands still for others.

    Args:
        work: What is measured.
        loop: Kept for all blocks, so that starting it is not measured.
        rest: Done before each block, and not measured.
    """

    async def measure(count: int) -> float:
        began = time.process_time()
        await work(count)
        return time.process_time() - began

    def block(count: int) -> float:
        rest()
        gc.collect()
        gc.disable()
        try:
            return loop.run_until_complete(measure(count))
        finally:
            gc.enable()

    return block


def count_for(block: Block, seconds: float) -> int:
    """Find how many times the work is done in about *seconds*, which warms it up as well."""
    block(1)  # what is imported, or compiled, at the first use
    count = 1
    while (spent := block(count)) < seconds / 4:
        count *= 2
    return max(1, round(count * seconds / spent))


def alternate(blocks: Mapping[str, Block], *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """
    Measure all *blocks* in turn, *rounds* times.

    Returns:
        For each, the seconds that the work took once, a value for each round.
    """
    counts = {name: count_for(block, seconds) for name, block in blocks.items()}
    taken: dict[str, list[float]] = {name: [] for name in blocks}
    for _ in range(rounds):
        for name, block in blocks.items():
            taken[name].append(block(counts[name]) / counts[name])
    return taken


def ratios(taken: Sequence[float], to: Sequence[float]) -> Spread:
    """Compare two contestants round by round."""
    return Spread.of([one / other for one, other in zip(taken, to, strict=True)])
