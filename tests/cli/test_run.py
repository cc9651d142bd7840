"""What `runner.py run` says at its end, with the descriptors turned to the log."""

import errno
import io
from pathlib import Path

import pytest

from cli.run import run_command
from orchestration.terminal import Terminal
from pipeline.settings.config import Config
from runs.exit_status import Status
from runs.result import RunResult


def pushed(_config: Config, result: RunResult, *_: object) -> None:
    """Stands for a run."""
    result.version = 7
    result.finish(Status.PUSHED)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_push_that_cannot_be_shown_is_a_push_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def redirect_to(log: Path) -> Terminal:
        log.parent.mkdir()
        log.touch()
        return terminal

    terminal = Terminal(stdout=Full(), stderr=io.StringIO())
    monkeypatch.setattr("orchestration.terminal.redirect_to", redirect_to)
    monkeypatch.setattr("orchestration.local.run_pipeline", pushed)
    assert run_command(Config(workdir=tmp_path), as_json=as_json) == 0
    assert "pushed (exit code 0), not shown: No space left" in terminal.stderr.getvalue()
