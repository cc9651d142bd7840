"""The command line: what a run leaves behind, its exit codes, and what it costs to ask."""

import subprocess
import sys
from pathlib import Path

import pytest

from files import lock
from runs.exit_status import NodeState, Status
from runs.result import RunResult
from serving.versions.record import checksums_of
from serving.versions.store import VersionStore
from tests.conftest import ROOT, SmokeRun, run_runner


def test_a_run_ends_with_a_blessed_model_in_the_serving_directory(smoke_run: SmokeRun) -> None:
    assert smoke_run.process.returncode == 0, smoke_run.process.stderr
    result = smoke_run.result
    assert result.status is Status.PUSHED
    assert result.model_server == "embedded"
    assert {node.state for node in result.nodes} == {NodeState.DONE}
    version = smoke_run.serving_dir / str(result.version)
    assert (version / "saved_model.pb").is_file()
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()


def test_the_result_says_how_good_the_model_is_on_every_class(smoke_run: SmokeRun) -> None:
    result = smoke_run.result
    assert result.accuracy is not None
    assert result.accuracy > 0.6
    assert list(result.classes)[::9] == ["T-shirt/top", "Ankle boot"]
    assert all(0 <= quality.recall <= 1 for quality in result.classes.values())


def test_the_result_on_stdout_is_the_one_that_is_kept(smoke_run: SmokeRun) -> None:
    kept = smoke_run.workdir / "runs" / f"{smoke_run.result.run_id}.json"
    assert RunResult.model_validate_json(kept.read_text()).version == smoke_run.result.version


def test_the_version_carries_a_record_that_matches_its_bytes(smoke_run: SmokeRun) -> None:
    newest = VersionStore(smoke_run.serving_dir).newest_served()
    assert newest is not None
    assert newest.record is not None
    assert newest.record.run_id == smoke_run.result.run_id
    assert newest.record.checksums == checksums_of(smoke_run.serving_dir / str(newest.number))


def test_the_noise_of_tensorflow_goes_to_the_log_file(smoke_run: SmokeRun) -> None:
    assert smoke_run.result.log is not None
    assert "absl" in smoke_run.result.log.read_text()
    assert "absl" not in smoke_run.process.stderr
    assert "Warning" not in smoke_run.process.stderr


def test_checkpoints_are_removed_when_training_is_done(smoke_run: SmokeRun) -> None:
    assert not list((smoke_run.workdir / "checkpoints").iterdir())


def test_an_identical_run_finds_nothing_new_and_runs_no_node(smoke_run: SmokeRun) -> None:
    again = run_runner(*smoke_run.arguments)
    assert again.returncode == 0
    assert f"nothing new: version {smoke_run.result.version} is up to date" in again.stdout
    assert "running" not in again.stdout
    assert len(list((smoke_run.workdir / "runs").glob("*.json"))) == 1


def test_saved_model_cli_shows_every_signature(smoke_run: SmokeRun) -> None:
    version = smoke_run.serving_dir / str(smoke_run.result.version)
    cli = Path(sys.executable).with_name("saved_model_cli")
    shown = subprocess.run(
        [cli, "show", "--dir", version, "--all"], capture_output=True, text=True, check=True
    ).stdout
    for name in ("classify", "predict_bytes", "predict_examples", "predict_images"):
        assert f"signature_def['{name}']" in shown
    assert "Method name is: tensorflow/serving/classify" in shown


def test_the_model_answers_on_a_real_image(smoke_run: SmokeRun) -> None:
    import tensorflow as tf

    from data.idx import read_images, read_labels

    sample = ROOT / "data" / "sample" / "base"
    images = read_images(sample / "t10k-images-idx3-ubyte.gz")[:50]
    labels = read_labels(sample / "t10k-labels-idx1-ubyte.gz")[:50]
    version = smoke_run.serving_dir / str(smoke_run.result.version)
    predict = tf.saved_model.load(str(version)).signatures["predict_images"]
    answers = predict(images=tf.constant(images[..., None], tf.float32))
    assert (answers["class_id"].numpy() == labels).mean() > 0.5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "training.epoch=3"], "there is no setting training.epoch"),
        (["--preset", "huge"], "unknown preset 'huge'"),
        (["--model-server", "apache"], "infra_validation.model_server = 'apache'"),
        (["--config", "absent.toml"], "cannot read the configuration absent.toml"),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_code_2(arguments: list[str], sentence: str) -> None:
    process = run_runner(*arguments)
    assert process.returncode == 2
    assert sentence in process.stderr
    assert "Traceback" not in process.stderr


def test_a_second_run_on_the_same_workdir_is_refused_with_exit_code_7(tmp_path: Path) -> None:
    with lock.exclusive(tmp_path):
        process = run_runner("--preset", "smoke", "--workdir", str(tmp_path))
    assert process.returncode == 7
    assert "another run (process" in process.stdout


def test_asking_for_help_imports_nothing_heavy() -> None:
    ask = (
        "import sys, runner\n"
        "sys.argv = ['runner.py', '--help']\n"
        "try:\n    runner.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'pydantic', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    process = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_finding_nothing_new_imports_neither_tensorflow_nor_tfx(smoke_run: SmokeRun) -> None:
    ask = (
        "import sys, runner\n"
        f"sys.argv = ['runner.py', *{list(smoke_run.arguments)!r}]\n"
        "try:\n    runner.main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam'} & set(sys.modules)\n"
        "sys.exit(1 if heavy else 0)\n"
    )
    assert subprocess.run([sys.executable, "-c", ask], cwd=ROOT).returncode == 0
