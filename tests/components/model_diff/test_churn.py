"""Churn between two models' probabilities, and the node that gates on it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.model_diff.churn import compare
from components.model_diff.component import Executor, read_churn, read_reasons
from serving.model_server.request_log_records import classify_log, predict_log
from serving.traffic.origin import Origin
from serving.traffic.recording import TrafficRecorder
from tests.tiny_models import LABELS, GreyClassifier, grey_examples, save

BEFORE = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
AFTER = np.array([[0.1, 0.9], [0.4, 0.6], [0.1, 0.9], [0.8, 0.2]])
TRUTH = np.array([0, 0, 1, 0])


def test_changed_labels_are_counted_and_told_apart() -> None:
    churn = compare(BEFORE, AFTER, TRUTH, ["cat", "dog"])

    assert (churn.examples, churn.changed, churn.fixed, churn.broken) == (4, 3, 1, 2)
    assert churn.share == 0.75
    assert churn.classes["cat"].model_dump() == {
        "examples": 3,
        "changed": 3,
        "fixed": 1,
        "broken": 2,
    }
    assert churn.classes["dog"].changed == 0


def test_the_worst_examples_lost_the_right_answer_with_most_certainty() -> None:
    worst = compare(BEFORE, AFTER, TRUTH, ["cat", "dog"]).worst

    assert [example.position for example in worst] == [0, 1, 3]
    assert (worst[0].truth, worst[0].before, worst[0].after) == ("cat", "cat", "dog")
    assert (worst[0].before_probability, worst[0].after_probability) == (0.9, 0.9)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    # The last two shades swap their probabilities.
    swapped = GreyClassifier(spoil=lambda p: tf.gather(p, [0, 1, 2, 4, 3], axis=1))
    for name, module in {"sound": GreyClassifier(), "swapped": swapped}.items():
        save(module, folder / name / "Format-Serving")
    return {name: folder / name for name in ("sound", "swapped")}


@pytest.fixture
def diff(models: dict[str, Path], tmp_path: Path) -> Any:
    def run(
        candidate: str,
        baseline: str | None,
        max_churn: float | None = None,
        max_live_churn: float | None = None,
    ) -> tuple:
        examples = standard_artifacts.Examples()
        examples.uri = str(tmp_path / "examples")
        examples.split_names = '["eval"]'
        folder = tmp_path / "examples" / "Split-eval"
        folder.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / "data.gz"), "GZIP") as writer:
            for example in grey_examples(10):
                writer.write(example)
        inputs = {"examples": [examples], "model": [], "baseline_model": []}
        for key, name in {"model": candidate, "baseline_model": baseline}.items():
            if name is not None:
                artifact = standard_artifacts.Model()
                artifact.uri = str(models[name])
                inputs[key] = [artifact]
        outputs = {
            "diff": [standard_artifacts.ModelEvaluation()],
            "blessing": [standard_artifacts.ModelBlessing()],
        }
        outputs["diff"][0].uri = str(tmp_path / "diff")
        (tmp_path / "diff").mkdir()
        properties = {
            "signature": "predict_examples",
            "labels": json.dumps(LABELS),
            "label_feature": "label",
            "max_churn": max_churn,
            "recordings": str(tmp_path / "recorded"),
            "recorded_model": "live",
            "recorded_pictures": 100,
            "max_live_churn": max_live_churn,
        }
        Executor().Do(inputs, outputs, properties)
        blessing = outputs["blessing"][0]
        blessed = blessing.get_int_custom_property("blessed")
        return read_churn(outputs["diff"][0].uri), blessed, read_reasons(blessing)

    return run


def test_without_a_served_model_there_is_nothing_to_compare_with(diff: Any) -> None:
    assert diff("sound", None, max_churn=0.0) == (None, 1, [])


def test_the_candidate_is_compared_with_the_served_model(diff: Any) -> None:
    churn, blessed, _ = diff("swapped", "sound")

    assert churn.share == pytest.approx(0.4)
    assert churn.classes["white"].changed == 2
    assert blessed == 1


def test_too_much_churn_is_refused_with_the_share_and_the_limit(diff: Any) -> None:
    _, blessed, [reason] = diff("swapped", "sound", max_churn=0.1)

    assert blessed == 0
    assert "40.00% of the 10 evaluated images" in reason
    assert "allowed is 10.00% (max_churn)" in reason


def record(folder: Path) -> None:
    """Records ten shades of grey, of which two kinds are swapped, and a picture of another size."""
    recorder = TrafficRecorder(folder / "recorded", "live", 1 << 20, 1 << 20)
    for example in grey_examples(10):
        recorder.record(classify_log([example], None), "classify", Origin("r", 1))
    other = tf.io.encode_png(np.zeros((9, 9, 1), np.uint8)).numpy()
    log = predict_log({"image_bytes": np.array([other], object)}, {})
    recorder.record(log, "predict_bytes", Origin("r", 1))
    recorder.close()


def test_churn_on_live_traffic_is_reported(diff: Any, tmp_path: Path) -> None:
    record(tmp_path)
    churn, blessed, _ = diff("swapped", "sound")
    assert churn.live.model_dump() == {"examples": 10, "changed": 4, "refused": 1}
    assert blessed == 1


def test_too_much_churn_on_live_traffic_is_refused(diff: Any, tmp_path: Path) -> None:
    record(tmp_path)
    _, blessed, [reason] = diff("swapped", "sound", max_live_churn=0.1)
    assert blessed == 0
    assert "40.00% of 10 recorded pictures" in reason
    assert "allowed is 10.00% (max_live_churn)" in reason


def test_without_a_recording_the_models_are_compared_on_examples_alone(diff: Any) -> None:
    churn, blessed, _ = diff("swapped", "sound", max_live_churn=0.0)
    assert (churn.live, blessed) == (None, 1)
