"""What this distribution offers to cqrs-core. It imports no Kafka client: that is for whoever opens the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cqrs_core.plugins import Backend, hookimpl

if TYPE_CHECKING:
    from cqrs_kafka.broker import KafkaBroker

CQRS_API = 1


@hookimpl
def cqrs_backends() -> list[Backend]:
    """Offer the broker ``kafka``."""
    return [Backend(kind="broker", name="kafka", factory="cqrs_kafka.plugin:open_broker", schemes=("kafka",))]


def open_broker(
    address: str,
    *,
    client_id: str = "cqrs",
    security_protocol: Literal["", "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "",
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI"] = "PLAIN",
    username: str = "",
    password: str = "",
    tls_ca_file: str = "",
    tls_cert_file: str = "",
    tls_key_file: str = "",
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none",
    max_message_bytes: int = 1_048_576,
    max_batch_bytes: int = 131_072,
    request_timeout_s: float = 10.0,
    delivery_timeout_s: float = 30.0,
    unavailable_after_s: float = 10.0,
    session_timeout_s: float = 10.0,
    rebalance_timeout_s: float = 60.0,
    commit_interval_s: float = 1.0,
    commit_every: int = 500,
    max_fetch_bytes: int = 1_048_576,
    isolation_level: Literal["read_committed", "read_uncommitted"] = "read_committed",
    group_instance_id: str = "",
) -> KafkaBroker:
    """
    Make the broker that a program names: ``"kafka"``, or ``"kafka://host:9092,other:9092?compression=zstd"``.

    The options are those of :class:`cqrs_kafka.KafkaSettings`; an empty text means that it is not given. A user, in the
    address or as options, is told to the broker by ``SASL_PLAINTEXT`` unless ``security_protocol`` says otherwise.

    Raises:
        InvalidOption: They mean nothing, or do not fit together.
        CompressionMissing: The library for the compression is not installed.
        KerberosMissing: The library for Kerberos is not installed.
    """
    options = {name: value for name, value in locals().items() if name != "address" and value != ""}
    from cqrs_kafka.broker import KafkaBroker  # noqa: PLC0415 - a plug-in imports aiokafka when it is used
    from cqrs_kafka.settings import settings_of  # noqa: PLC0415 - as above

    return KafkaBroker(settings_of(address, **options))
