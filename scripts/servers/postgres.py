"""PostgreSQL, whose server is the parent of the process that answers."""

from __future__ import annotations

import struct
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING

from .processes import parent
from .service import Server, Service, Step, Tool, connected

if TYPE_CHECKING:
    from typing import BinaryIO

#: Everybody on the machine may be `test`, who has no password, so that is nobody who could run programs or read files.
#: A command ends with its line.
SQL = """\
CREATE ROLE test LOGIN CREATEDB REPLICATION
CREATE DATABASE test OWNER test
ALTER ROLE postgres NOLOGIN
"""


def prepare(program: str, data: Path) -> list[Step]:
    """Make a cluster, and in it the database, while no server runs."""
    # The program may be a link somewhere in PATH; what belongs to it lies beside what that leads to.
    initdb = Path(program).resolve().with_name("initdb")
    return [
        Step(
            [
                str(initdb),
                f"--pgdata={data}",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
            ]
        ),
        Step([program, "--single", "-D", str(data), "-c", "exit_on_error=on", "postgres"], SQL),
    ]


def arguments(data: Path, port: int) -> list[str]:
    """Listen on loopback alone; no socket in the file system, whose path may be too long."""
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 200,
        "wal_level": "logical",
    }
    return ["-D", str(data), *(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))]


def is_ready(server: Server) -> bool:
    """
    Log in, and look whose child the process is that serves the connection.

    Source:
        PostgreSQL 15, "Message Formats": StartupMessage, version 3.0; BackendKeyData is K and begins with the pid.
    """
    with connected(server) as connection:
        text = b"user\0test\0database\0test\0\0"
        connection.sendall(struct.pack("!ii", 8 + len(text), 3 << 16) + text)
        with connection.makefile("rb") as reply:
            while (kind := reply.read(1)) in {b"R", b"S", b"N"}:
                _body(reply)
            if kind != b"K":
                return False  # it starts up, recovers, shuts down, or is none of ours
            # While the connection is open: the process that serves it ends with it.
            return parent(int.from_bytes(_body(reply)[:4], "big")) == server.pid


def _body(reply: BinaryIO) -> bytes:
    return reply.read(int.from_bytes(reply.read(4), "big") - 4)


POSTGRES = Service(
    name="postgres",
    packages=("postgresql",),
    program="postgres",
    places=("usr/lib/postgresql/*/bin",),
    prepare=prepare,
    arguments=arguments,
    is_ready=is_ready,
    variable="TEST_POSTGRES_URL",
    url="postgresql://test@127.0.0.1:{}/test".format,
    account="postgres",
    # It names the pid of the last server, which counts as running until somebody has waited for it; the process 1 of a
    # container may never do so. Whether one of its children lives on, the next server sees by the shared memory.
    leftovers=("postmaster.pid",),
    ends_on=SIGINT,  # SIGTERM would wait until the last client leaves
    tools=(Tool("pgbouncer", package="pgbouncer"),),  # a test has one for each of its modes
)
