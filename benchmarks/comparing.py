"""Compares pieces of work with the bare call that is in them, and with what the peer makes of the same."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from blocks import Spread, alternate, ratios, timed
from reporting import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from blocks import Work
    from peer import Peer


class Row(NamedTuple):
    """One piece of work."""

    key: str
    title: str
    #: How many times as long as the bare call it may take; ``None``: it is only told.
    bar: float | None
    bare: Work
    ours: Work
    #: How many pieces are done at once, for the time of a single one.
    size: int = 1


def measure(
    rows: Iterable[Row], peer_bars: Mapping[str, float], *, rounds: int, seconds: float, peer: Peer | None
) -> tuple[list[Result], list[Result]]:
    """
    Measure all rows of our own, and those that the peer has beside it.

    Args:
        peer_bars: How many times as fast as the peer a row must be; rows that are not named are only told.
    """
    results: list[Result] = []
    beside: list[Result] = []
    loop = asyncio.new_event_loop()
    for row in rows:
        blocks = {"bare": timed(row.bare, loop), "ours": timed(row.ours, loop)}
        if peer is not None and row.key in peer.about["keys"]:
            blocks["peer"] = partial(peer.seconds, row.key)
        taken = alternate(blocks, rounds=rounds, seconds=seconds)
        micros = {name: Spread.of(times).median / row.size * 1e6 for name, times in taken.items()}
        ratio = ratios(taken["ours"], taken["bare"])
        results.append(Result(row.key, row.title, micros["bare"], micros["ours"], ratio, row.bar))
        if "peer" in taken:
            faster, bar = ratios(taken["peer"], taken["ours"]), peer_bars.get(row.key)
            beside.append(Result(row.key, row.title, micros["peer"], micros["ours"], faster, bar, is_limit=False))
    loop.close()
    return results, beside
