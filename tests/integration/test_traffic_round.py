"""A person's round: drift is found, pictures are labelled and taken in, a run ends the drift."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from data import idx
from pipeline.modeling.features import CLASS_LABELS
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT, SAMPLE_DATA
from pipeline.traffic.export import folder_of
from runs.result import RunResult
from serving.model_server.request_log_records import predict_log
from serving.traffic.origin import Origin
from serving.traffic.recording import TrafficRecorder
from serving.versions.store import VersionStore

# Eight processes that import TensorFlow, one after the other.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

# A few inverted pictures among many others: the model need not be good, only better informed.
SETTINGS = {
    "preset": "smoke",
    "training": {"epochs": 3},
    "infra_validation": {"min_sample_accuracy": 0.0},
    "evaluation": {
        "min_accuracy": 0.1,
        "min_span_accuracy": 0.0,
        "min_class_recall": 0.0,
        "max_accuracy_drop": 0.9,
    },
    "traffic": {"replay": 30},
}


class Workdir:
    """A data root that takes spans, and a workdir, driven by the command line alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(SAMPLE_DATA, folder / "data")
        lines = [f'preset = "{SETTINGS["preset"]}"']
        lines += [f'data.root = "{folder / "data"}"', f'workdir = "{folder / "var"}"']
        lines += [
            f"{section}.{name} = {value}"
            for section, values in SETTINGS.items()
            if isinstance(values, dict)
            for name, value in values.items()
        ]
        self.file = folder / "settings.toml"
        self.file.write_text("\n".join(lines))
        self.config = load_config(file=self.file)

    def call(self, *arguments: str) -> tuple[int, Any]:
        """Returns the exit code and the JSON of a verb."""
        command = [sys.executable, str(ROOT / "runner.py"), *arguments, "--json"]
        done = subprocess.run(
            [*command, "--config", str(self.file)], capture_output=True, text=True, check=False
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def ask(self, images: np.ndarray, name: str) -> None:
        """Records what clients would have asked of the served version."""
        version = VersionStore(self.config.serving_base).newest_served()
        assert version
        recorder = TrafficRecorder(self.config.recordings_dir, "fashion_mnist", 1 << 26, 1 << 28)
        for number, image in enumerate(images):
            png = tf.io.encode_png(image[..., np.newaxis]).numpy()
            log = predict_log({"image_bytes": np.array([png], object)}, {})
            recorder.record(log, "predict_bytes", Origin(f"{name}-{number}", version.number))
        recorder.close()


def test_labelled_traffic_ends_its_drift(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path)
    base = workdir.config.base_dir
    images = 255 - idx.read_images(base / "t10k-images-idx3-ubyte.gz")
    truth = idx.read_labels(base / "t10k-labels-idx1-ubyte.gz")

    assert workdir.call("run")[0] == 0
    workdir.ask(images, "first")

    code, report = workdir.call("traffic", "report")
    assert (code, report["drift"]) == (9, True)
    assert report["features"][0]["feature"] == "mean_pixel"
    assert Path(report["page"]).is_file()
    metrics = (workdir.config.workdir / "metrics" / "traffic.prom").read_text()
    assert 'traffic_drift{model="fashion_mnist"} 1.0' in metrics

    output = tmp_path / "to_label"
    code, exported = workdir.call(
        "traffic", "export", "--least-confident", "150", "--output", str(output)
    )
    assert (code, exported["pictures"]) == (0, 150)
    for file in list(output.rglob("*.png")):
        label = CLASS_LABELS[truth[int(file.stem.removeprefix("first-"))]]
        file.rename(output / folder_of(label) / file.name)
    code, span = workdir.call("data", "ingest", str(output))
    assert (code, span["status"], span["images"]) == (0, "ingested", 150)

    labels = tmp_path / "truth.csv"
    rows = [f"first-{number},{CLASS_LABELS[label]}" for number, label in enumerate(truth)]
    labels.write_text("\n".join(["request_id,label", *rows]))
    code, taken = workdir.call("traffic", "labels", str(labels))
    assert (code, taken["taken"], taken["unknown"]) == (0, len(truth), [])

    code, run = workdir.call("run", "--set", "data.stop_on_drift=false")
    result = RunResult.model_validate(run)
    assert code == 0, result.reasons
    assert result.live_churn is not None

    workdir.ask(images, "second")
    code, report = workdir.call("traffic", "report", "--last", str(len(images)))
    assert (code, report["drift"], report["compared_with"]) == (0, False, "span-1")
    assert report["accuracy"][0]["labelled"] == len(truth)
