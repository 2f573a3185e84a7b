"""What has to be known about a service to run it: the only thing that differs from one to the next."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM, Signals
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Server:
    """
    A running service.

    Attributes:
        began: When its process began, in the system's words. With the pid it names one process for good; the pid alone
            may be given to another.
    """

    pid: int
    began: str
    port: int


def connected(server: Server) -> socket.socket:
    """Answer a connection to *server*, which waits no longer than :attr:`Service.is_ready` may."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=1)


@dataclass(frozen=True, slots=True)
class Step:
    """
    A command that makes something of an empty data folder; exit code 0 says that it did.

    Attributes:
        text: What it reads from its standard input.
    """

    command: Sequence[str]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that tests start by themselves, beside a service, and the Debian package that brings it."""

    program: str
    package: str


def nothing_to_fetch() -> None:
    """Do nothing, for a server whose packages bring all of it."""


def no_steps(_program: str, _data: Path) -> list[Step]:
    """Answer what has to be done for a server that needs nothing but an empty folder."""
    return []


@dataclass(frozen=True, slots=True)
class Service:
    """
    The description of a service.

    Attributes:
        name: What is typed to choose it.
        packages: The Debian packages that bring it.
        program: The command that is the server; it is installed when this one is found.
        arguments: Answers them for a data folder, which exists and is the server's own, and for a port of 127.0.0.1.
            The folder is as :attr:`prepare` left it, or as the last server did, which may have been killed. The server
            must stay in the foreground.
        is_ready: Answers, within about a second, whether **this very process** serves requests. Another program may
            have taken the port, so ask the server who it is. An OSError means: not yet.
        variable: The environment variable that tells the tests.
        url: Answers its value for a port.
        account: Who runs it when root starts it. A server without a password would lend root's rights to everybody
            on the machine.
        fetch: Brings, before it is started, what no package has, unless it is there already; it may raise a
            ServiceError.
        prepare: Answers, for the path of the program and the data folder, the steps that have to be taken in the empty
            folder before the first start, in their order and by the same account.
        places: Patterns of folders below /, in which Debian may have put the program when it is not in PATH; the last
            in the alphabet that has it is taken.
        leftovers: Files in the data by which a killed server keeps the next from starting; they are removed between
            the two.
        ends_on: What asks the server to end soon, whoever is connected.
        tools: What is installed along with it.
        is_usual: Whether it is started when no service is named.
    """

    name: str
    packages: tuple[str, ...]
    program: str
    arguments: Callable[[Path, int], list[str]]
    is_ready: Callable[[Server], bool]
    variable: str
    url: Callable[[int], str]
    account: str = "nobody"
    fetch: Callable[[], None] = nothing_to_fetch
    prepare: Callable[[str, Path], Sequence[Step]] = no_steps
    places: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    ends_on: Signals = SIGTERM
    tools: tuple[Tool, ...] = ()
    is_usual: bool = True

    def installed_at(self) -> str | None:
        """Answer the path of the program; None when it is not installed."""
        return _find(self.program, self.places)

    def missing_packages(self) -> list[str]:
        """Answer the packages of what is not installed, be it the program or a tool."""
        missing = [] if self.installed_at() else list(self.packages)
        return missing + [tool.package for tool in self.tools if _find(tool.program) is None]


def _find(program: str, patterns: Sequence[str] = ()) -> str | None:
    # Debian keeps servers where only root's PATH looks, and some where no PATH does.
    places = [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"]
    for pattern in patterns:
        places += sorted(map(str, Path("/").glob(pattern)), reverse=True)
    return shutil.which(program, path=os.pathsep.join(places))


class ServiceError(RuntimeError):
    """A service that was asked for cannot be had; the text says which, why and what to do."""
