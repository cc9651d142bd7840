"""One attempt at a run: a process of its own, which outlives a scheduler that is killed.

Its standard output, the result, goes to a file that is locked for as long as the process lives. The
lock belongs to the open file that the process inherits, so that a scheduler that was started again
can tell, without any doubt about process ids, whether the attempt is still running.
"""

import logging
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

logger = logging.getLogger(__name__)

_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.1


class Attempt:
    """A run of the pipeline that is going on, or that ended while nobody watched.

    Attributes:
        process_id: None when the scheduler that started it was killed before it wrote that down.
    """

    def __init__(
        self, output: Path, process: subprocess.Popen[bytes] | None, process_id: int | None
    ) -> None:
        """Use `start` or `find`."""
        self._output = output
        self._process = process
        self.process_id = process_id

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
        return cls(output, process, process.pid)

    @classmethod
    def find(cls, output: Path, process_id: int | None) -> "Attempt | None":
        """Returns the attempt that an earlier scheduler started, if it came to that."""
        return cls(output, None, process_id) if output.exists() else None

    def is_running(self) -> bool:
        """Tells whether the process is alive."""
        if self._process:
            return self._process.poll() is None
        return is_locked(self._output)

    @property
    def is_adopted(self) -> bool:
        """Whether an earlier scheduler started it."""
        return self._process is None

    def result(self) -> RunResult | None:
        """Returns what the process printed before it ended, or None when that is no result."""
        try:
            return RunResult.model_validate_json(self._output.read_bytes())
        except ValidationError:
            return None

    def end(self) -> str:
        """Says how the process ended."""
        code = self._process.returncode if self._process else None
        if code is None:
            return "ended while no scheduler watched it"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def stop(self) -> None:
        """Ends the process: by SIGTERM, on which it cleans up, and else by force.

        A process whose id is not known goes on.
        """
        if self.process_id is None or not self.is_running():
            return
        logger.info("stopping the run (process %d)", self.process_id)
        with suppress(ProcessLookupError):
            os.kill(self.process_id, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if self.is_running():
            logger.warning("the run does not stop; killing it")
            with suppress(ProcessLookupError):
                os.killpg(self.process_id, signal.SIGKILL)
            while self.is_running():
                time.sleep(_POLL_SECONDS)
