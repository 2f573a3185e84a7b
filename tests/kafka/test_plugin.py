"""The broker that a program names, instead of importing it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

import cqrs_kafka
from cqrs_core.errors import InvalidOption
from cqrs_kafka import KafkaBroker, KafkaSettings
from cqrs_kafka.plugin import cqrs_backends, open_broker
from cqrs_kafka.settings import settings_of

# A plug-in is found by its entry point, with pluggy; what stands in a URL is the core's part, and tested there.

#: What only a program can give.
_OBJECTS = {"ssl_context", "token_provider", "servers"}


def test_it_registers_its_name_and_scheme() -> None:
    (backend,) = cqrs_backends()

    found = (backend.kind, backend.name, backend.factory, backend.schemes)
    assert ("broker", "kafka", "cqrs_kafka.plugin:open_broker", ("kafka",)) == found


def test_to_find_it_imports_no_client_library() -> None:
    """What a program does not use, it does not load; the names of the package are there when they are asked for."""
    program = (
        "import sys, cqrs_kafka.plugin as p\n"
        "p.cqrs_backends()\n"
        "print({'aiokafka', 'asyncio'} & set(sys.modules))\n"
        "from cqrs_kafka import KafkaBroker, KafkaSettings\n"
        "print('aiokafka' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert ["set()", "True"] == run.stdout.splitlines()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'cqrs_kafka' has no attribute 'Kafka'"):
        cqrs_kafka.Kafka  # type: ignore[attr-defined] # it is not there  # noqa: B018 - to ask is enough


@pytest.mark.parametrize(
    ("address", "shown"), [("", "localhost:9092"), ("kafka://me:secret@one,other:1", "one:9092,other:1")]
)
def test_an_address_makes_a_broker(address: str, shown: str) -> None:
    """Nothing is connected before it is started."""
    broker = open_broker(address)

    assert isinstance(broker, KafkaBroker)
    assert f"KafkaBroker('{shown}')" == repr(broker)


def test_every_setting_is_an_option_of_the_url() -> None:
    """With the same default, unless that is not to be told."""
    settings = {field.name: field.default for field in fields(KafkaSettings) if field.name not in _OBJECTS}
    parameters = inspect.signature(open_broker).parameters
    options = {name: given.default for name, given in parameters.items() if given.kind is given.KEYWORD_ONLY}

    assert settings.keys() == options.keys()
    told = {name: default for name, default in options.items() if default != ""}
    assert told == {name: settings[name] for name in told}


@pytest.mark.parametrize(
    ("address", "options"),
    [("kafka://me:secret@one", {}), ("kafka://one", {"username": "me", "password": "secret"})],
)
def test_a_user_is_told_to_the_broker_wherever_it_is_named(address: str, options: Any) -> None:
    """In the address, or as options: unless it is said otherwise, without encryption."""
    settings = settings_of(address, **options)

    assert ("me", "SASL_PLAINTEXT") == (settings.username, settings.security_protocol)
    assert "SASL_SSL" == settings_of(address, security_protocol="SASL_SSL", **options).security_protocol
    open_broker(address, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"username": "me"},
        {"security_protocol": "SSL", "username": "me", "password": "secret"},
        {"commit_every": 0},
    ],
)
def test_options_that_mean_nothing_are_refused(options: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        open_broker("kafka://one", **options)

    assert "secret" not in str(caught.value)
