"""What is pushed under Kubeflow outlives the container, or nothing is compiled."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.kubeflow.in_cluster import in_cluster
from pipeline.settings.errors import UsageError
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT

CLAIM = "kubeflow.volume_claim=fashion"


@pytest.mark.parametrize(
    "overrides",
    [
        [CLAIM],
        [CLAIM, "push.destination=/mnt/fashion-mnist/models/clothes"],
        [CLAIM, "push.destination=/data/models", "kubeflow.workdir=/data"],
        ["push.destination=gs://bucket/models/clothes"],
    ],
)
def test_a_volume_or_a_bucket_keeps_what_is_pushed(overrides: list[str]) -> None:
    inside = in_cluster(load_config("smoke", overrides=overrides))
    assert str(inside.workdir) == inside.kubeflow.workdir


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["push.destination=/mnt/fashion-mnist/models"],
        [CLAIM, "push.destination=/srv/models"],
        [CLAIM, "push.destination=/mnt/fashion-mnist/../models"],
        ["push.destination=file:///mnt/fashion-mnist/models"],
    ],
)
def test_what_would_be_lost_with_the_container_is_refused(overrides: list[str]) -> None:
    with pytest.raises(UsageError, match="would be lost with Kubeflow's container"):
        in_cluster(load_config("smoke", overrides=overrides))


def test_compile_refuses_with_a_sentence_and_exit_code_2_and_writes_nothing(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "runner.py", "compile", "kubeflow", "--preset=smoke"]
    command.append(f"--output={tmp_path / 'build'}")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "set kubeflow.volume_claim" in done.stderr
    assert not (tmp_path / "build").exists()
