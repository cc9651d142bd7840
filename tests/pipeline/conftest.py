"""A transform graph over the committed sample, shared by the tests that need one."""

from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

from pipeline.modeling.preprocessing import preprocessing_fn
from pipeline.settings.paths import SCHEMA_FILE


@pytest.fixture(scope="session")
def transform_output(tmp_path_factory: pytest.TempPathFactory):
    """What Transform exports for this project's preprocessing."""
    folder: Path = tmp_path_factory.mktemp("transform")
    schema = text_format.Parse(SCHEMA_FILE.read_text(), schema_pb2.Schema())
    image = tf.io.encode_png(tf.zeros([28, 28, 1], tf.uint8)).numpy()
    rows = [{"image": image, "label": 0, "origin": b"base", "mean_pixel": 0.0}]
    with (
        beam.Pipeline(runner="FnApiRunner") as pipeline,
        tft_beam.Context(temp_dir=str(folder / "tmp")),
    ):
        raw = pipeline | beam.Create(rows), dataset_metadata.DatasetMetadata(schema)
        transform_fn = raw | tft_beam.AnalyzeDataset(preprocessing_fn)
        transform_fn | tft_beam.WriteTransformFn(str(folder / "graph"))
    raw_metadata = folder / "graph" / tft.TFTransformOutput.RAW_METADATA_DIR
    metadata_io.write_metadata(dataset_metadata.DatasetMetadata(schema), str(raw_metadata))
    return tft.TFTransformOutput(str(folder / "graph"))
