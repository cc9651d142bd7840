"""Drift of a new span is seen however much else is trained on, and chance is not drift."""

import json
from itertools import chain
from pathlib import Path

import pandas as pd
import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.distribution_validator.executor import Executor as StockExecutor
from tfx.proto import distribution_validator_pb2
from tfx.types import standard_artifacts

from components.anomaly_gate.findings import read_findings
from components.span_distribution_validator.component import Executor, slice_by_origin

NATURAL = list(range(10)) * 60
SHIFTED = [label for label in range(9) for _ in range(60)]


def _statistics(folder: Path, span: int, slices: dict[str, list[int]]):
    """Statistics of labels, over all and by slice, as StatisticsGen would leave them."""
    import tensorflow_data_validation as tfdv

    slices = {"All Examples": list(chain.from_iterable(slices.values())), **slices}
    result = statistics_pb2.DatasetFeatureStatisticsList()
    for name, labels in slices.items():
        frame = pd.DataFrame({"label": [str(label) for label in labels]})
        [dataset] = tfdv.generate_statistics_from_dataframe(frame).datasets
        result.datasets.add(name=name).MergeFrom(dataset)
        result.datasets[-1].name = name
    (folder / "Split-train").mkdir(parents=True)
    (folder / "Split-train" / "FeatureStats.pb").write_bytes(result.SerializeToString())
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(folder)
    artifact.span = span
    artifact.splits = ["train"]
    return artifact


def _found(
    executor, tmp_path: Path, current, baseline, new: list[int], trusted: list[int] | None = None
) -> dict[str, int]:
    config = distribution_validator_pb2.DistributionValidatorConfig()
    feature = config.default_slice_config.feature.add()
    feature.path.step.append("label")
    feature.distribution_comparator.infinity_norm.threshold = 0.08
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")
    examples = standard_artifacts.Examples()
    examples.set_string_custom_property("new_spans", json.dumps(new))
    examples.set_string_custom_property("spans", json.dumps([*(trusted or []), *new]))
    before = [baseline] if baseline else []
    executor.Do(
        {"statistics": [current], "baseline_statistics": before, "examples": [examples]},
        {"anomalies": [anomalies]},
        {
            "distribution_validator_config": config,
            "include_split_pairs": json.dumps([["train", "train"]]),
        },
    )
    found: dict[str, int] | None = anomalies.get_json_value_custom_property("blessed")
    return found or {}


@pytest.fixture
def baseline(tmp_path: Path):
    return _statistics(tmp_path / "baseline", 2, {"origin_span-2": NATURAL})


def test_a_span_that_the_rest_would_hide_is_seen(tmp_path: Path, baseline) -> None:
    slices = {"origin_span-2": NATURAL, "origin_span-3": SHIFTED}
    current = _statistics(tmp_path / "current", 3, slices)
    stock = _found(StockExecutor(), tmp_path / "stock", current, baseline, [])
    assert stock == {"train_train": 1}
    assert _found(Executor(), tmp_path / "span", current, baseline, [3]) == {"span-3": 0}
    assert current.uri == str(tmp_path / "current")


def test_each_new_span_is_judged_alone_and_no_other(tmp_path: Path, baseline) -> None:
    slices = {"origin_span-2": SHIFTED, "origin_span-3": NATURAL, "origin_span-4": SHIFTED}
    current = _statistics(tmp_path / "current", 4, slices)
    found = _found(Executor(), tmp_path, current, baseline, [3, 4])
    assert found == {"span-3": 1, "span-4": 0}


@pytest.mark.parametrize(
    ("trusted", "found"), [([2], {"span-3": 0, "span-4": 1}), ([], {"train": 2})]
)
def test_while_what_is_served_is_no_baseline_the_data_it_was_served_from_is_one(
    tmp_path: Path, trusted: list[int], found: dict[str, int]
) -> None:
    slices = {"origin_span-2": NATURAL * 5, "origin_span-3": SHIFTED, "origin_span-4": NATURAL}
    current = _statistics(tmp_path / "current", 4, slices)
    assert _found(Executor(), tmp_path, current, None, [3, 4], trusted) == found


@pytest.mark.parametrize(("images", "blessed"), [(18, 1), (540, 0)])
def test_the_same_distance_is_drift_only_where_chance_does_not_explain_it(
    tmp_path: Path, baseline, images: int, blessed: int
) -> None:
    labels = [label for label in range(9) for _ in range(images // 9)]
    current = _statistics(tmp_path / "current", 3, {"origin_span-3": labels})
    assert _found(Executor(), tmp_path, current, baseline, [3]) == {"span-3": blessed}


def test_the_finding_says_how_little_chance_explains_it(tmp_path: Path, baseline) -> None:
    current = _statistics(tmp_path / "current", 3, {"origin_span-3": SHIFTED})
    _found(Executor(), tmp_path, current, baseline, [3])
    [finding] = read_findings(str(tmp_path / "anomalies"))
    assert finding.startswith("split span-3, feature label: High Linfty distance")
    assert "chance explains it in less than 1e-06 of all samples of 540 images" in finding


@pytest.mark.parametrize("held_out", [[3], [3, 9]])
def test_a_span_of_few_images_that_are_all_held_out_is_no_error(
    tmp_path: Path, baseline, held_out: list[int]
) -> None:
    # What becomes of three in ten spans of one image.
    current = _statistics(tmp_path / "current", 4, {"origin_span-2": NATURAL})
    evaluated = _statistics(tmp_path / "other", 4, {"origin_span-3": held_out})
    (Path(evaluated.uri) / "Split-train").rename(Path(current.uri) / "Split-eval")
    current.splits = ["train", "eval"]
    assert _found(Executor(), tmp_path, current, baseline, [3]) == {"span-3": 1}
    assert read_findings(str(tmp_path / "anomalies")) == []


def test_without_new_spans_whole_splits_are_compared(tmp_path: Path, baseline) -> None:
    current = _statistics(tmp_path / "current", 0, {"origin_base": SHIFTED})
    assert _found(Executor(), tmp_path, current, baseline, []) == {"train_train": 0}


def test_statistics_that_were_not_sliced_are_an_error(tmp_path: Path, baseline) -> None:
    current = _statistics(tmp_path / "current", 3, {})
    with pytest.raises(ValueError, match="no slice origin_span-3: give StatisticsGen"):
        _found(Executor(), tmp_path, current, baseline, [3])


def test_the_options_survive_the_way_through_the_ir() -> None:
    import tensorflow_data_validation as tfdv

    options = tfdv.StatsOptions.from_json(slice_by_origin().to_json())
    assert list(options.slicing_config.slicing_specs[0].feature_keys) == ["origin"]
