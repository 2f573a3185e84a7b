"""
Measures what dispatching costs: how many times as long as the bare call, and how many times as fast as python-cqrs.

``python benchmarks/dispatch.py --make-peer FOLDER`` does all of it; ``nox -s bench`` does so in its own environments.
Times are processor time, in alternating blocks without garbage collection; a spread is that of the quartiles.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import comparing
import ours
from blocks import Spread
from imports import OURS, cost, import_times
from reporting import Result, as_json, conclude, facts, open_peer, process_parser, read, show_beside, table, tell

if TYPE_CHECKING:
    from peer import Peer

#: How many times as fast as the peer a row must be; rows that are not named here are only told.
PEER_BARS = {"send": 10.0}
IMPORT_BAR = 1.3


def measure_imports(*, rounds: int, peer: Peer | None) -> tuple[Result, list[Result]]:
    """Compare the import with that of what it is allowed to cost, and with the peer's."""
    standard, own, ratio = cost(rounds)
    micros = standard.median * 1e6, own.median * 1e6
    result = Result("import", "import cqrs_core", *micros, ratio, IMPORT_BAR)
    if peer is None:
        return result, []
    taken = import_times({OURS: sys.executable, "import cqrs": peer.python}, rounds=rounds)
    theirs, own = Spread.of(taken["import cqrs"]), Spread.of(taken[OURS])
    faster = Spread(*(value / own.median for value in theirs))
    return result, [Result("import", "import", theirs.median * 1e6, own.median * 1e6, faster)]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and tell the exit code."""
    chosen = read(process_parser("Measures what dispatching costs."), arguments)
    tell(chosen)
    logging.getLogger("cqrs_core").setLevel(logging.ERROR)  # as for the peer: fallbacks are told as warnings
    peer = open_peer(chosen, "python_cqrs.py")
    results, beside = comparing.measure(ours.rows(), PEER_BARS, rounds=chosen.rounds, seconds=chosen.seconds, peer=peer)
    print(table("work", "bare µs", "x bare", results), flush=True)
    own_import, imports_beside = measure_imports(rounds=chosen.rounds if not chosen.short else 3, peer=peer)
    print("\n" + table("import, above a bare start", "stdlib µs", "x stdlib", [own_import]))
    groups = {"ours": [*results, own_import], "peer": [*beside, *imports_beside]}
    show_beside(groups["peer"], peer)
    return conclude(chosen, {**facts(chosen), **as_json(groups)}, groups)


if __name__ == "__main__":
    sys.exit(main())
