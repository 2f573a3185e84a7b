"""Which partition a key belongs to: the one that the clients of Kafka in Java choose."""

from __future__ import annotations

import random
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SEED = 0x9747B28C
_FACTOR = 0x5BD1E995
_MASK = 0xFFFFFFFF
#: So many keys are remembered: to look one up costs a twentieth of computing it again.
_MOST_KEYS = 16_384


def partition_of(key: bytes, count: int) -> int:
    """Choose one of *count* partitions for a key."""
    return (murmur2(key) & 0x7FFFFFFF) % count


def choose(key: bytes | None, partitions: Sequence[int], available: Sequence[int]) -> int:
    """Choose as a producer of aiokafka asks for it: without a key, any that has a leader, if there is one."""
    if key is None:
        return random.choice(available or partitions)  # noqa: S311 - nobody is to be kept from guessing it
    return sorted(partitions)[partition_of(key, len(partitions))]


@lru_cache(_MOST_KEYS)
def murmur2(key: bytes) -> int:
    """
    Hash a key.

    Returns:
        32 bits, without a sign.

    Source:
        Apache Kafka, ``org.apache.kafka.common.utils.Utils.murmur2``: MurmurHash2 with a seed of its own.
    """
    length = len(key)
    whole = length & ~3
    h = _SEED ^ length
    for k in _words(length >> 2).unpack_from(key):
        k = k * _FACTOR & _MASK  # noqa: PLW2901 - as the algorithm is written
        h = (h * _FACTOR & _MASK) ^ ((k ^ k >> 24) * _FACTOR & _MASK)
    if whole < length:
        h = (h ^ int.from_bytes(key[whole:], "little")) * _FACTOR & _MASK
    h = (h ^ h >> 13) * _FACTOR & _MASK
    return h ^ h >> 15


@lru_cache(256)
def _words(count: int) -> Struct:
    return Struct(f"<{count}I")
