"""What an envelope is on the wire, and back."""

from __future__ import annotations

import pytest
from aiokafka.structs import ConsumerRecord

from cqrs_core.envelope import Envelope
from cqrs_kafka.records import decoded, encoded, envelope_of, headers_of, size_of


def record(
    *, key: bytes | None = None, value: bytes | None = b"", headers: tuple[tuple[str, bytes | None], ...] = ()
) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord("orders", 3, 17, 0, 0, key, value, None, -1, -1, headers)


@pytest.mark.parametrize("content", [b"", b"order-1", "ключ".encode(), b"\xff\x00\xfe"])
def test_bytes_survive_whatever_they_are(content: bytes) -> None:
    assert content == encoded(decoded(content))


def test_a_record_without_a_body_has_an_empty_one() -> None:
    """Where topics are compacted, it deletes its key."""
    assert Envelope("orders", b"", "key") == envelope_of(record(key=b"key", value=None))


def test_no_key_is_not_the_empty_key() -> None:
    assert (None, "") == (envelope_of(record()).key, envelope_of(record(key=b"")).key)


def test_of_several_headers_of_one_name_the_last_counts() -> None:
    """As ``Headers.lastHeader`` of Java has it; one without a value is empty."""
    headers = (("a", b"1"), ("a", b"2"), ("b", None))

    assert {"a": "2", "b": ""} == envelope_of(record(headers=headers)).headers


def test_names_of_headers_are_text() -> None:
    assert [("имя", b"\xff")] == headers_of({"имя": "\udcff"})
    with pytest.raises(UnicodeEncodeError):
        headers_of({"\udcff": "value"})


def test_a_size_is_never_told_too_small() -> None:
    """The bytes of an empty batch, 61, and of a record, 6 to 30, are in it."""
    assert 128 + 3 + 4 + 10 + 4 * 1 + 2 == size_of(b"key", b"body", [("a", b"xx")])
