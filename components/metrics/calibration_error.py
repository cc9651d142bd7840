"""Expected calibration error, https://arxiv.org/abs/1706.04599, as a metric of TFMA."""

from collections.abc import Iterable

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util

CALIBRATION_ERROR = "expected_calibration_error"
_BINS = 15


class ExpectedCalibrationError(metric_types.Metric):
    """The distance between a classifier's confidence and its accuracy.

    Predictions are put into 15 bins of equal width by their highest probability; the error is
    the mean over all predictions of |accuracy - mean confidence| of their bin, 0 to 1.
    """

    def __init__(self, name: str = CALIBRATION_ERROR) -> None:
        """Names the metric."""
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name)


def _computations(
    name: str, model_name: str = "", output_name: str = ""
) -> metric_types.MetricComputations:
    key = metric_types.MetricKey(name=name, model_name=model_name, output_name=output_name)
    combiner = _BinCombiner(key)
    return [metric_types.MetricComputation(keys=[key], preprocessors=None, combiner=combiner)]


class _BinCombiner(beam.CombineFn):
    """Sums, per bin, of examples, of confidence, and of right predictions: float64 [3, bins]."""

    def __init__(self, key: metric_types.MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> np.ndarray:
        return np.zeros((3, _BINS))

    def add_input(
        self, accumulator: np.ndarray, element: metric_types.StandardMetricInputs
    ) -> np.ndarray:
        for label, prediction, _ in metric_util.to_label_prediction_example_weight(
            element,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            flatten=False,
        ):
            # A network that diverged predicts NaN: no class.
            prediction = np.nan_to_num(prediction)
            best = int(np.argmax(prediction))
            confidence = float(prediction[best])
            right = best == int(metric_util.safe_to_scalar(label))
            bin_ = min(int(confidence * _BINS), _BINS - 1)
            accumulator[:, bin_] += (1.0, confidence, right)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        return np.sum(list(accumulators), axis=0)

    def extract_output(self, accumulator: np.ndarray) -> dict[metric_types.MetricKey, float]:
        examples, confidence, right = accumulator
        return {self._key: float(np.abs(right - confidence).sum() / examples.sum())}
