"""Asks the model about evaluated images: how well calibrated it is, and what it mistakes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tfx.utils import path_utils

from components.examples import read_records, sample_evenly
from components.model_diff.churn import true_classes
from components.predictions import predict
from pipeline.evaluation import EVALUATED_SIGNATURE
from pipeline.modeling.features import IMAGE, LABEL
from reporting.evidence import Evidence
from reporting.page import Answers, CalibrationBin, Mistake
from reporting.png import side_by_side

# The answers of a default model to so many images take one to two seconds on two cores.
_MAX_ASKED = 5_000
_BINS = 10
_MISTAKES = 24


def read_answers(evidence: Evidence, labels: Sequence[str]) -> Answers | None:
    """Asks the model about the evaluated images; None: there is no model.

    Args:
        evidence: what the run left.
        labels: names of the classes, in the order of their ids.
    """
    model = evidence.output("Trainer", "model")
    examples = evidence.output("IdxExampleGen", "examples")
    if model is None or examples is None:
        return None
    records = read_records(sorted(map(str, (examples.path / "Split-eval").iterdir())))
    asked = sample_evenly(records, _MAX_ASKED)
    probabilities = predict(
        Path(path_utils.serving_model_path(model.uri)), asked, EVALUATED_SIGNATURE
    )
    truth = true_classes(asked, LABEL)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    confidence = probabilities.max(axis=1)
    most_confident = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
    return Answers(
        images=len(asked),
        evaluated=len(records),
        wrong=len(wrong),
        calibration=list(calibration(probabilities, truth)),
        mistakes=[
            Mistake(
                png=side_by_side([_image(asked[row])]),
                truth=labels[truth[row]],
                predicted=labels[probabilities[row].argmax()],
                probability=float(confidence[row]),
            )
            for row in most_confident
        ],
    )


def calibration(probabilities: np.ndarray, truth: np.ndarray) -> Iterator[CalibrationBin]:
    """Yields, by the probability of the given label, how often it was right.

    Args:
        probabilities: [examples, classes].
        truth: class ids [examples].
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    for number in range(_BINS):
        members = bins == number
        if members.any():
            yield CalibrationBin(
                low=number / _BINS,
                high=(number + 1) / _BINS,
                images=int(members.sum()),
                confidence=float(confidence[members].mean()),
                accuracy=float(right[members].mean()),
            )


def _image(record: bytes) -> bytes:
    features = tf.train.Example.FromString(record).features.feature
    return bytes(features[IMAGE].bytes_list.value[0])
