"""A served model over gRPC, with TensorFlow Serving's public stubs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from serving.client.errors import InvalidRequestError, client_error
from serving.client.grpc_messages import (
    classification_pb2,
    example_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    types_pb2,
)
from serving.client.interface import Example, ScoredLabel, Signature, TensorSpec
from serving.client.retry import Retries
from serving.client.selection import check_selection, choose_signature
from serving.client.status import wait_until_available
from serving.client.tensors import input_arrays, is_bytes, string_array, tensor_spec
from serving.status import Code, State, VersionStatus

_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class GrpcClient:
    """Asks `model_name` at `address` (such as localhost:8500). A ModelClient.

    `timeout` is in seconds and for one attempt. Without `credentials` the channel is not encrypted.
    """

    def __init__(
        self,
        address: str,
        model_name: str,
        timeout: float = 30.0,
        retries: Retries | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._model_name = model_name
        self._timeout = timeout
        self._retries = retries or Retries()
        self._channel = (
            grpc.secure_channel(address, credentials, _UNLIMITED)
            if credentials
            else grpc.insecure_channel(address, _UNLIMITED)
        )
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._signatures: dict[tuple[int | None, str | None], dict[str, Signature]] = {}

    def status(self, version: int | None = None) -> list[VersionStatus]:
        """See ModelClient."""
        request = get_model_status_pb2.GetModelStatusRequest()
        self._select(request, "", version, None)
        answer = self._call(self._models.GetModelStatus, request)
        statuses = [
            VersionStatus(
                item.version,
                State(item.state),
                Code(item.status.error_code),
                item.status.error_message,
            )
            for item in answer.model_version_status
        ]
        return sorted(statuses, key=lambda status: -status.version)

    def wait_until_available(
        self, version: int | None = None, timeout: float = 60.0
    ) -> VersionStatus:
        """See ModelClient."""
        return wait_until_available(lambda _: self.status(version), timeout, self._model_name)

    def signature(
        self, signature_name: str = "", version: int | None = None, label: str | None = None
    ) -> Signature:
        """See ModelClient. Remembered, so a model's versions should keep their signatures."""
        known = self._signatures.get((version, label))
        if known is None:
            request = get_model_metadata_pb2.GetModelMetadataRequest()
            self._select(request, "", version, label)
            request.metadata_field.append("signature_def")
            answer = self._call(self._predictions.GetModelMetadata, request)
            definitions = get_model_metadata_pb2.SignatureDefMap()
            answer.metadata["signature_def"].Unpack(definitions)
            known = {
                name: _signature(definition)
                for name, definition in definitions.signature_def.items()
            }
            self._signatures[version, label] = known
        return choose_signature(known, signature_name)

    def predict(
        self,
        inputs: Mapping[str, Any],
        signature_name: str = "",
        version: int | None = None,
        label: str | None = None,
    ) -> dict[str, np.ndarray]:
        """See ModelClient. Imports TensorFlow, which makes and reads the tensors."""
        import tensorflow as tf

        signature = self.signature(signature_name, version, label)
        request = predict_pb2.PredictRequest()
        self._select(request, signature_name, version, label)
        for alias, array in input_arrays(inputs, signature).items():
            request.inputs[alias].CopyFrom(tf.make_tensor_proto(array))
        answer = self._call(self._predictions.Predict, request)
        return {
            alias: _strings(alias, array) if array.dtype == object else array
            for alias, array in (
                (alias, tf.make_ndarray(proto)) for alias, proto in answer.outputs.items()
            )
        }

    def classify(
        self,
        examples: Sequence[Example],
        signature_name: str = "",
        version: int | None = None,
        label: str | None = None,
    ) -> list[list[ScoredLabel]]:
        """See ModelClient."""
        request = classification_pb2.ClassificationRequest()
        self._select(request, signature_name, version, label)
        request.input.example_list.examples.extend(_example(example) for example in examples)
        answer = self._call(self._predictions.Classify, request)
        return [
            [ScoredLabel(item.label, item.score) for item in classification.classes]
            for classification in answer.result.classifications
        ]

    def close(self) -> None:
        """See ModelClient."""
        self._channel.close()

    def _select(
        self, request: Any, signature_name: str, version: int | None, label: str | None
    ) -> None:
        check_selection(version, label)
        spec = request.model_spec
        spec.name = self._model_name
        if signature_name:
            spec.signature_name = signature_name
        if version is not None:
            spec.version.value = version
        if label is not None:
            spec.version_label = label

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        def call() -> Any:
            try:
                return method(request, timeout=self._timeout)
            except grpc.RpcError as error:
                code = Code[error.code().name]
                raise client_error(code, error.details()) from error

        return self._retries.run(call)


def _signature(definition: Any) -> Signature:
    return Signature(
        inputs={alias: _spec(info) for alias, info in definition.inputs.items()},
        outputs={alias: _spec(info) for alias, info in definition.outputs.items()},
    )


def _spec(info: Any) -> TensorSpec:
    shape = info.tensor_shape
    sizes = None if shape.unknown_rank else [dim.size for dim in shape.dim]
    return tensor_spec(types_pb2.DataType.Name(info.dtype), sizes)


def _strings(alias: str, array: np.ndarray) -> np.ndarray:
    if is_bytes(alias):
        return array
    decoded = [value.decode() for value in array.ravel().tolist()]
    return string_array(decoded).reshape(array.shape)


def _example(features: Example) -> Any:
    example = example_pb2.Example()
    for name, value in features.items():
        values: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
        feature = example.features.feature[name]
        if all(isinstance(item, bytes | str) for item in values):
            encoded = [item.encode() if isinstance(item, str) else item for item in values]
            feature.bytes_list.value.extend(encoded)
        elif all(isinstance(item, bool | int | np.integer) for item in values):
            feature.int64_list.value.extend(int(item) for item in values)
        elif all(isinstance(item, float | np.floating) for item in values):
            feature.float_list.value.extend(float(item) for item in values)
        else:
            raise InvalidRequestError(
                Code.INVALID_ARGUMENT,
                f"feature {name!r} must be bytes, text, integers or floats, all of one kind",
            )
    return example
