"""Processes of Linux: tell one from every other, wait for them and end them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .service import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .service import Server

POLL_S = 0.02


def beginning(pid: int) -> str | None:
    """Answer when a process began; None when there is none, or only its exit code is left."""
    fields = _fields(pid)
    # The first thread of a process may have ended while others still do: they hold the port, and files of the data.
    if fields is None or (fields[0] in {b"Z", b"X"} and int(fields[20 - 3]) <= 1):
        return None
    return fields[22 - 3].decode()


def parent(pid: int) -> int | None:
    """Answer the process that a process is a child of; None when there is none."""
    fields = _fields(pid)
    return None if fields is None else int(fields[4 - 3])


def _fields(pid: int) -> list[bytes] | None:
    """
    Answer what the kernel tells of a process, from its field 3 on; None when there is none.

    Source:
        proc_pid_stat(5): the name, in brackets, may hold anything; state is field 3, ppid 4, num_threads 20,
        starttime 22.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(b")")[2].split()


def command_line(pid: int) -> list[bytes]:
    """Answer the program and the arguments of a process, of another user's too; none when there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def listens(pid: int, port: int) -> bool:
    """
    Answer whether a process listens on a port of IPv4's or IPv6's; of another user's, only root can tell.

    Source:
        proc_pid_fd(5), proc_pid_net(5): the fields of a socket are its local address at 1, its state at 3, of which 0A
        is LISTEN, and its inode at 9.
    """
    try:
        tables = [Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii") for table in ("tcp", "tcp6")]
        files = {_target(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:  # there is none, or it is not for us to look
        return False
    sockets = [line.split() for table in tables for line in table.splitlines()[1:]]
    end, listening = f":{port:04X}", "0A"
    return any(f"socket:[{s[9]}]" in files for s in sockets if s[1].endswith(end) and s[3] == listening)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # closed just now
        return ""


def is_running(server: Server) -> bool:
    """Answer whether the very process runs that was started as *server*."""
    return beginning(server.pid) == server.began


class Patience:
    """Waits, by a clock and a sleep that can be replaced."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep

    def wait(self, condition: Callable[[], bool], *, within_s: float) -> bool:
        """Answer whether *condition* came true in time; it is asked at least once."""
        deadline = self._clock() + within_s
        while not condition():
            if self._clock() >= deadline:
                return False
            self._sleep(POLL_S)
        return True


def end(server: Server, *, politely: signal.Signals = signal.SIGTERM, within_s: float, patience: Patience) -> None:
    """
    End a server: politely, then by force. One that is gone is left in peace, whoever has its pid now.

    Args:
        politely: The signal that asks it.
        within_s: How long it may take after each of the two.

    Raises:
        ServiceError: It runs on, stuck in the kernel.
    """
    for how in (politely, signal.SIGKILL):
        if not is_running(server):
            return
        try:
            os.kill(server.pid, how)
            os.kill(server.pid, signal.SIGCONT)  # a frozen one would see the first only when it is thawed
        except ProcessLookupError:
            return
        if patience.wait(lambda: not is_running(server), within_s=within_s):
            return
    raise ServiceError(
        f"Process {server.pid} was killed and still runs; look what holds it: ps -o stat,wchan {server.pid}"
    )
