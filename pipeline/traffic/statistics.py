"""Statistics of pictures, counted by Beam and TensorFlow Data Validation: of training and traffic.

The same code measures both sides, after the decoding that training and serving share, so that what
differs are the pictures.
"""

import logging
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf

# Completes tfx_bsl, without which TensorFlow Data Validation cannot be imported.
import tfx  # noqa: F401
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.public.proto import slicing_spec_pb2

from components.predictions import pictures_at_once
from pipeline.modeling.features import IMAGE, ORIGIN, ImageFormat
from pipeline.modeling.preprocessing import decode_images
from pipeline.traffic.measures import measure

logger = logging.getLogger(__name__)

LABEL = "predicted_label"
CONFIDENCE = "confidence"
FILE_BYTES = "file_bytes"
WIDTH = "width"
HEIGHT = "height"

WHOLE = "All Examples"
"""The name of the statistics over all pictures, beside which there are those of every origin."""

_SIGNATURE = "predict_bytes"
_BATCH = 500
_PNG_MAGIC = b"\x89PNG"
# Where a PNG has its width and height.
_PNG_SIZE = 16
# Quantiles stand for the distribution where chance is asked.
_QUANTILES = 100
_FILE = "statistics.pb"

Statistics = dict[str, statistics_pb2.DatasetFeatureStatistics]


@dataclass(frozen=True)
class Picture:
    """The bytes of a PNG or JPEG, and where it comes from: a span, or a variant."""

    encoded: bytes
    origin: str


@dataclass(frozen=True)
class Looked:
    """Pictures that can be decoded.

    Attributes:
        images: float32 [N, height, width, channels], as the model sees them.
        rows: the places of these among what was given, int64 [N].
    """

    images: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Answered:
    """What a model says of those pictures that it takes: another may have taken larger ones.

    Attributes:
        labels: of each.
        confidences: float32 [N].
        rows: the places of these among what was given, int64 [N].
    """

    labels: list[str]
    confidences: np.ndarray
    rows: np.ndarray


def decode(encoded: Sequence[bytes], image_format: ImageFormat | None = None) -> Looked:
    """Decodes pictures as training and serving do; what cannot be decoded is left out.

    Args:
        encoded: PNG or JPEG bytes.
        image_format: what they become; None: small grey pictures, for measures.
    """

    def look(part: Sequence[bytes]) -> np.ndarray:
        pixels: np.ndarray = decode_images(tf.constant(part), image_format).numpy()
        return pixels

    found = list(_without_refused(look, encoded, len(encoded)))
    return Looked(_joined([images for _, images in found], np.float32), _rows(found))


def predict(model: str, encoded: Sequence[bytes]) -> Answered:
    """Returns what a SavedModel answers to pictures; those that it refuses are left out.

    Args:
        model: its directory.
        encoded: PNG or JPEG bytes.
    """
    loaded = _loaded(model)
    labels: list[str] = []

    def ask(part: Sequence[bytes]) -> np.ndarray:
        answer = loaded.signatures[_SIGNATURE](image_bytes=tf.constant(part))
        labels.extend(label.decode() for label in answer["label"].numpy())
        confidences: np.ndarray = answer["probabilities"].numpy().max(axis=1)
        return confidences

    found = list(_without_refused(ask, encoded, pictures_at_once(loaded)))
    return Answered(labels, _joined([each for _, each in found], np.float32), _rows(found))


def _without_refused(
    look: Callable[[Sequence[bytes]], np.ndarray], encoded: Sequence[bytes], count: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Looks at so many pictures at once; where TensorFlow refuses one of them, at each by itself.

    Yields:
        The place of the first picture of a part, and what was seen, an entry for each of the part.
    """
    for start in range(0, len(encoded), count or 1):
        part = encoded[start : start + count]
        try:
            seen = look(part)
        except tf.errors.InvalidArgumentError:
            if len(part) > 1:
                yield from ((start + row, one) for row, one in _without_refused(look, part, 1))
        else:
            yield start, seen


def _rows(found: Sequence[tuple[int, np.ndarray]]) -> np.ndarray:
    return _joined([np.arange(first, first + len(seen)) for first, seen in found], np.int64)


def _joined(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


@cache
def _loaded(model: str) -> Any:
    return tf.saved_model.load(model)


class _Measure(beam.DoFn):
    """Turns batches of pictures into rows of features, as TensorFlow Data Validation takes them."""

    def __init__(self, model: str | None) -> None:
        self._model = model

    def process(self, element: list[Picture]) -> Iterator[pa.RecordBatch]:
        looked = decode([picture.encoded for picture in element])
        images, chosen = looked.images, [element[row] for row in looked.rows]
        if self._model:
            answered = predict(self._model, [picture.encoded for picture in chosen])
            images, chosen = images[answered.rows], [chosen[row] for row in answered.rows]
        if not chosen:
            return
        columns: dict[str, Iterable[Any]] = dict(measure(images))
        columns[FILE_BYTES] = [len(picture.encoded) for picture in chosen]
        sizes = [size_of(picture.encoded) for picture in chosen]
        columns[WIDTH], columns[HEIGHT] = zip(*sizes, strict=True)
        columns[ORIGIN] = [picture.origin for picture in chosen]
        if self._model:
            columns[LABEL], columns[CONFIDENCE] = answered.labels, answered.confidences
        arrays = [pa.array([[value] for value in values]) for values in columns.values()]
        yield pa.RecordBatch.from_arrays(arrays, list(columns))


def size_of(encoded: bytes) -> tuple[int, int]:
    """Returns width and height of a PNG or JPEG that was decoded, from its header.

    As the decoder reads it: Pillow also looks at comments and profiles, and refuses some of them.
    """
    if encoded.startswith(_PNG_MAGIC):
        width, height = struct.unpack_from(">2I", encoded, _PNG_SIZE)
        return width, height
    height, width, _ = tf.io.extract_jpeg_shape(encoded).numpy()
    return int(width), int(height)


class _Parse(beam.DoFn):
    def process(self, element: bytes) -> Iterator[Picture]:
        feature = tf.train.Example.FromString(element).features.feature
        origin = feature[ORIGIN].bytes_list.value[0].decode()
        yield Picture(feature[IMAGE].bytes_list.value[0], origin)


def of_pictures(
    pictures: Sequence[Picture], model: str, beam_args: Sequence[str]
) -> Statistics | None:
    """Returns the statistics of pictures, by their origin and of all; None: none can be decoded.

    Args:
        pictures: to be measured.
        model: a SavedModel, whose predictions are counted as well.
        beam_args: options of Beam.
    """
    return _counted(beam.Create(pictures), model, beam_args)


def of_examples(files: str, model: str | None, beam_args: Sequence[str]) -> Statistics | None:
    """As `of_pictures`, of the tf.Examples in gzipped TFRecord files.

    Args:
        files: a pattern.
        model: a SavedModel, whose predictions are counted as well; None: without predictions.
        beam_args: options of Beam.
    """
    read = beam.io.ReadFromTFRecord(files)
    return _counted(read | "Parse" >> beam.ParDo(_Parse()), model, beam_args)


def _counted(source: Any, model: str | None, beam_args: Sequence[str]) -> Statistics | None:
    import tensorflow_data_validation as tfdv

    by_origin = slicing_spec_pb2.SlicingSpec(feature_keys=[ORIGIN])
    options = tfdv.StatsOptions(
        num_quantiles_histogram_buckets=_QUANTILES,
        slicing_config=slicing_spec_pb2.SlicingConfig(slicing_specs=[by_origin]),
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / _FILE
        with beam.Pipeline(argv=list(beam_args)) as pipeline:
            _ = (
                pipeline
                | "Pictures" >> source
                | "Batch" >> beam.BatchElements(_BATCH, _BATCH)
                | "Measure" >> beam.ParDo(_Measure(model)).with_output_types(pa.RecordBatch)
                | "Count" >> tfdv.GenerateStatistics(options)
                | "Write" >> tfdv.WriteStatisticsToBinaryFile(str(file))
            )
        counted = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes())
    found = {
        (each.name or WHOLE).removeprefix(f"{ORIGIN}_"): each
        for each in counted.datasets
        if each.num_examples
    }
    return found or None
