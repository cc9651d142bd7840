"""Reads what the run trained on and what was checked about it."""

import io
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.anomaly_gate.findings import read_findings
from components.idx_example_gen.executor import SPANS_PROPERTY
from pipeline.modeling.features import IMAGE, IMAGE_SIZE, LABEL, MEAN_PIXEL
from reporting.evidence import Artifact, Evidence
from reporting.page import (
    Bucket,
    Checks,
    Data,
    Drift,
    OriginStatistics,
    Sample,
    SchemaFeature,
)

_SAMPLES_PER_CLASS = 10
# Enough for that many of each class, unless one of them is rare.
_RECORDS_FOR_SAMPLES = 600
_ORIGIN_SLICE = "origin_"
_EVERYTHING = "All Examples"
_MEASURES = {
    anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "largest difference of a share",
    anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon divergence",
}


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


def read_checks(evidence: Evidence) -> Checks | None:
    """Returns the schema and what was found against it; None: there was no schema yet."""
    schema = evidence.output("ImportSchemaGen", "schema")
    if schema is None:
        return None
    anomalies = evidence.output("ExampleValidator", "anomalies")
    drift = evidence.output("SpanDistributionValidator", "anomalies")
    return Checks(
        schema_features=_schema_features(schema.path / "schema.pbtxt"),
        anomalies=read_findings(anomalies.uri) if anomalies else None,
        drift=list(_drift(drift)) if drift else [],
        drift_findings=read_findings(drift.uri) if drift else None,
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


def side_by_side(images: list[bytes]) -> bytes:
    """Returns encoded images of the project's size as one compressed grey PNG."""
    strip = Image.new("L", (IMAGE_SIZE * len(images), IMAGE_SIZE))
    for place, encoded in enumerate(images):
        image = Image.open(io.BytesIO(encoded)).convert("L").resize((IMAGE_SIZE, IMAGE_SIZE))
        strip.paste(image, (IMAGE_SIZE * place, 0))
    png = io.BytesIO()
    strip.save(png, "PNG", optimize=True)
    return png.getvalue()


def _schema_features(path: Path) -> list[SchemaFeature]:
    schema = text_format.Parse(path.read_text(), schema_pb2.Schema())
    return [
        SchemaFeature(
            name=feature.name,
            type=schema_pb2.FeatureType.Name(feature.type).lower(),
            rules=list(_rules(feature)),
        )
        for feature in schema.feature
    ]


def _rules(feature: schema_pb2.Feature) -> Iterator[str]:
    if feature.presence.min_fraction == 1.0:
        yield "in every example"
    if feature.HasField("int_domain"):
        yield f"{feature.int_domain.min} to {feature.int_domain.max}"
    if feature.HasField("float_domain"):
        yield f"{feature.float_domain.min:g} to {feature.float_domain.max:g}"
    if feature.HasField("image_domain"):
        yield "an encoded image"
    if feature.HasField("drift_comparator"):
        drift = feature.drift_comparator
        limit = drift.infinity_norm.threshold or drift.jensen_shannon_divergence.threshold
        yield f"drift at most {limit:g}"
    if feature.not_in_environment:
        yield "not when serving"


def _drift(anomalies: Artifact) -> Iterator[Drift]:
    for path in sorted(anomalies.path.glob("SplitPair-*/SchemaDiff.pb")):
        content = anomalies_pb2.Anomalies.FromString(path.read_bytes())
        for info in content.drift_skew_info:
            for measurement in info.drift_measurements:
                yield Drift(
                    feature=".".join(info.path.step),
                    measure=_MEASURES.get(measurement.type, "distance"),
                    distance=measurement.value,
                    limit=measurement.threshold,
                )
