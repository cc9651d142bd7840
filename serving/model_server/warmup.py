"""Replays a SavedModel's recorded requests at load, before the version becomes AVAILABLE.

The rules are those of `tensorflow_serving/servables/tensorflow/saved_model_warmup_util.cc`.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import message
from tensorflow_serving.apis import prediction_log_pb2

from serving.model_server import inference
from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.metrics import Metrics
from serving.model_server.servable import Servable

_logger = logging.getLogger(__name__)

REQUESTS_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_RECORDS = 1000


def run_warmup(servable: Servable, path: Path, iterations: int, metrics: Metrics) -> None:
    """Replays each record of the version at `path` `iterations` times.

    Raises ServingError if the file is not a TFRecord of PredictionLogs, has too many records or
    holds a request that the servable refuses: a version that fails its warmup is not served.
    """
    requests = path / REQUESTS_FILE
    if not requests.exists():
        return
    started = time.monotonic()
    read = 0
    try:
        for record in tf.compat.v1.io.tf_record_iterator(str(requests)):
            log = _parsed(record, requests)
            for _ in range(iterations):
                _replay(servable, log)
            read += 1
            if read > MAX_RECORDS:
                raise invalid_argument(
                    f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {requests}"
                )
    except tf.errors.DataLossError as error:
        _observe(metrics, path, f"{Code.DATA_LOSS.name}: {error.message}", read, started)
        raise ServingError(
            Code.DATA_LOSS,
            f"{error.message}. Please verify your warmup data is in TFRecord format.",
        ) from error
    except tf.errors.OpError as error:
        raise ServingError(Code(error.error_code), error.message) from error
    _observe(metrics, path, Code.OK.name, read, started)
    _logger.info("model %s: %d warmup records replayed from %s", servable.name, read, requests)


def _observe(metrics: Metrics, path: Path, status: str, read: int, started: float) -> None:
    micros = round((time.monotonic() - started) * 1e6)
    metrics.warmup_latency.observe(str(path), status, value=micros)
    metrics.warmup_records.add(str(path), status, by=read)


def _parsed(record: bytes, requests: Path) -> Any:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except message.DecodeError as error:
        text = record.decode(errors="replace")
        raise invalid_argument(f"Failed to parse warmup record: {text} from {requests}") from error


def _replay(servable: Servable, log: Any) -> None:
    kind = log.WhichOneof("log_type")
    if kind is None:
        return
    if kind == "predict_log":
        inference.predict(servable, log.predict_log.request)
    elif kind == "classify_log":
        inference.classify(servable, log.classify_log.request)
    elif kind == "regress_log":
        inference.regress(servable, log.regress_log.request)
    elif kind == "multi_inference_log":
        inference.multi_inference(servable, log.multi_inference_log.request)
    else:
        number = log.DESCRIPTOR.fields_by_name[kind].number
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")
