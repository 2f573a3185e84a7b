"""
Measures what a saga costs in the memory of one process: beside the bare calls of its steps, and beside python-cqrs.

``python benchmarks/saga.py --make-peer FOLDER``; ``nox -s bench`` does so in its own environments. Three steps without
events, made by the same container on both sides. Times are processor time, as in ``dispatch.py``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import platform
import sys
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from blocks import Spread, alternate, ratios, timed
from dispatch import PEERS, Result, options, table
from ours import ScopedContainer, TrivialContainer
from peer import Peer, make_peer

import cqrs_core as cqrs
from cqrs_core.bootstrap import bootstrap_sagas

if TYPE_CHECKING:
    from blocks import Work

#: How many times as fast as the peer a row must be; rows that are not named here are only told.
PEER_BARS = {"saga": 2.5}


class Order(cqrs.SagaContext):
    order_id: str
    reserved: str | None = None
    paid: str | None = None
    shipped: str | None = None


class Reserve(cqrs.SagaStepHandler[Order, None]):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:
        context.reserved = "r-1"
        return self.result()

    async def compensate(self, context: Order) -> None:
        pass


class Pay(Reserve):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:
        context.paid = "p-1"
        return self.result()


class Ship(Reserve):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:
        context.shipped = "s-1"
        return self.result()


class Declined(Reserve):
    async def act(self, context: Order) -> cqrs.SagaStepResult[Order, None]:  # noqa: ARG002 - it does nothing
        raise ValueError("declined")


class OrderSaga(cqrs.Saga[Order]):
    steps = [Reserve, Pay, Ship]


class FailingSaga(cqrs.Saga[Order]):
    steps = [Reserve, Pay, Declined]


class Row(NamedTuple):
    """One piece of work."""

    key: str
    title: str
    ours: Work


def rows() -> list[Row]:
    """Put the pieces of work together."""
    trivial, scoped = TrivialContainer(), ScopedContainer()
    return [
        Row("saga", "saga, 3 steps", running(trivial, OrderSaga)),
        Row("saga_scope", "saga, 3 steps, with scopes", running(scoped, OrderSaga)),
        Row("saga_failing", "saga, undone at the third step", running(trivial, FailingSaga)),
    ]


def running(container: Any, saga: type[cqrs.Saga[Order]]) -> Work:
    """Run a saga to its end, so many times."""
    mediator = bootstrap_sagas(
        container,
        sagas_mapper=lambda sagas: sagas.bind(Order, saga),
        saga_storage=cqrs.MemorySagaStorage(max_finished=1000),
    )

    async def work(count: int) -> None:
        for _ in repeat(None, count):
            try:
                async for _result in mediator.stream(Order("o-1")):
                    pass
            except ValueError:
                pass

    return work


async def bare(count: int) -> None:
    """Call the steps of a saga, and nothing else."""
    for _ in repeat(None, count):
        context = Order("o-1")
        for step in (Reserve, Pay, Ship):
            await step().act(context)


def measure(*, rounds: int, seconds: float, peer: Peer | None) -> tuple[list[Result], list[Result]]:
    """Measure all rows, beside the bare calls and beside the peer."""
    logging.getLogger("cqrs_core").setLevel(logging.CRITICAL)  # as for the peer
    results: list[Result] = []
    beside: list[Result] = []
    loop = asyncio.new_event_loop()
    for row in rows():
        blocks = {"bare": timed(bare, loop), "ours": timed(row.ours, loop)}
        if peer is not None and row.key in peer.about["keys"]:
            blocks["peer"] = partial(peer.seconds, row.key)
        taken = alternate(blocks, rounds=rounds, seconds=seconds)
        micros = {name: Spread.of(times).median * 1e6 for name, times in taken.items()}
        results.append(Result(row.key, row.title, micros["bare"], micros["ours"], ratios(taken["ours"], taken["bare"])))
        if "peer" in taken:
            faster, bar = ratios(taken["peer"], taken["ours"]), PEER_BARS.get(row.key)
            beside.append(Result(row.key, row.title, micros["peer"], micros["ours"], faster, bar, is_limit=False))
    loop.close()
    return results, beside


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and tell the exit code."""
    chosen = options(arguments)
    rounds, seconds = (chosen.rounds, chosen.seconds) if not chosen.short else (7, 0.002)
    peer_python = chosen.peer_python or (make_peer(chosen.make_peer, PEERS) if chosen.make_peer else None)
    peer = Peer(peer_python, "saga_python_cqrs.py", {}) if peer_python else None
    print(f"Python {platform.python_version()} on {platform.machine()}, {rounds} rounds of {seconds:g} s\n", flush=True)
    results, beside = measure(rounds=rounds, seconds=seconds, peer=peer)
    print(table("in memory", "bare µs", "x bare", results), flush=True)
    if peer is not None:
        about = f"beside python-cqrs {peer.about['version']}"
        print(f"\n{table(about, 'theirs µs', 'x as fast', beside)}\n(its Python: {peer.about['python']})")
        peer.close()
    if chosen.json:
        facts = {"python": platform.python_version(), "rounds": rounds, "seconds": seconds}
        groups = {"ours": [found.as_json() for found in results], "peer": [found.as_json() for found in beside]}
        chosen.json.write_text(json.dumps({**facts, **groups}, indent=2), encoding="utf-8")
    short = [found.title for found in beside if found.verdict == "short"]
    if short:
        print(f"\nShort of the bar by more than the spread: {'; '.join(short)}.")
    return 1 if short and chosen.check else 0


if __name__ == "__main__":
    sys.exit(main())
