"""PredictionService's requests, run on a servable: protobuf in, protobuf out.

Shared by the gRPC services and by warmup, which replays logged requests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.examples import ContextTooLargeError, serialized_examples
from serving.model_server import signatures as rules
from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.servable import Servable
from serving.model_server.tensor_proto import array_from_proto
from serving.tensors import fill_proto


def predict(servable: Servable, request: Any, as_content: bool = False) -> Any:
    """PredictResponse of a PredictRequest.

    `as_content` answers in `tensor_content` (--enable_serialization_as_tensor_content).
    """
    signature_name = request.model_spec.signature_name or rules.DEFAULT_SIGNATURE
    outputs = servable.predict(
        signature_name, request.inputs, request.output_filter, array_from_proto
    )
    response = predict_pb2.PredictResponse()
    _fill_model_spec(response.model_spec, servable, signature_name)
    for alias, array in outputs.items():
        fill_proto(response.outputs[alias], array, as_content)
    return response


def classify(servable: Servable, request: Any) -> Any:
    """ClassificationResponse of a ClassificationRequest."""
    signature_name = request.model_spec.signature_name or rules.DEFAULT_SIGNATURE
    result = servable.classify(signature_name, _examples(request))
    response = classification_pb2.ClassificationResponse()
    _fill_model_spec(response.model_spec, servable, signature_name)
    fill_classification(response.result, result)
    return response


def regress(servable: Servable, request: Any) -> Any:
    """RegressionResponse of a RegressionRequest."""
    signature_name = request.model_spec.signature_name or rules.DEFAULT_SIGNATURE
    values = servable.regress(signature_name, _examples(request))
    response = regression_pb2.RegressionResponse()
    _fill_model_spec(response.model_spec, servable, signature_name)
    fill_regression(response.result, values)
    return response


def multi_inference(servable: Servable, request: Any) -> Any:
    """MultiInferenceResponse of a MultiInferenceRequest: all tasks in one session run."""
    tasks = [
        (task.model_spec.signature_name or rules.DEFAULT_SIGNATURE, task.method_name)
        for task in request.tasks
    ]
    _check_tasks(request.tasks, [signature_name for signature_name, _ in tasks])
    results = servable.multi_inference(tasks, lambda: _examples(request))
    response = inference_pb2.MultiInferenceResponse()
    for (signature_name, _), result in zip(tasks, results, strict=True):
        answer = response.results.add()
        _fill_model_spec(answer.model_spec, servable, signature_name)
        if isinstance(result, rules.Classification):
            fill_classification(answer.classification_result, result)
        else:
            fill_regression(answer.regression_result, result)
    return response


def _examples(request: Any) -> list[bytes]:
    try:
        return serialized_examples(request.input)
    except ContextTooLargeError as error:
        raise invalid_argument(str(error)) from error


def _check_tasks(tasks: Any, signature_names: list[str]) -> None:
    names = [task.model_spec.name for task in tasks]
    for position, signature_name in enumerate(signature_names):
        if not names[position]:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if names[position] != names[0]:
            raise invalid_argument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        if signature_name in signature_names[:position]:
            raise invalid_argument(f"Duplicate evaluation of signature: {signature_name}")


def _fill_model_spec(model_spec: Any, servable: Servable, signature_name: str) -> None:
    model_spec.name = servable.name
    model_spec.version.value = servable.version
    model_spec.signature_name = signature_name


def fill_classification(into: Any, result: rules.Classification) -> None:
    """Writes a classification into an empty ClassificationResult."""
    labels = None if result.classes is None else result.classes.tolist()
    scores = None if result.scores is None else result.scores.tolist()
    array = result.scores if result.classes is None else result.classes
    assert array is not None
    rows, columns = array.shape
    for row in range(rows):
        classes = into.classifications.add().classes
        for column in range(columns):
            entry = classes.add()
            if labels is not None:
                entry.label = _utf8(labels[row][column])
            if scores is not None:
                entry.score = scores[row][column]


def _utf8(label: bytes) -> str:
    try:
        return label.decode()
    except UnicodeDecodeError as error:
        raise ServingError(
            Code.INTERNAL, f"The model's class label {label!r} is not UTF-8."
        ) from error


def fill_regression(into: Any, values: np.ndarray) -> None:
    """Writes float32 [N] into an empty RegressionResult."""
    for value in values.tolist():
        into.regressions.add().value = value
