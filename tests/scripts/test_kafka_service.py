from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiokafka import admin

if sys.platform != "linux":
    pytest.skip("scripts/services reads the processes of Linux", allow_module_level=True)

from servers.control import Control, free_port
from servers.kafka import KAFKA, cache, cluster_of
from servers.processes import Patience, is_running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.service import Server

if KAFKA.installed_at() is None or not cache().exists():
    pytest.skip("Kafka is not installed: scripts/services start kafka", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Below the temporary folder; pytest's only its owner enters, and root starts servers as somebody else."""
    with tempfile.TemporaryDirectory(prefix="cqrs-kafka-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "services"


@pytest.fixture
def control(folder: Path) -> Iterator[Control]:
    control = Control(folder)
    yield control
    control.stop(KAFKA)


def topics(server: Server, *new: str) -> set[str]:
    """Make topics, and answer all that there are."""

    async def main() -> set[str]:
        client = admin.AIOKafkaAdminClient(bootstrap_servers=KAFKA.url(server.port))
        await client.start()
        try:
            if new:
                await client.create_topics([admin.NewTopic(name, 1, 1) for name in new])
            return set(await client.list_topics())
        finally:
            await client.close()

    return asyncio.run(main())


def test_it_serves_between_start_and_stop(folder: Path) -> None:
    """Through the shell, as people and CI do it; a second start prints the same line."""
    services, options = f"{shlex.quote(sys.executable)} scripts/services", f"kafka --folder {folder}"
    script = f"""
        trap '{services} stop {options}' EXIT
        {services} start {options}
        {services} start {options}
        {services} status {options}
    """
    bash = str(shutil.which("bash"))
    done = subprocess.run([bash, "-c", script], check=True, cwd=ROOT, capture_output=True, text=True, timeout=100)

    (line,) = set(done.stdout.splitlines())
    assert line.startswith("export TEST_KAFKA_BOOTSTRAP=127.0.0.1:"), done.stderr
    assert 3 == len(done.stdout.splitlines())
    assert "kafka: stopped" in done.stderr
    assert not folder.exists()


def test_what_was_stored_outlives_a_kill(control: Control) -> None:
    """Nobody has to be told a new address; the server of another is not taken for it."""
    killed = control.start(KAFKA)
    topics(killed, "kept")
    os.kill(killed.pid, signal.SIGKILL)
    assert Patience().wait(lambda: not is_running(killed), within_s=30)

    server = control.start(KAFKA)

    assert killed.port == server.port
    assert "kept" in topics(server)
    assert KAFKA.is_ready(server)
    assert not KAFKA.is_ready(replace(server, pid=os.getpid()))


def test_a_frozen_one_is_replaced_and_its_data_kept(control: Control, freeze: Callable[[int], None]) -> None:
    """The kernel takes connections in its stead, so only an answer counts."""
    frozen = control.start(KAFKA)
    topics(frozen, "kept")
    freeze(frozen.pid)

    server = control.start(KAFKA)

    assert not is_running(frozen)
    assert "kept" in topics(server)


def test_a_port_on_which_nobody_answers_is_not_ready(control: Control) -> None:
    """An OSError says: not yet."""
    server = control.start(KAFKA)

    with pytest.raises(ConnectionError):
        KAFKA.is_ready(replace(server, port=free_port()))


def test_only_a_process_that_was_started_here_serves_a_cluster_of_ours() -> None:
    assert cluster_of([b"java", b"kafka.Kafka", b"/folder/data/server.properties"]) is not None
    assert cluster_of([b"redis-server"]) is None
