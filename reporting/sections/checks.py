"""Reads what the schema requires of the data, and what was found against it."""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from components.anomaly_gate.findings import read_findings
from reporting.evidence import Artifact, Evidence
from reporting.page import Checks, Drift, SchemaFeature

_MEASURES = {
    anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY: "largest difference of a share",
    anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE: "Jensen-Shannon divergence",
}


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
