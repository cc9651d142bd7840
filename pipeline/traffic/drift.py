"""Compares the statistics of traffic with those of training: what moved further than chance."""

from collections.abc import Iterator
from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.span_distribution_validator.likelihood import explained_by_chance
from pipeline.traffic.measures import MEASURES
from pipeline.traffic.report import FeatureDrift
from pipeline.traffic.statistics import CONFIDENCE, LABEL, WHOLE, Statistics

# What is judged. Size and format of a file are the client's to choose: the serving graph scales.
FEATURES = {
    **MEASURES,
    LABEL: "the label that the served model gives",
    CONFIDENCE: "the probability that it gives to that label",
}

_DIVERGENCE = anomalies_pb2.DriftSkewInfo.Measurement.JENSEN_SHANNON_DIVERGENCE

# Where classes come more or less often than before, and nothing else is new, no measure of the
# pictures diverges as far as their labels (the data processing inequality): the one that comes
# furthest, of traffic of three classes of ten, comes to two thirds. Where a measure comes nearer,
# it is the cause, and what the model makes of such pictures follows.
_LABELS_SAY = 0.75

# A part with fewer pictures tells little: chance would explain anything.
_LEAST = 80


@dataclass(frozen=True)
class Comparison:
    """Traffic against one part of the training data.

    Attributes:
        origin: the part: `All Examples`, the base set, or a span.
        features: what drifted first, by how far it diverges.
    """

    origin: str
    features: list[FeatureDrift]

    @property
    def drifted(self) -> list[FeatureDrift]:
        """What is too far away."""
        return [each for each in self.features if each.drift]


def compare(
    traffic: statistics_pb2.DatasetFeatureStatistics, training: Statistics, limit: float
) -> Comparison:
    """Compares traffic with what a model was trained on.

    Training data is often a mixture of spans that differ from each other, and traffic may be like
    one of them alone: that is no drift, the model knows it. So the part is taken that traffic is
    most like, and the whole if none is more like it.

    Args:
        traffic: over all its pictures.
        training: by origin, `All Examples` among them.
        limit: the largest distance of every feature.
    """
    origins = [name for name, each in training.items() if name == WHOLE or _is_known_by(each)]
    comparisons = [
        Comparison(origin, _features(traffic, training[origin], limit)) for origin in origins
    ]
    return min(comparisons, key=lambda each: (len(each.drifted), each.origin != WHOLE))


def _is_known_by(part: statistics_pb2.DatasetFeatureStatistics) -> bool:
    return bool(part.num_examples >= _LEAST)


def _features(
    traffic: statistics_pb2.DatasetFeatureStatistics,
    training: statistics_pb2.DatasetFeatureStatistics,
    limit: float,
) -> list[FeatureDrift]:
    import tensorflow_data_validation as tfdv

    both = _names(traffic) & _names(training) & FEATURES.keys()
    found = tfdv.validate_statistics(
        _alone(traffic, both), _schema(both, limit), previous_statistics=_alone(training, both)
    )
    divergences = _divergences(found)

    def urgency(each: FeatureDrift) -> tuple[bool, bool, float]:
        """Puts first what says most about what happened.

        A model that is less sure of itself is what follows from another change, and never its name.
        """
        divergence = divergences[each.feature]
        said = divergence * _LABELS_SAY if each.feature == LABEL else divergence
        return not each.drift, each.feature == CONFIDENCE, -said

    return sorted(_judged(found, traffic, training), key=urgency)


def _divergences(found: anomalies_pb2.Anomalies) -> dict[str, float]:
    """The Jensen-Shannon divergence of every feature, in bits: a distance that they all have."""
    return {
        info.path.step[0]: measured.value
        for info in found.drift_skew_info
        for measured in info.drift_measurements
        if measured.type == _DIVERGENCE
    }


def _judged(
    found: anomalies_pb2.Anomalies,
    traffic: statistics_pb2.DatasetFeatureStatistics,
    training: statistics_pb2.DatasetFeatureStatistics,
) -> Iterator[FeatureDrift]:
    for info in found.drift_skew_info:
        (name,) = info.path.step
        measured = info.drift_measurements[0]
        judged = FeatureDrift(
            feature=name, distance=measured.value, limit=measured.threshold, drift=False
        )
        if measured.value > measured.threshold:
            chance = explained_by_chance(info, traffic, training, baseline_is_sample=True)
            judged.probability = float(chance.probability) if chance else None
            judged.drift = chance is None or not chance.is_likely
        yield judged


def _names(statistics: statistics_pb2.DatasetFeatureStatistics) -> set[str]:
    return {feature.path.step[0] for feature in statistics.features}


def _alone(
    statistics: statistics_pb2.DatasetFeatureStatistics, names: set[str]
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """A copy with the named features only, of which there are as many as examples in each."""
    alone = statistics_pb2.DatasetFeatureStatistics(num_examples=statistics.num_examples)
    alone.features.extend(each for each in statistics.features if each.path.step[0] in names)
    return statistics_pb2.DatasetFeatureStatisticsList(datasets=[alone])


def _schema(names: set[str], limit: float) -> schema_pb2.Schema:
    schema = schema_pb2.Schema()
    for name in sorted(names):
        feature = schema.feature.add(name=name)
        if name == LABEL:
            feature.type = schema_pb2.BYTES
            feature.drift_comparator.infinity_norm.threshold = limit
            feature.drift_comparator.jensen_shannon_divergence.threshold = 1.0  # only measured
        else:
            feature.type = schema_pb2.FLOAT
            feature.drift_comparator.jensen_shannon_divergence.threshold = limit
    return schema
