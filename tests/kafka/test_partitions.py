"""Keys go to the partitions that the clients in Java choose."""

from __future__ import annotations

import os

import pytest
from aiokafka.partitioner import murmur2 as slow_murmur2

from cqrs_kafka.partitions import choose, murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_java(key: bytes, expected: int) -> None:
    """Source: Apache Kafka, ``UtilsTest.testMurmur2``; Java's int has a sign."""
    assert expected % 2**32 == murmur2(key)


def test_it_is_that_of_aiokafka_for_every_length() -> None:
    keys = [os.urandom(length) for length in range(70)]

    assert [slow_murmur2(key) for key in keys] == [murmur2(key) for key in keys]


def test_a_producer_is_told_the_same() -> None:
    """In whatever order it lists them; without a key, one of those that have a leader, if any has."""
    keys = [b"key-%d" % number for number in range(50)]

    assert [partition_of(key, 3) for key in keys] == [choose(key, [2, 0, 1], [1]) for key in keys]
    assert {1, 2} == {choose(None, [0, 1, 2], [1, 2]) for _ in range(200)}
    assert {0, 1, 2} == {choose(None, [0, 1, 2], []) for _ in range(200)}


def test_every_partition_is_used() -> None:
    found = [partition_of(b"key-%d" % number, 6) for number in range(200)]

    assert set(range(6)) == set(found)
