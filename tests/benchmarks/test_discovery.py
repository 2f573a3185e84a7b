"""The benchmark of discovery runs, and what it says of programs without plug-ins is true."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "discovery.py"


def test_every_row_is_measured_and_a_send_imports_nothing_of_plugins() -> None:
    """DESIGN 7: who uses no plug-in pays for none."""
    pytest.importorskip("pluggy")

    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--rounds", "1"], capture_output=True, encoding="utf-8", check=False
    )

    assert (0, "") == (done.returncode, done.stderr)
    rows = done.stdout.splitlines()
    assert 9 == len([row for row in rows if row[-1:].isdigit() and "." in row[-5:]])
    assert rows[-1].endswith("cqrs_core.plugins, importlib.metadata, pluggy: nothing")
