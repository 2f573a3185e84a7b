"""Start, find and stop servers, whatever they serve."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING

from . import folders
from .commands import account_of, make_data, spawn, take
from .processes import Patience, beginning, end, is_running
from .service import Server, Service, ServiceError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

#: A free port may be gone when the server asks for it: so often another is tried.
ATTEMPTS = 3


#: All that is ever written into the folder of a service.
_OUR_NAMES = {"data", "log", "server.json", "server.new"}


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
        prepared_within_s: How long each step may take that prepares the data of a server.
        ready_within_s: How long a server may take to answer for the first time.
        answers_within_s: How long one that runs may take to answer, on a busy machine, before it counts as frozen.
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
        prepared_within_s: float = 120,
        ready_within_s: float = 30,
        answers_within_s: float = 10,
        ends_within_s: float = 10,
    ) -> None:
        with contextlib.suppress(FileNotFoundError):
            folders.check(folder)
        self._folder = folder
        self._ports = ports
        self._patience = patience or Patience()
        self._prepared_within_s = prepared_within_s
        self._ready_within_s = ready_within_s
        self._answers_within_s = answers_within_s
        self._ends_within_s = ends_within_s
        self._children: list[subprocess.Popen[bytes]] = []

    def running(self, service: Service) -> Server | None:
        """Answer the server that was started here, by whichever run, and has not ended."""
        server = self._last(service)
        return server if server is not None and is_running(server) else None

    def _last(self, service: Service) -> Server | None:
        try:
            return Server(**json.loads(self._record(service).read_text(encoding="utf-8")))
        except (
            FileNotFoundError,
            TypeError,
            json.JSONDecodeError,
        ):  # never started; cut off when the machine went down
            return None

    def answers(self, service: Service, server: Server) -> bool:
        """Answer whether *server* serves requests, now or soon; one that has ended does not."""
        is_decided = self._patience.wait(
            lambda: not is_running(server) or self._is_ready(service, server), within_s=self._answers_within_s
        )
        return is_decided and is_running(server)

    @staticmethod
    def _is_ready(service: Service, server: Server) -> bool:
        try:
            return service.is_ready(server)
        except OSError:
            return False

    def start(self, service: Service) -> Server:
        """
        Answer a server that is ready: the one that runs, or a new one. One that runs and does not answer is replaced.

        After one that was killed, or replaced, the new one has its data and if possible its port.

        Raises:
            ServiceError: The program, or what it needs, is missing; it ended by itself; or it or its data was not ready
                in time. Nothing of it is left.
        """
        program = service.installed_at()
        if program is None:
            raise ServiceError(f"{service.name} needs the program {service.program}, which is not installed.")
        service.fetch()
        with folders.locked(self._folder / service.name):
            server = self.running(service)
            if server is not None and self.answers(service, server):
                return server
            try:
                return self._resume(service, program) or self._begin(service, program)
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

    def _resume(self, service: Service, program: str) -> Server | None:
        """Go on with what the last server left, killed or frozen; answer None if there is nothing, or it is no use."""
        last = self._last(service)
        if last is None or not self._data(service).is_dir():
            return None
        self._end(service)
        for name in service.leftovers:
            (self._data(service) / name).unlink(missing_ok=True)
        # Its own port, for those who still know it. Another program may have that by now.
        for port in (last.port, self._ports()):
            process, server = self._spawn(service, program, port)
            if self._is_up(service, process, server):
                return server
        return None

    def _begin(self, service: Service, program: str) -> Server:
        """Start a server on new data."""
        for _ in range(ATTEMPTS):
            self._discard(service)
            self._prepare(service, program)
            process, server = self._spawn(service, program, self._ports())
            if self._is_up(service, process, server):
                return server
            # Most likely another program took the port first: another port, then.
        raise ServiceError(f"{service.name} ended by itself, {ATTEMPTS} times. It said: {self._said(service)}")

    def _prepare(self, service: Service, program: str) -> None:
        data, account = self._data(service), account_of(service.account)
        make_data(data, account)
        for step in service.prepare(program, data):
            try:
                with self._log(service).open("wb") as log:
                    take(step, data, log=log, account=account, within_s=self._prepared_within_s)
            except ServiceError as problem:
                raise ServiceError(
                    f"{service.name} could not be prepared: {problem}. It said: {self._said(service)}"
                ) from problem

    def _is_up(self, service: Service, process: subprocess.Popen[bytes], server: Server) -> bool:
        """Wait until the server answers, or has ended; answer which."""
        if not self._patience.wait(
            lambda: process.poll() is not None or self._is_ready(service, server), within_s=self._ready_within_s
        ):
            raise ServiceError(
                f"{service.name} was not ready after {self._ready_within_s} s. It said: {self._said(service)}"
            )
        return process.poll() is None

    def _spawn(self, service: Service, program: str, port: int) -> tuple[subprocess.Popen[bytes], Server]:
        data = self._data(service)
        command = [program, *service.arguments(data, port)]
        with self._log(service).open("wb") as log:
            process = spawn(command, data, log=log, account=account_of(service.account))
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
        self._end(service)
        folder = self._folder / service.name
        if foreign := sorted({path.name for path in folder.iterdir()} - _OUR_NAMES):
            raise ServiceError(f"{folder} holds what was not made here: {', '.join(foreign)}. Name another folder.")
        # First the record: without it nobody takes for whole what is left when this is cut off.
        self._record(service).unlink(missing_ok=True)
        shutil.rmtree(self._data(service), ignore_errors=True)
        for path in folder.iterdir():
            path.unlink()

    def _end(self, service: Service) -> None:
        server = self.running(service)
        if server is not None:
            end(server, politely=service.ends_on, within_s=self._ends_within_s, patience=self._patience)
        self._reap()

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]

    def _data(self, service: Service) -> Path:
        return self._folder / service.name / "data"

    def _record(self, service: Service) -> Path:
        return self._folder / service.name / "server.json"

    def _log(self, service: Service) -> Path:
        return self._folder / service.name / "log"

    def _said(self, service: Service) -> str:
        lines = self._log(service).read_text(encoding="utf-8", errors="replace").split("\n")
        return "\n".join(lines[-6:]).strip() or "nothing."
