"""Which split and which shard an image belongs to: decided by a hash of its pixels alone.

An image therefore stays where it is whatever spans are read with it, and a copy of an image never
sits in training and validation at once.
"""

import hashlib
import math

import numpy as np
import numpy.typing as npt

from data.idx import Bytes
from data.layout import Role

SPLITS = ("train", "validation", "eval")

_BUCKETS = 10
_VALIDATION = frozenset({0})
# Of a new span a fifth is held out for evaluation. Once a version that was trained on the span is
# served, its data can be trusted, and a later run trains on these images as well.
_HELD_OUT = frozenset({1, 2})


def digests(images: Bytes) -> npt.NDArray[np.uint64]:
    """A 64-bit BLAKE2b hash of every image: [images, height, width] to uint64 [images]."""
    hashed = b"".join(hashlib.blake2b(image, digest_size=8).digest() for image in images)
    return np.frombuffer(hashed, np.dtype("<u8")).astype(np.uint64)


def split_of(role: Role, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The position in `SPLITS` of every image of a file with this role, int64 [images]."""
    if role is Role.TEST:
        return np.full(len(hashes), SPLITS.index("eval"))
    by_bucket = np.full(_BUCKETS, SPLITS.index("train"))
    by_bucket[list(_VALIDATION)] = SPLITS.index("validation")
    if role is Role.NEW_SPAN:
        by_bucket[list(_HELD_OUT)] = SPLITS.index("eval")
    return by_bucket[hashes % _BUCKETS]


def shard_of(hashes: npt.NDArray[np.uint64], shards: int) -> npt.NDArray[np.int64]:
    """The shard of every image, int64 [images] below `shards`, independent of its split."""
    return (hashes // _BUCKETS % np.uint64(shards)).astype(np.int64)


def shard_count(examples: int, examples_per_shard: int) -> int:
    """How many shards hold so many examples, at least one."""
    return max(1, math.ceil(examples / examples_per_shard))
