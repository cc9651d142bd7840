"""PredictionLogs of answered requests: the records of a request log, and of a warmup file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tensorflow_serving.apis import prediction_log_pb2

from serving.model_server.inference import fill_classification, fill_regression
from serving.model_server.signatures import DEFAULT_SIGNATURE, Classification
from serving.tensors import fill_proto


def predict_log(
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    output_filter: Sequence[str] = (),
) -> Any:
    """PredictionLog of a predict request; no `outputs` where the answer is not known."""
    record = prediction_log_pb2.PredictionLog()
    request, response = record.predict_log.request, record.predict_log.response
    request.output_filter.extend(output_filter)
    for alias, array in inputs.items():
        fill_proto(request.inputs[alias], array)
    for alias, array in outputs.items():
        fill_proto(response.outputs[alias], array)
    return record


def classify_log(serialized_examples: Sequence[bytes], result: Classification | None) -> Any:
    """PredictionLog of a classify request; `result` is None where the answer is not known."""
    record = prediction_log_pb2.PredictionLog()
    _fill_examples(record.classify_log.request.input, serialized_examples)
    if result is not None:
        fill_classification(record.classify_log.response.result, result)
    return record


def regress_log(serialized_examples: Sequence[bytes], result: np.ndarray) -> Any:
    """PredictionLog of a regress request."""
    record = prediction_log_pb2.PredictionLog()
    _fill_examples(record.regress_log.request.input, serialized_examples)
    fill_regression(record.regress_log.response.result, result)
    return record


def stamp(record: Any, model: str, version: int, signature: str, when: float | None = None) -> None:
    """Says in a PredictionLog which model was asked, and when.

    Args:
        record: of one of the functions above.
        model: its name.
        version: that answered.
        signature: its name; empty: the default one.
        when: in seconds since 1970; None: now.
    """
    kind_log = getattr(record, record.WhichOneof("log_type"))
    specs = (kind_log.request.model_spec, kind_log.response.model_spec)
    for spec in (*specs, record.log_metadata.model_spec):
        spec.name = model
        spec.version.value = version
        spec.signature_name = signature or DEFAULT_SIGNATURE
    record.log_metadata.timestamp_secs = int(time.time() if when is None else when)


def _fill_examples(model_input: Any, serialized_examples: Sequence[bytes]) -> None:
    for serialized in serialized_examples:
        model_input.example_list.examples.add().ParseFromString(serialized)
