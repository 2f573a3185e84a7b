"""How a program names a backend."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cqrs_core.errors import InvalidOption
from cqrs_core.plugins import InvalidBackendSpec
from cqrs_core.plugins.specs import Spec, masked_address, parse


@pytest.mark.parametrize(
    ("text", "name", "distribution", "address", "query"),
    [
        ("memory", "memory", "", "", ""),
        ("acme-nats:nats", "nats", "acme-nats", "", ""),
        ("nats://host:4222", "nats", "", "nats://host:4222", ""),
        ("NATS://Host", "nats", "", "nats://Host", ""),
        ("memory://", "memory", "", "memory://", ""),
        ("nats://u:p@host?a=1&b=?", "nats", "", "nats://u:p@host", "a=1&b=?"),
        ("acme-nats:nats://host:4222?a=1", "nats", "acme-nats", "nats://host:4222", "a=1"),
        ("sqlite:///shop.db", "sqlite", "", "sqlite:///shop.db", ""),
        ("postgresql+asyncpg://host/shop", "postgresql+asyncpg", "", "postgresql+asyncpg://host/shop", ""),
        ("acme:", "", "acme", "", ""),
    ],
)
def test_names_and_urls_are_taken_apart(text: str, name: str, distribution: str, address: str, query: str) -> None:
    """The address goes to the backend as it was written, without what chose the backend or sets its options."""
    spec = Spec(kind="broker", name=name, distribution=distribution, address=address, query=query)

    assert spec == parse("broker", text)


CURE = "Give a name, such as 'memory', or a URL, such as 'kafka://host'."


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("", f"broker='' is empty. {CURE}"),
        (" ", f"broker=' ' is empty. {CURE}"),
        (5, f"broker=<int> is no text. {CURE}"),
        (b"kafka://u:hunter2@h", f"broker=<bytes> is no text. {CURE}"),
        (
            "localhost:9092",
            (
                "broker='localhost:9092' looks like a URL without its scheme. Write 'kafka://localhost:9092', if that "
                "is what is there."
            ),
        ),
        (
            "kafka:u:hunter2",
            f"broker='kafka:***' has more colons than a name, which may have one behind a distribution's. {CURE}",
        ),
        (
            "u:hunter2@localhost:9092?acks=all",
            (
                "broker='***@localhost:9092' looks like a URL without its scheme. Write 'kafka://***@localhost:9092', "
                "if that is what is there."
            ),
        ),
        ("://host", "broker='host' looks like a URL without its scheme. Write 'kafka://host', if that is what is"),
        (r"C:\shop", r"broker='C:\\shop' looks like a URL without its scheme."),
    ],
)
def test_what_is_neither_a_name_nor_a_url_is_refused(spec: Any, text: str) -> None:
    with pytest.raises(InvalidBackendSpec, match=re.escape(text)) as caught:
        parse("broker", spec)

    assert "broker" == caught.value.kind
    assert "hunter2" not in repr(caught.value)


def test_an_unknown_kind_is_refused() -> None:
    kind: Any = "brokr"

    with pytest.raises(InvalidOption, match="kind is 'brokr'. It must be one of broker, storage, "):
        parse(kind, "memory")


@pytest.mark.parametrize(
    "address", ["u:hunter2@host", "u:hun/ter2@host", "u:hun?ter2@host", "u:hun@ter2@host", "hunter2@host"]
)
def test_no_password_is_shown(address: str) -> None:
    """However badly it is escaped."""
    assert "***@host" == masked_address(address)
    assert "ter2" not in repr(parse("broker", f"nats://{address}?password=hunter2"))


def test_an_address_without_user_is_shown_without_its_query() -> None:
    assert "host:1/x" == masked_address("host:1/x?a=1")


def test_options_of_a_url_are_taken_out_of_the_texts_of_others() -> None:
    """A token is as secret as a password; numbers and the like are left, so that texts stay readable."""
    spec = parse("broker", "nats://host?token=hunter2&port=4222")

    assert "no ***: port 4222" == spec.without_secrets("no hunter2: port 4222")
