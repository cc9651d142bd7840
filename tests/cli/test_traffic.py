"""The verbs under `traffic`: mistakes are a sentence and a code, results are text or JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from cli.traffic import app
from pipeline.settings.errors import UsageError
from pipeline.settings.load import load_config
from serving.model_server.request_log_records import predict_log
from serving.traffic.origin import CANARY, STABLE, Origin
from serving.traffic.recording import TrafficRecorder


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A workdir with a recording of four pictures, one of which the canary answered."""
    config = load_config(workdir=tmp_path)
    recorder = TrafficRecorder(config.recordings_dir, "fashion_mnist", 1 << 20, 1 << 20)
    png = tf.io.encode_png(np.zeros((28, 28, 1), np.uint8)).numpy()
    for number in range(4):
        log = predict_log({"image_bytes": np.array([png], object)}, {})
        origin = Origin(str(number), 5, STABLE if number else CANARY, 1e9 + number)
        recorder.record(log, "predict_bytes", origin)
    recorder.close()
    return tmp_path


def call(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    if isinstance(done.exception, UsageError):
        raise done.exception
    return done.exit_code, done.stdout


def test_show_says_what_is_recorded(workdir: Path) -> None:
    code, text = call("show", "--workdir", str(workdir), "--json")
    assert code == 0
    shown = json.loads(text)
    assert (shown["files"], shown["since"]) == (1, "2001-09-09T01:46:40+00:00")
    assert shown["recorded"] == [
        {"variant": "canary", "version": 5, "pictures": 1},
        {"variant": "stable", "version": 5, "pictures": 3},
    ]
    assert "4 pictures in 1 files" in call("show", "--workdir", str(workdir))[1]


def test_show_of_a_workdir_without_a_recording_is_empty(tmp_path: Path) -> None:
    code, text = call("show", "--workdir", str(tmp_path), "--json")
    assert (code, json.loads(text)["recorded"]) == (0, [])


@pytest.mark.parametrize("verb", [["show"], ["report"], ["export", "--output", "x"]])
def test_a_workdir_that_is_not_there_is_named(tmp_path: Path, verb: list[str]) -> None:
    with pytest.raises(UsageError, match="there is no workdir"):
        call(*verb, "--workdir", str(tmp_path / "nowhere"))


def test_labels_that_are_not_sound_are_refused_with_their_lines(
    workdir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "truth.csv"
    file.write_text("request_id,label\n1,Sock\n")
    done = CliRunner().invoke(app, ["labels", str(file), "--workdir", str(workdir)])
    assert done.exit_code == 5
    assert "line 2: no class is called Sock" in done.output
    with pytest.raises(UsageError, match="there is no file"):
        call("labels", str(tmp_path / "absent.csv"), "--workdir", str(workdir))
