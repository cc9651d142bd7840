"""The IDX file format: arrays of unsigned bytes behind a big-endian header.

The format is described by its authors at http://yann.lecun.com/exdb/mnist/ : two zero bytes, one
byte for the element type (0x08 is unsigned byte), one byte for the number of dimensions, each
dimension as a big-endian 32-bit integer, then the elements in row-major order. Files whose name
ends in ``.gz`` are gzipped.
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_UNSIGNED_BYTE = 0x08
_IMAGE_DIMENSIONS = 3
_LABEL_DIMENSIONS = 1


class IdxError(ValueError):
    """A file is not the IDX file that its name promises; the message names the file."""


def read_images(path: Path) -> Bytes:
    """Reads an image file: uint8 [images, height, width], not writable.

    Raises:
        IdxError: wrong magic number or extent, truncated, too long, or not a readable (gzip) file.
    """
    return _read(path, _IMAGE_DIMENSIONS)


def read_labels(path: Path) -> Bytes:
    """Reads a label file: uint8 [labels], not writable. Raises IdxError as `read_images` does."""
    return _read(path, _LABEL_DIMENSIONS)


def write(path: Path, array: Bytes) -> None:
    """Writes `array` (uint8, of any shape) as IDX; gzipped when the name ends in ``.gz``.

    The same array always gives the same bytes: the gzip header carries no name and no time.
    """
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, _UNSIGNED_BYTE, array.ndim, *array.shape)
    content = header + array.astype(np.uint8, copy=False).tobytes()
    if path.suffix == ".gz":
        # Level 9 takes ten times the time of level 6 and saves one per cent.
        content = gzip.compress(content, compresslevel=6, mtime=0)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, dimensions: int) -> Bytes:
    content = _content(path)
    magic = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    if content[:4] != magic:
        found = content[:4].hex() or "nothing"
        raise IdxError(f"{path}: wrong magic number, expected {magic.hex()} and found {found}")
    header_size = 4 + 4 * dimensions
    if len(content) < header_size:
        raise IdxError(f"{path}: truncated inside its header")
    shape = struct.unpack(f">{dimensions}I", content[4:header_size])
    expected, found_size = math.prod(shape), len(content) - header_size
    if found_size != expected:
        defect = "truncated" if found_size < expected else "longer than its header says"
        raise IdxError(f"{path}: {defect}, expected {expected} bytes of data, found {found_size}")
    try:
        return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)
    except ValueError as error:
        extent = " x ".join(map(str, shape))
        raise IdxError(f"{path}: no array has the {extent} elements of its header") from error


def _content(path: Path) -> bytes:
    try:
        if path.suffix != ".gz":
            return path.read_bytes()
        with gzip.open(path) as file:
            return file.read()
    except EOFError as error:
        raise IdxError(f"{path}: truncated, its gzip stream ends too early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise IdxError(f"{path}: corrupt gzip file ({error})") from error
    except MemoryError as error:
        raise IdxError(f"{path}: needs more memory than there is") from error
    except OSError as error:
        raise IdxError(f"{path}: cannot be read ({error.strerror})") from error
