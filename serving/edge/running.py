"""An edge beside a running model server: nginx, the recorder, and what keeps both alive."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from serving.edge.canary import STABLE, Trial
from serving.edge.nginx import INSTALL, Nginx, find_nginx
from serving.edge.recorder import RecorderSettings
from serving.edge.secrets import Renewal
from serving.edge.values import Edge, EdgeError
from serving.launch.base import is_free
from serving.launch.child import dying_with_this_process
from serving.versions.labels import move_label, read_labels

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_TRY_AGAIN_SECONDS = 10.0
_RECORDER = "serving.edge.recorder"
_RECORDER_SECONDS = 10.0


def check(edge: Edge) -> None:
    """Sees that there can be an edge; raises EdgeError: there is no nginx, or a port is taken."""
    if find_nginx() is None:
        raise EdgeError(f"--edge needs nginx, which is not on this machine; {INSTALL}")
    for flag, port in {"--edge-port": edge.port, "--edge-grpc-port": edge.grpc_port}.items():
        if port and not is_free(port, edge.host):
            raise EdgeError(f"port {port} is taken by another program; choose another with {flag}")


def prepare(trial: Trial, edge: Edge) -> None:
    """Sees that there can be an edge, before the server is started that stands behind it.

    A server reads labels only if there are any when it starts.

    Raises:
        EdgeError: there is no nginx, or a port is taken.
    """
    check(edge)
    newest = next((version.number for version in trial.store.served()), None)
    if newest is not None and read_labels(trial.store) is None:
        move_label(
            trial.store,
            STABLE,
            newest,
            model_name=trial.model_name,
            base_path=None,
            wait_until_loaded=lambda _: None,
        )
    trial.restore()


class Recorder:
    """The process that records, beside an edge that hands over a sample."""

    def __init__(self, settings: RecorderSettings, log: Path) -> None:
        self._settings = settings
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._start_again = 0.0

    def _start(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                dying_with_this_process(
                    [sys.executable, "-m", _RECORDER, *self._settings.arguments()]
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )

    def start_if_ended(self) -> None:
        """Starts it, unless it runs or was started a moment ago."""
        is_running = self._process is not None and self._process.poll() is None
        if not is_running and time.monotonic() >= self._start_again:
            self._start_again = time.monotonic() + _TRY_AGAIN_SECONDS
            self._start()

    def stop(self) -> None:
        """Lets it write what waits, for a while, and ends it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_RECORDER_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_edge(
    edge: Edge, recorder: RecorderSettings | None, max_log_bytes: int, talk: TextIO
) -> Iterator[None]:
    """Runs an edge for the length of a `with` block; what ends by itself is started again.

    Certificates, tokens and passwords that are renewed are taken up.

    Args:
        edge: what it is.
        recorder: takes the sample of an edge that hands one over.
        max_log_bytes: of a log of nginx, before a new one is begun.
        talk: gets a line about what ended, what was renewed, and what was renewed wrongly.

    Raises:
        EdgeError: nginx could not be started.
    """
    renewal = Renewal(edge)
    nginx = Nginx(edge)
    recorders = [Recorder(recorder, edge.folder / "recorder.log")] if recorder else []
    stopping = threading.Event()
    nginx.start()
    keeper = threading.Thread(
        target=_keep, args=(nginx, recorders, renewal, max_log_bytes, stopping, talk)
    )
    keeper.start()
    try:
        yield
    finally:
        stopping.set()
        keeper.join()


def _keep(
    nginx: Nginx,
    recorders: list[Recorder],
    renewal: Renewal,
    max_log_bytes: int,
    stopping: threading.Event,
    talk: TextIO,
) -> None:
    """Keeps them running, and stops them: what this thread has started ends with it."""
    while not stopping.wait(_LOOK_SECONDS):
        try:
            for recorder in recorders:
                recorder.start_if_ended()
            if not nginx.is_running():
                print("nginx ended, starting it again", file=talk, flush=True)
                nginx.start()
            nginx.rotate_logs(max_log_bytes)
            if renewal.is_due():
                _take_up(nginx, talk)
        except (EdgeError, OSError) as error:
            print(f"the edge: {error}", file=talk, flush=True)
            stopping.wait(_TRY_AGAIN_SECONDS)
    nginx.stop()
    for recorder in recorders:
        recorder.stop()


def _take_up(nginx: Nginx, talk: TextIO) -> None:
    try:
        nginx.reload()
        said = "what was renewed of certificate, key, tokens and passwords is in force"
    except (EdgeError, OSError) as error:
        said = f"what was renewed is wrong, and what was there before stays in force: {error}"
    print(f"the edge: {said}", file=talk, flush=True)
