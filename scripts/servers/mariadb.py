"""MariaDB, which is asked for its data folder: its pid it tells nobody."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .processes import command_line
from .service import Server, Service, Step, connected

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

#: Everybody on the machine may be `test`, who has no password, so that is nobody who could read or write files, or
#: grant it to themselves: of two databases that match, the exact name counts.
SQL = """\
CREATE DATABASE test;
FLUSH PRIVILEGES;
CREATE USER test@127.0.0.1;
GRANT ALL ON `%`.* TO test@127.0.0.1;
GRANT SELECT ON mysql.* TO test@127.0.0.1;
GRANT PROCESS, REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO test@127.0.0.1;
"""
DEFAULTS = ["--no-defaults", "--character-set-server=utf8mb4", "--default-storage-engine=InnoDB"]

#: CLIENT_PROTOCOL_41 and CLIENT_SECURE_CONNECTION.
CAPABILITIES = 0x0200 | 0x8000
UTF8MB4 = 45
OK = b"\x00"
QUERY = b"\x03SELECT @@datadir"
QUIT = b"\x01"


def prepare(program: str, data: Path) -> list[Step]:
    """Make the tables of the system, and then the database, while no server runs."""
    return [
        Step(["mariadb-install-db", DEFAULTS[0], f"--datadir={data}", "--skip-name-resolve", "--skip-test-db"]),
        Step([program, *DEFAULTS, f"--datadir={data}", "--bootstrap"], SQL),
    ]


def arguments(data: Path, port: int) -> list[str]:
    """Listen on loopback alone; names of files are relative to the data, for the path of a socket may be too long."""
    return [
        *DEFAULTS,
        f"--datadir={data}",
        "--socket=mariadb.sock",
        "--pid-file=mariadb.pid",
        "--bind-address=127.0.0.1",
        f"--port={port}",
        "--skip-name-resolve",
    ]


def is_ready(server: Server) -> bool:
    """
    Log in, and ask for the data folder: it must be the one that the process was given.

    Source:
        MariaDB, "Clientserver Protocol": Connection Phase, HandshakeResponse, COM_QUERY, COM_QUIT.
    """
    with connected(server) as connection, connection.makefile("rb") as reply:
        if not _packet(reply).startswith(b"\x0a"):  # a greeting of that protocol; an error is ff
            return False
        login = struct.pack("<IIB23x", CAPABILITIES, 1 << 24, UTF8MB4) + b"test\0" + b"\0"
        connection.sendall(_header(login, 1) + login)
        if not _packet(reply).startswith(OK):
            return False
        connection.sendall(_header(QUERY, 0) + QUERY)
        for _ in ("number of columns", "column", "end of columns"):
            _packet(reply)
        datadir = _packet(reply)[1:].rstrip(b"/")  # after its length
        connection.sendall(_header(QUIT, 0) + QUIT)  # or it would warn of a client that went away
    return b"--datadir=" + datadir in command_line(server.pid)


def _header(body: bytes, number: int) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number])


def _packet(reply: BinaryIO) -> bytes:
    header = reply.read(4)
    return reply.read(int.from_bytes(header[:3], "little"))


MARIADB = Service(
    name="mariadb",
    packages=("mariadb-server",),
    program="mariadbd",
    prepare=prepare,
    arguments=arguments,
    is_ready=is_ready,
    variable="TEST_MARIADB_URL",
    url="mysql://test@127.0.0.1:{}/test".format,
    account="mysql",
)
