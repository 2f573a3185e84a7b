"""Measures what an import costs, in fresh interpreters that alternate, above the start of a bare one."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from blocks import Spread

if TYPE_CHECKING:
    from collections.abc import Mapping

STANDARD_LIBRARY = "import asyncio, dataclasses, typing, json, uuid"
OURS = "import cqrs_core"


def import_times(statements: Mapping[str, str], *, rounds: int) -> dict[str, list[float]]:
    """
    Run each statement in *rounds* new processes.

    Args:
        statements: What is imported, by the interpreter that does it and a name, such as ``{"import json": python}``.

    Returns:
        For each statement the seconds of wall time, a value for each round, with a bare start subtracted.
    """
    pythons = dict.fromkeys(statements.values())
    for statement, python in statements.items():  # the first run writes the byte code
        start(python, statement)
    taken: dict[str, list[float]] = {statement: [] for statement in statements}
    for _ in range(rounds):
        bare = {python: start(python, "pass") for python in pythons}
        for statement, python in statements.items():
            taken[statement].append(start(python, statement) - bare[python])
    return taken


def start(python: str, statement: str) -> float:
    """Tell the seconds of wall time that a new process takes for *statement*."""
    began = time.perf_counter()
    subprocess.run([python, "-c", statement], check=True)
    return time.perf_counter() - began


def cost(rounds: int) -> tuple[Spread, Spread, Spread]:
    """Tell the seconds of the standard library and of ours, and how many times as long ours takes."""
    taken = import_times({STANDARD_LIBRARY: sys.executable, OURS: sys.executable}, rounds=rounds)
    standard, ours = Spread.of(taken[STANDARD_LIBRARY]), Spread.of(taken[OURS])
    # One slow start would spoil the ratio of its round, so the medians are compared, and the quartiles to the median.
    return standard, ours, Spread(*(value / standard.median for value in ours))
