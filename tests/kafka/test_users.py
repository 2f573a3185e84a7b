"""Brokers that want to know who asks."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from cqrs_core.envelope import Envelope
from cqrs_core.errors import BrokerUnavailable, CqrsError
from cqrs_kafka import KafkaBroker, KafkaSettings
from cqrs_kafka.errors import AccessDenied


async def test_who_has_the_password_may_send_and_receive(own: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is in the address, and shown nowhere, not even by aiokafka's most talkative level."""
    caplog.set_level(logging.DEBUG)
    topic = await own.make_topic()
    broker = KafkaBroker(f"kafka://me:secret@{own.with_sasl}")
    await broker.start()
    subscription = await own.subscribe(broker, topic)
    await broker.send(Envelope(topic, b"1", "key"))
    (delivery,) = await subscription.receive(10)
    await broker.stop()

    assert b"1" == delivery.envelope.body
    assert "secret" not in caplog.text


@pytest.mark.parametrize("password", ["wrong", "secre"])
async def test_a_wrong_password_is_told_as_such(own: Any, password: str) -> None:
    """Not as a broker that is away, and without showing it."""
    broker = KafkaBroker(f"kafka://me:{password}@{own.with_sasl}")

    with pytest.raises(AccessDenied, match="Authentication failed") as caught:
        await broker.start()
    await broker.stop()

    assert password not in str(caught.value)
    assert isinstance(caught.value, CqrsError)
    assert isinstance(caught.value, PermissionError)


async def test_who_says_nothing_is_not_let_in(own: Any) -> None:
    with pytest.raises(BrokerUnavailable, match=f"^Kafka cannot be reached. {own.with_sasl}: "):
        await KafkaBroker(own.with_sasl).start()


async def test_a_mechanism_that_the_broker_does_not_have_is_told(own: Any) -> None:
    settings = KafkaSettings(
        servers=(own.with_sasl,),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-256",
        username="me",
        password="secret",  # noqa: S106 - of this test
    )
    with pytest.raises(AccessDenied, match="Kafka does not allow it"):
        await KafkaBroker(settings).start()


async def test_encryption_where_there_is_none_is_told(own: Any) -> None:
    settings = KafkaSettings(servers=(own.bootstrap,), security_protocol="SSL", unavailable_after_s=2.0)

    with pytest.raises(BrokerUnavailable, match=f"^Kafka cannot be reached. {own.bootstrap}: "):
        await KafkaBroker(settings).start()
