"""ServedModel in a pipeline, in front of a node that takes its outputs as TFX's own nodes do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.rollback import roll_back
from serving.versions.store import VersionStore

# TFX takes seconds to import, so it is imported when the first test of this file runs.


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "serving")


@pytest.fixture
def push(store: VersionStore, tmp_path: Path) -> Callable[[str], int]:
    def push_model(content: str) -> int:
        model, statistics = tmp_path / f"model-{content}", tmp_path / f"statistics-{content}"
        (statistics / "Split-train").mkdir(parents=True)
        (statistics / "Split-train" / "FeatureStats.pb").write_text(content)
        model.mkdir()
        (model / "saved_model.pb").write_text(content)
        return publish(store, model, Pushed(), statistics=statistics).version

    return push_model


@pytest.fixture
def run(store: VersionStore, launch: Callable[..., Any]) -> Callable[[], Any]:
    def run_once() -> Any:
        from components.served_model.component import ServedModel
        from tests.components.served_model.consumer import Consumer

        served = ServedModel(serving_dir=store.storage.base)
        consumer = Consumer(
            baseline_model=served.outputs["model"],
            baseline_statistics=served.outputs["statistics"].as_optional(),
        )
        return launch([served, consumer])

    return run_once


def test_nothing_served_is_no_artifact_and_does_not_hold_up_the_next_node(
    run: Callable[[], Any],
) -> None:
    launched = run()

    assert launched["ServedModel"].state == "COMPLETE"
    assert launched["ServedModel"].outputs == {}
    assert launched["Consumer"].outputs["seen"][0].read() == "0 models, 0 statistics"


def test_the_newest_served_version_is_emitted_with_its_training_statistics(
    run: Callable[[], Any], push: Callable[[str], int]
) -> None:
    push("first")
    newest = push("second")

    outputs = run()["ServedModel"].outputs

    [model], [statistics] = outputs["model"], outputs["statistics"]
    assert model.get_int_custom_property("version") == newest
    assert (Path(model.uri) / "Format-Serving" / "saved_model.pb").read_text() == "second"
    assert statistics.split_names == '["train"]'
    assert (Path(statistics.uri) / "Split-train" / "FeatureStats.pb").read_text() == "second"


def test_a_rolled_back_version_is_no_baseline(
    run: Callable[[], Any], push: Callable[[str], int], store: VersionStore
) -> None:
    good = push("good")
    push("bad")
    roll_back(store, None, "bad")

    [model] = run()["ServedModel"].outputs["model"]

    assert model.get_int_custom_property("version") == good


def test_the_same_served_version_is_the_same_artifact_in_every_run(
    run: Callable[[], Any], push: Callable[[str], int]
) -> None:
    push("first")

    first, second = run(), run()

    assert second["ServedModel"].state == "CACHED"
    assert second["Consumer"].state == "CACHED"
    assert first["ServedModel"].outputs["model"][0].id


def test_what_is_served_is_asked_anew_in_every_run(
    run: Callable[[], Any], push: Callable[[str], int], store: VersionStore
) -> None:
    push("first")
    run()
    newest = push("second")

    changed = run()
    roll_back(store, None, "bad")
    back = run()

    assert changed["ServedModel"].state == "COMPLETE"
    [model] = changed["ServedModel"].outputs["model"]
    assert model.get_int_custom_property("version") == newest
    assert back["ServedModel"].state == "CACHED"


def test_a_served_model_without_the_signature_is_no_baseline(
    store: VersionStore, tmp_path: Path
) -> None:
    import tensorflow as tf
    from tfx.types import standard_artifacts

    from components.served_model.component import BaselineError, Executor

    tf.saved_model.save(tf.Module(), str(tmp_path / "model"))
    number = publish(store, tmp_path / "model", Pushed()).version
    outputs = {"model": [standard_artifacts.Model()]}

    with pytest.raises(BaselineError) as error:
        Executor().Do({}, outputs, {"serving_dir": store.storage.base, "signature": "predict"})
    assert f"version {number} has no signature predict" in str(error.value)
    assert "--no-baseline" in str(error.value)


@pytest.fixture
def compare(store: VersionStore, tmp_path: Path) -> Callable[..., dict[str, int]]:
    """Serves a model that knows some classes; says how many artifacts candidates are given."""
    import tensorflow as tf
    from tfx.types import standard_artifacts

    from components.served_model.component import Executor
    from components.vocabulary import write_vocabulary

    class ThreeClasses(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def predict(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": tf.ones([tf.size(examples), 3]) / 3}

    def emitted(
        served: list[str],
        candidate: list[str],
        signature: str | None = "predict",
        with_newest: int = 0,
    ) -> dict[str, int]:
        model, module = tmp_path / "model", ThreeClasses()
        tf.saved_model.save(module, str(model), signatures={"predict": module.predict})
        if served:
            write_vocabulary(model, served)
        statistics = tmp_path / "statistics" / "Split-train"
        statistics.mkdir(parents=True)
        publish(store, model, Pushed(), statistics=statistics.parent)
        outputs = {
            "model": [standard_artifacts.Model()],
            "statistics": [standard_artifacts.ExampleStatistics()],
            "newest": [standard_artifacts.Model()],
        }
        for key, (artifact,) in outputs.items():
            artifact.uri = str(tmp_path / "emitted" / key)
        properties: dict[str, Any] = {
            "serving_dir": store.storage.base,
            "labels": json.dumps(candidate),
            "with_newest": with_newest,
        }
        if signature:
            properties["signature"] = signature
        result = Executor().Do({}, outputs, properties)
        return {key: len(found.artifacts) for key, found in result.output_artifacts.items()}

    return emitted


@pytest.mark.parametrize("signature", ["predict", None])
@pytest.mark.parametrize(
    "candidate", [["ant", "bear", "bee"], ["bee", "ant", "cat"], ["ant", "bee"]]
)
def test_a_served_model_of_other_classes_or_another_order_is_no_baseline_and_says_so(
    compare: Callable[..., dict[str, int]],
    caplog: pytest.LogCaptureFixture,
    candidate: list[str],
    signature: str | None,
) -> None:
    emitted = compare(["ant", "bee", "cat"], candidate, signature)
    assert emitted == {"model": 0, "statistics": 0, "newest": 0}
    assert (
        f"is not the baseline: the served model knows ant, bee, cat; this one knows "
        f"{', '.join(candidate)}: not compared"
    ) in caplog.text


def test_a_served_model_of_the_same_classes_is_the_baseline(
    compare: Callable[..., dict[str, int]],
) -> None:
    classes = ["ant", "bee", "cat"]
    assert compare(classes, classes) == {"model": 1, "statistics": 1, "newest": 0}


@pytest.mark.parametrize(("candidate", "baselines"), [("abc", 1), ("abd", 0), ("abcd", 0)])
def test_a_training_that_begins_with_what_is_served_is_given_it_whatever_its_classes(
    compare: Callable[..., dict[str, int]], candidate: str, baselines: int
) -> None:
    emitted = compare(list("abc"), list(candidate), with_newest=1)
    assert emitted == {"model": baselines, "statistics": baselines, "newest": 1}


@pytest.mark.parametrize(("candidate", "artifacts"), [("abc", 1), ("abcd", 0)])
def test_a_served_model_that_names_no_classes_is_told_by_their_number(
    compare: Callable[..., dict[str, int]],
    caplog: pytest.LogCaptureFixture,
    candidate: str,
    artifacts: int,
) -> None:
    assert compare([], list(candidate))["model"] == artifacts
    assert ("knows 3 classes; this one knows a, b, c, d: not compared" in caplog.text) is (
        artifacts == 0
    )
