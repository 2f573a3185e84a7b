"""Redis, which forgets everything when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .service import Server, Service, connected

if TYPE_CHECKING:
    from pathlib import Path


def arguments(data: Path, port: int) -> list[str]:
    """Listen on loopback alone and never write the data to disk."""
    return ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(data), "--save", "", "--appendonly", "no"]


def is_ready(server: Server) -> bool:
    """Ask for the pid; while Redis is loading it answers with an error instead."""
    with connected(server) as connection:
        connection.sendall(b"INFO server\r\n")
        with connection.makefile("rb") as reply:
            heading = reply.readline()  # $ and the length of what follows, or - and an error
            if not heading.startswith(b"$"):
                return False
            return f"process_id:{server.pid}".encode() in reply.read(int(heading[1:])).split()


REDIS = Service(
    name="redis",
    packages=("redis-server",),
    program="redis-server",
    arguments=arguments,
    is_ready=is_ready,
    variable="TEST_REDIS_URL",
    url="redis://127.0.0.1:{}/0".format,
    account="redis",
)
