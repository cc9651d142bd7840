"""Which thresholds hold on which images, what a refusal says, and whether a span is to blame."""

from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_model_analysis.evaluators.metrics_validator import validate_metrics
from tensorflow_model_analysis.metrics.metric_types import MetricKey, SubKey
from tensorflow_model_analysis.proto import metrics_for_slice_pb2, validation_result_pb2
from tensorflow_model_analysis.slicer import slicer_lib as slicer
from tensorflow_model_analysis.utils.config_util import update_eval_config_with_defaults

from components.metrics.class_metrics import CALIBRATION_ERROR
from components.metrics.wilson import wilson_interval
from pipeline.evaluation import ACCURACY, eval_config, refusal_reasons, suspected_spans
from pipeline.modeling.features import CLASS_COUNT
from pipeline.settings.thresholds import EvaluationSettings

SETTINGS = EvaluationSettings(
    min_accuracy=0.7, min_span_accuracy=0.5, min_class_recall=0.1, max_accuracy_drop=0.05
)
OVERALL = ()
OFFICIAL = (("origin", "base"),)
SPAN_7 = (("origin", "span-7"),)


def evaluation(
    folder: Path,
    accuracy: dict[tuple, float],
    recall: float = 0.8,
    settings: EvaluationSettings = SETTINGS,
    images: int = 48,
) -> Path:
    """What TFMA writes when a model without a baseline has these accuracies on these slices.

    Each slice has as many images.
    """
    config = update_eval_config_with_defaults(
        eval_config(settings, has_baseline=False), has_baseline=False, rubber_stamp=True
    )
    result = validation_result_pb2.ValidationResult(validation_ok=True)
    written = tf.io.TFRecordWriter(str(folder / "metrics-00000-of-00001.tfrecord"))
    for slice_key, value in accuracy.items():
        # In a slice that has no image of a class, its recall is no number.
        class_recall = recall if slice_key == OFFICIAL else float("nan")
        metrics = {
            MetricKey(name="example_count"): images,
            MetricKey(name=ACCURACY): value,
            MetricKey(name=f"judged_{ACCURACY}"): wilson_interval(value * images, images)[1],
            MetricKey(name=CALIBRATION_ERROR): 0.04,
        } | {
            MetricKey(name="judged_recall", sub_key=SubKey(class_id=class_id)): class_recall
            for class_id in range(CLASS_COUNT)
        }
        of_slice = validate_metrics((slice_key, metrics), config)
        result.validation_ok &= of_slice.validation_ok
        result.metric_validations_per_slice.extend(of_slice.metric_validations_per_slice)
        record = metrics_for_slice_pb2.MetricsForSlice()
        record.slice_key.CopyFrom(slicer.serialize_slice_key(slice_key))
        for key, number in metrics.items():
            entry = record.metric_keys_and_values.add(key=key.to_proto())
            entry.value.double_value.value = number
        written.write(record.SerializeToString())
    written.close()
    with tf.io.TFRecordWriter(str(folder / "validations.tfrecord")) as writer:
        writer.write(result.SerializeToString())
    return folder


def test_a_model_that_reaches_each_threshold_is_not_refused(tmp_path: Path) -> None:
    found = evaluation(tmp_path, {OVERALL: 0.69, OFFICIAL: 0.7, SPAN_7: 0.5})
    assert refusal_reasons(found) == []
    assert suspected_spans(found) == []


def test_the_newest_spans_held_out_part_has_a_threshold_of_its_own(tmp_path: Path) -> None:
    found = evaluation(tmp_path, {OVERALL: 0.8, OFFICIAL: 0.9, SPAN_7: 0.125})
    assert refusal_reasons(found) == [
        "accuracy on the held-out part of span-7 is 0.1250 of 48 images, at most 0.2470 with 95 % "
        "confidence, required is at least 0.5000"
    ]
    assert suspected_spans(found) == [7]


def test_a_span_that_chance_may_have_put_below_its_threshold_is_not_refused(tmp_path: Path) -> None:
    accuracy = {OVERALL: 0.8, OFFICIAL: 0.9, SPAN_7: 0.4}
    for images, refused in ((48, False), (200, True)):
        (folder := tmp_path / str(images)).mkdir()
        assert bool(refusal_reasons(evaluation(folder, accuracy, images=images))) is refused


def test_the_threshold_of_the_base_has_to_be_reached_whatever_chance_may_do(
    tmp_path: Path,
) -> None:
    found = evaluation(tmp_path, {OVERALL: 0.8, OFFICIAL: 0.69, SPAN_7: 0.8}, images=10)
    assert refusal_reasons(found) == [
        "accuracy on the test images of the base is 0.6900, required is at least 0.7000"
    ]


def test_a_model_that_is_bad_on_the_official_images_alone_is_no_spans_fault(tmp_path: Path) -> None:
    found = evaluation(tmp_path, {OVERALL: 0.65, OFFICIAL: 0.65, SPAN_7: 0.65})
    assert refusal_reasons(found) == [
        "accuracy on the test images of the base is 0.6500, required is at least 0.7000"
    ]
    assert suspected_spans(found) == []


def test_no_origin_may_have_less_than_a_span(tmp_path: Path) -> None:
    found = evaluation(tmp_path, {OVERALL: 0.4, OFFICIAL: 0.4}, images=200)
    assert [reason.rpartition(" ")[2] for reason in refusal_reasons(found)] == ["0.7000", "0.5000"]
    assert suspected_spans(found) == []


def test_recall_of_a_class_is_required_on_the_test_images_of_the_base(tmp_path: Path) -> None:
    found = evaluation(tmp_path, {OVERALL: 0.9, OFFICIAL: 0.9, SPAN_7: 0.9}, recall=0.05)
    assert refusal_reasons(found)[0] == (
        "recall of T-shirt/top on the test images of the base is 0.0500, "
        "required is at least 0.1000"
    )
    assert len(refusal_reasons(found)) == CLASS_COUNT
    assert suspected_spans(found) == []


def test_a_class_without_an_evaluated_image_refuses_the_model(tmp_path: Path) -> None:
    found = evaluation(tmp_path, {OVERALL: 0.9, OFFICIAL: 0.9}, recall=float("nan"))
    assert refusal_reasons(found)[0] == (
        "recall of T-shirt/top on the test images of the base cannot be told: "
        "no image of it was evaluated"
    )


def test_a_calibration_error_is_allowed_up_to_its_limit(tmp_path: Path) -> None:
    accuracy = {OVERALL: 0.9, OFFICIAL: 0.9}
    strict = SETTINGS.model_copy(update={"max_calibration_error": 0.02})
    assert refusal_reasons(evaluation(tmp_path, accuracy, settings=strict)) == [
        "expected calibration error on the test images of the base is 0.0400, "
        "allowed is at most 0.0200"
    ]
    lenient = SETTINGS.model_copy(update={"max_calibration_error": 0.05})
    assert refusal_reasons(evaluation(tmp_path, accuracy, settings=lenient)) == []


@pytest.mark.parametrize("has_baseline", [False, True])
def test_a_lost_comparison_with_the_served_model_counts_on_the_test_images_of_the_base(
    has_baseline: bool,
) -> None:
    config = eval_config(SETTINGS, has_baseline=has_baseline)
    accuracy = config.metrics_specs[0].metrics[1]
    drops = [t for t in accuracy.per_slice_thresholds if t.threshold.HasField("change_threshold")]
    (drop,) = drops
    assert dict(drop.slicing_specs[0].feature_values) == {"origin": "base"}
    assert drop.threshold.change_threshold.absolute.value == -0.05
