"""Writes what production asked, as TFRecords of PredictionLog.

The records are those of the embedded server's request log, so a recording is a warmup file and
whatever reads PredictionLogs reads it. What came in by which way is in `log_metadata`: time in
`timestamp_secs`, model, version and signature in `model_spec`, and `variant/request id` in
`request_origin`. Nothing says who asked: no address, no header.
"""

from pathlib import Path
from typing import Any

from serving.model_server.request_log_files import RequestLogFiles
from serving.model_server.request_log_records import stamp
from serving.traffic.origin import CANARY, STABLE, Origin, as_request_origin

__all__ = ["CANARY", "STABLE", "Origin", "TrafficRecorder"]


class TrafficRecorder:
    """The recording of one model. Thread-safe.

    Files are `<directory>/<model>-<start time>-<pid>-<number>.tfrecord`; one goes on in the next
    at `max_file_bytes`, and the oldest go so that all fit into `max_total_bytes`.
    """

    def __init__(
        self, directory: Path, model: str, max_file_bytes: int, max_total_bytes: int
    ) -> None:
        self._model = model
        self._files = RequestLogFiles(str(directory / model), max_file_bytes, max_total_bytes)

    def record(self, log: Any, signature: str, origin: Origin) -> bool:
        """Appends a request; False: recording failed a moment ago, or is closed.

        Args:
            log: of `request_log_records.predict_log` or `classify_log`, answered or not.
            signature: its name in the request; empty: the default one.
            origin: where it came from.

        Raises:
            OSError: it could not be written, or
            tf.errors.OpError: for the same reasons. The next ten seconds record nothing.
        """
        stamp(log, self._model, origin.version, signature, origin.time or None)
        log.log_metadata.request_origin = as_request_origin(origin)
        return self._files.write(log.SerializeToString())

    def close(self) -> None:
        """Ends the file; nothing is recorded after this."""
        self._files.close()
