"""Logs a sampled share of the answered requests as TFRecords of PredictionLog.

Asked for by `logging_config` in a model's config. The records have the format of warmup records, so
a log is a warmup file. TensorFlow Serving leaves the collector to plug-ins and ships none; the one
here has the type `tfrecord` (or none), and its files are
`<filename_prefix>-<start time>-<pid>-<number>.tfrecord`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from serving.model_server import request_log_records as records
from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.metrics import Metrics
from serving.model_server.request_log_files import RequestLogFiles
from serving.model_server.servable import Servable
from serving.model_server.signatures import Classification

_logger = logging.getLogger(__name__)

_COLLECTOR_TYPES = ("", "tfrecord")


class _ModelLog:
    """The log of one model: its files and the share of requests that goes there."""

    def __init__(self, config: Any, max_file_bytes: int, max_total_bytes: int) -> None:
        self.config = config
        self.sampling_rate = config.sampling_config.sampling_rate
        self.prefix = config.log_collector_config.filename_prefix
        self.files = RequestLogFiles(self.prefix, max_file_bytes, max_total_bytes)


class SampledRequestLog:
    """Writes what the current model config asks to be logged. Thread-safe."""

    def __init__(
        self,
        metrics: Metrics,
        saved_model_tags: Sequence[str],
        max_file_bytes: int = 1 << 26,
        max_total_bytes: int = 1 << 30,
    ) -> None:
        """The sizes are those of the files of one model (see RequestLogFiles)."""
        self._metrics = metrics
        self._sizes = (max_file_bytes, max_total_bytes)
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
        logs = {name: self._log_of(name, config) for name, config in wanted.items()}
        retired = [log for name, log in self._logs.items() if logs.get(name) is not log]
        self._logs = logs
        for log in retired:
            log.files.close()

    def close(self) -> None:
        """Ends all files; requests that are still answered are not logged."""
        for log in self._logs.values():
            log.files.close()

    def predict(
        self,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str],
        outputs: Mapping[str, np.ndarray],
    ) -> None:
        self._log(
            servable, signature_name, lambda: records.predict_log(inputs, outputs, output_filter)
        )

    def classify(
        self,
        servable: Servable,
        signature_name: str,
        serialized_examples: Sequence[bytes],
        result: Classification,
    ) -> None:
        self._log(
            servable, signature_name, lambda: records.classify_log(serialized_examples, result)
        )

    def regress(
        self,
        servable: Servable,
        signature_name: str,
        serialized_examples: Sequence[bytes],
        result: np.ndarray,
    ) -> None:
        self._log(
            servable, signature_name, lambda: records.regress_log(serialized_examples, result)
        )

    def _log_of(self, name: str, config: Any) -> _ModelLog:
        old = self._logs.get(name)
        if old and old.config == config:
            return old
        log = _ModelLog(config, *self._sizes)
        _logger.info(
            "model %s: logging a share of %g of its requests to %s-*.tfrecord",
            name,
            log.sampling_rate,
            log.prefix,
        )
        return log

    def _log(self, servable: Servable, signature_name: str, make: Callable[[], Any]) -> None:
        """Logs a request if it is one of the sample. Whatever fails, the request is answered."""
        log = self._logs.get(servable.name)
        if log is None or random.random() >= log.sampling_rate:
            return
        try:
            record = self._record(log, servable, signature_name, make())
            code = Code.OK if log.files.write(record) else Code.UNAVAILABLE
        except Exception as error:
            code = Code.UNKNOWN
            name, reason = servable.name, " ".join(str(error).split())
            _logger.error("model %s: request not logged to %s: %s", name, log.prefix, reason)
        self._metrics.request_logs.add(servable.name, code.name)

    def _record(
        self, log: _ModelLog, servable: Servable, signature_name: str, record: Any
    ) -> bytes:
        records.stamp(record, servable.name, servable.version, signature_name)
        record.log_metadata.sampling_config.CopyFrom(log.config.sampling_config)
        record.log_metadata.saved_model_tags.extend(self._tags)
        return bytes(record.SerializeToString())


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
