"""Connections that are encrypted: both sides show certificates, and a wrong one, or none, is told as such."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerUnavailable, InvalidOption
from cqrs_kafka import KafkaBroker, KafkaSettings
from cqrs_kafka.connections import connection_options
from cqrs_kafka.errors import AccessDenied
from cqrs_kafka.plugin import open_broker

if sys.platform != "linux":
    pytest.skip("scripts/servers starts Kafka on Linux only", allow_module_level=True)

from servers.control import Control, free_port
from servers.kafka import CONFIG, KAFKA, SETTINGS, arguments, cluster, java
from servers.service import Step


class Certificates:
    """
    An authority, and what it has signed: PEM files, as ``KafkaSettings`` and Kafka itself read them.

    Attributes:
        authority: Its own certificate.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._key = folder / "authority.key"
        self.authority = folder / "authority.pem"
        usage = ["-addext", "keyUsage=critical,keyCertSign"]
        _make("-subj", "/CN=authority", "-keyout", self._key, "-out", self.authority, *usage)

    def sign(self, name: str) -> tuple[Path, Path]:
        """Give the files of a new certificate, for 127.0.0.1, and of its key."""
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        signer = ["-CA", self.authority, "-CAkey", self._key]
        kind = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
        _make("-subj", f"/CN={name}", "-keyout", key, "-out", certificate, *signer, *kind)
        return certificate, key

    @staticmethod
    def lock(key: Path) -> Path:
        """Give the file of *key* with a passphrase."""
        locked = key.with_suffix(".locked")
        _openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)
        return locked


def _make(*arguments: str | Path) -> None:
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"]
    _openssl("req", "-x509", *kind, *arguments)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)  # noqa: S607 - whichever is installed


class Node:
    """
    A broker that listens in three ways, each of them encrypted.

    Attributes:
        for_all: Where whoever trusts its certificate may enter.
        for_certified: Where only those may who show one of the same authority.
        for_users: Where only ``me`` may, with the password ``secret``.
        certificates: Whom the node, and its clients, should trust.
    """

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self.certificates = certificates
        self.for_all, self.for_certified, self.for_users = (f"127.0.0.1:{free_port()}" for _ in range(3))
        self._keys = folder / "node.pem"
        self._keys.write_bytes(b"".join(path.read_bytes() for path in certificates.sign("node")))
        self._service = replace(
            KAFKA, prepare=partial(_prepare, self._settings()), arguments=partial(_arguments, self._listeners())
        )
        self._control = Control(folder / "services")

    def start(self) -> None:
        self._control.start(self._service)

    def stop(self) -> None:
        self._control.stop(self._service)

    def settings(self, server: str, **options: Any) -> KafkaSettings:
        """Say how a client reaches it; encrypted, and trusting the right authority, unless said otherwise."""
        usual = {"security_protocol": "SSL", "tls_ca_file": str(self.certificates.authority)}
        return KafkaSettings(servers=(server,), **{**usual, **options})

    def as_user(self, mechanism: str, password: str, **options: Any) -> KafkaSettings:
        options |= {"security_protocol": "SASL_SSL", "sasl_mechanism": mechanism}
        return self.settings(self.for_users, username="me", password=password, **options)

    def _listeners(self) -> str:
        return f"ALL://{self.for_all},CERTIFIED://{self.for_certified},USERS://{self.for_users}"

    def _settings(self) -> str:
        plain = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_me="secret";'
        options = {
            "inter.broker.listener.name": "PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._keys,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.certificates.authority,
            "listener.name.certified.ssl.client.auth": "required",
            "listener.name.users.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "listener.name.users.plain.sasl.jaas.config": plain,
            "listener.name.users.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        }
        protocols = "PLAINTEXT:PLAINTEXT"
        settings = SETTINGS.replace(protocols, f"{protocols},ALL:SSL,CERTIFIED:SSL,USERS:SASL_SSL")
        return settings + "".join(f"{name}={value}\n" for name, value in options.items())


def _prepare(settings: str, program: str, data: Path) -> list[Step]:
    """Write the settings, and the user with them: Kafka keeps what SCRAM has to know in its own log."""
    user = ["--add-scram", "SCRAM-SHA-512=[name=me,password=secret]"]
    tool = java("kafka.tools.StorageTool", "format", f"--cluster-id={cluster(data)}", f"--config={CONFIG}", *user)
    return [Step(["tee", CONFIG], settings), Step([program, *tool])]


def _arguments(listeners: str, data: Path, port: int) -> list[str]:
    return [f"{word},{listeners}" if word.startswith("listeners=") else word for word in arguments(data, port)]


@pytest.fixture(scope="module")
def node(bootstrap: str, without: Callable[[str], NoReturn]) -> Iterator[Node]:
    assert bootstrap  # where the tests of the other ones are skipped, so are these
    for program in ("java", "openssl"):
        if shutil.which(program) is None:
            without(f"{program} is not installed")
    # Root starts the server as somebody else, who has to come here.
    with tempfile.TemporaryDirectory(prefix="cqrs-kafka-test-") as folder:
        Path(folder).chmod(0o711)
        made = Node(Path(folder), Certificates(Path(folder) / "trusted"))
        for file in Path(folder).rglob("*.pem"):
            file.chmod(0o644)
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.fixture(autouse=True)
async def _until_all_is_closed(kafka: Any) -> AsyncIterator[None]:
    """Encrypted connections end with a word of the other side, which aiokafka does not wait for."""
    yield
    loop: Any = asyncio.get_running_loop()
    await kafka.until(lambda: len(loop._selector.get_map()) == 1)  # noqa: SLF001 - what is left wakes the loop itself


async def assert_usable(kafka: Any, settings: KafkaSettings) -> None:
    """Send a message, and receive it in a group."""
    topic = f"test-{uuid.uuid4().hex}"
    broker = KafkaBroker(settings)
    await broker.start()
    try:
        subscription = await kafka.subscribe(broker, topic)
        await broker.send(Envelope(topic, b"1", "key"))
        (delivery,) = await subscription.receive(10)
    finally:
        await broker.stop()

    assert b"1" == delivery.envelope.body


async def test_who_trusts_the_authority_of_the_broker_sends_and_receives(kafka: Any, node: Node) -> None:
    await assert_usable(kafka, node.settings(node.for_all))


async def test_who_shows_a_certificate_sends_and_receives(kafka: Any, node: Node) -> None:
    """Where both sides have to."""
    certificate, key = node.certificates.sign("client")

    await assert_usable(kafka, node.settings(node.for_certified, tls_cert_file=str(certificate), tls_key_file=str(key)))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_who_has_the_password_sends_and_receives(kafka: Any, node: Node, mechanism: str) -> None:
    await assert_usable(kafka, node.as_user(mechanism, "secret"))


async def test_a_url_says_it_all(node: Node) -> None:
    """As for an App."""
    address = f"kafka://me:secret@{node.for_users}"
    options: Any = {"sasl_mechanism": "SCRAM-SHA-512", "tls_ca_file": str(node.certificates.authority)}
    broker = open_broker(address, security_protocol="SASL_SSL", **options)
    await broker.start()
    await broker.stop()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_told_as_such(node: Node, mechanism: str) -> None:
    broker = KafkaBroker(node.as_user(mechanism, "a wrong one"))

    with pytest.raises(AccessDenied, match="Authentication failed") as caught:
        await broker.start()

    assert "a wrong one" not in str(caught.value)


async def refusal_of(settings: KafkaSettings) -> str:
    """Give what is said of the one server of *settings*, which is not entered."""
    with pytest.raises(BrokerUnavailable) as caught:
        await KafkaBroker(settings).start()
    prefix = f"Kafka cannot be reached. {settings.servers[0]}: "
    text = str(caught.value)
    assert text.startswith(prefix)
    return text[len(prefix) :]


async def test_a_broker_of_another_authority_is_not_trusted(node: Node, tmp_path: Path) -> None:
    """Neither is one whose authority is nobody that the system knows."""
    other = str(Certificates(tmp_path / "other").authority)

    for file in (other, None):
        said = await refusal_of(node.settings(node.for_all, tls_ca_file=file))
        assert "its certificate is not trusted: unable to get local issuer certificate. Name the authority" in said


async def test_a_broker_that_has_another_name_is_not_trusted(node: Node) -> None:
    """It may be anybody with a certificate of the right authority."""
    said = await refusal_of(node.settings(node.for_all.replace("127.0.0.1", "localhost")))

    assert "its certificate is not trusted: Hostname mismatch, certificate is not valid for 'localhost'. " in said


async def test_who_shows_no_certificate_or_a_strange_one_is_not_let_in(node: Node, tmp_path: Path) -> None:
    """The broker gives no reason; what it may be is said."""
    certificate, key = Certificates(tmp_path / "other").sign("stranger")
    expected = (
        "it closes the connection. Perhaps it expects another security_protocol, or a certificate that it trusts "
        "(tls_cert_file)."
    )

    assert expected == await refusal_of(node.settings(node.for_certified))
    strange = node.settings(node.for_certified, tls_cert_file=str(certificate), tls_key_file=str(key))
    assert expected == await refusal_of(strange)


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
async def test_who_speaks_otherwise_than_the_broker_expects_is_told(node: Node, protocol: str) -> None:
    """Not encrypted where it has to be; and without a user where there has to be one."""
    said = await refusal_of(node.settings(node.for_users, security_protocol=protocol))

    assert ("it closes the connection" if protocol == "PLAINTEXT" else "it answers, and then lets nobody in") in said


async def test_nobody_is_asked_for_a_passphrase(node: Node) -> None:
    """A program that starts at night would wait for somebody to type it."""
    certificate, key = node.certificates.sign("locked")
    files = {"tls_cert_file": str(certificate), "tls_key_file": str(node.certificates.lock(key))}
    settings = node.settings(node.for_certified, **files)

    with pytest.raises(InvalidOption, match="tls_key_file is 'a key with a passphrase'. It must be one without"):
        connection_options(settings)
