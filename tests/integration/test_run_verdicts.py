"""What each kind of change makes run again, and how a run ends that is not pushed."""

import io
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data import idx
from files.memory import FileMemory
from orchestration.local import new_result, run_pipeline
from orchestration.progress import Progress
from pipeline import fingerprint
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT, SAMPLE_DATA
from runs.exit_status import NodeState, Status
from runs.result import RunResult

pytestmark = pytest.mark.integration

FROM_TRAINER = {"Trainer", "Evaluator", "ModelDiff", "InfraValidator", "Pusher"}
FROM_EVALUATOR = FROM_TRAINER - {"Trainer", "ModelDiff"}

Settings = Callable[..., Config]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Smoke settings, with little training, on a workdir that the tests of this module share."""
    workdir = tmp_path_factory.mktemp("verdicts") / "var"

    def load(*overrides: str) -> Config:
        usual = (
            "training.epochs=3",
            "evaluation.min_accuracy=0.3",
            "evaluation.min_class_recall=0",
            "evaluation.baseline=false",
            "infra_validation.model_server=embedded",
        )
        return load_config("smoke", overrides=[*usual, *overrides], workdir=workdir)

    return load


def finished(config: Config) -> RunResult:
    result = new_result(config)
    with Progress(io.StringIO()) as progress:
        run_pipeline(config, result, progress)
    return result


def nodes_run(result: RunResult) -> set[str]:
    return {node.id for node in result.nodes if node.state is NodeState.DONE}


@pytest.fixture(scope="module")
def first(settings: Settings) -> RunResult:
    return finished(settings())


def test_the_first_run_runs_every_node(first: RunResult) -> None:
    assert first.status is Status.PUSHED, first.reasons
    assert nodes_run(first) == set(fingerprint.NODES)


def test_a_changed_hyperparameter_runs_trainer_and_what_follows(
    settings: Settings, first: RunResult
) -> None:
    result = finished(settings("training.learning_rate=0.002"))
    assert result.status is Status.PUSHED, result.reasons
    # Another version is served now, of which the drift check takes note.
    assert nodes_run(result) - FROM_TRAINER <= {
        "ServedModel",
        "SpanDistributionValidator",
        "AnomalyGate",
    }
    assert nodes_run(result) >= FROM_TRAINER - {"ModelDiff"}


def test_a_changed_threshold_runs_evaluator_and_what_follows(
    settings: Settings, first: RunResult
) -> None:
    result = finished(settings("evaluation.min_accuracy=0.31"))
    assert "Evaluator" in nodes_run(result)
    assert not nodes_run(result) & {"IdxExampleGen", "StatisticsGen", "Transform", "Trainer"}


@pytest.mark.parametrize(
    ("changed", "must_run", "must_not_run"),
    [
        ("pipeline/schema/schema.pbtxt", "ImportSchemaGen", "IdxExampleGen"),
        ("pipeline/modeling/preprocessing.py", "Transform", "StatisticsGen"),
        ("pipeline/modeling/network.py", "Trainer", "Transform"),
        ("components/infra_validator/executor.py", "InfraValidator", "Trainer"),
    ],
)
def test_changed_files_run_the_nodes_that_use_them(
    settings: Settings,
    first: RunResult,
    monkeypatch: pytest.MonkeyPatch,
    changed: str,
    must_run: str,
    must_not_run: str,
) -> None:
    for reads, name in ((fingerprint, "_file_digest"), (FileMemory, "sha256")):
        digest = getattr(reads, name)

        def other_digest(*arguments: Any, digest: Callable[..., str] = digest) -> str:
            return "changed" if arguments[-1] == ROOT / changed else digest(*arguments)

        monkeypatch.setattr(reads, name, other_digest)
    result = finished(settings())
    assert must_run in nodes_run(result)
    assert must_not_run not in nodes_run(result)


def test_an_updated_package_runs_the_nodes_that_use_it(
    settings: Settings, first: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = fingerprint.metadata.version

    def other_version(package: str) -> str:
        return "0.0.0" if package == "tensorflow-data-validation" else version(package)

    monkeypatch.setattr(fingerprint.metadata, "version", other_version)
    result = finished(settings())
    assert nodes_run(result) >= {"StatisticsGen", "ExampleValidator", "SpanDistributionValidator"}
    assert not nodes_run(result) & {"IdxExampleGen", "Transform", "Trainer", "Evaluator"}


def test_a_changed_image_runs_everything_that_reads_images(
    settings: Settings, first: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "data"
    shutil.copytree(SAMPLE_DATA, changed)
    file = changed / "base" / "train-images-idx3-ubyte.gz"
    images = idx.read_images(file).copy()
    images[3, 14, 14] ^= 255
    file.unlink()
    idx.write(file, images)
    monkeypatch.setattr("pipeline.settings.config.SAMPLE_DATA", changed)

    result = finished(settings())
    assert nodes_run(result) >= {
        *("IdxExampleGen", "StatisticsGen", "ExampleValidator", "Transform", "Trainer"),
        *("Evaluator", "InfraValidator", "Pusher"),
    }
    assert "ImportSchemaGen" not in nodes_run(result)


def test_a_deleted_serving_directory_is_filled_again(settings: Settings, first: RunResult) -> None:
    config = settings()
    shutil.rmtree(config.serving_dir)
    result = finished(config)
    assert result.status is Status.PUSHED, result.reasons
    assert "Trainer" not in nodes_run(result)
    assert (config.serving_dir / str(result.version) / "saved_model.pb").is_file()


@pytest.mark.parametrize(
    ("override", "status", "exit_code", "reason"),
    [
        (
            "evaluation.min_accuracy=0.999",
            Status.NOT_BLESSED,
            3,
            "required is at least 0.9990",
        ),
        (
            "infra_validation.max_model_megabytes=0.001",
            Status.INFRA_REFUSED,
            4,
            "MB",
        ),
    ],
)
def test_a_refused_model_is_not_pushed_and_an_identical_run_repeats_the_refusal(
    settings: Settings,
    first: RunResult,
    override: str,
    status: Status,
    exit_code: int,
    reason: str,
) -> None:
    config = settings(override)
    before = sorted(path.name for path in config.serving_dir.iterdir())
    result = finished(config)
    assert (result.status, result.status.exit_code) == (status, exit_code)
    assert reason in " ".join(result.reasons)
    assert sorted(path.name for path in config.serving_dir.iterdir()) == before
    assert result.report is not None
    assert reason in result.report.read_text()

    again = finished(config)
    assert (again.status, again.reasons, again.nodes) == (status, result.reasons, [])
    assert again.report == result.report


def test_corrupt_data_is_refused_before_training(
    settings: Settings, first: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrupt = tmp_path / "data"
    shutil.copytree(SAMPLE_DATA, corrupt)
    labels = corrupt / "base" / "train-labels-idx1-ubyte.gz"
    values = idx.read_labels(labels).copy()
    values[3] = 12
    labels.unlink()
    idx.write(labels, values)
    monkeypatch.setattr("pipeline.settings.config.SAMPLE_DATA", corrupt)

    result = finished(settings())
    assert (result.status, result.status.exit_code) == (Status.DATA_REFUSED, 5)
    assert "train-labels-idx1-ubyte.gz" in result.reasons[0]
    assert "Trainer" not in nodes_run(result)
    assert result.report is not None
    assert "train-labels-idx1-ubyte.gz" in result.report.read_text()


def test_a_model_server_that_is_not_there_fails_the_run(
    settings: Settings, first: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    result = finished(settings("infra_validation.model_server=binary"))
    assert (result.status, result.status.exit_code) == (Status.FAILED, 1)
    assert "tensorflow_model_server" in result.reasons[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_and_the_next_one_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, str(ROOT / "runner.py"), "--preset", "smoke", "--json"]
    command += ["--workdir", str(tmp_path), "--model-server", "embedded"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert any("Transform: running" in line for line in process.stderr)
        time.sleep(0.2)
        process.send_signal(number)
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert RunResult.model_validate_json(output).status is Status.INTERRUPTED
    group = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, text=True)
    assert group.stdout == ""
