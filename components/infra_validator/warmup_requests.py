"""Warmup requests inside a SavedModel, which TensorFlow Serving replays before it serves.

The file is `assets.extra/tf_serving_warmup_requests`, TFRecords of PredictionLog; more than 1,000
make the load fail (saved_model_warmup_util.cc).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, prediction_log_pb2

from components.infra_validator.requests import ServingRequest

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_RECORDS = 1000


def write_warmup(model: Path, requests: Sequence[ServingRequest]) -> int:
    """Writes requests into a SavedModel, replacing those it had; returns how many."""
    path = model / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    records = requests[:MAX_RECORDS]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in records:
            log = prediction_log_pb2.PredictionLog()
            if isinstance(request, classification_pb2.ClassificationRequest):
                log.classify_log.request.CopyFrom(request)
            else:
                log.predict_log.request.CopyFrom(request)
            # The same requests are the same bytes, so that the same model is the same version.
            writer.write(log.SerializeToString(deterministic=True))
    return len(records)


def read_warmup(model: Path) -> Iterator[ServingRequest]:
    """Yields the classify and predict requests in a SavedModel's warmup file, if it has one."""
    path = model / WARMUP_FILE
    if not path.exists():
        return
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        kind = log.WhichOneof("log_type")
        if kind in ("classify_log", "predict_log"):
            yield getattr(log, kind).request
