"""However a run ends, one sentence is on the terminal, and a result where one can be written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data import spans
from data.quarantine import quarantined, release
from orchestration.local import sentence
from pipeline.settings.paths import SAMPLE_DATA
from tests.conftest import ROOT


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "runner.py"), "run", "--preset", "smoke"]
    return subprocess.run(
        [*command, "--model-server", "embedded", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


def test_a_lock_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.lock").mkdir()
    done = run("--workdir", tmp_path)
    assert done.returncode == 1
    assert f"a folder is where a lock file must be: {tmp_path}/run.lock" in done.stdout
    [result] = (tmp_path / "runs").glob("*.json")
    assert json.loads(result.read_text())["status"] == "failed"


def test_a_data_root_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "base").write_text("not a folder")
    done = run("--workdir", tmp_path / "var", "--set", f"data.root={tmp_path / 'data'}")
    assert done.returncode in (1, 5)
    assert f"{tmp_path}/data/base" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_workdir_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("not a folder")
    done = run("--workdir", tmp_path / "var")
    assert done.returncode == 2
    assert done.stderr.startswith(f"runner.py: cannot use {tmp_path}/var")
    assert done.stderr.count("\n") == 1


def test_a_span_that_is_released_as_it_was_is_refused_again_and_stops_no_later_run(
    tmp_path: Path,
) -> None:
    root = tmp_path / "data"
    shutil.copytree(SAMPLE_DATA, root)
    span = spans.add(root, *(np.zeros(shape, np.uint8) for shape in ((40, 28, 28), (40,)))).span
    (root / "spans" / str(span) / spans.LABELS_FILE).write_bytes(b"rotten")
    arguments = ("--workdir", tmp_path / "var", "--set", f"data.root={root}", "--json")

    first = json.loads(run(*arguments).stdout)
    why = quarantined(root)[span].reason
    release(root, span)
    again = json.loads(run(*arguments).stdout)

    assert (first["status"], first["blamed_spans"]) == ("data_refused", [span])
    for known in ("status", "blamed_spans", "reasons"):
        assert again[known] == first[known]
    assert not again["nodes"]
    assert quarantined(root)[span].reason == why


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device", "/var/x"), "No space left on device: /var/x"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (RuntimeError("boom"), "RuntimeError: boom"),
        (
            RuntimeError("Error when executing query: database or disk is full query: INSERT"),
            "No space left on device: the metadata could not be written",
        ),
    ],
)
def test_what_went_wrong_is_one_sentence(error: Exception, text: str) -> None:
    assert sentence(error) == text
