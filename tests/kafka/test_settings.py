"""How a broker is named, and what is refused."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from cqrs_core.errors import CqrsError, InvalidOption
from cqrs_kafka import KafkaBroker, KafkaSettings
from cqrs_kafka.addresses import parse
from cqrs_kafka.connections import check_libraries, connection_options
from cqrs_kafka.errors import CompressionMissing, InvalidKafkaUrl, KerberosMissing
from cqrs_kafka.settings import settings_of


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("", ("localhost:9092",)),
        ("kafka://one", ("one:9092",)),
        ("kafka://one:19092/", ("one:19092",)),
        ("one:1,other:2", ("one:1", "other:2")),
        ("kafka://one, other:2", ("one:9092", "other:2")),
        ("kafka://[::1]:19092,[fe80::1]", ("[::1]:19092", "[fe80::1]:9092")),
    ],
)
def test_an_address_names_servers(url: str, servers: tuple[str, ...]) -> None:
    assert servers == settings_of(url).servers


def test_a_user_in_the_address_is_told_by_sasl() -> None:
    settings = settings_of("kafka://me:se%40cret@one:9092")

    assert ("me", "se@cret", "SASL_PLAINTEXT") == (settings.username, settings.password, settings.security_protocol)


@pytest.mark.parametrize(
    "url",
    [
        "kafka://",
        "kafka://one:",
        "kafka://one:0",
        "kafka://one:65536",
        "kafka://one:port",
        "kafka://one:²",
        "kafka://:9092",
        "kafka://one,,other",
        "kafka://one/orders",
        "kafka://::1",
        "kafka://secret@one",
        "kafka://:secret@one",
        "kafka://me:secret/one",
        "kafka://secret@@one:x",
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    """What stands at a wrong place may be a password."""
    with pytest.raises(InvalidKafkaUrl) as caught:
        parse(url)

    assert "secret" not in str(caught.value)
    assert isinstance(caught.value, InvalidOption)


def test_no_password_is_shown() -> None:
    """Neither by the settings nor by the broker."""
    settings = settings_of("kafka://me:secret@one", security_protocol="SASL_SSL")

    assert "secret" not in repr(settings)
    assert "KafkaBroker('one:9092')" == repr(KafkaBroker(settings))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"security_protocol": "TLS"}, "security_protocol is 'TLS'. It must be one of PLAINTEXT, SSL"),
        ({"sasl_mechanism": "MD5"}, "sasl_mechanism is 'MD5'. It must be one of PLAIN, SCRAM-SHA-256"),
        ({"compression": "brotli"}, "compression is 'brotli'. It must be one of none, gzip"),
        ({"commit_every": 0}, "commit_every is 0. It must be at least 1"),
        ({"request_timeout_s": 0.0}, "request_timeout_s is 0.0. It must be seconds, more than 0"),
        ({"delivery_timeout_s": float("nan")}, "delivery_timeout_s is nan"),
        ({"username": "me"}, "It must be SASL_SSL, or SASL_PLAINTEXT"),
        ({"security_protocol": "SASL_SSL", "username": "me"}, "It must be given, and a password, for PLAIN"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}, "token_provider is None"),
        ({"servers": ()}, "It must be at least one 'host:port'"),
        ({"servers": "me:secret@kafka"}, "servers is '...'. It must be a tuple of 'host:port', not a text"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        KafkaSettings(**{"servers": ("one",), **options})

    assert text in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_not_used_needs_nothing() -> None:
    """A mechanism of SASL where nobody is asked who they are: aiokafka would look for its library, or its tokens."""
    for mechanism in ("GSSAPI", "OAUTHBEARER"):
        assert (
            "PLAIN" == connection_options(KafkaSettings(servers=("one",), sasl_mechanism=mechanism))["sasl_mechanism"]
        )


def test_a_user_is_named_once() -> None:
    with pytest.raises(InvalidOption, match="either in the address or an option"):
        settings_of("kafka://me:secret@one", username="you")


@pytest.mark.parametrize("compression", ["snappy", "lz4", "zstd"])
def test_a_missing_library_is_told_with_the_cure(compression: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is connected."""
    monkeypatch.setattr(f"aiokafka.codec.has_{compression}", lambda: False)

    with pytest.raises(CompressionMissing) as caught:
        KafkaBroker(KafkaSettings(servers=("one",), compression=compression))

    assert (
        f"compression='{compression}' needs a library that is not installed. Install it: "
        f'pip install "cqrs-kafka[{compression}]".'
    ) == str(caught.value)
    assert isinstance(caught.value, CqrsError)
    assert isinstance(caught.value, ImportError)


def test_gzip_needs_no_library() -> None:
    check_libraries(KafkaSettings(servers=("one",), compression="gzip"))


def test_a_missing_library_for_kerberos_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    settings = KafkaSettings(servers=("one",), security_protocol="SASL_SSL", sasl_mechanism="GSSAPI")

    with pytest.raises(KerberosMissing, match=r"cqrs-kafka\[kerberos\]"):
        check_libraries(settings)


def test_tls_trusts_the_system_unless_told_otherwise(tmp_path: Path) -> None:
    """What cannot be read is named."""
    assert connection_options(KafkaSettings(servers=("one",)))["ssl_context"] is None
    context = connection_options(KafkaSettings(servers=("one",), security_protocol="SSL"))["ssl_context"]
    assert ssl.CERT_REQUIRED == context.verify_mode
    own = ssl.create_default_context()
    given = KafkaSettings(servers=("one",), security_protocol="SSL", ssl_context=own)
    assert own is connection_options(given)["ssl_context"]
    for option in ("tls_ca_file", "tls_cert_file"):
        files: dict[str, Any] = {option: str(tmp_path / "none.pem")}
        with pytest.raises(InvalidOption, match=f"^{option} is .*none.pem.*a file in PEM that can be read"):
            connection_options(KafkaSettings(servers=("one",), security_protocol="SSL", **files))
