"""InfraValidator's executor around the validation, which has tests of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.infra_validator import executor
from components.infra_validator.blessing import Blessing, read_blessing
from components.infra_validator.executor import Executor
from tests.tiny_models import grey_examples, grey_spec

Inputs = dict[str, list[Any]]


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    examples, model = standard_artifacts.Examples(), standard_artifacts.Model()
    examples.uri, examples.split_names = str(tmp_path / "examples"), '["train", "eval"]'
    model.uri = str(tmp_path / "model")
    for split in ("train", "eval"):
        (tmp_path / "examples" / f"Split-{split}").mkdir(parents=True)
    path = str(tmp_path / "examples" / "Split-eval" / "data.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for example in grey_examples(50):
            writer.write(example)
    return {"model": [model], "examples": [examples]}


def run(inputs: Inputs, folder: Path) -> Any:
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(folder / "blessing")
    properties = {"validation_spec": grey_spec().model_dump_json()}
    Executor().Do(inputs, {"blessing": [blessing]}, properties)
    return blessing


@pytest.mark.parametrize(
    ("key", "judge"), [("model_blessing", "Evaluator"), ("diff_blessing", "ModelDiff")]
)
def test_a_model_that_was_not_blessed_before_is_not_tried(
    key: str, judge: str, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "validate", lambda *_: pytest.fail("it was tried"))
    refused = standard_artifacts.ModelBlessing()
    refused.set_int_custom_property("blessed", 0)

    blessing = run(inputs | {key: [refused]}, tmp_path)

    assert blessing.get_int_custom_property("blessed") == 0
    assert blessing.get_int_custom_property("validated") == 0
    assert f"{judge} did not bless" in read_blessing(blessing.uri).reasons[0]
    assert (tmp_path / "blessing" / "INFRA_NOT_BLESSED").exists()


def test_the_validation_is_given_the_served_model_and_examples_spread_over_the_split(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def validate(*arguments: Any) -> Blessing:
        given.extend(arguments)
        return Blessing(blessed=True, model_server="embedded", checksums={"saved_model.pb": "1"})

    monkeypatch.setattr(executor, "validate", validate)
    blessed = standard_artifacts.ModelBlessing()
    blessed.set_int_custom_property("blessed", 1)

    blessing = run(inputs | {"model_blessing": [blessed]}, tmp_path)

    model, examples, spec, stamped = given
    assert model == tmp_path / "model" / "Format-Serving"
    assert examples == [grey_examples(50)[index * 50 // 20] for index in range(20)]
    assert spec == grey_spec()
    assert stamped == tmp_path / "blessing" / "stamped_model"
    assert blessing.get_int_custom_property("has_model") == 1
    assert blessing.get_string_custom_property("model_server") == "embedded"


def test_a_refusal_is_in_the_properties_and_in_the_file(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = Blessing(blessed=False, reasons=["too slow"], server_log=["last line"])
    monkeypatch.setattr(executor, "validate", lambda *_: refusal)

    blessing = run(inputs, tmp_path)

    assert json.loads(blessing.get_string_custom_property("reasons")) == ["too slow"]
    assert blessing.get_int_custom_property("validated") == 1
    assert read_blessing(blessing.uri) == refusal
    assert not (tmp_path / "blessing" / "INFRA_BLESSED").exists()


def test_a_split_without_examples_is_an_error(inputs: Inputs, tmp_path: Path) -> None:
    (tmp_path / "examples" / "Split-eval" / "data.gz").unlink()

    with pytest.raises(ValueError, match="holds no examples"):
        run(inputs, tmp_path)
