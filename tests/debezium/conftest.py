"""A worker of Kafka Connect, and shops whose outbox Debezium reads; PostgreSQL and Kafka are those of the variables."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError

import pytest
import sqlalchemy as sa
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlalchemy.ext.asyncio import AsyncEngine

from cqrs_core.cli import main
from cqrs_core.envelope import Envelope
from cqrs_kafka import KafkaBroker
from cqrs_sqla import SqlAlchemyStorage, define_tables, make_engine
from cqrs_sqla.tables import OUTBOX_NAME, Sender

#: Far more than anything takes that has to happen.
DEADLINE_S = 60.0
#: Of each topic.
PARTITIONS = 3


@pytest.fixture
def anyio_backend() -> str:
    """SQLAlchemy and aiokafka know asyncio alone."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _unnamed_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the developer's own environment says away."""
    monkeypatch.delenv(OUTBOX_NAME, raising=False)


class Worker:
    """
    Kafka Connect, started by what ``scripts/services`` uses.

    Attributes:
        url: Where its interface is.
    """

    def __init__(self, folder: Path) -> None:
        from servers.connect import CONNECT
        from servers.control import Control

        self._service: Any = CONNECT
        self._control: Any = Control(folder)
        self._server: Any = None
        self.url = ""

    def start(self) -> None:
        """Start it, if it does not run; what it had sent, it knows, and the connectors it has forgotten."""
        self._server = self._control.start(self._service)
        self.url = self._service.url(self._server.port)

    def kill(self) -> None:
        """End it, as a failing machine would."""
        os.kill(self._server.pid, signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE_S
        while self._control.running(self._service) is not None:
            assert time.monotonic() < deadline, "it was killed, and still runs"

    def stop(self) -> None:
        """End it, and forget what it had."""
        self._control.stop(self._service)

    async def ask(self, method: str, path: str, content: object = None) -> Any:
        """Ask its interface for something."""
        return await asyncio.to_thread(self._ask, method, path, content)

    def _ask(self, method: str, path: str, content: object) -> Any:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(  # noqa: S310 - its own address
            f"{self.url}{path}", body, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:  # noqa: S310 - as above
                text = answer.read()
        except HTTPError as error:
            with error:
                pytest.fail(f"{method} {path}: {error.code} {error.read().decode()}")
        return json.loads(text) if text else None


@pytest.fixture(scope="session")
def worker(
    server_at: Callable[[str], str], servers_folder: Path, without: Callable[[str], NoReturn]
) -> Iterator[Worker]:
    """One for all tests."""
    for variable in ("TEST_KAFKA_BOOTSTRAP", "TEST_POSTGRES_URL"):
        server_at(variable)
    if sys.platform != "linux":
        without("scripts/servers starts Kafka Connect on Linux only")
    from servers.connect import CONNECT

    if CONNECT.installed_at() is None:
        without("java is not installed")
    worker = Worker(servers_folder / "connect")
    worker.start()
    yield worker
    worker.stop()


def config_of(url: str, *words: str) -> dict[str, Any]:
    """Give what the command writes for a storage."""
    text = StringIO()
    with redirect_stdout(text):
        assert 0 == main(["outbox", "debezium-config", url, "--json", *words])
    config: dict[str, Any] = json.loads(text.getvalue())
    return config


class Shop:
    """
    A database with an outbox, and the connector that reads it.

    Attributes:
        url: As a program has it.
        name: Of the connector.
        engine: Connects, in autocommit.
    """

    def __init__(self, worker: Worker, url: str, config: dict[str, Any]) -> None:
        self.url = url
        self.config = config
        self.name: str = config["name"]
        self.engine = make_engine(url, isolation_level="AUTOCOMMIT")
        self._worker = worker
        self._engines = [self.engine]

    def open_engine(self, driver: str = "asyncpg") -> AsyncEngine:
        """Connect, until the end of the test."""
        url = sa.make_url(self.url).set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
        self._engines.append(make_engine(url))
        return self._engines[-1]

    async def configure(self, query: str) -> None:
        """Let the connector read another outbox of the database, by what the command writes for it."""
        self.config = await asyncio.to_thread(config_of, f"{self.url}?{query}")
        self.name = self.config["name"]

    def storage(
        self,
        driver: str = "asyncpg",
        sent_by: Sender = "relay",
        *,
        prefix: str = "",
        schema: str | None = None,
        **options: Any,
    ) -> SqlAlchemyStorage:
        """Make a storage, on an engine of its own."""
        tables = define_tables(sa.MetaData(), prefix=prefix, schema=schema, sent_by=sent_by)
        return SqlAlchemyStorage(self.open_engine(driver), tables=tables, **options)

    async def execute(self, *statements: str) -> Any:
        """Run statements, each by itself, and give what the last one answers."""
        async with self.engine.connect() as connection:
            for statement in statements:
                result = await connection.exec_driver_sql(statement)
            return result.scalar() if result.returns_rows else None

    async def write(self, *envelopes: Envelope, storage: SqlAlchemyStorage | None = None) -> None:
        """Commit messages, in one unit of work."""
        unit = (storage or self.storage()).unit_of_work()
        unit.enqueue(envelopes)
        await unit.commit()
        await unit.close()

    def use(self, worker: Worker) -> None:
        """Let another worker run the connector."""
        self._worker = worker

    async def post(self, **settings: str) -> None:
        """Give the worker the connector, as the command writes it, but for *settings*."""
        changed = {name.replace("_", "."): value for name, value in settings.items()}
        await self._worker.ask("POST", "/connectors", {**self.config, "config": {**self.config["config"], **changed}})

    async def prepare(self) -> None:
        """Do what the command says is to be done before; from then on, the log is kept."""
        await self.execute(*self.storage().debezium_config().preparation)

    async def connect(self, **settings: str) -> None:
        """Let the connector begin."""
        await self.post(**settings)
        query = f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{self.name}' AND active"  # noqa: S608 - ours

        async def is_read() -> bool:
            assert not (trace := await self.failure()), trace
            return bool(await self.execute(query))

        await self.until(is_read, "the connector begins")

    async def failure(self) -> str:
        """Tell why the connector has stopped; nothing, if it has not."""
        status = await self._worker.ask("GET", f"/connectors/{self.name}/status")
        traces = [part.get("trace", "") for part in (status["connector"], *status["tasks"])]
        return "\n".join(filter(None, traces))

    @staticmethod
    async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Return when *condition* is true."""
        deadline = time.monotonic() + DEADLINE_S
        while not await condition():
            assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_S:g} s"
            await asyncio.sleep(0.02)

    async def has_read_until(self, position: str) -> None:
        """Return when the connector is done with the log up to a position."""
        query = f"SELECT confirmed_flush_lsn >= '{position}' FROM pg_replication_slots WHERE slot_name = '{self.name}'"  # noqa: S608 - ours

        async def has_read() -> bool:
            return bool(await self.execute(query))

        await self.until(has_read, f"it has read until {position}")

    async def disconnect(self) -> None:
        """End the connector, if there is one; the slot stays."""
        if self.name in await self._worker.ask("GET", "/connectors"):
            await self._worker.ask("DELETE", f"/connectors/{self.name}")

    async def drop_slot(self) -> None:
        """Let the database forget the connector, as soon as that has gone."""
        drop = "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE NOT active"
        left = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"

        async def is_dropped() -> bool:
            await self.execute(f"{drop} AND database = current_database()")
            return not await self.execute(left)

        await self.until(is_dropped, "the slot is free")

    async def close(self) -> None:
        """Remove all of it."""
        await self.disconnect()
        await self.drop_slot()
        for engine in self._engines:
            await engine.dispose()


@pytest.fixture
async def bare_shop(worker: Worker, server_at: Callable[[str], str]) -> AsyncIterator[Shop]:
    """A new one, in which nothing was done for Debezium."""
    server = sa.make_url(server_at("TEST_POSTGRES_URL"))
    name = f"cqrs_test_{uuid.uuid4().hex[:12]}"
    await _on_server(server, f"CREATE DATABASE {name}")
    url = server.set(database=name).render_as_string(hide_password=False)
    shop = Shop(worker, url, await asyncio.to_thread(config_of, url))
    await shop.storage().create()
    yield shop
    await shop.close()
    await _on_server(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def shop(bare_shop: Shop) -> Shop:
    """One that is prepared, and whose connector has not begun."""
    await bare_shop.prepare()
    return bare_shop


async def _on_server(server: sa.URL, statement: str) -> None:
    engine = make_engine(server.render_as_string(hide_password=False), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.exec_driver_sql(statement)
    await engine.dispose()


class Topics:
    """What is on Kafka."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    async def make(self) -> str:
        """Make a topic, and give its name."""
        name = f"test-{uuid.uuid4().hex}"
        async with self._admin() as admin:
            await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
        return name

    async def names(self) -> list[str]:
        """List the topics."""
        async with self._admin() as admin:
            return list(await admin.list_topics())

    async def read(self, topic: str, count: int, *, by: str = "") -> Sequence[ConsumerRecord[Any, Any]]:
        """Read until there are so many, or a header *by* has so many values; and what has come with them."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, fetch_max_wait_ms=20)
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            found: list[ConsumerRecord[Any, Any]] = []
            deadline = time.monotonic() + DEADLINE_S
            while (have := len({dict(record.headers)[by] for record in found} if by else found)) < count:
                assert time.monotonic() < deadline, f"{have} of {count} messages: {found}"
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


@pytest.fixture
def topics(server_at: Callable[[str], str]) -> Topics:
    """Those of the server."""
    return Topics(server_at("TEST_KAFKA_BOOTSTRAP"))


@pytest.fixture
async def broker(topics: Topics) -> AsyncIterator[KafkaBroker]:
    """Ours, started."""
    broker = KafkaBroker(topics.bootstrap)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def topic(topics: Topics) -> str:
    """A new one."""
    return await topics.make()


Make = Callable[..., Envelope]


@pytest.fixture
def message(topic: str) -> Make:
    """Make messages to the topic."""

    def make(body: bytes | str, key: str | None = None, headers: Mapping[str, str] | None = None) -> Envelope:
        facts = {"ce_id": str(uuid.uuid4()), "ce_type": "Happened", **(headers or {})}
        return Envelope(topic, body.encode() if isinstance(body, str) else body, key, facts)

    return make
