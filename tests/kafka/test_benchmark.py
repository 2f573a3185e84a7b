"""The benchmark of Kafka runs. How fast anything is, no test says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "kafka.py"


def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARK), *options]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", check=False, timeout=100, env={**os.environ, **environment}
    )


def test_the_short_form_measures_every_row(bootstrap: str) -> None:
    """All messages that are sent arrive, or it would not end."""
    done = run("--rounds", "2", "--messages", "5", TEST_KAFKA_BOOTSTRAP=bootstrap)

    assert 0 == done.returncode, done.stderr
    lines = done.stdout.splitlines()
    assert 2 + 4 + 3 == len(lines)
    assert ["1.0", "1.0"] == [line.split()[-1] for line in (lines[1], lines[6])]


def test_without_a_server_it_says_so() -> None:
    done = run(TEST_KAFKA_BOOTSTRAP="")

    assert 1 == done.returncode
    assert "TEST_KAFKA_BOOTSTRAP is not set" in done.stderr
