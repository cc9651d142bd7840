"""What Trainer trains on."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of 32 images as ExampleGen writes them."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("examples") / "data_tfrecord-00000-of-00001.gz"
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for label in generator.integers(0, 10, 32):
            pixels = generator.integers(0, 256, (28, 28, 1), dtype=np.uint8)
            features = tf.train.Features(
                feature={
                    "image": tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[tf.io.encode_png(pixels).numpy()])
                    ),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                }
            )
            writer.write(tf.train.Example(features=features).SerializeToString())
    return str(path)


@pytest.fixture(scope="module")
def transform_graph(tmp_path_factory: pytest.TempPathFactory, transform_output) -> str:
    """What Transform exports, with the schema of the raw examples beside it."""
    graph = tmp_path_factory.mktemp("graph") / "graph"
    shutil.copytree(Path(transform_output.transform_savedmodel_dir).parent, graph)
    return str(graph)
