"""Start, find and stop servers, whatever they serve."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import socket
import subprocess
from dataclasses import asdict
from typing import TYPE_CHECKING, TypedDict

from . import folders
from .processes import Patience, beginning, end, is_running
from .service import Server, Service, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: A free port may be gone when the server asks for it: so often another is tried.
ATTEMPTS = 3


#: All that is ever written into the folder of a service.
_OUR_NAMES = {"data", "log", "server.json", "server.new"}


class Account(TypedDict, total=False):
    """The arguments of Popen that make a process run as somebody else."""

    user: int
    group: int
    extra_groups: list[int]


def free_port() -> int:
    """Answer a port of 127.0.0.1 on which nobody listens, just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Control:
    """
    Runs servers, each below *folder*: ``NAME/server.json`` says which process it is, ``data`` is what it writes.

    Several may work on one folder at the same time: they take turns, service by service.

    Args:
        ports: Proposes a port for the next server.
        ready_within_s: How long a server may take to answer for the first time.
        ends_within_s: How long a server may take to end when asked, before it is killed.

    Raises:
        ServiceError: *folder* is somebody else's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Callable[[], int] = free_port,
        patience: Patience | None = None,
        ready_within_s: float = 30,
        ends_within_s: float = 10,
    ) -> None:
        with contextlib.suppress(FileNotFoundError):
            folders.check(folder)
        self._folder = folder
        self._ports = ports
        self._patience = patience or Patience()
        self._ready_within_s = ready_within_s
        self._ends_within_s = ends_within_s
        self._children: list[subprocess.Popen[bytes]] = []

    def running(self, service: Service) -> Server | None:
        """Answer the server that was started here, by whichever run, and has not ended."""
        try:
            server = Server(**json.loads(self._record(service).read_text(encoding="utf-8")))
        except (
            FileNotFoundError,
            TypeError,
            json.JSONDecodeError,
        ):  # never started; cut off when the machine went down
            return None
        return server if is_running(server) else None

    def answers(self, service: Service, server: Server) -> bool:
        """Answer whether *server* serves requests now."""
        try:
            return service.is_ready(server)
        except OSError:
            return False

    def start(self, service: Service) -> Server:
        """
        Answer a server that is ready: the one that runs, or a new one. One that runs and does not answer is replaced.

        Raises:
            ServiceError: The program is missing, ended by itself or was not ready in time; nothing of it is left.
        """
        program = service.installed_at()
        if program is None:
            raise ServiceError(f"{service.name} needs the program {service.program}, which is not installed.")
        with folders.locked(self._folder / service.name):
            server = self.running(service)
            if server is not None and self.answers(service, server):
                return server
            try:
                self._discard(service)
                return self._launch(service, program)
            except BaseException:  # also when interrupted by the keyboard
                self._discard(service)
                raise

    def stop(self, service: Service) -> bool:
        """Answer whether a server ran; end it if it was started here, and remove all that it wrote."""
        self._reap()
        if not (self._folder / service.name).is_dir():
            return False
        with folders.locked(self._folder / service.name):
            was_running = self.running(service) is not None
            self._discard(service)
            (self._folder / service.name).rmdir()
        with contextlib.suppress(OSError):  # not empty: other services run
            self._folder.rmdir()
        return was_running

    def _launch(self, service: Service, program: str) -> Server:
        for _ in range(ATTEMPTS):
            self._discard(service)
            process, server = self._spawn(service, program)
            if self._is_up(service, process, server):
                return server
            # Most likely another program took the port first: another port, then.
        raise ServiceError(f"{service.name} ended by itself, {ATTEMPTS} times. It said: {self._said(service)}")

    def _is_up(self, service: Service, process: subprocess.Popen[bytes], server: Server) -> bool:
        """Wait until the server answers, or has ended; answer which."""
        if not self._patience.wait(
            lambda: process.poll() is not None or self.answers(service, server), within_s=self._ready_within_s
        ):
            raise ServiceError(
                f"{service.name} was not ready after {self._ready_within_s} s. It said: {self._said(service)}"
            )
        return process.poll() is None

    def _spawn(self, service: Service, program: str) -> tuple[subprocess.Popen[bytes], Server]:
        data = self._folder / service.name / "data"
        data.mkdir(mode=0o700)
        account = _account(service.account)
        if account:
            os.chown(data, account["user"], account["group"])
        port = self._ports()
        with self._log(service).open("wb") as log:
            # Not the streams of this process: $(scripts/services start) waits until the last who has them closes them.
            # A session of its own: Ctrl-C at the terminal is not for the server.
            try:
                process = subprocess.Popen(
                    [program, *service.arguments(data, port)],
                    cwd=data,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    **account,
                )
            except OSError as error:  # not for this machine; or this account may not reach its data, or the program
                raise ServiceError(f"{program} cannot be run in {data}: {error}") from error
        self._children.append(process)
        server = Server(process.pid, beginning(process.pid) or "ended at once", port)
        # Before it is ready: if this process is killed now, the next still knows what to end.
        record = self._record(service)
        unfinished = record.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(server)), encoding="utf-8")
        unfinished.replace(record)
        return process, server

    def _discard(self, service: Service) -> None:
        """End the server if it runs and empty its folder, which stays: the lock is on it."""
        server = self.running(service)
        if server is not None:
            end(server, within_s=self._ends_within_s, patience=self._patience)
        self._reap()
        folder = self._folder / service.name
        if foreign := sorted({path.name for path in folder.iterdir()} - _OUR_NAMES):
            raise ServiceError(f"{folder} holds what was not made here: {', '.join(foreign)}. Name another folder.")
        shutil.rmtree(folder / "data", ignore_errors=True)
        for path in folder.iterdir():
            path.unlink()

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]

    def _record(self, service: Service) -> Path:
        return self._folder / service.name / "server.json"

    def _log(self, service: Service) -> Path:
        return self._folder / service.name / "log"

    def _said(self, service: Service) -> str:
        lines = self._log(service).read_text(encoding="utf-8", errors="replace").split("\n")
        return "\n".join(lines[-6:]).strip() or "nothing."


def _account(name: str) -> Account:
    """Answer how to become *name*, when this is root; whoever else starts a server is its owner."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(name)
    except KeyError:  # not installed from the Debian package, which would have made the account
        entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
