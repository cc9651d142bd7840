"""Records what the edge hands over: `python -m serving.edge.recorder`, a process of its own.

nginx copies a share of the requests here and waits for no answer. What comes in is put aside at
once; one thread asks the model server for the answers, in its own time, of what came meanwhile
together, and writes both. What comes faster than that is dropped and counted, so neither clients
nor the model server feel more than one further request at a time.
"""

import argparse
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from serving.edge.copies import TOGETHER, Backlog, Copy, Recorded, receive

logger = logging.getLogger("recorder")

_REST_SECONDS = 0.2
_NICE = 10
_SECONDS_BETWEEN_REPORTS = 60.0


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


def write_all(
    backlog: Backlog,
    record: Callable[[Sequence[Copy]], Recorded],
    stopping: threading.Event,
    wait_seconds: float = 0.5,
) -> None:
    """Writes what waits until it is told to stop; whatever goes wrong costs copies and a count.

    Args:
        backlog: what waits.
        record: asks and writes.
        stopping: ends it, once nothing waits any more.
        wait_seconds: between looks at `stopping`.
    """
    written, failed, last, reported = 0, 0, "", time.monotonic()
    while True:
        copies = backlog.take(wait_seconds)
        if not copies and stopping.is_set():
            return
        try:
            done = record(copies)
        except Exception as error:  # the next ones may be another matter
            done = Recorded(errors=[error] * len(copies))
        written, failed = written + done.written, failed + len(done.errors)
        if done.errors:
            last = f"{type(done.errors[-1]).__name__}: {str(done.errors[-1])[:200]}"
        if len(copies) < TOGETHER:
            # What comes meanwhile is asked together.
            stopping.wait(_REST_SECONDS)
        if time.monotonic() - reported > _SECONDS_BETWEEN_REPORTS and (failed or backlog.dropped):
            logger.warning(
                "%d recorded, %d failed (%s), %d dropped", written, failed, last, backlog.dropped
            )
            failed, backlog.dropped, reported = 0, 0, time.monotonic()


def main() -> None:
    """Records until SIGTERM."""
    arguments = _arguments()
    os.nice(_NICE)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # Seconds of imports; a port that listens meanwhile loses nothing.
    backlog, stopping = Backlog(), threading.Event()
    receive(arguments.port, backlog)
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
