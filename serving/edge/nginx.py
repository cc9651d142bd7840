"""Runs nginx with a generated configuration, as a child of this process."""

import logging
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from files.whole import write_whole
from serving.addresses import reachable_host
from serving.edge.configuration import render
from serving.edge.rotated_log import before
from serving.edge.secrets import FILES, remove_copies, with_copies
from serving.edge.values import Edge, EdgeError
from serving.launch.base import is_free
from serving.launch.child import dying_with_this_process

logger = logging.getLogger(__name__)

INSTALL = "`apt-get install nginx-light` installs it"

_START_SECONDS = 15.0
_TEST_SECONDS = 30.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
# Administrators' programs are not on every user's PATH.
_ADMINISTRATORS = "/usr/local/sbin:/usr/sbin:/sbin"


def find_nginx() -> str | None:
    """Returns the path of nginx, or None where there is none."""
    return shutil.which("nginx") or shutil.which("nginx", path=_ADMINISTRATORS)


def write_configuration(edge: Edge) -> Path:
    """Writes nginx.conf, which nginx itself has found right; returns its path.

    Raises:
        EdgeError: there is no nginx, or it would not take the configuration; the one before, and
            all that it names, is as it was.
    """
    # What is wrong with a file is said of that file, not of its copy.
    render(edge)
    edge.folder.mkdir(parents=True, exist_ok=True)
    # The configuration may hold tokens.
    edge.folder.chmod(0o700)
    copied = with_copies(edge)
    candidate, final = edge.folder / "nginx.conf.new", edge.folder / "nginx.conf"
    text = render(copied)
    before = final.read_text() if final.exists() else ""
    write_whole(candidate, text)
    if why := _what_is_wrong(edge, candidate):
        for name in FILES:
            why = why.replace(str(getattr(copied, name)), str(getattr(edge, name)))
        remove_copies(edge, before)
        raise EdgeError(f"nginx does not take {candidate}: {why}")
    candidate.replace(final)
    # Workers that answer what they have begun still read those of the configuration before.
    remove_copies(edge, before, text)
    return final


def _what_is_wrong(edge: Edge, configuration: Path) -> str:
    command = [*_command(edge, configuration), "-t"]
    try:
        tested = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TEST_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"`nginx -t` did not end within {_TEST_SECONDS:.0f} s"
    if not tested.returncode:
        return ""
    said = [line for line in tested.stderr.splitlines() if "[emerg]" in line]
    return said[0] if said else tested.stderr.strip()


class Nginx:
    """One nginx, that ends with this process however this one ends."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration: Path | None = None

    def start(self) -> None:
        """Starts it, and returns once it listens; again, with the configuration that was in force.

        Raises:
            EdgeError: there is no nginx, it does not take the configuration, or it ended.
        """
        self._configuration = self._configuration or write_configuration(self._edge)
        with (self._edge.folder / "nginx.out").open("wb") as output:
            self._process = subprocess.Popen(
                # Killed outright, the master would leave its workers behind.
                dying_with_this_process(_command(self._edge, self._configuration), signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_until_listening()

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def reload(self) -> None:
        """Takes up new values, of certificates and tokens too; what is being answered goes on.

        Raises:
            EdgeError: the new configuration is wrong; the old one stays in force.
            OSError: a file could not be read or written; the same holds.
        """
        self._configuration = write_configuration(self._edge)
        self._signal(signal.SIGHUP)

    def rotate_logs(self, max_bytes: int) -> None:
        """Begins a log anew once it is large; the one before that goes."""
        for log in (self._edge.access_log, self._edge.error_log):
            if log.exists() and log.stat().st_size > max_bytes:
                log.replace(before(log))
                self._signal(signal.SIGUSR1)

    def stop(self) -> None:
        """Lets it answer what it has begun, for a while, and ends it."""
        if self._process is None:
            return
        self._signal(signal.SIGQUIT)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGTERM)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.is_running() and self._process is not None:
            self._process.send_signal(number)

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        host = reachable_host(self._edge.host)
        while is_free(self._edge.port, host):
            if not self.is_running() or time.monotonic() > deadline:
                said = self._edge.error_log.read_text(errors="replace").splitlines()
                self.stop()
                raise EdgeError(f"nginx did not start: {said[-1] if said else 'it said nothing'}")
            time.sleep(_POLL_SECONDS)


def _command(edge: Edge, configuration: Path) -> list[str]:
    program = find_nginx()
    if program is None:
        raise EdgeError(f"there is no nginx on this machine; {INSTALL}")
    errors = str(edge.error_log) if edge.folder.exists() else os.devnull
    return [program, "-p", str(edge.folder), "-e", errors, "-c", str(configuration)]
