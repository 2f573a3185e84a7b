from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("scripts/services reads the processes of Linux", allow_module_level=True)

from servers.commands import take
from servers.processes import Patience, beginning
from servers.service import Step

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


#: Its first thread ends; the other reads what it is sent, tells it and goes on until nothing more comes.
OUTLIVES_ITS_FIRST_THREAD = """
import ctypes, sys, threading
threading.Thread(target=lambda: [print(line, flush=True) for line in sys.stdin]).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_runs_as_long_as_any_of_its_threads() -> None:
    """Of one that is being killed, the first thread may end before others, which still hold its port."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", OUTLIVES_ITS_FIRST_THREAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert Patience().wait(lambda: b"Z" == Path(f"/proc/{process.pid}/stat").read_bytes().split()[2], within_s=30)

        assert beginning(process.pid) is not None

        process.kill()
        assert Patience().wait(lambda: beginning(process.pid) is None, within_s=30)
