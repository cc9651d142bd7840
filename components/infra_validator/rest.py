"""The same requests in TensorFlow Serving's REST API, and its answers as arrays.

The formats are those of `RESTful API` in TensorFlow Serving's documentation: column format for
predict, `{"b64": ...}` for bytes.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2

from components.infra_validator.requests import ServingRequest
from serving.client.rest_client import json_array, json_value

JsonObject = dict[str, Any]


def rest_path(request: ServingRequest) -> str:
    """Returns the path that a request is posted to."""
    is_classify = isinstance(request, classification_pb2.ClassificationRequest)
    verb = "classify" if is_classify else "predict"
    return f"/v1/models/{request.model_spec.name}:{verb}"


def rest_body(request: ServingRequest) -> JsonObject:
    """Returns a request's JSON body."""
    body: JsonObject = {"signature_name": request.model_spec.signature_name}
    if isinstance(request, classification_pb2.ClassificationRequest):
        examples = request.input.example_list.examples
        return {**body, "examples": [_example(example) for example in examples]}
    inputs = {key: json_array(tf.make_ndarray(value)) for key, value in request.inputs.items()}
    return {**body, "inputs": inputs}


def rest_answer(request: ServingRequest, answer: JsonObject, outputs: list[str]) -> JsonObject:
    """Returns the arrays in an answer by output name.

    Args:
        request: what was asked.
        answer: the parsed body.
        outputs: the signature's output names.

    Raises:
        KeyError, ValueError: the answer does not have the documented form.
    """
    if isinstance(request, classification_pb2.ClassificationRequest):
        results = answer["results"]
        return {
            "classes": np.array([[label for label, _ in row] for row in results], dtype=object),
            "scores": np.array([[score for _, score in row] for row in results], dtype=np.float64),
        }
    columns = answer["outputs"]
    if len(outputs) == 1:
        columns = {outputs[0]: columns}
    return {key: np.array(value) for key, value in columns.items()}


def _example(example: tf.train.Example) -> JsonObject:
    values: JsonObject = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        items = json_value(list(getattr(feature, kind).value) if kind else [])
        values[name] = items[0] if len(items) == 1 else items
    return values
