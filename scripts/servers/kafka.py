"""Apache Kafka, as one node. No Debian package has it, so its jars come from Maven Central."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from . import downloads, maven
from .control import free_port
from .processes import command_line
from .service import Server, Service, Step, Tool, connected

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

CONFIG = "server.properties"

#: A single node is all replicas there are. Tests wait for no member that may come later, and see soon that one is gone;
#: a broker that was killed is let in again when its session is over.
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093
controller.quorum.voters=1@127.0.0.1:9093
log.dirs=logs
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""

#: Of a Metadata request in version 2, for no topic: its answer names the cluster, and the brokers that serve.
REQUEST = struct.pack("!hhihi", 3, 2, 1, -1, 0)


def cache() -> Path:
    """Answer the folder for the jars; not in root's home, where the account of the server does not come."""
    return downloads.cache() / "kafka-4.1.0"


def fetch() -> None:
    """Bring the jars that are not there yet."""
    maven.fetch("kafka_jars.txt", cache())


def java(*arguments: str) -> list[str]:
    """Answer what follows the name of the program, to run a class of Kafka's."""
    return [*maven.java(cache()), *arguments]


def prepare(program: str, data: Path) -> list[Step]:
    """Write the settings, and format the folder for them."""
    tool = java("kafka.tools.StorageTool", "format", f"--cluster-id={cluster(data)}", f"--config={CONFIG}")
    return [Step(["tee", CONFIG], SETTINGS), Step([program, *tool])]


def arguments(data: Path, port: int) -> list[str]:
    """Listen on loopback alone, with the controller on whatever port is free."""
    controller = f"127.0.0.1:{free_port()}"
    overrides = {
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://{controller}",
        "controller.quorum.voters": f"1@{controller}",
    }
    words = [word for name, value in overrides.items() for word in ("--override", f"{name}={value}")]
    return java("kafka.Kafka", str(data / CONFIG), *words)


def cluster(data: Path) -> str:
    """Name the cluster after its folder, so that a server can be asked whose it is."""
    return hashlib.sha256(bytes(data)).hexdigest()[:22]


def is_ready(server: Server) -> bool:
    """
    Ask for the name of the cluster, which must be that of the folder that the process was given, and for its brokers.

    Source:
        Apache Kafka, "Protocol guide": request header 1, Metadata 2.
    """
    with connected(server) as connection, connection.makefile("rb") as reply:
        connection.sendall(struct.pack("!i", len(REQUEST)) + REQUEST)
        _length, _correlation, brokers = _read(reply, "!iii")
        for _ in range(brokers):
            _read(reply, "!i")
            _text(reply)  # host
            _read(reply, "!i")
            _text(reply)  # rack
        asked = cluster_of(command_line(server.pid))
        return brokers > 0 and _text(reply) == asked


def cluster_of(words: Sequence[bytes]) -> str | None:
    """Name the cluster that a process serves; None if it is not one that was started here."""
    configs = [Path(word.decode(errors="surrogateescape")) for word in words if word.endswith(f"/{CONFIG}".encode())]
    return cluster(configs[0].parent) if configs else None


def _text(reply: BinaryIO) -> str | None:
    (length,) = _read(reply, "!h")
    return None if length < 0 else reply.read(length).decode()


def _read(reply: BinaryIO, form: str) -> tuple[int, ...]:
    found = reply.read(struct.calcsize(form))
    if len(found) < struct.calcsize(form):
        raise ConnectionResetError("cut off")  # it is no Kafka, or is just ending
    return struct.unpack(form, found)


KAFKA = Service(
    name="kafka",
    packages=maven.PACKAGES,
    program=maven.PROGRAM,
    fetch=fetch,
    prepare=prepare,
    arguments=arguments,
    is_ready=is_ready,
    variable="TEST_KAFKA_BOOTSTRAP",
    url="127.0.0.1:{}".format,
    tools=(Tool("openssl", "openssl"),),  # makes the certificates of a node that a test starts
)
