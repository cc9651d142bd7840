"""Stored images are read as they were added, whatever they are and wherever they are kept."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from pipeline.modeling.image_store import (
    ImageStore,
    Levels,
    images_at_once,
    make_store,
)
from pipeline.modeling.preprocessing import scale_pixels
from pipeline.settings.hyperparameters import Stream

EVERY_LEVEL = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
SCALED = EVERY_LEVEL.astype(np.float32) / np.float32(255)
RESIZED = SCALED * np.float32(0.999)


@pytest.fixture(params=["in memory", "on disk", "on disk from the second batch on"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    limits = {"in memory": 1e9, "on disk": 0}
    return ImageStore(tmp_path, limits.get(request.param, SCALED.size))


@pytest.mark.parametrize("scale", [scale_pixels, tf.function(scale_pixels)])
def test_what_a_graph_scaled_is_a_byte_a_pixel(scale: Callable[[np.ndarray], tf.Tensor]) -> None:
    scaled = scale(tf.constant(EVERY_LEVEL)).numpy()
    levels = Levels()
    packed = levels.pack(scaled)
    assert packed is not None
    np.testing.assert_array_equal(packed, EVERY_LEVEL)
    np.testing.assert_array_equal(levels.unpack(packed), scaled)


@pytest.mark.parametrize("value", [0.5, 1.5, -1.0, np.nan, 1 / 255 + 1e-9])
def test_what_is_between_the_levels_is_not_rounded(value: float) -> None:
    levels = Levels()
    assert levels.pack(SCALED) is not None
    images = SCALED.copy()
    images[1, 2, 3] = value
    assert levels.pack(images) is None
    assert levels.pack(SCALED) is not None


def test_images_are_read_as_they_were_added(store: ImageStore) -> None:
    store.append(SCALED)
    store.append(SCALED[::-1])
    assert store.shape == (8, 8, 8, 1)
    rows = np.array([7, 0, 3, 3])
    np.testing.assert_array_equal(store.reader()(rows).numpy(), SCALED[[0, 0, 3, 3]])


def test_resized_images_among_others_lose_nothing(store: ImageStore) -> None:
    store.append(SCALED)
    store.append(RESIZED)
    store.append(SCALED[:1])
    assert store.shape == (9, 8, 8, 1)
    everything = store.reader()(np.arange(9)).numpy()
    np.testing.assert_array_equal(everything, np.concatenate([SCALED, RESIZED, SCALED[:1]]))


def test_a_store_on_disk_keeps_nothing_in_memory_and_leaves_nothing_behind(tmp_path: Path) -> None:
    store = make_store(Stream.ALWAYS, tmp_path / "run")
    store.append(SCALED)
    assert store.is_on_disk
    assert list((tmp_path / "run").iterdir()) == []


def test_by_itself_a_split_goes_to_disk_above_an_eighth_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.modeling.image_store.memory_limit", lambda: 8 * SCALED.size)
    by_itself, never = make_store(Stream.AUTO, tmp_path), make_store(Stream.NEVER, tmp_path)
    for expected in (False, True):
        by_itself.append(SCALED)
        never.append(SCALED)
        assert by_itself.is_on_disk == expected
    assert not never.is_on_disk


def test_a_full_disk_is_an_error_of_the_system(tmp_path: Path, monkeypatch) -> None:
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115, PTH123
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: full)
    store = make_store(Stream.ALWAYS, tmp_path)
    with full, pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        store.append(SCALED)


@pytest.mark.parametrize(
    ("edge", "expected"), [(28, 1024), (45, 1024), (64, 512), (224, 41), (4000, 1)]
)
def test_the_larger_images_are_the_fewer_are_worked_on_at_once(edge: int, expected: int) -> None:
    assert images_at_once((edge, edge, 3), most=1024) == expected


def test_large_images_are_rewritten_a_few_at_a_time(tmp_path: Path) -> None:
    large = np.zeros((3, 1200, 1200, 1), np.float32)
    store = ImageStore(tmp_path)
    store.append(large)
    resized = large.copy()
    resized[:, 0], resized[:, 1] = 0.3002, 0.3004  # of the same level
    with mock.patch("pipeline.modeling.image_store.tf.range", wraps=tf.range) as ranges:
        store.append(resized)
    assert [call.args for call in ranges.call_args_list] == [(0, 1), (1, 2), (2, 3)]
    np.testing.assert_array_equal(store.reader()(np.arange(2, 4)).numpy(), [large[2], resized[0]])


def test_what_is_read_from_the_disk_is_not_copied_into_the_memory(tmp_path: Path) -> None:
    def own_bytes() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0]) * 1024

    store = ImageStore(tmp_path, memory_bytes=0)
    batch = np.zeros((20, 1000, 1000, 1), np.float32)
    for _ in range(10):
        store.append(batch)
    before = own_bytes()
    read = store.reader()
    for row in range(0, 200, 10):
        read(tf.range(row, row + 1))
    assert own_bytes() - before < 200_000_000 / 2
