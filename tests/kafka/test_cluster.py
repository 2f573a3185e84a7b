"""One of three nodes is killed under load: nothing is lost, and for each key the order stays."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerUnavailable
from cqrs_kafka import KafkaBroker, KafkaSettings

if sys.platform != "linux":
    pytest.skip("scripts/servers starts Kafka on Linux only", allow_module_level=True)

from servers.control import Control, free_port
from servers.kafka import CONFIG, KAFKA, REQUEST, SETTINGS, java
from servers.service import Service, Step

NODES = (1, 2, 3)
KEYS = 20


class Cluster:
    """
    Three nodes, each of which leads and votes.

    Attributes:
        servers: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        controllers = {node: free_port() for node in NODES}
        self._services = {node: _service(node, controllers) for node in NODES}
        self._controls = {node: Control(folder, ready_within_s=120) for node in NODES}
        self._servers: dict[int, Any] = {}

    def start(self, *nodes: int) -> None:
        """Start *nodes*, side by side: one alone would have nobody to vote with."""
        with ThreadPoolExecutor(len(NODES)) as threads:
            started = threads.map(lambda node: self._controls[node].start(self._services[node]), nodes)
            self._servers.update(zip(nodes, started, strict=True))

    @property
    def servers(self) -> tuple[str, ...]:
        return tuple(f"127.0.0.1:{self._servers[node].port}" for node in NODES)

    def kill(self, node: int) -> None:
        os.kill(self._servers[node].pid, signal.SIGKILL)

    def stop(self) -> None:
        for node in NODES:
            self._controls[node].stop(self._services[node])


def _service(node: int, controllers: dict[int, int]) -> Service:
    """Describe a node: its name is that of its folder."""
    voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in controllers.items())
    settings = SETTINGS.replace("node.id=1", f"node.id={node}").replace("1@127.0.0.1:9093", voters)
    settings = settings.replace("replication.factor=1", "replication.factor=3").replace("min.isr=1", "min.isr=2")
    settings = settings.replace("127.0.0.1:9093", f"127.0.0.1:{controllers[node]}")
    return replace(
        KAFKA,
        name=f"kafka-{node}",
        prepare=partial(_prepare, settings),
        arguments=partial(_arguments, controllers[node]),
        is_ready=_is_ready,
    )


def _prepare(settings: str, program: str, _data: Path) -> list[Step]:
    tool = java("kafka.tools.StorageTool", "format", "--cluster-id=three-nodes-of-a-test0", f"--config={CONFIG}")
    return [Step(["tee", CONFIG], settings), Step([program, *tool])]


def _arguments(controller: int, data: Path, port: int) -> list[str]:
    listeners = f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"
    return java("kafka.Kafka", str(data / CONFIG), "--override", listeners)


def _is_ready(server: Any) -> bool:
    """Tell whether a node knows of all the others."""
    import socket
    import struct

    with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
        connection.sendall(struct.pack("!i", len(REQUEST)) + REQUEST)
        reply = connection.recv(12)
        return len(reply) == 12 and struct.unpack("!iii", reply)[2] >= len(NODES) - 1


@pytest.fixture
def cluster(bootstrap: str) -> Iterator[Cluster]:
    assert bootstrap  # where the tests of one node are skipped, so is this
    if KAFKA.installed_at() is None:
        pytest.skip("java is not installed")
    with tempfile.TemporaryDirectory(prefix="cqrs-kafka-test-") as folder:
        Path(folder).chmod(0o711)
        made = Cluster(Path(folder) / "services")
        try:
            made.start(*NODES)
            yield made
        finally:
            made.stop()


async def _make_topic(cluster: Cluster) -> str:
    name = f"test-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=list(cluster.servers))
    await admin.start()
    await admin.create_topics([NewTopic(name, 6, 3, topic_configs={"min.insync.replicas": "2"})])
    await admin.close()
    return name


async def test_a_node_killed_under_load_loses_nothing(cluster: Cluster, kafka: Any) -> None:
    """Others lead its partitions, and its groups, after a few seconds; the relay sends again what may have got lost."""
    topic = await _make_topic(cluster)
    broker = KafkaBroker(KafkaSettings(servers=cluster.servers))
    await broker.start()
    subscription = await kafka.subscribe(broker, topic)
    received: dict[str | None, list[int]] = defaultdict(list)
    waiting: list[Envelope] = []
    count = delivered = 0
    is_ending = False

    async def relay() -> None:
        nonlocal count, delivered, waiting
        while waiting or not is_ending:
            while not is_ending and len(waiting) < 100:
                waiting.append(Envelope(topic, b"%d" % count, f"key-{count % KEYS}"))
                count += 1
            outcomes = await broker.send_many(waiting)
            left = [envelope for envelope, o in zip(waiting, outcomes, strict=True) if not o.is_delivered]
            delivered += len(waiting) - len(left)
            waiting = left

    async def consume() -> None:
        while True:
            try:
                deliveries = await subscription.receive(100)
            except BrokerUnavailable:
                continue
            for delivery in deliveries:
                number, numbers = int(delivery.envelope.body), received[delivery.envelope.key]
                if number not in numbers[-500:]:
                    numbers.append(number)
            await subscription.acknowledge(deliveries)

    sending, receiving = asyncio.ensure_future(relay()), asyncio.ensure_future(consume())
    await kafka.until(lambda: delivered > 1000)
    cluster.kill(1)
    before = delivered
    await kafka.until(lambda: delivered > before + 2000)
    is_ending = True
    await asyncio.wait_for(sending, 60)
    expected = {f"key-{key}": list(range(key, count, KEYS)) for key in range(KEYS)}
    await kafka.until(lambda: expected == received)
    receiving.cancel()
    await broker.stop()
