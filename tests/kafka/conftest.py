"""Brokers for the tests: the one that runs, and one that a test may kill, freeze and start again."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.record.util import calc_crc32c

from cqrs_core.broker import OnRevoked
from cqrs_kafka import KafkaBroker, KafkaSettings
from cqrs_kafka.subscription import KafkaSubscription

#: Far more than anything takes that has to happen.
DEADLINE_S = 60.0


@pytest.fixture
def anyio_backend() -> str:
    """aiokafka knows asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="session")
def bootstrap(server_at: Callable[[str], str]) -> str:
    """Where the broker of the tests is; without one they are skipped, but not where nobody reads along."""
    return server_at("TEST_KAFKA_BOOTSTRAP")


class Kafka:
    """
    A broker, and what tests do with it.

    Attributes:
        bootstrap: Where it is.
    """

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    async def make_topic(self, partitions: int = 3, **configs: str) -> str:
        """Make a topic, and give its name."""
        name = f"test-{uuid.uuid4().hex}"
        async with self.open_admin() as admin:
            made = NewTopic(name, partitions, 1, topic_configs={key.replace("_", "."): configs[key] for key in configs})
            await admin.create_topics([made])
        return name

    @asynccontextmanager
    async def open_admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """Give a client that makes and removes topics."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    @asynccontextmanager
    async def open_broker(self, **options: Any) -> AsyncIterator[KafkaBroker]:
        """Give a broker that is started."""
        broker = KafkaBroker(KafkaSettings(servers=(self.bootstrap,), **options))
        await broker.start()
        try:
            yield broker
        finally:
            await broker.stop()

    async def subscribe(
        self, broker: KafkaBroker, *topics: str, group: str | None = None, on_revoked: OnRevoked | None = None
    ) -> KafkaSubscription:
        """Join a group, a new one unless it is named."""
        name = group or f"test-{uuid.uuid4().hex}"
        return await broker.subscribe(topics, group=name, on_revoked=on_revoked or _say_nothing)

    async def send_unreadable(self, topic: str) -> None:
        """Send ten records in one batch, one of them with a header whose name is no UTF-8, which no client does."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        try:
            batch: Any = producer.create_batch()
            for number in range(10):
                name = "broken" if number == 4 else "name"
                batch.append(timestamp=None, key=b"key", value=b"%d" % number, headers=[(name, b"x")])
            built = bytearray(batch._build()).replace(b"broken", b"brok\xffn")  # noqa: SLF001 - it builds none itself
            built[17:21] = struct.pack(">I", calc_crc32c(bytes(built[21:])))  # of all that follows it
            batch._buffer = bytes(built)  # noqa: SLF001 - as above
            await (await producer.send_batch(batch, topic, partition=0))
        finally:
            await producer.stop()

    @staticmethod
    async def until(condition: Callable[[], bool], *, within_s: float = DEADLINE_S) -> None:
        """Return when *condition* is true."""
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"it did not come true within {within_s:g} s"
            await asyncio.sleep(0.01)


@pytest.fixture
def kafka(bootstrap: str) -> Kafka:
    """The broker that runs."""
    return Kafka(bootstrap)


@pytest.fixture(scope="session")
def _own(bootstrap: str, servers_folder: Path, without: Callable[[str], NoReturn]) -> Iterator[OwnKafka]:
    assert bootstrap  # where the tests of the other one are skipped, so are these
    if sys.platform != "linux":
        without("scripts/servers starts a Kafka of its own on Linux only")
    from servers.kafka import KAFKA

    if KAFKA.installed_at() is None:
        without("java is not installed")
    own = OwnKafka(servers_folder / "kafka")
    yield own
    own.stop()


@pytest.fixture
def own(_own: OwnKafka) -> OwnKafka:
    """A broker that a test may kill or freeze; it runs when the test begins."""
    _own.start()
    return _own


class OwnKafka(Kafka):
    """
    One node, started by what ``scripts/services`` uses.

    Attributes:
        bootstrap: Where it is, also after a restart.
        with_sasl: Where it wants to know who asks: ``me``, with the password ``secret``.
    """

    def __init__(self, folder: Path) -> None:
        from servers.control import Control, free_port
        from servers.kafka import KAFKA

        self.with_sasl = f"127.0.0.1:{free_port()}"
        self._service: Any = replace(KAFKA, arguments=partial(_with_sasl, KAFKA.arguments, self.with_sasl))
        self._control: Any = Control(folder)
        self._server: Any = None
        super().__init__("")

    def start(self) -> None:
        """Start it, if it does not run and answer; what it had, it has again."""
        self._server = self._control.start(self._service)
        self.bootstrap = self._service.url(self._server.port)

    async def restart(self) -> None:
        """Do so beside what the test does meanwhile."""
        await asyncio.to_thread(self.start)

    def kill(self) -> None:
        """End it, as a failing machine would."""
        self._signal(signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE_S
        while self._control.running(self._service) is not None:
            assert time.monotonic() < deadline, "it was killed, and still runs"

    def freeze(self) -> None:
        """Let it answer nobody, and refuse nobody either."""
        self._signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self._server.pid}/task")
        deadline = time.monotonic() + DEADLINE_S
        while any(stat.read_bytes().rpartition(b")")[2].split()[0] != b"T" for stat in threads.glob("*/stat")):
            assert time.monotonic() < deadline, "it was stopped, and still runs"

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, and forget what it had."""
        self._control.stop(self._service)

    def _signal(self, number: signal.Signals) -> None:
        os.kill(self._server.pid, number)


def _with_sasl(usual: Callable[[Path, int], list[str]], server: str, data: Path, port: int) -> list[str]:
    """Give the arguments of a server that listens there, too."""
    arguments = usual(data, port)
    listeners = next(word for word in arguments if word.startswith("listeners="))
    module = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_me="secret";'
    options = {
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.name.users.plain.sasl.jaas.config": module,
        "listener.name.users.sasl.enabled.mechanisms": "PLAIN",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,USERS:SASL_PLAINTEXT",
        "listeners": f"{listeners.partition('=')[2]},USERS://{server}",
    }
    return [*arguments, *(word for name, value in options.items() for word in ("--override", f"{name}={value}"))]


async def _say_nothing(_partitions: object) -> None:
    """Do nothing about partitions that go."""
