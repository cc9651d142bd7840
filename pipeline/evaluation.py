"""How a model is judged: metrics, slices and thresholds for Evaluator, and what a refusal says."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2, validation_result_pb2

from components.metrics import class_metrics
from components.metrics.evaluation_results import Metrics, read_metrics
from data.layout import BASE_ORIGIN, is_span, span_of
from pipeline.modeling.features import CLASS_COUNT, CLASS_LABELS, LABEL, ORIGIN
from pipeline.settings.thresholds import EvaluationSettings

EVALUATED_SIGNATURE = "predict_examples"
ACCURACY = "sparse_categorical_accuracy"
_JUDGED_ACCURACY = f"{class_metrics.JUDGED}{ACCURACY}"
_IMAGES = "example_count"

_EVERYTHING = config_pb2.SlicingSpec()
_EACH_ORIGIN = config_pb2.SlicingSpec(feature_keys=[ORIGIN])
_BASE = config_pb2.SlicingSpec(feature_values={ORIGIN: BASE_ORIGIN})


def eval_config(
    settings: EvaluationSettings, *, has_baseline: bool, class_count: int = CLASS_COUNT
) -> config_pb2.EvalConfig:
    """Builds Evaluator's configuration.

    A model has to reach the thresholds on the base with the numbers themselves. A span's held-out
    part is small: its threshold is missed only where chance does not explain it, which is when the
    upper end of the 95 % Wilson interval is below it. A span or a class with fewer than
    `min_images` images is reported and not judged.

    Args:
        settings: the thresholds.
        has_baseline: whether the served model is evaluated too and must not be lost to.
        class_count: how many classes there are.
    """
    model_spec = {
        "signature_name": EVALUATED_SIGNATURE,
        "prediction_key": "probabilities",
        "label_key": LABEL,
        "model_type": "tf_generic",
    }
    model_specs = [config_pb2.ModelSpec(**model_spec)]
    if has_baseline:
        model_specs = [
            config_pb2.ModelSpec(name="candidate", **model_spec),
            config_pb2.ModelSpec(name="baseline", is_baseline=True, **model_spec),
        ]
    return config_pb2.EvalConfig(
        model_specs=model_specs,
        slicing_specs=[_EVERYTHING, _EACH_ORIGIN],
        metrics_specs=[
            config_pb2.MetricsSpec(metrics=_overall_metrics(settings)),
            config_pb2.MetricsSpec(
                binarize=config_pb2.BinarizationOptions(class_ids={"values": range(class_count)}),
                metrics=_class_metrics(settings),
            ),
        ],
    )


def _overall_metrics(settings: EvaluationSettings) -> list[config_pb2.MetricConfig]:
    drop = config_pb2.MetricThreshold(
        change_threshold=config_pb2.GenericChangeThreshold(
            direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
            absolute={"value": -settings.max_accuracy_drop},
        )
    )
    accuracy = [
        # On the base alone: a bad span's held-out part must not look like a model that lost.
        _on(_BASE, drop),
        _on(_BASE, _at_least(settings.min_accuracy)),
    ]
    # The new spans' numbers are not known before a run: their slices are found by the key alone,
    # and the base's with them.
    of_origin = _on(_EACH_ORIGIN, _at_least(settings.min_span_accuracy))
    calibration = (
        [_on(_BASE, _at_most(settings.max_calibration_error))]
        if settings.max_calibration_error is not None
        else []
    )
    return [
        config_pb2.MetricConfig(class_name="ExampleCount"),
        _metric("SparseCategoricalAccuracy", accuracy),
        _judged("JudgedAccuracy", ACCURACY, settings, of_origin),
        _metric("SparseCategoricalCrossentropy"),
        _metric("ExpectedCalibrationError", calibration),
        _metric("MultiClassConfusionMatrix"),
    ]


def _class_metrics(settings: EvaluationSettings) -> list[config_pb2.MetricConfig]:
    # Not in every slice: a class may have no image in a small span's held-out part.
    recall = _on(_BASE, _at_least(settings.min_class_recall))
    return [
        *map(_metric, ("ClassPrecision", "ClassRecall", "ClassAUC", "ClassCalibration")),
        _judged("JudgedRecall", "recall", settings, recall),
    ]


def _judged(
    class_name: str,
    metric: str,
    settings: EvaluationSettings,
    threshold: config_pb2.PerSliceMetricThreshold,
) -> config_pb2.MetricConfig:
    name = f"{class_metrics.JUDGED}{metric}"
    return _metric(class_name, [threshold], name=name, min_examples=settings.min_images)


def _metric(
    class_name: str,
    thresholds: Sequence[config_pb2.PerSliceMetricThreshold] = (),
    **config: str | int,
) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(
        class_name=class_name,
        module=class_metrics.__name__,
        config=json.dumps(config),
        per_slice_thresholds=thresholds,
    )


def _on(
    slicing: config_pb2.SlicingSpec, threshold: config_pb2.MetricThreshold
) -> config_pb2.PerSliceMetricThreshold:
    return config_pb2.PerSliceMetricThreshold(slicing_specs=[slicing], threshold=threshold)


def _at_least(bound: float) -> config_pb2.MetricThreshold:
    return config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": bound})
    )


def _at_most(bound: float) -> config_pb2.MetricThreshold:
    return config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(upper_bound={"value": bound})
    )


def refusal_reasons(evaluation: Path, labels: Sequence[str] = CLASS_LABELS) -> list[str]:
    """Says, a sentence each, which thresholds the model missed.

    Args:
        evaluation: the folder of Evaluator's `evaluation` artifact.
        labels: names of the classes, in the order of their ids.
    """
    result = tfma.load_validation_result(str(evaluation))
    metrics = read_metrics(evaluation)
    reasons = [
        _sentence(per_slice.slice_key, failure, labels, metrics)
        for per_slice in result.metric_validations_per_slice
        for failure in per_slice.failures
    ]
    reasons += [
        f"no examples to evaluate on in the slice {missing}" for missing in result.missing_slices
    ]
    return reasons


def suspected_spans(evaluation: Path) -> list[int]:
    """Returns the spans on whose held-out part alone the model missed its threshold, ascending.

    A model that misses another threshold as well may be at fault itself: no span is then.

    Args:
        evaluation: the folder of Evaluator's `evaluation` artifact.
    """
    result = tfma.load_validation_result(str(evaluation))
    failed = [
        _origins(per_slice.slice_key)
        for per_slice in result.metric_validations_per_slice
        if per_slice.failures
    ]
    if not all(origins and all(map(is_span, origins)) for origins in failed):
        return []
    return sorted(span_of(origin) for origins in failed for origin in origins)


def _sentence(
    slice_key: metrics_for_slice_pb2.SliceKey,
    failure: validation_result_pb2.ValidationFailure,
    labels: Sequence[str],
    metrics: Metrics,
) -> str:
    key, threshold = failure.metric_key, failure.metric_threshold
    name = key.name.removeprefix(class_metrics.JUDGED)
    what = "accuracy" if name == ACCURACY else name.replace("_", " ")
    if key.HasField("sub_key") and key.sub_key.HasField("class_id"):
        what = f"{what} of {labels[key.sub_key.class_id.value]}"
    if key.is_diff:
        limit = -threshold.change_threshold.absolute.value
        comparison = f"changed by {{value:+.4f}} against the served model, allowed is -{limit:.4f}"
    elif threshold.value_threshold.HasField("upper_bound"):
        limit = threshold.value_threshold.upper_bound.value
        comparison = f"is {{value:.4f}}, allowed is at most {limit:.4f}"
    else:
        limit = threshold.value_threshold.lower_bound.value
        comparison = f"is {{value:.4f}}, required is at least {limit:.4f}"
    value = failure.metric_value.double_value.value
    if key.name == _JUDGED_ACCURACY:
        of_slice = metrics.slices[f"{ORIGIN}:{_origins(slice_key)[0]}"]
        chance = f" of {of_slice[_IMAGES]:.0f} images, at most {value:.4f} with 95 % confidence"
        comparison, value = comparison.replace(",", f"{chance},"), of_slice[ACCURACY]
    if math.isnan(value):
        return f"{what}{_where(slice_key)} cannot be told: no image of it was evaluated"
    return f"{what}{_where(slice_key)} {comparison.format(value=value)}"


def _where(slice_key: metrics_for_slice_pb2.SliceKey) -> str:
    origins = _origins(slice_key)
    if not origins:
        return ""
    if origins == [BASE_ORIGIN]:
        return " on the test images of the base"
    return f" on the held-out part of {', '.join(origins)}"


def _origins(slice_key: metrics_for_slice_pb2.SliceKey) -> list[str]:
    return [
        single.bytes_value.decode()
        for single in slice_key.single_slice_keys
        if single.column == ORIGIN
    ]
