"""What a version was trained on is counted once, and kept by the content of the version."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.examples import as_example
from pipeline.settings.beam import BeamSettings
from pipeline.traffic.statistics import WHOLE
from pipeline.traffic.training import NoTrainingData, training_statistics
from serving.versions.record import VersionRecord
from serving.versions.store import Version, VersionState

ARGS = BeamSettings().pipeline_args


def version(directory: Path, checksum: str = "a") -> Version:
    record = VersionRecord(
        version=5, pushed_at="2026-01-01T00:00:00Z", checksums={"saved_model.pb": checksum}
    )
    return Version(5, VersionState.PRESENT, record, str(directory))


@pytest.fixture
def examples(tmp_path: Path, clothes: np.ndarray) -> Path:
    """Twenty images to train on, and none that is held out."""
    folder = tmp_path / "examples"
    for split in ("train", "validation"):
        (folder / f"Split-{split}").mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(folder / "Split-train" / "data.gz"), options) as writer:
        for image in clothes[:20]:
            picture = tf.io.encode_png(image[..., np.newaxis]).numpy()
            example = tf.train.Example.FromString(as_example(picture))
            example.features.feature["origin"].bytes_list.value.append(b"base")
            writer.write(example.SerializeToString())
    return folder


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe no message"])
def test_what_is_kept_and_damaged_is_counted_anew(
    tmp_path: Path, examples: Path, by_mean: Path, damage: bytes
) -> None:
    kept = tmp_path / "kept"
    first = training_statistics(version(by_mean), examples, kept, ARGS)
    [file] = kept.iterdir()
    file.write_bytes(damage)
    assert training_statistics(version(by_mean), examples, kept, ARGS) == first
    assert training_statistics(version(by_mean), None, kept, ARGS) == first


def test_what_was_counted_outlives_the_examples(
    tmp_path: Path, examples: Path, by_mean: Path
) -> None:
    kept = tmp_path / "kept"
    first = training_statistics(version(by_mean), examples, kept, ARGS)
    assert {name: each.num_examples for name, each in first.items()} == {WHOLE: 20, "base": 20}
    assert training_statistics(version(by_mean), None, kept, ARGS) == first
    with pytest.raises(NoTrainingData, match="what version 5 was trained on is not in this"):
        training_statistics(version(by_mean, "other bytes"), None, kept, ARGS)
