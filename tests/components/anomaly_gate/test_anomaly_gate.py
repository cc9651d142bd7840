"""AnomalyGate behind the validators whose anomalies it reads."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.distribution_validator.executor import Executor as DistributionExecutor
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.example_validator.executor import Executor as ValidatorExecutor
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.proto import distribution_validator_pb2
from tfx.types import standard_artifacts

from components.anomaly_gate.component import AnomalyGate, Executor
from components.idx_example_gen.component import IdxExampleGen
from components.span_distribution_validator.component import (
    SpanDistributionValidator,
    slice_by_origin,
)
from data import idx
from data.refusal import DataRefused

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "data" / "sample"
SCHEMA_FILE = ROOT / "pipeline" / "schema" / "schema.pbtxt"
SCHEMA = text_format.Parse(SCHEMA_FILE.read_text(), schema_pb2.Schema())

Examples = dict[str, list]


def _examples(labels: list[int], brightness: float = 1.0) -> Examples:
    random = np.random.default_rng(len(labels))
    means = random.normal(70, 20, len(labels)).clip(0, 200) * brightness
    return {
        "image": [b"png"] * len(labels),
        "label": labels,
        "origin": [b"base"] * len(labels),
        "mean_pixel": means.astype(np.float32).tolist(),
    }


BALANCED = _examples(list(range(10)) * 60)


def _drift_limits() -> distribution_validator_pb2.DistributionValidatorConfig:
    limits = distribution_validator_pb2.DistributionValidatorConfig()
    for feature in SCHEMA.feature:
        if feature.HasField("drift_comparator"):
            limit = limits.default_slice_config.feature.add()
            limit.path.step.append(feature.name)
            limit.distribution_comparator.CopyFrom(feature.drift_comparator)
    return limits


@pytest.fixture
def statistics(tmp_path: Path) -> Callable[[str, Examples], standard_artifacts.ExampleStatistics]:
    """Statistics of hand-made examples, as StatisticsGen would leave them."""
    import tensorflow_data_validation as tfdv

    def make(name: str, examples: Examples) -> standard_artifacts.ExampleStatistics:
        generated = tfdv.generate_statistics_from_dataframe(
            pd.DataFrame(examples), stats_options=tfdv.StatsOptions(schema=SCHEMA)
        )
        artifact = standard_artifacts.ExampleStatistics()
        artifact.uri = str(tmp_path / name)
        artifact.splits = ["train"]
        folder = tmp_path / name / "Split-train"
        folder.mkdir(parents=True)
        (folder / "FeatureStats.pb").write_bytes(generated.SerializeToString())
        return artifact

    return make


@pytest.fixture
def gate(tmp_path: Path, statistics) -> Callable[..., list[str]]:
    """Sends examples through both validators and the gate; returns the tolerated findings."""
    schema = standard_artifacts.Schema()
    schema.uri = str(SCHEMA_FILE.parent)

    def run(examples: Examples, baseline: Examples | None = None, stop: bool = True) -> list[str]:
        current = statistics("current", examples)
        anomalies, drift = (standard_artifacts.ExampleAnomalies() for _ in range(2))
        anomalies.uri, drift.uri = str(tmp_path / "anomalies"), str(tmp_path / "drift")
        ValidatorExecutor().Do(
            {"statistics": [current], "schema": [schema]}, {"anomalies": [anomalies]}, {}
        )
        before = [] if baseline is None else [statistics("baseline", baseline)]
        DistributionExecutor().Do(
            {"statistics": [current], "baseline_statistics": before},
            {"anomalies": [drift]},
            {"distribution_validator_config": _drift_limits()},
        )
        findings = standard_artifacts.JsonValue()
        findings.uri = str(tmp_path / "findings")
        Executor().Do(
            {"anomalies": [anomalies], "drift": [drift]},
            {"findings": [findings]},
            {"stop_on_drift": int(stop)},
        )
        return findings.read()

    return run


def test_healthy_data_passes_with_and_without_a_baseline(gate, tmp_path: Path) -> None:
    assert gate(BALANCED, baseline=_examples(list(range(10)) * 70)) == []


def test_without_a_baseline_there_is_no_drift(gate) -> None:
    assert gate(_examples([1, 2, 3] * 200)) == []


def test_a_shifted_label_distribution_is_refused_and_named(gate) -> None:
    shifted = _examples(list(range(10)) * 30 + [3] * 300)
    with pytest.raises(DataRefused, match=r"split train_train, feature label: .*Linfty.*: 3\)$"):
        gate(shifted, baseline=BALANCED)


def test_darker_images_are_refused_as_drift_of_mean_pixel(gate) -> None:
    darker = _examples(list(range(10)) * 60, brightness=0.6)
    with pytest.raises(DataRefused, match=r"feature mean_pixel: .*Jensen-Shannon") as refused:
        gate(darker, baseline=BALANCED)
    assert len(refused.value.reasons) == 1


def test_drift_is_only_reported_where_it_must_not_stop_the_run(gate) -> None:
    [finding] = gate(_examples([1] * 600), baseline=BALANCED, stop=False)
    assert finding.startswith("split train_train, feature label: High Linfty distance")


def test_a_missing_label_is_refused(gate) -> None:
    examples = {**BALANCED, "label": [None, *BALANCED["label"][1:]]}
    with pytest.raises(
        DataRefused, match=r"split train, feature label: .*fewer examples than expected"
    ):
        gate(examples)


def test_an_absent_label_is_refused_even_where_drift_may_pass(gate) -> None:
    examples = {name: values for name, values in BALANCED.items() if name != "label"}
    with pytest.raises(DataRefused, match=r"feature label: Column dropped"):
        gate(examples, stop=False)


def test_a_label_out_of_its_domain_is_refused(gate) -> None:
    with pytest.raises(DataRefused, match=r"feature label: .*11"):
        gate(_examples([*BALANCED["label"], 11]))


def test_the_training_features_are_not_asked_of_serving_requests(statistics) -> None:
    import tensorflow_data_validation as tfdv

    image_only = statistics("serving", {"image": BALANCED["image"]})
    loaded = tfdv.load_stats_binary(f"{image_only.uri}/Split-train/FeatureStats.pb")
    serving = tfdv.validate_statistics(loaded, SCHEMA, environment="SERVING")
    assert not serving.anomaly_info
    training = tfdv.validate_statistics(loaded, SCHEMA, environment="TRAINING")
    assert sorted(training.anomaly_info) == ["label", "mean_pixel", "origin"]


def test_launched_behind_the_validators_it_passes_a_like_span_and_stops_another(
    launch, tmp_path: Path
) -> None:
    images = idx.read_images(SAMPLE / "base/train-images-idx3-ubyte.gz")
    labels = idx.read_labels(SAMPLE / "base/train-labels-idx1-ubyte.gz")
    root = tmp_path / "data"
    root.mkdir()
    (root / "base").symlink_to(SAMPLE / "base")
    for span, chosen in ((1, np.arange(500)), (2, np.flatnonzero(labels != 3)[-300:])):
        folder = root / "spans" / str(span)
        folder.mkdir(parents=True)
        idx.write(folder / "images-idx3-ubyte.gz", images[chosen])
        idx.write(folder / "labels-idx1-ubyte.gz", labels[chosen])

    assert launch(_graph(root, last_span=1))["AnomalyGate"].state == "COMPLETE"
    assert launch(_graph(root, last_span=1))["AnomalyGate"].state == "CACHED"
    with pytest.raises(DataRefused, match="feature label: High Linfty distance") as refused:
        launch(_graph(root, last_span=2))
    assert "maximum difference is: 3" in refused.value.reasons[0]
    assert refused.value.blamed_spans == [2]


def _graph(root: Path, last_span: int) -> list:
    """The nodes before the gate, with the official sample in the place of the served model's."""
    schema = ImportSchemaGen(schema_file=str(SCHEMA_FILE))
    statistics = {}
    nodes: list = [schema]
    for name, data_root in (("served", SAMPLE), ("current", root)):
        examples = IdxExampleGen(str(data_root), 10, last_span=last_span)
        examples = examples.with_id(f"{name}_examples")
        statistics[name] = StatisticsGen(
            examples=examples.outputs["examples"],
            schema=schema.outputs["schema"],
            stats_options=slice_by_origin(),
            exclude_splits=["validation", "eval"],
        ).with_id(f"{name}_statistics")
        nodes += [examples, statistics[name]]
        current = examples
    validator = ExampleValidator(
        statistics=statistics["current"].outputs["statistics"], schema=schema.outputs["schema"]
    )
    drift = SpanDistributionValidator(
        statistics=statistics["current"].outputs["statistics"],
        baseline_statistics=statistics["served"].outputs["statistics"].as_optional(),
        config=_drift_limits(),
        include_split_pairs=[("train", "train")],
        examples=current.outputs["examples"],
    )
    gate = AnomalyGate(
        anomalies=validator.outputs["anomalies"],
        drift=drift.outputs["anomalies"],
        statistics=statistics["current"].outputs["statistics"],
        schema=schema.outputs["schema"],
        examples=current.outputs["examples"],
    )
    return [*nodes, validator, drift, gate]
