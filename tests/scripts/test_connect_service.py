from __future__ import annotations

import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("scripts/services reads the processes of Linux", allow_module_level=True)

from servers import connect, kafka
from servers.connect import arguments, bootstrap, is_ready
from servers.processes import beginning, listens
from servers.service import Server, ServiceError


@pytest.fixture
def listener() -> socket.socket:
    """A port of this process."""
    return socket.create_server(("127.0.0.1", 0))


def test_only_the_process_that_listens_is_said_to(listener: socket.socket) -> None:
    """Not who connects to the port, nor its parent; and nobody when it is closed, or never was there."""
    port = listener.getsockname()[1]
    with listener, socket.create_connection(("127.0.0.1", port)) as other:
        assert listens(os.getpid(), port)
        assert not listens(os.getpid(), other.getsockname()[1])
        assert not listens(os.getppid(), port)

    assert not listens(os.getpid(), port)
    assert not listens(2**22 + 1, port)


def test_a_port_on_which_somebody_else_listens_is_not_ready(listener: socket.socket) -> None:
    """Nothing is asked of him."""
    with listener:
        server = Server(os.getppid(), str(beginning(os.getppid())), listener.getsockname()[1])

        assert not is_ready(server)


@pytest.mark.parametrize(
    ("answer", "is_right"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", True),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", False),
        (b"no HTTP\r\n", False),
    ],
)
def test_only_a_list_of_connectors_tells_that_it_is_ready(
    listener: socket.socket,
    answer: bytes,
    is_right: bool,  # noqa: FBT001 - one column of a table
) -> None:
    """Anything else means: not yet."""
    asked: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(1000))
            connection.sendall(answer)

    with listener, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve)
        server = Server(os.getpid(), str(beginning(os.getpid())), listener.getsockname()[1])
        found = is_ready(server)
        serving.result(timeout=10)

    assert is_right is found
    assert asked[0].startswith(b"GET /connectors HTTP/1.1\r\n")


def test_the_worker_writes_to_the_kafka_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings are written anew at each start."""
    monkeypatch.setenv(kafka.KAFKA.variable, "there:1")
    arguments(tmp_path, 7)
    monkeypatch.setenv(kafka.KAFKA.variable, "there:2")

    config = Path(arguments(tmp_path, 8)[-1]).read_text(encoding="utf-8")

    assert "bootstrap.servers=there:2\n" in config
    assert "listeners=http://127.0.0.1:8\n" in config


def test_without_a_kafka_there_is_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither beside it nor in the environment."""
    monkeypatch.delenv(kafka.KAFKA.variable, raising=False)

    with pytest.raises(ServiceError, match="start kafka connect"):
        bootstrap(tmp_path / "services" / "connect" / "data")


def test_the_plugin_is_the_one_that_users_get() -> None:
    """Where cqrs-sqla has it."""
    assert connect.PLUGIN.is_file()
