from __future__ import annotations

import os
import socket
import sys
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
