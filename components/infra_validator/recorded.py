"""Recorded requests of production, as calls that a candidate is asked besides examples."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from components.infra_validator.requests import Call, ServingRequest
from components.infra_validator.spec import Method, RecordedRequests, ValidationSpec
from serving.examples import ContextTooLargeError, serialized_examples
from serving.tensors import MalformedTensorError, array_from_proto
from serving.traffic.reading import newest_logs

_KINDS = {"predict_log": Method.PREDICT, "classify_log": Method.CLASSIFY}


def recorded_calls(spec: ValidationSpec) -> list[Call]:
    """Returns the newest recorded requests, word for word but for the model's name and version.

    Those of signatures that the candidate is not asked for are left out.
    """
    if spec.recorded is None:
        return []
    return list(_calls(spec, spec.recorded))


def _calls(spec: ValidationSpec, recorded: RecordedRequests) -> Iterator[Call]:
    for log in newest_logs(recorded.directory, recorded.model, recorded.count):
        kind = log.WhichOneof("log_type")
        signature = log.log_metadata.model_spec.signature_name
        how = spec.requests.get(signature)
        if how is None or _KINDS.get(kind) is not how.method:
            continue
        request = getattr(log, kind).request
        inputs = _inputs(request, how.inputs, how.method)
        rows = {len(value) for value in inputs.values() if value.ndim}
        if len(rows) != 1 or inputs.keys() != how.inputs.keys():
            continue
        request.model_spec.Clear()
        request.model_spec.name = spec.model_name
        request.model_spec.signature_name = signature
        yield Call(signature, request, inputs, slice(0, rows.pop()))


def _inputs(
    request: ServingRequest, names: Mapping[str, Any], method: Method
) -> dict[str, np.ndarray]:
    try:
        if method is Method.CLASSIFY:
            (name,) = names
            return {name: np.array(serialized_examples(request.input), dtype=object)}
        return {key: array_from_proto(value) for key, value in request.inputs.items()}
    except (MalformedTensorError, ContextTooLargeError):
        return {}
