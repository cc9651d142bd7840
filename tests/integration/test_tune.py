"""`runner.py tune` on the sample: the search, the training with its best, the run afterwards."""

from pathlib import Path

import pytest

from pipeline.modeling.warm_start import exported_weights
from pipeline.settings.load import load_config
from runs.exit_status import NodeState, Status
from runs.result import RunResult
from tests.conftest import run_runner

pytestmark = pytest.mark.integration

SETTINGS = (
    *("--preset", "smoke", "--model-server", "embedded"),
    *("--set", "training.epochs=4"),
    *("--set", "evaluation.min_accuracy=0.2"),
    *("--set", "evaluation.min_span_accuracy=0.2"),
    *("--set", "evaluation.min_class_recall=0"),
)
SEARCH = (
    *("--trials", "2", "--set", "tuning.epochs=1"),
    *("--set", 'tuning.parameters=["filters", "dropout"]'),
)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, str, Path]:
    workdir = tmp_path_factory.mktemp("tune") / "var"
    process = run_runner("tune", *SETTINGS, *SEARCH, "--workdir", str(workdir), "--json")
    assert process.returncode == 0, process.stderr
    return RunResult.model_validate_json(process.stdout), process.stderr, workdir


def test_tuner_searches_and_trainer_takes_the_best(tuned: tuple[RunResult, str, Path]) -> None:
    result, shown, workdir = tuned
    assert result.status is Status.PUSHED
    assert result.node("Tuner").state is NodeState.DONE
    assert "trial 1: validation accuracy" in shown
    assert "trial 2: validation accuracy" in shown
    assert set(result.tuned) == {"filters", "dropout"}
    served = workdir / "serving" / "fashion_mnist" / str(result.version)
    widths = [weight.shape[-1] for weight in exported_weights(served) if weight.ndim == 4]
    assert list(dict.fromkeys(widths)) == result.tuned["filters"]


def test_the_same_search_is_not_made_again(tuned: tuple[RunResult, str, Path]) -> None:
    result, _, workdir = tuned
    again = run_runner("tune", *SETTINGS, *SEARCH, "--workdir", str(workdir), "--json")
    repeated = RunResult.model_validate_json(again.stdout)
    assert (repeated.status, repeated.version) == (Status.UP_TO_DATE, result.version)
    assert repeated.tuned == result.tuned
    assert not repeated.nodes


def test_a_run_with_what_was_found_is_the_run_that_was_made(
    tuned: tuple[RunResult, str, Path],
) -> None:
    result, _, workdir = tuned
    file = workdir / "tuned.toml"
    assert load_config(None, file).training.dropout == result.tuned["dropout"]
    again = run_runner(*SETTINGS, "--config", str(file), "--workdir", str(workdir))
    assert again.returncode == 0
    assert f"nothing new: version {result.version} is up to date" in again.stdout
