"""Kafka Connect, one worker by itself, with Debezium's connector for PostgreSQL and our plug-in for it."""

from __future__ import annotations

import base64
import os
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from . import downloads, kafka, maven
from .control import Control
from .processes import listens
from .service import Server, Service, ServiceError, Step

CHECKOUT = Path(__file__).resolve().parents[2]
#: What makes a message of a row, as users get it by `cqrs outbox debezium-config --plugin`.
PLUGIN = CHECKOUT / "cqrs_sqla" / "src" / "cqrs_sqla" / "debezium" / "cqrs-outbox.jar"
CONFIG = "worker.properties"

#: Tests see soon what was sent, and the password is read from the environment, as users have it.
SETTINGS = """\
bootstrap.servers={kafka}
plugin.path={plugins},{data}/plugins
plugin.discovery=service_load
offset.storage.file.filename={data}/offsets
offset.flush.interval.ms=1000
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
config.providers=env
config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider
listeners=http://127.0.0.1:{port}
"""


def cache() -> Path:
    """Answer the folder for the jars of the worker, beside Kafka's own."""
    return downloads.cache() / "connect-4.1.0"


def plugins() -> Path:
    """Answer the folder of plug-ins, each of which is a folder of jars."""
    return downloads.cache() / "debezium-3.4.3"


def fetch() -> None:
    """Bring the jars that are not there yet."""
    kafka.fetch()
    maven.fetch("connect_jars.txt", cache())
    maven.fetch("debezium_jars.txt", plugins() / "debezium-connector-postgres")


def prepare(_program: str, data: Path) -> list[Step]:
    """Give the worker our plug-in; the checkout may be closed to its account."""
    jar = data / "plugins" / PLUGIN.name
    text = base64.b64encode(PLUGIN.read_bytes()).decode()
    return [
        Step(["mkdir", str(jar.parent)]),
        Step(["sh", "-c", 'base64 --decode > "$0"', str(jar)], text),
    ]


def bootstrap(data: Path) -> str:
    """
    Answer the Kafka to which the worker writes: the one that the environment names, or that runs beside it.

    Raises:
        ServiceError: There is none.
    """
    variable = kafka.KAFKA.variable
    if variable in os.environ:
        return os.environ[variable]
    beside = Control(data.parent.parent).running(kafka.KAFKA)
    if beside is None:
        raise ServiceError(f"connect writes to a Kafka: scripts/services start kafka connect, or set {variable}.")
    return kafka.KAFKA.url(beside.port)


def arguments(data: Path, port: int) -> list[str]:
    """Listen on loopback alone."""
    config = data / CONFIG
    settings = SETTINGS.format(kafka=bootstrap(data), plugins=plugins(), data=data, port=port)
    # Anew at each start, which may have another port, and another Kafka. Where it would lead, were it a link, is left.
    config.unlink(missing_ok=True)
    with config.open("x", encoding="utf-8") as file:
        file.write(settings)
    config.chmod(0o644)
    return [*maven.java(kafka.cache(), cache()), "org.apache.kafka.connect.cli.ConnectStandalone", str(config)]


def is_ready(server: Server) -> bool:
    """
    Ask for the connectors, of whom listens there if it is that process.

    Source:
        Apache Kafka, "Kafka Connect REST Interface": GET /connectors lists them, once the worker has started.
    """
    if not listens(server.pid, server.port):
        return False
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=1)) as connection:
        try:
            connection.request("GET", "/connectors")
            return connection.getresponse().status == HTTPStatus.OK
        except HTTPException:  # an answer, but none of HTTP's
            return False


CONNECT = Service(
    name="connect",
    packages=maven.PACKAGES,
    program=maven.PROGRAM,
    fetch=fetch,
    prepare=prepare,
    arguments=arguments,
    is_ready=is_ready,
    variable="TEST_CONNECT_URL",
    url="http://127.0.0.1:{}".format,
    is_usual=False,  # one session needs it, and starts its own
)
