"""ServedModel in a pipeline, in front of a node that takes its outputs as TFX's own nodes do."""

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


def test_a_served_model_of_other_classes_is_no_baseline(
    store: VersionStore, tmp_path: Path
) -> None:
    import tensorflow as tf
    from tfx.types import standard_artifacts

    from components.served_model.component import BaselineError, Executor

    class ThreeClasses(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def predict(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": tf.ones([tf.size(examples), 3]) / 3}

    module = ThreeClasses()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"predict": module.predict})
    publish(store, tmp_path / "model", Pushed())
    model, statistics = standard_artifacts.Model(), standard_artifacts.ExampleStatistics()
    model.uri = str(tmp_path / "emitted")
    outputs = {"model": [model], "statistics": [statistics]}
    needs = {"serving_dir": store.storage.base, "signature": "predict"}

    with pytest.raises(BaselineError, match=r"has 3 classes and not 4.*--no-baseline"):
        Executor().Do({}, outputs, {**needs, "class_count": 4})
    emitted = Executor().Do({}, outputs, {**needs, "class_count": 3})
    assert len(emitted.output_artifacts["model"].artifacts) == 1
