"""Reads recorded requests: one picture after the other, whatever API and signature it came by."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow_serving.apis import prediction_log_pb2

from serving.examples import serialized_examples
from serving.tensors import MalformedTensorError, array_from_proto
from serving.traffic.files import recordings
from serving.traffic.origin import Origin, origin_of

logger = logging.getLogger(__name__)

_PICTURE = (b"\x89PNG", b"\xff\xd8\xff")


@dataclass(frozen=True)
class Answer:
    """The best label of an answer and its probability."""

    label: str
    confidence: float


@dataclass(frozen=True)
class RecordedPicture:
    """One picture of a recorded request.

    Attributes:
        origin: when it was asked, by which way, and of which version.
        row: its place among the pictures of the request.
        signature: that was asked.
        picture: bytes of a PNG or JPEG, or pixels float32 [height, width, channels], 0 to 255.
        answer: what was answered, if that was recorded.
    """

    origin: Origin
    row: int
    signature: str
    picture: bytes | np.ndarray
    answer: Answer | None

    @property
    def name(self) -> str:
        """Tells this picture from all others: the request's id, and the row if it is not 0."""
        return self.origin.request_id + (f".{self.row}" if self.row else "")

    @property
    def encoded(self) -> bytes:
        """The picture as a file: what the client sent, or its pixels as a PNG."""
        if isinstance(self.picture, bytes):
            return self.picture
        pixels = np.clip(np.rint(self.picture), 0, 255).astype(np.uint8)
        return bytes(tf.io.encode_png(pixels).numpy())


def newest(
    directory: Path, model: str, count: int | None = None, labels: Sequence[str] = ()
) -> list[RecordedPicture]:
    """Returns the recorded pictures that came last, in the order in which they came.

    A file that cannot be read costs what follows in it and a line in the log.

    Args:
        directory: of the recording.
        model: its name.
        count: how many pictures; None: all that there are.
        labels: names of the classes, for answers that have only their probabilities.
    """
    found: list[RecordedPicture] = []
    for path in reversed(recordings(directory, model)):
        # In the order of writing: times are known to the second only.
        found[:0] = read(path, labels)
        if count is not None and len(found) >= count:
            break
    found.sort(key=lambda each: each.origin.time)
    return found if count is None else found[max(len(found) - count, 0) :]


def newest_logs(directory: Path, model: str, count: int) -> list[Any]:
    """Returns the PredictionLogs that were recorded last, in the order in which they came.

    Arguments are those of `newest`, which counts pictures where this counts requests.
    """
    found: list[Any] = []
    for path in reversed(recordings(directory, model)):
        if len(found) >= count:
            break
        found[:0] = _logs(path)
    return found[max(len(found) - count, 0) :]


def read(path: Path, labels: Sequence[str] = ()) -> Iterator[RecordedPicture]:
    """Yields the pictures of one file, up to where it is cut off or damaged."""
    unreadable = 0
    for log in _logs(path):
        try:
            yield from _pictures(log, labels)
        except (message.DecodeError, MalformedTensorError, ValueError):
            unreadable += 1
    if unreadable:
        logger.warning("%s: %d records are no requests with pictures", path, unreadable)


def _logs(path: Path) -> Iterator[Any]:
    for record in _records(path):
        try:
            yield prediction_log_pb2.PredictionLog.FromString(record)
        except message.DecodeError:
            logger.warning("%s: a record is no PredictionLog", path)


def _records(path: Path) -> Iterator[bytes]:
    records = iter(tf.compat.v1.io.tf_record_iterator(str(path)))
    while True:
        try:
            yield next(records)
        except StopIteration:
            return
        except tf.errors.OpError as error:
            # The end of the file that is being written, or was when its writer was killed.
            if "truncated" not in error.message:
                logger.warning("%s is not read to its end: %s", path, error.message)
            return


def _pictures(log: Any, labels: Sequence[str]) -> Iterator[RecordedPicture]:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        pictures = _of_tensors(log.predict_log.request.inputs)
        answers = _of_outputs(log.predict_log.response.outputs, labels)
    elif kind == "classify_log":
        examples = serialized_examples(log.classify_log.request.input)
        pictures = [_of_example(example) for example in examples]
        answers = _of_classifications(log.classify_log.response.result)
    else:
        raise ValueError(f"no request with pictures: {kind}")
    if len(answers) != len(pictures):
        answers = [None] * len(pictures)
    origin, signature = origin_of(log), log.log_metadata.model_spec.signature_name
    for row, (picture, answer) in enumerate(zip(pictures, answers, strict=True)):
        yield RecordedPicture(origin, row, signature, picture, answer)


def _of_tensors(inputs: Any) -> Sequence[bytes | np.ndarray]:
    if len(inputs) != 1:
        raise ValueError("a request with pictures has one input")
    (array,) = (array_from_proto(tensor) for tensor in inputs.values())
    if array.ndim == 4 and array.dtype.kind in "fiu":
        return list(array.astype(np.float32))
    if array.ndim == 1 and array.dtype == object:
        return [each if each.startswith(_PICTURE) else _of_example(each) for each in array.tolist()]
    raise ValueError(f"no pictures have the shape {array.shape}")


def _of_example(serialized: bytes) -> bytes:
    # A client may call the feature otherwise (serving.image_feature): it is told by its content.
    for feature in tf.train.Example.FromString(serialized).features.feature.values():
        for value in feature.bytes_list.value:
            if value.startswith(_PICTURE):
                return bytes(value)
    raise ValueError("an example without a PNG or JPEG")


def _of_outputs(outputs: Any, labels: Sequence[str]) -> list[Answer | None]:
    if "probabilities" not in outputs:
        return []
    probabilities = array_from_proto(outputs["probabilities"])
    if probabilities.ndim != 2:
        return []
    if "label" in outputs:
        best = [label.decode() for label in array_from_proto(outputs["label"]).tolist()]
    elif len(labels) == probabilities.shape[1]:
        best = [labels[place] for place in probabilities.argmax(axis=1)]
    else:
        return []
    return [Answer(label, float(row.max())) for label, row in zip(best, probabilities, strict=True)]


def _of_classifications(result: Any) -> list[Answer | None]:
    best = [max(row.classes, key=lambda each: each.score) for row in result.classifications]
    return [Answer(each.label, each.score) for each in best]
