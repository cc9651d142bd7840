"""The end of a run says what to type next."""

import io
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.summary import print_summary
from pipeline.settings.load import load_config
from runs.exit_status import Status
from runs.result import ClassQuality, RunResult


@pytest.mark.parametrize("status", [Status.PUSHED, Status.UP_TO_DATE, Status.NOT_BLESSED])
def test_after_a_push_the_model_can_be_served_and_asked(
    status: Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["runner.py"])
    monkeypatch.delenv("UV", raising=False)
    result = RunResult(run_id="run-1", started_at=datetime.now(UTC), status=status, version=7)
    stream = io.StringIO()

    print_summary(result, load_config(workdir=tmp_path), stream)

    lines = [line.strip() for line in stream.getvalue().splitlines()]
    pushed = status is Status.PUSHED
    assert (f"python runner.py serve --ui --workdir {tmp_path}" in lines) is pushed
    assert ("python runner.py predict photo.jpg" in lines) is pushed


def test_classes_and_folders_are_shown_as_they_are_called(tmp_path: Path) -> None:
    label, workdir = "left [/] top :bag:", tmp_path / "x[/y]"
    result = RunResult(
        run_id="run-1",
        started_at=datetime.now(UTC),
        status=Status.PUSHED,
        version=7,
        accuracy=0.9,
        classes={label: ClassQuality(recall=0.9, auc=0.99)},
        tuned={"dropout": 0.2},
    )
    stream = io.StringIO()
    print_summary(result, load_config(workdir=workdir), stream)
    assert label in stream.getvalue()
    assert f"--config in {workdir}/tuned.toml:" in stream.getvalue()
    assert f"pushed version 7 to {workdir}/serving/fashion_mnist (exit code 0)" in stream.getvalue()
