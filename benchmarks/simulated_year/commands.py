"""Runs `runner.py` in a copy of the repository, which can be changed between two days."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.settings.paths import ROOT

_PARTS = (
    *("runner.py", "pyproject.toml", "benchmarks", "cli", "components", "data", "files"),
    *("orchestration", "pipeline", "reporting", "runs", "serving"),
)
# Of each of these a version changes one; every one is part of another node's fingerprint.
_UPGRADED = (
    *("components/idx_example_gen/executor.py", "components/pusher/executor.py"),
    *("components/infra_validator/validation.py", "pipeline/evaluation.py"),
    *("pipeline/modeling/network.py", "pipeline/modeling/preprocessing.py"),
)
_HANGS_SECONDS = 900.0


@dataclass(frozen=True)
class Command:
    """One call of `runner.py`, as the launcher is told.

    Attributes:
        arguments: of the command line.
        stdout: the file that takes the output.
        stderr: the file that takes the rest.
        clock: by how many seconds the process' clock is wrong.
        largest_file: its RLIMIT_FSIZE in bytes, 0: none.
    """

    arguments: list[str]
    stdout: str
    stderr: str
    clock: float = 0.0
    largest_file: int = 0


@dataclass(frozen=True)
class Done:
    """How a call ended: its exit code, as subprocess gives it, and what it said."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float


class Runner:
    """Calls `runner.py`, with its imports made already, for the length of a `with` block."""

    def __init__(self, scratch: Path) -> None:
        """Copies the repository.

        Args:
            scratch: a folder for the copy and the outputs.
        """
        self._scratch = scratch
        self._checkout = scratch / "checkout"
        self._checkout.mkdir()
        for part in _PARTS:
            source = ROOT / part
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self._checkout / part, ignore=ignored)
            else:
                shutil.copy(source, self._checkout)
        self._launcher: subprocess.Popen[str] | None = None

    def upgrade(self, name: str, which: float) -> str:
        """Changes a module, as an upgrade does; returns which one.

        Args:
            name: of the new version.
            which: from 0 to 1.
        """
        module = _UPGRADED[int(which * len(_UPGRADED))]
        with (self._checkout / module).open("a") as source:
            source.write(f"\n_UPGRADE = {name!r}\n")
        self.close()
        return module

    def close(self) -> None:
        """Ends the launcher; the next call starts another."""
        if self._launcher:
            self._launcher.communicate()
            self._launcher = None

    def call(
        self,
        *arguments: str,
        kill_after: float | None = None,
        clock: float = 0.0,
        largest_file: int = 0,
    ) -> Done:
        """Makes one call.

        Args:
            arguments: of the command line.
            kill_after: seconds after which it gets SIGKILL.
            clock: by how many seconds its clock is wrong.
            largest_file: its RLIMIT_FSIZE in bytes, 0: none.
        """
        stdout, stderr = self._scratch / "stdout", self._scratch / "stderr"
        command = Command(list(arguments), str(stdout), str(stderr), clock, largest_file)
        launcher = self._launcher or self._start()
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        print(json.dumps(asdict(command)), file=launcher.stdin, flush=True)
        process = int(launcher.stdout.readline())
        started = time.monotonic()
        killer = threading.Timer(
            _HANGS_SECONDS if kill_after is None else kill_after,
            lambda: os.kill(process, signal.SIGKILL),
        )
        killer.start()
        exit_code = int(launcher.stdout.readline())
        killer.cancel()
        seconds = round(time.monotonic() - started, 1)
        return Done(exit_code, stdout.read_text(), stderr.read_text(), seconds)

    def _start(self) -> subprocess.Popen[str]:
        with (self._scratch / "launcher.log").open("a") as log:
            self._launcher = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.simulated_year.launcher"],
                cwd=self._checkout,
                env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(self._checkout)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self._launcher
