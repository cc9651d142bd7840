"""Records what the edge hands over: `python -m serving.edge.recorder`, a process of its own.

nginx copies a share of the requests here and waits for no answer. What comes in is put aside at
once; one thread asks the model server for the answer, in its own time and one request after the
other, and writes both. What comes faster than that is dropped and counted, so neither clients nor
the model server feel more than one further request at a time.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

logger = logging.getLogger("recorder")

_MAX_WAITING_BYTES = 64_000_000
_MAX_WAITING = 500
_NICE = 10
_SECONDS_BETWEEN_REPORTS = 60.0
_IDLE_SECONDS = 60.0


@dataclass(frozen=True)
class Copy:
    """A request as it came in.

    Attributes:
        verb: `predict`, `classify` or `regress`.
        body: JSON.
        variant: that answered the client.
        request_id: as the access log has it.
        time: in seconds since 1970.
    """

    verb: str
    body: bytes
    variant: str
    request_id: str
    time: float


@dataclass(frozen=True)
class RecorderSettings:
    """How a recorder is started beside an edge.

    Attributes:
        port: of 127.0.0.1, to listen on.
        grpc: `host:port` of the model server.
        model_name: under which it serves the model.
        base: the model's base directory.
        directory: of the recording.
        answer_log: takes the predicted labels.
        max_file_megabytes: of one file.
        max_megabytes: of all files.
    """

    port: int
    grpc: str
    model_name: str
    base: Path
    directory: Path
    answer_log: Path
    max_file_megabytes: int
    max_megabytes: int

    def arguments(self) -> list[str]:
        """Returns them as arguments of this module."""
        return [
            f"--{each.name.replace('_', '-')}={getattr(self, each.name)}" for each in fields(self)
        ]


class Backlog:
    """Copies that wait to be written; few, since they are samples. Thread-safe."""

    def __init__(self) -> None:
        self._copies: deque[Copy] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self.dropped = 0

    def add(self, copy: Copy) -> None:
        """Puts a copy aside, or drops it when too many wait."""
        with self._changed:
            size = len(copy.body)
            if len(self._copies) >= _MAX_WAITING or self._bytes + size > _MAX_WAITING_BYTES:
                self.dropped += 1
                return
            self._copies.append(copy)
            self._bytes += size
            self._changed.notify()

    def take(self, timeout: float) -> Copy | None:
        """Returns the copy that has waited longest, or None when none came in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._copies), timeout):
                return None
            copy = self._copies.popleft()
            self._bytes -= len(copy.body)
            return copy


def write_all(
    backlog: Backlog,
    record: Callable[[Copy], bool],
    stopping: threading.Event,
    wait_seconds: float = 0.5,
) -> None:
    """Writes what waits until it is told to stop; whatever goes wrong costs one copy and a count.

    Args:
        backlog: what waits.
        record: asks and writes; False: recording pauses.
        stopping: ends it, once nothing waits any more.
        wait_seconds: between looks at `stopping`.
    """
    written, failed, last, reported = 0, 0, "", time.monotonic()
    while True:
        copy = backlog.take(wait_seconds)
        if copy is None and stopping.is_set():
            return
        if copy is not None:
            try:
                written += record(copy)
            except Exception as error:  # the next copy may be another matter
                failed, last = failed + 1, f"{type(error).__name__}: {str(error)[:200]}"
        if time.monotonic() - reported > _SECONDS_BETWEEN_REPORTS and (failed or backlog.dropped):
            logger.warning(
                "%d recorded, %d failed (%s), %d dropped", written, failed, last, backlog.dropped
            )
            failed, backlog.dropped, reported = 0, 0, time.monotonic()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    server: "_Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.backlog.add(
            Copy(
                verb=self.headers.get("X-Verb", ""),
                body=body,
                variant=self.headers.get("X-Variant", ""),
                request_id=self.headers.get("X-Request-Id", ""),
                time=float(self.headers.get("X-Time") or time.time()),
            )
        )
        self.send_response_only(204)
        self.end_headers()

    def log_request(self, *_: object) -> None:
        """Says nothing: the edge has a log of requests."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, backlog: Backlog) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.backlog = backlog

    def handle_error(self, request: object, client_address: object) -> None:
        logger.warning("a copy was not read: %s", sys.exception())


def main() -> None:
    """Records until SIGTERM."""
    arguments = _arguments()
    os.nice(_NICE)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # Seconds of imports; a port that listens meanwhile loses nothing.
    backlog, stopping = Backlog(), threading.Event()
    server = _Server(arguments.port, backlog)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    from serving.edge.answer_log import AnswerLog
    from serving.edge.answers import Recording
    from serving.traffic.recording import TrafficRecorder

    recorder = TrafficRecorder(
        arguments.directory,
        arguments.model_name,
        arguments.max_file_megabytes * 1_000_000,
        arguments.max_megabytes * 1_000_000,
    )
    recording = Recording(
        recorder,
        AnswerLog(arguments.answer_log),
        arguments.base,
        arguments.model_name,
        arguments.grpc,
    )
    write_all(backlog, recording.record, stopping)
    recorder.close()


def _arguments() -> RecorderSettings:
    parser = argparse.ArgumentParser(description=__doc__)
    for each in fields(RecorderSettings):
        assert isinstance(each.type, type)
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=each.type, required=True)
    return RecorderSettings(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
