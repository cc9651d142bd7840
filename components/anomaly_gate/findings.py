"""Reads the anomalies that ExampleValidator and DistributionValidator write, as sentences."""

from collections.abc import Iterator
from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2

# Both components write one file of this name for every split, or pair of splits, in a directory
# Split-<name> or SplitPair-<name>_<name of the baseline's>.
_FILE = "SchemaDiff.pb"


def read_findings(uri: str, folders: str = "Split*") -> list[str]:
    """One sentence per anomaly of an ExampleAnomalies artifact: split, feature, what, details.

    Args:
        uri: of the artifact.
        folders: which of its folders are read, as a pattern.

    An artifact without files, as DistributionValidator leaves it when there is nothing to compare
    with, has no findings.
    """
    findings = []
    for path in sorted(Path(uri).glob(f"{folders}/{_FILE}")):
        split = path.parent.name.split("-", 1)[1]
        anomalies = anomalies_pb2.Anomalies.FromString(path.read_bytes())
        findings += [f"split {split}, {finding}" for finding in _findings(anomalies)]
    return findings


def _findings(anomalies: anomalies_pb2.Anomalies) -> Iterator[str]:
    if anomalies.data_missing:
        yield "the whole dataset: there are no examples"
    if anomalies.HasField("dataset_anomaly_info"):
        yield f"the whole dataset: {_what(anomalies.dataset_anomaly_info)}"
    for name, info in sorted(anomalies.anomaly_info.items()):
        feature = ".".join(info.path.step) or name
        yield f"feature {feature}: {_what(info)}"


def _what(info: anomalies_pb2.AnomalyInfo) -> str:
    if info.reason:
        return "; ".join(
            f"{reason.short_description} ({reason.description.rstrip('. ')})"
            for reason in info.reason
        )
    return f"{info.short_description} ({info.description.rstrip('. ')})"
