"""Requests to a model server, built from tf.Examples for every signature of a SavedModel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import classification_pb2, predict_pb2

from components.infra_validator.model_refused import ModelRefusedError
from components.infra_validator.spec import (
    Input,
    Method,
    SignatureRequest,
    Source,
    ValidationSpec,
)
from data.fit import Fit
from data.picture import on_white

ServingRequest: TypeAlias = classification_pb2.ClassificationRequest | predict_pb2.PredictRequest


@dataclass(frozen=True)
class Call:
    """One request to one signature, and what it was made of.

    Attributes:
        signature: the signature's name.
        request: the protobuf to send.
        inputs: the same as arrays by input name, for the SavedModel in this process.
        rows: positions of its examples among those that were given.
    """

    signature: str
    request: ServingRequest
    inputs: dict[str, np.ndarray]
    rows: slice

    @property
    def size(self) -> int:
        """Number of examples in the request."""
        return self.rows.stop - self.rows.start

    def __str__(self) -> str:
        return f"request for examples {self.rows.start} to {self.rows.stop - 1}"


def strip_features(serialized: bytes, keep: Sequence[str]) -> tf.train.Example:
    """Parses a tf.Example and drops what a client does not send; an empty `keep` drops nothing."""
    example = tf.train.Example.FromString(serialized)
    if keep:
        for name in list(example.features.feature):
            if name not in keep:
                del example.features.feature[name]
    return example


class RequestBuilder:
    """Builds the requests that a validation sends."""

    def __init__(
        self,
        spec: ValidationSpec,
        signatures: Mapping[str, Any],
        examples: Sequence[bytes],
    ) -> None:
        self._spec = spec
        self._signatures = signatures
        self._examples = [strip_features(example, spec.example_features) for example in examples]

    def calls(self, signature: str, size: int) -> list[Call]:
        """Returns requests of a size that together cover the examples once."""
        count = len(self._examples)
        return [
            self._call(signature, slice(start, min(start + size, count)))
            for start in range(0, count, size)
        ]

    def _call(self, name: str, rows: slice) -> Call:
        how = self._spec.requests[name]
        examples = self._examples[rows]
        inputs = {
            key: _values(source, examples, self._signatures[name].inputs[key], name, key)
            for key, source in how.inputs.items()
        }
        return Call(name, self._request(name, how, examples, inputs), inputs, rows)

    def _request(
        self,
        name: str,
        how: SignatureRequest,
        examples: list[tf.train.Example],
        inputs: dict[str, np.ndarray],
    ) -> ServingRequest:
        if how.method is Method.CLASSIFY:
            request = classification_pb2.ClassificationRequest()
            request.input.example_list.examples.extend(examples)
        else:
            request = predict_pb2.PredictRequest()
            for key, value in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        request.model_spec.name = self._spec.model_name
        request.model_spec.signature_name = name
        return request


def _values(
    source: Input,
    examples: list[tf.train.Example],
    info: Any,
    signature: str,
    key: str,
) -> np.ndarray:
    if source.source is Source.EXAMPLE:
        serialized = [example.SerializeToString(deterministic=True) for example in examples]
        return np.array(serialized, dtype=object)
    features: list[Any] = [_feature(example, source.feature) for example in examples]
    if source.source is Source.FEATURE:
        dtype = tf.dtypes.as_dtype(info.dtype)
        return np.array(features, dtype=object if dtype == tf.string else dtype.as_numpy_dtype)
    expected = [dim.size for dim in info.tensor_shape.dim]
    if len(expected) != 4 or expected[-1] not in (1, 3) or min(expected[1:]) < 1:
        raise ModelRefusedError(
            f"Signature {signature}: input {key} has shape {expected}, which is not that of images."
        )
    try:
        images = [_pixels(image, expected[1:], source.fit) for image in features]
    except (tf.errors.InvalidArgumentError, ValueError) as error:
        raise ValueError(f"feature {source.feature} does not hold images: {error}") from error
    return np.stack(images).astype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype)


def _pixels(encoded: bytes, shape: Sequence[int], fit: Fit) -> np.ndarray:
    """Decodes an image as a client does that sends pixels: [height, width, channels]."""
    height, width, channels = shape
    image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
    with Image.open(BytesIO(encoded)) as picture:
        if picture.has_transparency_data:
            laid = on_white(picture).convert("RGB" if channels == 3 else "L")
            image = tf.reshape(np.asarray(laid), image.shape)
    if fit is not Fit.SQUASH:
        edge = (min if fit is Fit.CROP else max)(image.shape[:2])
        image = tf.image.resize_with_crop_or_pad(image, edge, edge)
    if image.shape[:2] != (height, width):
        image = tf.image.resize(image, [height, width], antialias=True)
    pixels: np.ndarray = image.numpy()
    return pixels


def _feature(example: tf.train.Example, name: str) -> bytes | float | int:
    feature = example.features.feature.get(name)
    if feature is None:
        raise ValueError(f"the examples have no feature {name}")
    kind = feature.WhichOneof("kind")
    value: bytes | float | int = getattr(feature, kind).value[0]
    return value
