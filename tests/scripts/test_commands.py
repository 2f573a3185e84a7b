from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if sys.platform != "linux":
    pytest.skip("scripts/services reads the processes of Linux", allow_module_level=True)

from servers.commands import take
from servers.processes import Patience, beginning
from servers.service import Step

if TYPE_CHECKING:
    from pathlib import Path

#: Starts another process, tells its pid and waits for it.
STARTS_ANOTHER = """
import os, signal
if pid := os.fork():
    with open("unfinished", "w") as file:
        file.write(str(pid))
    os.rename("unfinished", "pid")
signal.pause()
"""


def test_an_interrupted_step_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts such as mariadb-install-db start others, which would write on into the folder."""
    pid = tmp_path / "pid"

    def interrupted(*_: object, **__: object) -> None:
        assert Patience().wait(pid.exists, within_s=30)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    step = Step([sys.executable, "-I", "-S", "-c", STARTS_ANOTHER])

    with (tmp_path / "log").open("wb") as log, pytest.raises(KeyboardInterrupt):
        take(step, tmp_path, log=log, account={}, within_s=60)

    assert Patience().wait(lambda: beginning(int(pid.read_text())) is None, within_s=30)
