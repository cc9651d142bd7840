"""Asks of a distance that TensorFlow Data Validation measured whether chance explains it."""

from dataclasses import dataclass

import numpy as np
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from components.span_distribution_validator import chance

# Below this, chance is no explanation: one false alarm in ten thousand sound spans, for each
# feature. A span every day and two features: one in fourteen years.
_UNLIKELY = 1e-4

_NORM = anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY
_DIVERGENCE = anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE
_STANDARD = statistics_pb2.Histogram.STANDARD
_QUANTILES = statistics_pb2.Histogram.QUANTILES


@dataclass(frozen=True)
class Chance:
    """How likely a distance is by chance, in a sample of `count` examples."""

    probability: float
    count: int

    @property
    def is_likely(self) -> bool:
        """Whether chance explains the distance."""
        return self.probability >= _UNLIKELY

    def __str__(self) -> str:
        """The end of a sentence about the distance."""
        bound = f"in {self.probability:.1g}" if self.probability >= 1e-6 else "in less than 1e-06"
        return f"chance explains it {bound} of all samples of {self.count} images"


def explained_by_chance(
    info: anomalies_pb2.DriftSkewInfo,
    own: statistics_pb2.DatasetFeatureStatistics,
    baseline: statistics_pb2.DatasetFeatureStatistics,
    *,
    baseline_is_sample: bool = False,
) -> Chance | None:
    """Returns how likely chance is; None: for a measure, or a feature, that this cannot tell.

    Args:
        info: the distance of a feature.
        own: statistics of the sample.
        baseline: statistics of what it is compared with.
        baseline_is_sample: whether the baseline itself is small, so that chance is in it as well.
    """
    sample, before = _feature(own, info), _feature(baseline, info)
    if sample is None or before is None or not info.drift_measurements:
        return None
    measured = info.drift_measurements[0]
    count = _count(sample)
    # Two samples are as far apart by chance as one of this size is from the truth.
    drawn = round(1 / (1 / count + 1 / _count(before))) or 1 if baseline_is_sample else count
    if measured.type == _NORM and before.HasField("string_stats"):
        counts, own_counts = _counts(before), _counts(sample)
        unseen = 1.0 if baseline_is_sample else 0.0
        values = counts.keys() | own_counts.keys()
        counts = {value: counts.get(value, 0.0) + unseen for value in values}
        shares = {value: each / sum(counts.values()) for value, each in counts.items()}
        own_counts = {value: each * drawn / count for value, each in own_counts.items()}
        return Chance(chance.of_shares(own_counts, shares), count)
    if measured.type == _DIVERGENCE and before.HasField("num_stats"):
        standard, quantiles = (_histogram(before, kind) for kind in (_STANDARD, _QUANTILES))
        if standard and quantiles:
            probability = chance.of_jensen_shannon(measured.value, standard, quantiles, drawn)
            return Chance(probability, count)
    return None


def _feature(
    statistics: statistics_pb2.DatasetFeatureStatistics, info: anomalies_pb2.DriftSkewInfo
) -> statistics_pb2.FeatureNameStatistics | None:
    wanted = list(info.path.step)
    return next((each for each in statistics.features if list(each.path.step) == wanted), None)


def _count(feature: statistics_pb2.FeatureNameStatistics) -> int:
    common = getattr(feature, feature.WhichOneof("stats")).common_stats
    return max(1, int(common.num_non_missing))


def _counts(feature: statistics_pb2.FeatureNameStatistics) -> dict[str, float]:
    buckets = feature.string_stats.rank_histogram.buckets
    return {bucket.label: bucket.sample_count for bucket in buckets}


def _histogram(feature: statistics_pb2.FeatureNameStatistics, kind: int) -> chance.Histogram | None:
    for histogram in feature.num_stats.histograms:
        if histogram.type == kind and histogram.buckets:
            buckets = histogram.buckets
            edges = [buckets[0].low_value, *(bucket.high_value for bucket in buckets)]
            counts = [bucket.sample_count for bucket in buckets]
            return chance.Histogram(np.array(edges), np.array(counts))
    return None
