"""Reads how good the model is, by Evaluator."""

from collections.abc import Iterator, Mapping, Sequence

from scipy.stats import binomtest

from components.metrics.evaluation_results import Metrics, read_metrics
from data.layout import BASE_ORIGIN
from pipeline.evaluation import ACCURACY
from reporting.evidence import Evidence
from reporting.page import EVERYWHERE, ClassMetrics, Metric, Quality
from reporting.thresholds import Place, Thresholds

_BASELINE = "baseline"
_IMAGES = "example_count"
_OF_EVERY_ORIGIN = (_IMAGES, ACCURACY)
_CLASS_METRICS = ("precision", "recall", "auc")
# Shares of the images they are computed on; Evaluator says how many these are.
_SHARES = (ACCURACY, "recall")


def read_quality(evidence: Evidence, labels: Sequence[str]) -> Quality | None:
    """Returns Evaluator's metrics with their thresholds; None: the model was not evaluated.

    Args:
        evidence: what the run left.
        labels: names of the classes, in the order of their ids.
    """
    artifact = evidence.output("Evaluator", "evaluation")
    if artifact is None:
        return None
    candidate = read_metrics(artifact.path)
    baseline = read_metrics(artifact.path, _BASELINE)
    thresholds = Thresholds(artifact.path)
    return Quality(
        overall=list(_overall(candidate, baseline, thresholds)),
        classes=list(_by_class(candidate, baseline, thresholds, labels)),
        confusion_matrix=[[round(count) for count in row] for row in candidate.confusion_matrix],
        has_baseline=bool(baseline.overall),
    )


def wilson_interval(share: float, images: float) -> tuple[float, float] | None:
    """Returns the 95 % confidence interval of a share, by Wilson's score.

    https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval

    Args:
        share: of the images, 0 to 1.
        images: how many there are; None is returned when there are none.
    """
    if images < 1:
        return None
    found = binomtest(round(share * images), round(images)).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _overall(candidate: Metrics, baseline: Metrics, thresholds: Thresholds) -> Iterator[Metric]:
    for where, values, served in _slices(candidate, baseline):
        for name, value in values.items():
            metric = _metric(
                Place(name, where), value, served.get(name), thresholds, values.get(_IMAGES, 0)
            )
            if where == EVERYWHERE or metric.thresholds or name in _OF_EVERY_ORIGIN:
                yield metric


def _by_class(
    candidate: Metrics, baseline: Metrics, thresholds: Thresholds, labels: Sequence[str]
) -> Iterator[ClassMetrics]:
    matrix = candidate.confusion_matrix
    for class_id, values in sorted(candidate.classes.items()):
        images = round(sum(matrix[class_id])) if class_id < len(matrix) else 0
        served = baseline.classes.get(class_id, {})
        metrics = {
            name: _metric(
                Place(name, BASE_ORIGIN, class_id),
                values[name],
                served.get(name),
                thresholds,
                images,
            )
            for name in _CLASS_METRICS
            if name in values
        }
        yield ClassMetrics(label=labels[class_id], images=images, metrics=metrics)


def _slices(
    candidate: Metrics, baseline: Metrics
) -> Iterator[tuple[str, Mapping[str, float], Mapping[str, float]]]:
    yield EVERYWHERE, candidate.overall, baseline.overall
    for name, values in sorted(candidate.slices.items()):
        yield name.partition(":")[2], values, baseline.slices.get(name, {})


def _metric(
    place: Place, value: float, served: float | None, thresholds: Thresholds, images: float
) -> Metric:
    return Metric(
        name=place.metric,
        where=place.where,
        value=value,
        baseline=served,
        interval=wilson_interval(value, images) if place.metric in _SHARES else None,
        thresholds=thresholds.of(place),
        missed=thresholds.is_missed(place),
    )
