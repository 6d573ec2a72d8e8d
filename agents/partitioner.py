"""Which partition a record's key belongs to, as Kafka's two common producers compute it.

Java clients hash with murmur2; librdkafka and everything built on it (Go, .NET, PHP, Node and
confluent-kafka for Python) hash with CRC-32 unless told otherwise. The two disagree for most
keys, and a member whose events lie in two partitions is two members.
"""

from collections.abc import Callable
from struct import Struct
from typing import Literal
from zlib import crc32

Partitioner = Literal["murmur2", "crc32"]

PartitionOf = Callable[[bytes, int], int]
"""From a record's key and its topic's partition count to the partition."""

_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_WORDS = tuple(Struct(f"<{count}I") for count in range(33))


def murmur2(key: bytes) -> int:
    """Return the 32-bit MurmurHash2 of ``key`` with the seed that Kafka uses, unsigned.

    >>> hex(murmur2(b"21"))
    '0xc5f2f8ec'
    """
    length = len(key)
    whole = length >> 2
    words = _WORDS[whole] if whole < len(_WORDS) else Struct(f"<{whole}I")
    hashed = _SEED ^ length
    for word in words.unpack_from(key):
        mixed = (word * _MULTIPLIER) & _MASK
        mixed = ((mixed ^ (mixed >> 24)) * _MULTIPLIER) & _MASK
        hashed = ((hashed * _MULTIPLIER) & _MASK) ^ mixed
    tail = key[whole << 2 :]
    if tail:
        hashed = ((hashed ^ int.from_bytes(tail, "little")) * _MULTIPLIER) & _MASK
    hashed = ((hashed ^ (hashed >> 13)) * _MULTIPLIER) & _MASK
    return hashed ^ (hashed >> 15)


def murmur2_partition(key: bytes, partitions: int) -> int:
    """Return the partition of the Java producer, and of librdkafka's ``murmur2_random``.

    >>> murmur2_partition(b"m1", 64)
    0
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def crc32_partition(key: bytes, partitions: int) -> int:
    """Return the partition of librdkafka's default, ``consistent_random``.

    librdkafka places an empty key at random, as it does an absent one; here it has a place.

    >>> crc32_partition(b"m1", 64)
    47
    """
    return crc32(key) % partitions


def partition_function(partitioner: Partitioner) -> PartitionOf:
    """Return the function of a partitioner's name; raises ``KeyError`` for any other name."""
    functions: dict[str, PartitionOf] = {"murmur2": murmur2_partition, "crc32": crc32_partition}
    return functions[partitioner]
