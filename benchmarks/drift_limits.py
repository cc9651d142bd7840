"""What the drift limits of the curated schema let through, measured on the official images.

    python -m benchmarks.drift_limits [--pairs 30] [--source FOLDER] [--output FILE.md]

Pairs of random samples of the training images are chance alone: their distances must stay below
the limits. Spans whose images or labels have changed must not. The distances are computed by
TensorFlow Data Validation, as in a run.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tfx  # noqa: F401 - TensorFlow Data Validation imports a module that TFX stands in for
from google.protobuf import text_format
from tensorflow_data_validation import (
    StatsOptions,
    generate_statistics_from_dataframe,
    validate_statistics,
)
from tensorflow_metadata.proto.v0 import schema_pb2

from data import idx
from data.fashion_mnist import obtain
from pipeline.code_revision import code_revision
from pipeline.settings.paths import SCHEMA_FILE

SAMPLE_SIZES = (300, 1_000, 6_000)
SPAN_IMAGES = 1_000
_LABEL, _MEAN_PIXEL = "label", "mean_pixel"


def main() -> None:
    """Measures, and prints the table; writes it to --output if given."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        obtain(Path(folder), arguments.source)
        images = idx.read_images(Path(folder) / "train-images-idx3-ubyte.gz")
        labels = idx.read_labels(Path(folder) / "train-labels-idx1-ubyte.gz")
    schema = text_format.Parse(SCHEMA_FILE.read_text(), schema_pb2.Schema())
    lines = list(report(images, labels, schema, arguments.pairs))
    print("\n".join(lines))
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


def report(
    images: idx.Bytes, labels: idx.Bytes, schema: schema_pb2.Schema, pairs: int
) -> Iterator[str]:
    """Yields the lines of the report, in Markdown."""
    everything = features(images, labels)
    limits = _limits(schema)
    yield "# Drift limits"
    yield ""
    yield (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, revision {code_revision()}. Distances between "
        f"samples of the official training images: the furthest of {pairs} pairs. "
        "`python -m benchmarks.drift_limits`"
    )
    yield ""
    yield "| samples | label (infinity norm) | mean_pixel (Jensen-Shannon) |"
    yield "|---|---|---|"
    yield _row("limit", limits)
    random = np.random.default_rng(1)
    for size in SAMPLE_SIZES:
        found = []
        for _ in range(pairs):
            order = random.permutation(len(everything))
            one, other = everything.iloc[order[:size]], everything.iloc[order[size : 2 * size]]
            found.append(distances(one, other, schema))
        furthest = {name: max(each[name] for each in found) for name in limits}
        yield _row(f"two of {size:,} images", furthest)
    chosen = random.permutation(len(labels))[:SPAN_IMAGES]
    for name, span in changed_spans(images[chosen], labels[chosen]).items():
        yield _row(f"{name}, {len(span):,} images", distances(span, everything, schema))


def changed_spans(images: idx.Bytes, labels: idx.Bytes) -> dict[str, pd.DataFrame]:
    """Spans that a run should stop at."""
    present = labels != 0
    return {
        "a class stays away": features(images[present], labels[present]),
        "images a third darker": features((images * (2 / 3)).astype(np.uint8), labels),
        "images brighter by 20": features(
            np.minimum(images.astype(np.int16) + 20, 255).astype(np.uint8), labels
        ),
    }


def features(images: idx.Bytes, labels: idx.Bytes) -> pd.DataFrame:
    """The features that have a limit, as ExampleGen writes them."""
    means = images.mean(axis=(1, 2)).astype(np.float32)
    return pd.DataFrame({_LABEL: labels.astype(np.int64), _MEAN_PIXEL: means})


def distances(
    sample: pd.DataFrame, baseline: pd.DataFrame, schema: schema_pb2.Schema
) -> dict[str, float]:
    """Returns the distance of every feature that has a limit."""
    statistics, before = (
        generate_statistics_from_dataframe(frame, StatsOptions(schema=schema))
        for frame in (sample, baseline)
    )
    anomalies = validate_statistics(statistics, schema, previous_statistics=before)
    return {
        info.path.step[0]: info.drift_measurements[0].value for info in anomalies.drift_skew_info
    }


def _limits(schema: schema_pb2.Schema) -> dict[str, float]:
    comparators: dict[str, Any] = {
        feature.name: feature.drift_comparator
        for feature in schema.feature
        if feature.HasField("drift_comparator")
    }
    return {
        name: comparator.infinity_norm.threshold or comparator.jensen_shannon_divergence.threshold
        for name, comparator in comparators.items()
    }


def _row(name: str, values: Mapping[str, float]) -> str:
    return f"| {name} | {values[_LABEL]:.3f} | {values[_MEAN_PIXEL]:.3f} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--source", type=Path, help="folder with the four official files")
    parser.add_argument("--output", type=Path, help="Markdown file to write the report to")
    return parser.parse_args()


if __name__ == "__main__":
    main()
