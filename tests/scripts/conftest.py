"""What tests of servers do to those."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def freeze() -> Callable[[int], None]:
    """Stop a process: when this returns, none of its threads runs, and it answers nothing any more."""
    from servers.processes import Patience

    def are_stopped(pid: int) -> bool:
        states = [stat.read_bytes().rpartition(b")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
        return all(state in {b"T", b"t"} for state in states)

    def stop(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        assert Patience().wait(lambda: are_stopped(pid), within_s=30)

    return stop
