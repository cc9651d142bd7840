"""Reading and writing IDX files."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from data import idx

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("name", ["images-idx3-ubyte", "images-idx3-ubyte.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    idx.write(tmp_path / name, IMAGES)
    np.testing.assert_array_equal(idx.read_images(tmp_path / name), IMAGES)


def test_the_header_is_big_endian(tmp_path: Path) -> None:
    idx.write(tmp_path / "labels", np.array([7, 9], np.uint8))
    assert (tmp_path / "labels").read_bytes() == struct.pack(">II", 0x801, 2) + b"\x07\x09"


def test_the_same_array_always_gives_the_same_bytes(tmp_path: Path) -> None:
    idx.write(tmp_path / "one.gz", IMAGES)
    idx.write(tmp_path / "two.gz", IMAGES)
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "defect"),
    [
        ("f", b"", "wrong magic number"),
        ("f", struct.pack(">II", 0x801, 2) + b"ab", "wrong magic number"),
        ("f", struct.pack(">II", 0x803, 2), "truncated inside its header"),
        ("f", struct.pack(">IIII", 0x803, 1, 2, 2) + b"abc", "truncated, expected 4 bytes"),
        ("f", struct.pack(">IIII", 0x803, 1, 2, 2) + b"abcde", "longer than its header"),
        ("f", struct.pack(">IIII", 0x803, 0, 2**32 - 1, 2**32 - 1), "no array has the 0 x 42949"),
        ("f.gz", gzip.compress(struct.pack(">IIII", 0x803, 1, 2, 2) + b"abcd")[:-9], "truncated"),
        ("f.gz", b"plain bytes", "corrupt gzip"),
    ],
)
def test_a_defect_names_the_file(tmp_path: Path, name: str, content: bytes, defect: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(idx.IdxError, match=f"{tmp_path / name}: {defect}"):
        idx.read_images(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(idx.IdxError, match=r"labels: cannot be read \(No such file"):
        idx.read_labels(tmp_path / "labels")
