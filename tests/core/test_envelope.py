"""What crosses the border of a process."""

from __future__ import annotations

import dataclasses

import pytest

from cqrs_core import envelope as header
from cqrs_core.envelope import Envelope, is_reserved, is_text


def test_an_envelope_has_neither_key_nor_headers_unless_told() -> None:
    """Two do not share their headers."""
    first, second = Envelope("orders", b"{}"), Envelope("orders", b"{}")

    assert (None, {}) == (first.key, first.headers)
    assert first.headers is not second.headers
    assert first == second


def test_its_id_is_what_its_sender_calls_it() -> None:
    """None, if it does not say."""
    assert "7" == Envelope("orders", b"", headers={"ce_id": "7"}).id
    assert Envelope("orders", b"", headers={"id": "7"}).id is None


def test_it_is_not_changed_on_its_way() -> None:
    """A broker, a consumer and the dead letters speak of the same message."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Envelope("orders", b"").topic = "payments"  # type: ignore[misc]  # it cannot be changed


def test_bytes_that_are_no_text_are_given_back_as_they_were() -> None:
    """PEP 383: every value of a header can be carried as text, and becomes the same bytes again."""
    raw = bytes(range(256))

    value = raw.decode("utf-8", "surrogateescape")

    assert raw == Envelope("t", b"", None, {"h": value}).headers["h"].encode("utf-8", "surrogateescape")
    assert not is_text(value)
    assert is_text("héllo \U0001f600")
    assert is_text("")


def test_the_headers_are_called_as_cloudevents_has_them() -> None:
    """Its Kafka binding, binary mode: ce_ before attributes and extensions; W3C's tracing headers as they are."""
    assert ("ce_id", "ce_type", "ce_source", "ce_time", "ce_specversion", "content-type") == (
        *(header.ID, header.TYPE, header.SOURCE, header.TIME),
        *(header.SPEC_VERSION, header.CONTENT_TYPE),
    )
    assert ("ce_correlationid", "ce_causationid", "traceparent", "tracestate") == (
        *(header.CORRELATION_ID, header.CAUSATION_ID),
        *(header.TRACE_PARENT, header.TRACE_STATE),
    )


@pytest.mark.parametrize(
    "name", ["ce_", "ce_id", "CE_Subject", "cqrs_dead_topic", "Cqrs_x", "content-type", "Content-Type"]
)
def test_some_names_are_the_frameworks_in_capitals_or_not(name: str) -> None:
    """Programs write, and see, others only."""
    assert is_reserved(name)


@pytest.mark.parametrize("name", ["", "ce", "cequence", "xce_id", "traceparent", "content", "content-typed", "tenant"])
def test_all_other_names_are_the_programs(name: str) -> None:
    """Among them the tracing headers, which a program may write itself."""
    assert not is_reserved(name)
