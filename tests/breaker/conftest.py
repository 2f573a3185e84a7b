"""Servers for the tests: the one that runs, and one that a test may stop, kill and start again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest


@pytest.fixture
def url(server_at: Callable[[str], str]) -> str:
    """Where the server of the tests is; without one they are skipped, but not where nobody reads along."""
    return server_at("TEST_REDIS_URL")


@pytest.fixture
def server(tmp_path: Path, without: Callable[[str], NoReturn]) -> Iterator[OwnServer]:
    """A server that a test may stop; it is started."""
    own = OwnServer(shutil.which("redis-server") or without("redis-server is not installed"), tmp_path)
    own.start()
    yield own
    own.kill()


class OwnServer:
    """
    A Redis that keeps nothing, on a free port.

    Attributes:
        url: Where it is, also after a restart.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([self._program, *options], stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline, (self._folder / "redis.log").read_text()
            else:
                return

    def freeze(self) -> None:
        """Let it answer nobody, and refuse nobody either."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it, with all that it knows."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server is not started"
        self._process.send_signal(number)
