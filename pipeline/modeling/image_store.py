"""The transformed images of a split, as many bytes as they need, in memory or on disk."""

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import tensorflow as tf

from pipeline.settings.hyperparameters import Stream
from serving.machine import memory_limit

# Of the memory, for one split; training itself needs some, and so does validation.
_MOST_OF_MEMORY = 1 / 8
_COPIED_BYTES = 1 << 20
# At once: as many as 2,674 images of 28x28, and of larger ones as a network can keep its own
# numbers of, which are many for each pixel.
_PIXELS_AT_ONCE = 1 << 21
_REWRITTEN_IMAGES = 1024

Reader = Callable[[tf.Tensor], tf.Tensor]


def images_at_once(shape: Sequence[int], most: int) -> int:
    """Returns how many images of a shape, [height, width, channels], are worked on at once.

    Args:
        shape: of one image.
        most: how many small ones.
    """
    return min(most, max(1, _PIXELS_AT_ONCE // (shape[0] * shape[1])))


class Levels:
    """The float32 values, 0 to 1, that the 256 levels of a picture of 8 bits were scaled to.

    They are learnt from the images: a graph may divide by 255, or multiply by its reciprocal, and
    the last bit differs.
    """

    def __init__(self) -> None:
        self.values = np.full(256, np.nan, np.float32)

    def pack(self, images: np.ndarray) -> np.ndarray | None:
        """Returns uint8 images of which `unpack` makes exactly these; None: there are none.

        There are where pictures were scaled and not resized.

        Args:
            images: float32, of any shape.
        """
        with np.errstate(invalid="ignore"):  # NaN becomes something, and is then unequal
            packed = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
        values = self.values.copy()
        is_new = np.isnan(values)
        values[packed] = np.where(is_new[packed], images, values[packed])
        if not np.array_equal(values[packed], images):
            return None
        self.values = values
        return packed

    def unpack(self, images: np.ndarray) -> np.ndarray:
        """Returns the images, float32, of which `pack` made these."""
        return self.values[images]


class ImageStore:
    """Images that are added in batches, and then read by their positions.

    A pixel takes one byte as long as every image can be packed, and four otherwise. They are in a
    file without a name, of the memory or of a disk, which is mapped: both are read in the same way,
    so that training computes the same, and nothing is left behind however the process ends.
    """

    def __init__(self, folder: Path | None = None, memory_bytes: float = math.inf) -> None:
        """Makes an empty store.

        Args:
            folder: on whose disk images are kept that do not fit in the memory; must exist.
            memory_bytes: how many bytes of images are kept in memory.
        """
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._levels: Levels | None = Levels()
        self._count = 0
        self._image_shape: tuple[int, ...] = ()
        self.is_on_disk = False
        self._file: IO[bytes] = open(os.memfd_create("images"), "w+b")  # noqa: SIM115, PTH123

    @property
    def shape(self) -> tuple[Any, ...]:
        """The number of images, and their shape."""
        return (self._count, *self._image_shape)

    def append(self, images: np.ndarray) -> None:
        """Adds images, float32 [N, ...] of one shape.

        Raises:
            OSError: the disk is full.
        """
        self._image_shape = images.shape[1:]
        packed = self._levels.pack(images) if self._levels else images
        if packed is None:
            self._widen()
            packed = images
        self._write(np.ascontiguousarray(packed).data)
        self._count += len(images)

    def reader(self) -> Reader:
        """Returns what reads, in a TensorFlow graph, the images at positions, int64 [n].

        They are float32 [n, ...]. Nothing can be added any more.
        """
        dtype = np.uint8 if self._levels else np.float32
        # Not ImmutableConst, which is made for this: it reads all of the file into the memory.
        kept = np.memmap(self._file, dtype, mode="r", shape=self.shape)

        def read(rows: tf.Tensor) -> tf.Tensor:
            images = tf.numpy_function(kept.__getitem__, [rows], dtype, stateful=False)
            return tf.ensure_shape(images, [*rows.shape, *self._image_shape])

        if self._levels is None:
            return read
        values = tf.constant(self._levels.values)
        return lambda rows: tf.gather(values, tf.cast(read(rows), tf.int32))

    def _write(self, content: memoryview) -> None:
        if not self.is_on_disk and self._file.tell() + content.nbytes > self._memory_bytes:
            self._go_to_disk()
        self._file.write(content)
        self._file.flush()

    def _go_to_disk(self) -> None:
        in_memory, self.is_on_disk = self._file, True
        self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        with in_memory:
            in_memory.seek(0)
            shutil.copyfileobj(in_memory, self._file, _COPIED_BYTES)

    def _widen(self) -> None:
        """Keeps four bytes a pixel from now on."""
        wide = ImageStore(self._folder, self._memory_bytes)
        wide._levels = None
        if self._count:
            read = self.reader()
            step = images_at_once(self._image_shape, _REWRITTEN_IMAGES)
            for begin in range(0, self._count, step):
                rows = tf.range(begin, min(begin + step, self._count))
                wide.append(read(rows).numpy())
        self._file.close()
        self._levels, self._file, self.is_on_disk = None, wide._file, wide.is_on_disk


def make_store(stream: Stream, folder: Path) -> ImageStore:
    """Returns an empty store for one split, as `training.stream` wants it.

    Args:
        stream: the setting.
        folder: where a file is made, if one is; it and those above it are made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if stream is Stream.ALWAYS:
        return ImageStore(folder, memory_bytes=0)
    if stream is Stream.NEVER:
        return ImageStore(folder)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return ImageStore(folder, min(memory, memory_limit() or memory) * _MOST_OF_MEMORY)
