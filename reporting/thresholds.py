"""Which thresholds Evaluator was given for each metric, and which of them a model missed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.metrics.metric_types import MetricKey
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2

from reporting.page import EVERYWHERE

_EVERY_ORIGIN = "each origin"


@dataclass(frozen=True)
class Place:
    """Where a metric is computed.

    Attributes:
        metric: TFMA's name of it.
        where: `all images` or an origin.
        class_id: the class that it is about; None: all of them.
    """

    metric: str
    where: str = EVERYWHERE
    class_id: int | None = None


class Thresholds:
    """The thresholds in an `evaluation` artifact."""

    def __init__(self, evaluation: Path) -> None:
        """Reads them from the artifact's folder."""
        content = json.loads((evaluation / "eval_config.json").read_text())["evalConfig"]
        config = json_format.ParseDict(content, config_pb2.EvalConfig())
        self._texts: dict[Place, list[str]] = {}
        for place, text in _configured(config):
            texts = self._texts.setdefault(place, [])
            # They are repeated for every model in the configuration.
            if text not in texts:
                texts.append(text)
        self._missed = set(_missed(evaluation))

    def of(self, place: Place) -> list[str]:
        """Returns the thresholds of a metric, in words."""
        texts = self._texts.get(place, [])
        if place.where != EVERYWHERE:
            anywhere = Place(place.metric, _EVERY_ORIGIN, place.class_id)
            texts = [*texts, *self._texts.get(anywhere, [])]
        return texts

    def is_missed(self, place: Place) -> bool:
        """Whether Evaluator found that the model misses a threshold of this metric."""
        return place in self._missed


def _configured(config: config_pb2.EvalConfig) -> Iterator[tuple[Place, str]]:
    found = metric_specs.metric_thresholds_from_metrics_specs(config.metrics_specs, config)
    for key, thresholds in found.items():
        for slicing, threshold in thresholds:
            place = Place(key.name, _where_configured(slicing), _class_id(key))
            for text in _texts(threshold):
                yield place, text


def _where_configured(slicing: config_pb2.SlicingSpec | None) -> str:
    for value in slicing.feature_values.values() if slicing else ():
        return str(value)
    return _EVERY_ORIGIN if slicing and slicing.feature_keys else EVERYWHERE


def _class_id(key: MetricKey) -> int | None:
    return key.sub_key.class_id if key.sub_key else None


def _texts(
    threshold: config_pb2.GenericValueThreshold | config_pb2.GenericChangeThreshold,
) -> Iterator[str]:
    if isinstance(threshold, config_pb2.GenericChangeThreshold):
        upwards = threshold.direction == config_pb2.MetricDirection.HIGHER_IS_BETTER
        if threshold.HasField("absolute"):
            bound = abs(threshold.absolute.value)
            yield f"{'loses' if upwards else 'gains'} at most {bound:g}"
        return
    if threshold.HasField("lower_bound"):
        yield f"at least {threshold.lower_bound.value:g}"
    if threshold.HasField("upper_bound"):
        yield f"at most {threshold.upper_bound.value:g}"


def _missed(evaluation: Path) -> Iterator[Place]:
    result = tfma.load_validation_result(str(evaluation))
    for per_slice in result.metric_validations_per_slice:
        where = _where_missed(per_slice.slice_key)
        for failure in per_slice.failures:
            key = MetricKey.from_proto(failure.metric_key)
            yield Place(key.name, where, _class_id(key))


def _where_missed(key: metrics_for_slice_pb2.SliceKey) -> str:
    for single in key.single_slice_keys:
        return str(single.bytes_value.decode())
    return EVERYWHERE
