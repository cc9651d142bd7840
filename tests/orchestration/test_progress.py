"""What somebody who watches a run sees, and what not."""

import io
import logging
import sys

import pytest

from orchestration.progress import Progress
from runs.exit_status import NodeState
from runs.result import NodeResult


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_plain_lines() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.node_started("Trainer")
        logging.getLogger("pipeline.modeling.trainer").info("epoch 1/2: loss [1.0]")
        progress.node_finished(NodeResult(id="Trainer", state=NodeState.DONE, seconds=1.25))
    assert stream.getvalue().splitlines() == [
        "Trainer: running",
        "    epoch 1/2: loss [1.0]",
        "Trainer: done in 1.2 s",
    ]


def test_other_loggers_are_not_shown() -> None:
    stream = io.StringIO()
    with Progress(stream):
        logging.getLogger("absl").warning("noise")
        logging.getLogger("pipeline").debug("detail")
    assert stream.getvalue() == ""


def test_a_live_terminal_does_not_catch_what_goes_to_the_log_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log_file, terminal = io.StringIO(), Terminal()
    monkeypatch.setattr(sys, "stderr", log_file)
    monkeypatch.setenv("TERM", "xterm")
    with Progress(terminal) as progress:
        progress.node_started("Trainer")
        print("WARNING: noise", file=sys.stderr)
        progress.node_finished(NodeResult(id="Trainer", state=NodeState.CACHED, seconds=0.0))
    assert "noise" in log_file.getvalue()
    assert "noise" not in terminal.getvalue()
    assert "Trainer" in terminal.getvalue()
