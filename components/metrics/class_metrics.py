"""TFMA metrics of a classifier, for all classes in one pass over the examples.

TFMA's own Precision, Recall, AUC and Calibration, binarized, look at every example once for each
class, metric and slice, in Python: 35 s for 10,000 examples of ten classes; Keras' metrics and the
confusion matrix look once more each. These share one histogram of the predictions, which takes in a
thousand examples at a time.

A class counts as predicted where it is the most probable one, as in a confusion matrix; TFMA's
Precision and Recall count it above a probability of 0.5. AUC and calibration are TFMA's. Examples
have no weights here.

The judged metrics are what Evaluator compares with a threshold: TFMA's thresholds are bounds of a
number and do not see how many examples it comes from.
"""

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.metrics.multi_class_confusion_matrix_metrics import (
    NO_PREDICTED_CLASS_ID,
    Matrices,
    MatrixEntryKey,
)
from tensorflow_model_analysis.proto import config_pb2

from components.metrics.wilson import wilson_interval

# `judged_x` is the number that is compared with the threshold of the metric `x`.
JUDGED = "judged_"

CALIBRATION_ERROR = "expected_calibration_error"

# As fine as the thresholds of TFMA's AUC.
_BINS = 10_000
_CONFIDENCE_BINS = 15
_BATCH = 1_000
_POSITIVE, _NEGATIVE = 0, 1
# As Keras clips probabilities before it takes their logarithm.
_LEAST_PROBABILITY = 1e-7

Array = npt.NDArray[np.float64]
# label (one number), predictions (one for each class).
_Row = tuple[int, npt.NDArray[np.float32]]


class Histogram:
    """How the predictions for each class are distributed where it is the label, and elsewhere.

    Attributes:
        counts: of examples, [classes, 2 (positive, negative), bins + 1]; bin i holds the
            predictions p with i - 1 < p * bins <= i.
        predicted: the summed predictions for each class, [classes].
        confusion: number of examples by label and most probable class, [classes, classes + 1];
            the last column counts examples for which no class has a probability above 0.
        confidence: by bins of the highest probability, of equal width, [2 (its sum, the number of
            examples whose class was the most probable one), 15].
        cross_entropy: the summed negative logarithm of the label's probability.
    """

    def __init__(self, classes: int) -> None:
        self.counts: Array = np.zeros((classes, 2, _BINS + 1))
        self.predicted: Array = np.zeros(classes)
        self.confusion: Array = np.zeros((classes, classes + 1))
        self.confidence: Array = np.zeros((2, _CONFIDENCE_BINS))
        self.cross_entropy = 0.0

    def add(self, rows: list[_Row]) -> None:
        """Takes in examples."""
        labels = np.array([label for label, _ in rows])
        # A network that diverged predicts NaN: no class.
        predictions = np.nan_to_num(np.stack([row for _, row in rows]).astype(np.float64))
        classes = np.arange(predictions.shape[1])
        bins = np.ceil(np.clip(predictions, 0.0, 1.0) * _BINS).astype(np.int64)
        side = np.where(labels[:, None] == classes, _POSITIVE, _NEGATIVE)
        np.add.at(self.counts, (classes, side, bins), 1)
        self.predicted += predictions.sum(axis=0)
        highest, first = predictions.max(axis=1), predictions.argmax(axis=1)
        np.add.at(self.confusion, (labels, np.where(highest > 0, first, len(classes))), 1)
        of_confidence = np.minimum((highest * _CONFIDENCE_BINS).astype(int), _CONFIDENCE_BINS - 1)
        np.add.at(self.confidence, (0, of_confidence), highest)
        np.add.at(self.confidence, (1, of_confidence), first == labels)
        of_labels = predictions[np.arange(len(labels)), labels]
        self.cross_entropy -= float(np.log(np.clip(of_labels, _LEAST_PROBABILITY, 1.0)).sum())

    def merge(self, other: "Histogram") -> None:
        """Takes in what another one has seen."""
        self.counts += other.counts
        self.predicted += other.predicted
        self.confusion += other.confusion
        self.confidence += other.confidence
        self.cross_entropy += other.cross_entropy


class _Accumulator:
    def __init__(self) -> None:
        self.waiting: list[_Row] = []
        self.histogram: Histogram | None = None

    def add(self, row: _Row) -> None:
        self.waiting.append(row)
        if len(self.waiting) >= _BATCH:
            self.compact()

    def compact(self) -> None:
        if self.waiting:
            if self.histogram is None:
                self.histogram = Histogram(len(self.waiting[0][1]))
            self.histogram.add(self.waiting)
            self.waiting = []

    def merge(self, other: "_Accumulator") -> None:
        for row in other.waiting:
            self.add(row)
        if self.histogram is None:
            self.histogram = other.histogram
        elif other.histogram is not None:
            self.histogram.merge(other.histogram)


class _HistogramCombiner(beam.CombineFn):
    def __init__(
        self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None
    ) -> None:
        self._key = key
        self._eval_config = eval_config

    def create_accumulator(self) -> _Accumulator:
        return _Accumulator()

    def add_input(
        self, accumulator: _Accumulator, element: metric_types.StandardMetricInputs
    ) -> _Accumulator:
        for label, prediction, _ in metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._eval_config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            flatten=False,
        ):
            accumulator.add((int(label.item()), prediction.reshape(-1)))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Accumulator]) -> _Accumulator:
        merged = _Accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def compact(self, accumulator: _Accumulator) -> _Accumulator:
        accumulator.compact()
        return accumulator

    def extract_output(
        self, accumulator: _Accumulator
    ) -> dict[metric_types.MetricKey, Histogram | None]:
        accumulator.compact()
        return {self._key: accumulator.histogram}


def _precision(histogram: Histogram, class_id: int) -> float:
    column = histogram.confusion[:, class_id]
    return _ratio(column[class_id], column.sum())


def _recall(histogram: Histogram, class_id: int) -> float:
    row = histogram.confusion[class_id]
    return _ratio(row[class_id], row.sum())


def _auc(histogram: Histogram, class_id: int) -> float:
    positive, negative = histogram.counts[class_id]
    # A pair in the same bin counts half.
    lower = np.cumsum(negative) - negative / 2
    return _ratio(positive @ lower, positive.sum() * negative.sum())


def _calibration(histogram: Histogram, class_id: int) -> float:
    return _ratio(histogram.predicted[class_id], histogram.counts[class_id, _POSITIVE].sum())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


class _HistogramMetric(metric_types.Metric):
    """What is read from the histogram, a number in most cases."""

    def __init__(self, name: str, read: Callable[[Histogram, int | None], Any]) -> None:
        def create(
            name: str,
            eval_config: config_pb2.EvalConfig | None = None,
            model_name: str = "",
            output_name: str = "",
            sub_key: metric_types.SubKey | None = None,
        ) -> metric_types.MetricComputations:
            of_all_classes = metric_types.MetricKey("_class_histogram", model_name, output_name)
            key = metric_types.MetricKey(name, model_name, output_name, sub_key)
            class_id = sub_key.class_id if sub_key else None

            def result(metrics: dict[metric_types.MetricKey, Any]) -> dict[Any, Any]:
                histogram = metrics[of_all_classes]
                return {key: float("nan") if histogram is None else read(histogram, class_id)}

            combiner = _HistogramCombiner(of_all_classes, eval_config)
            return [
                metric_types.MetricComputation([of_all_classes], None, combiner),
                metric_types.DerivedMetricComputation([key], result),
            ]

        super().__init__(metric_util.merge_per_key_computations(create), name=name)


class _ClassMetric(_HistogramMetric):
    """A number read from the histogram for one class."""

    def __init__(self, name: str, read: Callable[[Histogram, int], float]) -> None:
        def of_class(histogram: Histogram, class_id: int | None) -> float:
            if class_id is None:
                raise ValueError(f"{name} is of one class: set `binarize` in its MetricsSpec")
            return read(histogram, class_id)

        super().__init__(name, of_class)


class ClassPrecision(_ClassMetric):
    """Share of the examples predicted as the class that are of it."""

    def __init__(self, name: str = "precision") -> None:
        super().__init__(name, _precision)


class ClassRecall(_ClassMetric):
    """Share of the examples of the class that are predicted as it."""

    def __init__(self, name: str = "recall") -> None:
        super().__init__(name, _recall)


class JudgedRecall(_ClassMetric):
    """The recall of a class; 1, which misses no threshold, where it has too few examples.

    A class without any example has no recall, NaN, which misses each threshold.
    """

    def __init__(self, name: str = f"{JUDGED}recall", min_examples: int = 0) -> None:
        """Names the metric, and says how many examples a class needs to be judged."""

        def judged(histogram: Histogram, class_id: int) -> float:
            too_few = 0 < histogram.confusion[class_id].sum() < min_examples
            return 1.0 if too_few else _recall(histogram, class_id)

        super().__init__(name, judged)


class SparseCategoricalAccuracy(_HistogramMetric):
    """Share of the examples whose class is the most probable one, as in Keras."""

    def __init__(self, name: str = "sparse_categorical_accuracy") -> None:
        """Names the metric."""
        super().__init__(name, lambda of, _: _ratio(of.confusion.trace(), of.confusion.sum()))


class SparseCategoricalCrossentropy(_HistogramMetric):
    """The mean negative logarithm of the probability of an example's class, as in Keras."""

    def __init__(self, name: str = "sparse_categorical_crossentropy") -> None:
        """Names the metric."""
        super().__init__(name, lambda of, _: _ratio(of.cross_entropy, of.confusion.sum()))


class MultiClassConfusionMatrix(_HistogramMetric):
    """How many examples of each class are predicted as which; as TFMA writes and shows it."""

    def __init__(self, name: str = "multi_class_confusion_matrix_at_thresholds") -> None:
        """Names the metric."""

        def matrix(histogram: Histogram, _: int | None) -> Matrices:
            columns = [*range(len(histogram.confusion)), NO_PREDICTED_CLASS_ID]
            return Matrices(
                {
                    0.0: {
                        MatrixEntryKey(label, columns[column]): histogram.confusion[label, column]
                        for label, column in np.argwhere(histogram.confusion).tolist()
                    }
                }
            )

        super().__init__(name, matrix)


class JudgedAccuracy(_HistogramMetric):
    """The most that the accuracy may be: the upper end of its 95 % Wilson interval.

    It is 1, which misses no threshold, where there are too few examples.
    """

    def __init__(self, name: str = f"{JUDGED}accuracy", min_examples: int = 0) -> None:
        """Names the metric, and says how many examples a slice needs to be judged."""

        def judged(histogram: Histogram, _: int | None) -> float:
            examples = histogram.confusion.sum()
            if examples < min_examples:
                return 1.0
            return wilson_interval(histogram.confusion.trace(), examples)[1]

        super().__init__(name, judged)


class ClassAUC(_ClassMetric):
    """Area under the ROC curve of the class against the others."""

    def __init__(self, name: str = "auc") -> None:
        super().__init__(name, _auc)


class ClassCalibration(_ClassMetric):
    """The summed predictions of the class over the number of its examples."""

    def __init__(self, name: str = "calibration") -> None:
        super().__init__(name, _calibration)


class ExpectedCalibrationError(_HistogramMetric):
    """The distance between a classifier's confidence and its accuracy, 0 to 1.

    Predictions are put into 15 bins of equal width by their highest probability; the error is
    the mean over all predictions of |accuracy - mean confidence| of their bin,
    https://arxiv.org/abs/1706.04599.
    """

    def __init__(self, name: str = CALIBRATION_ERROR) -> None:
        """Names the metric."""

        def error(histogram: Histogram, _: int | None) -> float:
            confidence, right = histogram.confidence
            return _ratio(np.abs(right - confidence).sum(), histogram.confusion.sum())

        super().__init__(name, error)
