"""What the outputs of the judging nodes mean for the run: its status, exit code and last line."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_model_analysis.proto import metrics_for_slice_pb2
from tfx.types import standard_artifacts

from cli.summary import print_summary
from components.infra_validator.blessing import Blessing, write_blessing
from pipeline.settings.config import Config
from runs import verdict
from runs.exit_status import Status
from runs.result import ClassQuality, RunResult


@pytest.fixture
def result() -> RunResult:
    return RunResult(run_id="run-1", started_at=datetime.now(UTC))


def last_line(result: RunResult) -> str:
    stream = io.StringIO()
    print_summary(result, Config(), stream)
    return stream.getvalue().splitlines()[-1]


def test_a_refusal_by_infra_validation_ends_the_run_with_its_reasons_and_the_servers_log(
    result: RunResult, tmp_path: Path
) -> None:
    artifact = standard_artifacts.InfraBlessing()
    artifact.uri = str(tmp_path)
    blessing = Blessing(
        blessed=False,
        reasons=["embedded model server: too slow."],
        model_server="embedded",
        server_log=[f"line {number}" for number in range(20)],
    )
    write_blessing(blessing, artifact)

    verdict.record("InfraValidator", {"blessing": [artifact]}, result)

    assert result.status is Status.INFRA_REFUSED
    assert result.status.exit_code == 4
    assert result.reasons[0] == "embedded model server: too slow."
    assert result.reasons[-1] == "server log: line 19"
    assert last_line(result) == "not pushed: infra validation refused the model (exit code 4)"


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    # TFMA gives none for it.
    assert ClassQuality.model_validate({"recall": 0.0, "auc": 0.6}).precision == 0.0


def test_a_class_without_an_evaluated_image_has_no_quality(
    result: RunResult, tmp_path: Path
) -> None:
    values = [
        ({"name": "sparse_categorical_accuracy"}, 0.9),
        ({"name": "recall", "subKey": {"classId": 0}}, 0.8),
        ({"name": "auc", "subKey": {"classId": 0}}, 0.7),
        # Predicted, always wrongly.
        ({"name": "precision", "subKey": {"classId": 1}}, 0.0),
        ({"name": "recall", "subKey": {"classId": 1}}, "NaN"),
        ({"name": "auc", "subKey": {"classId": 1}}, "NaN"),
    ]
    pairs = [{"key": key, "value": {"doubleValue": value}} for key, value in values]
    record = json_format.ParseDict(
        {"sliceKey": {}, "metricKeysAndValues": pairs}, metrics_for_slice_pb2.MetricsForSlice()
    )
    with tf.io.TFRecordWriter(str(tmp_path / "metrics-00000-of-00001.tfrecord")) as writer:
        writer.write(record.SerializeToString())
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri = str(tmp_path)
    blessing.set_int_custom_property("blessed", 1)

    outputs = {"evaluation": [evaluation], "blessing": [blessing]}
    verdict.record("Evaluator", outputs, result, ["cat", "dog"])

    assert result.accuracy == 0.9
    assert result.classes == {"cat": ClassQuality(recall=0.8, auc=0.7)}


def test_what_tuner_found_is_shown_as_settings(result: RunResult, tmp_path: Path) -> None:
    artifact = standard_artifacts.HyperParameters()
    artifact.uri = str(tmp_path)
    found = {"learning_rate": 0.0031415, "filters": "[8, 16]"}
    (tmp_path / "best_hyperparameters.txt").write_text(json.dumps({"space": [], "values": found}))

    verdict.record("Tuner", {"best_hyperparameters": [artifact]}, result)

    assert result.tuned == {"learning_rate": 0.00314, "filters": [8, 16]}
    assert result.finished_at is None
    stream = io.StringIO()
    print_summary(result, Config(), stream)
    assert "[training]\nlearning_rate = 0.00314\nfilters = [8, 16]\n" in stream.getvalue()


def test_a_blessing_does_not_end_the_run(result: RunResult, tmp_path: Path) -> None:
    artifact = standard_artifacts.InfraBlessing()
    artifact.uri = str(tmp_path)
    write_blessing(Blessing(blessed=True, model_server="docker"), artifact)

    verdict.record("InfraValidator", {"blessing": [artifact]}, result)

    assert result.finished_at is None
    assert result.model_server == "docker"


def test_too_much_churn_ends_the_run(result: RunResult, tmp_path: Path) -> None:
    diff, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    diff.uri = str(tmp_path)
    churn = {"examples": 10, "changed": 4, "fixed": 0, "broken": 4}
    (tmp_path / "churn.json").write_text(json.dumps(churn))
    blessing.set_int_custom_property("blessed", 0)
    blessing.set_string_custom_property("reasons", '["40% change"]')

    verdict.record("ModelDiff", {"diff": [diff], "blessing": [blessing]}, result)

    assert result.churn == 0.4
    assert result.status is Status.NOT_BLESSED
    assert result.status.exit_code == 3
    assert result.reasons == ["40% change"]


@pytest.mark.parametrize(
    ("push", "status", "exit_code"),
    [
        ("pushed", Status.PUSHED, 0),
        ("up_to_date", Status.UP_TO_DATE, 0),
        ("not_blessed", Status.NOT_BLESSED, 3),
        ("infra_refused", Status.INFRA_REFUSED, 4),
        ("refused", Status.ROLLED_BACK, 6),
        ("rolled_back", Status.ROLLED_BACK, 6),
    ],
)
def test_what_became_of_the_push_decides_the_exit_code(
    push: str, status: Status, exit_code: int, result: RunResult
) -> None:
    pushed: Any = standard_artifacts.PushedModel()
    pushed.set_string_custom_property("status", push)
    pushed.set_string_custom_property("pushed_version", "7")
    pushed.set_string_custom_property("reasons", '["why"]')

    verdict.record("Pusher", {"pushed_model": [pushed]}, result)

    assert result.status is status
    assert result.status.exit_code == exit_code
    assert result.version == 7
    if exit_code:
        assert last_line(result).endswith(f"(exit code {exit_code})")
        assert not last_line(result).startswith("pushed")
