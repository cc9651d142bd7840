"""Reads what the run trained and evaluated on."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice

import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.idx_example_gen.executor import SPANS_PROPERTY
from pipeline.modeling.features import IMAGE, LABEL, MEAN_PIXEL
from reporting.evidence import Artifact, Evidence
from reporting.page import Bucket, Data, OriginStatistics, Sample
from reporting.png import side_by_side

_SAMPLES_PER_CLASS = 10
# Enough for that many of each class, unless one of them is rare.
_RECORDS_FOR_SAMPLES = 600
_ORIGIN_SLICE = "origin_"
_EVERYTHING = "All Examples"


def read_data(evidence: Evidence, labels: Sequence[str]) -> Data | None:
    """Returns what was read; None: ExampleGen refused it or was not run.

    Args:
        evidence: what the run left.
        labels: names of the classes, in the order of their ids.
    """
    examples = evidence.output("IdxExampleGen", "examples")
    if examples is None:
        return None
    statistics = evidence.output("StatisticsGen", "statistics")
    served = evidence.output("ServedModel", "statistics")
    counted = _by_origin(statistics, labels) if statistics else []
    return Data(
        spans=json.loads(examples.properties.get(SPANS_PROPERTY) or "[]"),
        statistics=counted,
        served=_of_everything(served, "train", labels) if served else None,
        samples=_samples(examples, counted, labels),
    )


def _by_origin(statistics: Artifact, labels: Sequence[str]) -> list[OriginStatistics]:
    return [
        _counted(dataset, split, dataset.name.removeprefix(_ORIGIN_SLICE), labels)
        for split in json.loads(statistics.properties["split_names"])
        for dataset in _datasets(statistics, split)
        if dataset.name.startswith(_ORIGIN_SLICE)
    ]


def _of_everything(
    statistics: Artifact, split: str, labels: Sequence[str]
) -> OriginStatistics | None:
    for dataset in _datasets(statistics, split):
        if dataset.name == _EVERYTHING:
            return _counted(dataset, split, "all", labels)
    return None


def _datasets(
    statistics: Artifact, split: str
) -> Iterator[statistics_pb2.DatasetFeatureStatistics]:
    path = statistics.path / f"Split-{split}" / "FeatureStats.pb"
    if path.exists():
        content = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
        yield from content.datasets


def _counted(
    dataset: statistics_pb2.DatasetFeatureStatistics, split: str, origin: str, labels: Sequence[str]
) -> OriginStatistics:
    features = {feature.path.step[0]: feature for feature in dataset.features}
    counts = {
        int(bucket.label): int(bucket.sample_count)
        for bucket in features[LABEL].string_stats.rank_histogram.buckets
    }
    brightness = features[MEAN_PIXEL].num_stats
    standard = [
        histogram
        for histogram in brightness.histograms
        if histogram.type == statistics_pb2.Histogram.STANDARD
    ]
    return OriginStatistics(
        split=split,
        origin=origin,
        examples=dataset.num_examples,
        classes={label: counts.get(number, 0) for number, label in enumerate(labels)},
        brightness_mean=brightness.mean,
        brightness_deviation=brightness.std_dev,
        brightness=[
            Bucket(low=bucket.low_value, high=bucket.high_value, count=bucket.sample_count)
            for histogram in standard[:1]
            for bucket in histogram.buckets
        ],
    )


def _samples(
    examples: Artifact, counted: list[OriginStatistics], labels: Sequence[str]
) -> list[Sample]:
    found: dict[str, list[bytes]] = {label: [] for label in labels}
    files = sorted(str(path) for path in (examples.path / "Split-train").iterdir())
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    for record in islice(records, _RECORDS_FOR_SAMPLES):
        features = tf.train.Example.FromString(record).features.feature
        images = found[labels[features[LABEL].int64_list.value[0]]]
        if len(images) < _SAMPLES_PER_CLASS:
            images.append(features[IMAGE].bytes_list.value[0])
    return [
        Sample(
            label=label,
            images=sum(part.classes[label] for part in counted if part.split == "train"),
            png=side_by_side(images),
        )
        for label, images in found.items()
        if images
    ]
