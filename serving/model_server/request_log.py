"""Logs a sampled share of the answered requests as TFRecords of PredictionLog.

Asked for by `logging_config` in a model's config. The records have the format of warmup records, so
a log is a warmup file. TensorFlow Serving leaves the collector to plug-ins and ships none; the one
here has the type `tfrecord` (or none), and its files are
`<filename_prefix>-<start time>-<pid>.tfrecord`.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.inference import fill_classification, fill_regression
from serving.model_server.metrics import Metrics
from serving.model_server.servable import Servable
from serving.model_server.signatures import DEFAULT_SIGNATURE, Classification
from serving.tensors import fill_proto

_logger = logging.getLogger(__name__)

_COLLECTOR_TYPES = ("", "tfrecord")


class _ModelLog:
    """The log of one model: its file and the share of requests that goes there."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.sampling_rate = config.sampling_config.sampling_rate
        prefix = config.log_collector_config.filename_prefix
        stamp = time.strftime("%Y%m%dT%H%M%S")
        self.path = Path(f"{prefix}-{stamp}-{os.getpid()}.tfrecord")
        self._lock = threading.Lock()
        self._writer: Any = None

    def write(self, record: bytes) -> None:
        with self._lock:
            if self._writer is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = tf.io.TFRecordWriter(str(self.path))
            self._writer.write(record)
            self._writer.flush()

    def close(self) -> None:
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None


class SampledRequestLog:
    """Writes what the current model config asks to be logged. Thread-safe."""

    def __init__(self, metrics: Metrics, saved_model_tags: Sequence[str]) -> None:
        self._metrics = metrics
        self._tags = list(saved_model_tags)
        self._logs: dict[str, _ModelLog] = {}

    def update(self, model_server_config: Any) -> None:
        """Follows a new ModelServerConfig; a log whose config is unchanged goes on.

        Raises ServingError if a collector type is unknown, or its file prefix is missing.
        """
        wanted = {
            model.name: model.logging_config
            for model in model_server_config.model_config_list.config
            if model.HasField("logging_config")
        }
        for config in wanted.values():
            _check(config)
        logs = {}
        for name, config in wanted.items():
            old = self._logs.get(name)
            logs[name] = old if old and old.config == config else _ModelLog(config)
            if logs[name] is not old:
                _logger.info(
                    "model %s: logging a share of %g of its requests to %s",
                    name,
                    logs[name].sampling_rate,
                    logs[name].path,
                )
        retired = [log for name, log in self._logs.items() if logs.get(name) is not log]
        self._logs = logs
        for log in retired:
            log.close()

    def close(self) -> None:
        for log in self._logs.values():
            log.close()

    def predict(
        self,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str],
        outputs: Mapping[str, np.ndarray],
    ) -> None:
        log = self._sampled(servable)
        if log is None:
            return
        record = prediction_log_pb2.PredictionLog()
        request, response = record.predict_log.request, record.predict_log.response
        request.output_filter.extend(output_filter)
        for alias, array in inputs.items():
            fill_proto(request.inputs[alias], array)
        for alias, array in outputs.items():
            fill_proto(response.outputs[alias], array)
        self._write(log, servable, signature_name, record, record.predict_log)

    def classify(
        self,
        servable: Servable,
        signature_name: str,
        serialized_examples: Sequence[bytes],
        result: Classification,
    ) -> None:
        log = self._sampled(servable)
        if log is None:
            return
        record = prediction_log_pb2.PredictionLog()
        _fill_examples(record.classify_log.request.input, serialized_examples)
        fill_classification(record.classify_log.response.result, result)
        self._write(log, servable, signature_name, record, record.classify_log)

    def regress(
        self,
        servable: Servable,
        signature_name: str,
        serialized_examples: Sequence[bytes],
        result: np.ndarray,
    ) -> None:
        log = self._sampled(servable)
        if log is None:
            return
        record = prediction_log_pb2.PredictionLog()
        _fill_examples(record.regress_log.request.input, serialized_examples)
        fill_regression(record.regress_log.response.result, result)
        self._write(log, servable, signature_name, record, record.regress_log)

    def _sampled(self, servable: Servable) -> _ModelLog | None:
        log = self._logs.get(servable.name)
        return log if log and random.random() < log.sampling_rate else None

    def _write(
        self, log: _ModelLog, servable: Servable, signature_name: str, record: Any, kind_log: Any
    ) -> None:
        specs = (kind_log.request.model_spec, kind_log.response.model_spec)
        for spec in (*specs, record.log_metadata.model_spec):
            spec.name = servable.name
            spec.version.value = servable.version
            spec.signature_name = signature_name or DEFAULT_SIGNATURE
        record.log_metadata.sampling_config.CopyFrom(log.config.sampling_config)
        record.log_metadata.saved_model_tags.extend(self._tags)
        code = Code.OK
        try:
            log.write(record.SerializeToString())
        except (OSError, tf.errors.OpError) as error:
            code = Code.UNKNOWN
            _logger.error("model %s: request not logged to %s: %s", servable.name, log.path, error)
        self._metrics.request_logs.add(servable.name, code.name)


def _check(config: Any) -> None:
    collector = config.log_collector_config
    if collector.type not in _COLLECTOR_TYPES:
        raise ServingError(
            Code.NOT_FOUND, f"Cannot find LogCollector::Factory for type: {collector.type}"
        )
    if not collector.filename_prefix:
        raise invalid_argument("logging_config: log_collector_config needs a filename_prefix")
    if not 0 <= config.sampling_config.sampling_rate <= 1:
        raise invalid_argument(
            "logging_config: sampling_rate must be within [0, 1], "
            f"is {config.sampling_config.sampling_rate}"
        )


def _fill_examples(model_input: Any, serialized_examples: Sequence[bytes]) -> None:
    for serialized in serialized_examples:
        model_input.example_list.examples.add().ParseFromString(serialized)
