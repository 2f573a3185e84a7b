"""The benchmark of the broker runs. How fast anything is, no test says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "broker.py"


def test_the_short_form_measures_every_row() -> None:
    """All messages that are sent arrive, or it would not end."""
    command = [sys.executable, str(BENCHMARK), "--rounds", "2", "--seconds", "0.01"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=60)

    assert (0, "") == (done.returncode, done.stderr)
    heading, reference, *rows = done.stdout.splitlines()
    assert ["messages/s", "ratio", "(quartiles)"] == heading.split()
    assert reference.startswith("asyncio.Queue")
    assert 6 == len(rows)
