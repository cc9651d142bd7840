"""The properties that `benchmarks.fuzz` looks for exceptions to, on recorded and changed inputs."""

import random

import pytest

from benchmarks import fuzz

CHANGES_OF_EACH_SEED = 20
FINDS = {
    "json": [],
    "http": [],
    # Signalling NaN, a dtype that numpy lacks, and an empty tensor of 70 million empty rows.
    "tensor": [
        b'\x08\x08"\x08\x90d\xb8\x7f\t\xfe\x00@',
        b'\x08\x01\x08\x0b"\x02\x00"',
        b"\x12\x08\x12\x02\x08A\x12\x02\x08\x02\x12\x08\x12\x06\x08A\x12\x02\x18@\x08\x07"
        b"\x12\x08\x12\x02\x08A\x12\x02\x08\x02\x12\x08\x12\x02\x08A\x12\x02\x18@\x08\x07",
    ],
}


def changed(source: random.Random, seed: bytes) -> bytes:
    data = bytearray(seed)
    for _ in range(source.choice((1, 2, 5))):
        at = source.randrange(len(data) + 1)
        data[at : at + source.randrange(3)] = source.choice(
            (b"", b"[", b"]", b'"', b"0e0", b"\\", b"\0", b"\r\n", source.randbytes(2))
        )
    return bytes(data)


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_every_reader_keeps_its_properties(target: str) -> None:
    source = random.Random(14)
    check = fuzz.TARGETS[target]()
    for find in FINDS[target]:
        check(find)
    for seed in fuzz.seeds(target):
        check(seed)
        for _ in range(CHANGES_OF_EACH_SEED):
            check(changed(source, seed))
