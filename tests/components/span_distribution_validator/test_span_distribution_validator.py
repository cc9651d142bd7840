"""Drift of the newest span is seen however long the window is."""

import json
from itertools import chain
from pathlib import Path

import pandas as pd
import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.distribution_validator.executor import Executor as StockExecutor
from tfx.proto import distribution_validator_pb2
from tfx.types import standard_artifacts

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


def _is_blessed(executor, tmp_path: Path, current, baseline) -> bool:
    config = distribution_validator_pb2.DistributionValidatorConfig()
    feature = config.default_slice_config.feature.add()
    feature.path.step.append("label")
    feature.distribution_comparator.infinity_norm.threshold = 0.08
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")
    executor.Do(
        {"statistics": [current], "baseline_statistics": [baseline]},
        {"anomalies": [anomalies]},
        {
            "distribution_validator_config": config,
            "include_split_pairs": json.dumps([["train", "train"]]),
        },
    )
    return anomalies.get_json_value_custom_property("blessed") == {"train_train": 1}


@pytest.fixture
def baseline(tmp_path: Path):
    return _statistics(tmp_path / "baseline", 2, {"origin_span-2": NATURAL})


def test_a_span_that_its_window_would_hide_is_seen(tmp_path: Path, baseline) -> None:
    slices = {"origin_span-2": NATURAL, "origin_span-3": SHIFTED}
    current = _statistics(tmp_path / "current", 3, slices)
    assert _is_blessed(StockExecutor(), tmp_path / "stock", current, baseline)
    assert not _is_blessed(Executor(), tmp_path / "span", current, baseline)
    assert current.uri == str(tmp_path / "current")


def test_an_older_span_of_the_window_is_not_blamed_again(tmp_path: Path, baseline) -> None:
    slices = {"origin_span-2": SHIFTED, "origin_span-3": NATURAL}
    current = _statistics(tmp_path / "current", 3, slices)
    assert _is_blessed(Executor(), tmp_path, current, baseline)


def test_without_spans_whole_splits_are_compared(tmp_path: Path, baseline) -> None:
    current = _statistics(tmp_path / "current", 0, {"origin_official": SHIFTED})
    assert not _is_blessed(Executor(), tmp_path, current, baseline)


def test_statistics_that_were_not_sliced_are_an_error(tmp_path: Path, baseline) -> None:
    current = _statistics(tmp_path / "current", 3, {})
    with pytest.raises(ValueError, match="no slice origin_span-3: give StatisticsGen"):
        _is_blessed(Executor(), tmp_path, current, baseline)


def test_the_options_survive_the_way_through_the_ir() -> None:
    import tensorflow_data_validation as tfdv

    options = tfdv.StatsOptions.from_json(slice_by_origin().to_json())
    assert list(options.slicing_config.slicing_specs[0].feature_keys) == ["origin"]
