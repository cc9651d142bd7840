"""Drift is what neither the limit nor chance allows, and is named by the feature that moved."""

import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipeline.modeling.features import ImageFormat
from pipeline.settings.beam import BeamSettings
from pipeline.traffic.drift import Comparison, compare
from pipeline.traffic.statistics import WHOLE, Picture, Statistics, of_pictures, predict, size_of
from tests.by_mean_model import save_by_mean

ARGS = BeamSettings().pipeline_args


def pngs(images: np.ndarray, origin: str = "base") -> list[Picture]:
    encoded = tf.io.encode_png(images[..., np.newaxis].astype(np.uint8)).numpy()
    return [Picture(each, origin) for each in encoded]


def inverted(images: np.ndarray) -> np.ndarray:
    return 255 - images


@pytest.fixture(scope="module")
def training(by_mean: Path, clothes: np.ndarray) -> Statistics:
    """Half of the clothes, and a span of inverted ones."""
    pictures = pngs(clothes[:300]) + pngs(inverted(clothes[500:600]), "span-1")
    found = of_pictures(pictures, str(by_mean), ARGS)
    assert found
    return found


def compared(images: np.ndarray, training: Statistics, model: Path, *more: Picture) -> Comparison:
    traffic = of_pictures([*pngs(images, "stable"), *more], str(model), ARGS)
    assert traffic
    return compare(traffic[WHOLE], training, 0.08)


@pytest.mark.parametrize(
    ("change", "feature"),
    [
        (lambda x: x, None),
        (lambda x: np.minimum(x + 60.0, 255), "mean_pixel"),
        (lambda x: np.roll(x, 5, axis=2), "centre_x"),
    ],
    ids=["alike", "brighter", "moved"],
)
def test_what_moved_is_named_first(
    clothes: np.ndarray,
    training: Statistics,
    by_mean: Path,
    change: Callable[[np.ndarray], np.ndarray],
    feature: str | None,
) -> None:
    found = compared(change(clothes[700:820]), training, by_mean)
    assert [each.feature for each in found.drifted][:1] == ([feature] if feature else [])


def counted(labels: np.ndarray, mean: np.ndarray) -> statistics_pb2.DatasetFeatureStatistics:
    import tensorflow_data_validation as tfdv

    columns = pd.DataFrame({"mean_pixel": mean.astype(np.float32), "predicted_label": labels})
    columns["predicted_label"] = "class " + columns["predicted_label"].astype(str)
    return tfdv.generate_statistics_from_dataframe(columns, n_jobs=1).datasets[0]


@pytest.mark.parametrize(
    ("classes", "brighter", "misread", "feature"),
    [
        (range(10), 0, 0.0, None),
        ([5, 7, 9], 0, 0.0, "predicted_label"),
        ([0], 0, 0.0, "predicted_label"),
        (range(10), 40, 0.0, "mean_pixel"),
        (range(10), 40, 0.3, "mean_pixel"),
        (range(10), 120, 0.8, "mean_pixel"),
    ],
)
def test_labels_are_named_first_only_where_they_explain_the_pictures(
    classes: Sequence[int], brighter: int, misread: float, feature: str | None
) -> None:
    """Classes differ in brightness; a model misreads a share of brighter pictures as class 8."""
    random = np.random.default_rng(1)

    def drawn(count: int, among: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        labels = random.choice(np.array(among), count)
        return labels, random.normal(40 + 8 * labels, 20)

    labels, mean = drawn(400, classes)
    labels = np.where(random.random(400) < misread, 8, labels)
    training = {WHOLE: counted(*drawn(4000, range(10)))}
    found = compare(counted(labels, mean + brighter), training, 0.08)
    assert [each.feature for each in found.drifted][:1] == ([feature] if feature else [])


def test_a_handful_of_pictures_is_no_drift_where_chance_explains_it(
    clothes: np.ndarray, training: Statistics, by_mean: Path
) -> None:
    found = compared(clothes[700:710], training, by_mean)
    assert max(each.distance for each in found.features) > 0.08
    assert found.drifted == []


def test_traffic_like_one_span_of_the_training_data_is_no_drift(
    clothes: np.ndarray, training: Statistics, by_mean: Path
) -> None:
    found = compared(inverted(clothes[700:820]), training, by_mean)
    assert (found.origin, found.drifted) == ("span-1", [])


def test_a_picture_that_cannot_be_decoded_costs_only_itself(
    clothes: np.ndarray, training: Statistics, by_mean: Path
) -> None:
    broken = Picture(b"\x89PNG and nothing else", "stable")
    found = compared(clothes[700:820], training, by_mean, broken)
    assert found.drifted == []
    assert of_pictures([broken], str(by_mean), ARGS) is None


def with_chunk(png: bytes, kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    """A PNG with one more chunk behind its header."""
    body = kind + content
    checked = zlib.crc32(body) if checksum is None else checksum
    return png[:33] + struct.pack(">I", len(content)) + body + struct.pack(">I", checked) + png[33:]


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with one more segment in front."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + jpeg[2:]


def test_a_picture_is_measured_whatever_else_its_file_holds(
    clothes: np.ndarray, by_mean: Path
) -> None:
    image = clothes[0][:20, :, np.newaxis]
    png, jpeg = tf.io.encode_png(image).numpy(), tf.io.encode_jpeg(image).numpy()
    large = zlib.compress(bytes(2_000_000))
    files = [
        png,
        with_chunk(png, b"iCCP", b"p\0\0" + large),
        with_chunk(png, b"zTXt", b"Comment\0\0" + large),
        with_chunk(png, b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + large),
        with_chunk(png, b"pHYs", b"\0"),
        with_chunk(png, b"tEXt", b"a\0b", checksum=0),
        jpeg,
        with_segment(jpeg, 0xE0, b"JFIF"),
        with_segment(jpeg, 0xEE, b"Adobe"),
    ]
    assert {size_of(each) for each in files} == {(28, 20)}
    found = of_pictures([Picture(each, "stable") for each in files], str(by_mean), ARGS)
    assert found
    assert found[WHOLE].num_examples == len(files)


def test_a_picture_that_this_model_refuses_costs_only_itself(
    clothes: np.ndarray, tmp_path: Path
) -> None:
    model = str(save_by_mean(tmp_path / "model", ImageFormat(max_pixels=28 * 28)))
    large = tf.io.encode_png(np.zeros((29, 29, 1), np.uint8)).numpy()
    small = [picture.encoded for picture in pngs(clothes[:2])]
    answered = predict(model, [small[0], large, small[1]])
    assert answered.rows.tolist() == [0, 2]
    assert answered.labels == predict(model, small).labels
    pictures = [Picture(each, "stable") for each in (small[0], large, small[1])]
    found = of_pictures(pictures, model, ARGS)
    assert found
    assert found[WHOLE].num_examples == 2
    assert of_pictures([Picture(large, "stable")], model, ARGS) is None
