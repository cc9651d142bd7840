"""One attempt at a run: a process of its own, which outlives a scheduler that is killed.

Its standard output, the result, goes to a file that is locked for as long as the process lives. The
lock belongs to the open file that the process inherits, so that a scheduler that was started again
can tell, without any doubt about process ids, whether the attempt is still running.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from files.lock import is_locked, locked
from runs.result import RunResult

_STOP_SECONDS = 30.0
_KILL_SECONDS = 10.0
_POLL_SECONDS = 0.1


class Attempt:
    """A run of the pipeline that is going on, or that ended while nobody watched.

    Attributes:
        was_stopped: whether `stop` had to end it.
    """

    def __init__(self, output: Path, process: subprocess.Popen[bytes] | None) -> None:
        """Use `start` or `find`."""
        self._output = output
        self._process = process
        self.was_stopped = False

    @classmethod
    def start(cls, command: Sequence[str], output: Path) -> "Attempt":
        """Starts the command.

        Args:
            command: prints a RunResult as JSON on its standard output.
            output: the file that takes it.

        Raises:
            OSError: when the command cannot be started.
        """
        with locked(output) as file:
            os.ftruncate(file, 0)
            # A session of its own: Ctrl-C reaches the scheduler only, which ends the run in order.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, start_new_session=True
            )
        return cls(output, process)

    @classmethod
    def find(cls, output: Path) -> "Attempt | None":
        """Returns the attempt that an earlier scheduler started, if it came to that."""
        return cls(output, None) if output.exists() else None

    def is_running(self) -> bool:
        """Tells whether the process is alive."""
        if self._process:
            return self._process.poll() is None
        return is_locked(self._output)

    @property
    def is_adopted(self) -> bool:
        """Whether an earlier scheduler started it."""
        return self._process is None

    @property
    def process_id(self) -> int | None:
        """The id of the process; None when an adopted one has ended or cannot be looked into."""
        return self._process.pid if self._process else _session_that_writes(self._output)

    def result(self) -> RunResult | None:
        """Returns what the process printed before it ended, or None when that is not a result."""
        try:
            return RunResult.model_validate_json(self._output.read_bytes())
        except (OSError, ValidationError):
            return None

    def end(self) -> str:
        """Says how the process ended."""
        code = self._process.returncode if self._process else None
        if code is None:
            return "ended while no scheduler watched it"
        if code < 0:
            return f"was ended by {_signal_name(-code)}"
        return f"ended with exit code {code}"

    def stop(self) -> bool:
        """Ends the process: by SIGTERM, on which it cleans up, and else by force.

        Returns:
            Whether it has ended; False when it is not ours to end, or hangs in the kernel.
        """
        process_id = self.process_id
        if process_id is None:
            return not self.is_running()
        self.was_stopped = True
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGTERM)
        if self._ends_within(_STOP_SECONDS):
            return True
        with suppress(ProcessLookupError):
            os.killpg(process_id, signal.SIGKILL)
        return self._ends_within(_KILL_SECONDS)

    def discard(self) -> None:
        """Removes what it printed."""
        self._output.unlink(missing_ok=True)

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_running():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True


def _session_that_writes(output: Path) -> int | None:
    """Finds the leader of a session that has the file open: what `Attempt.start` started."""
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == process.pid and any(
                file.path == str(output.resolve()) for file in process.open_files()
            ):
                return process.pid
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
