"""A served model over gRPC, with TensorFlow Serving's public stubs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from serving.addresses import is_loopback
from serving.client.errors import InvalidRequestError, client_error, understood
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
from serving.client.tls import TlsOptions, read_pem
from serving.status import Code, State, VersionStatus
from serving.tensors import array_from_proto, fill_proto

_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class GrpcClient:
    """Asks `model_name` at `address`, such as localhost:8500. A ModelClient.

    May be used by several threads at once. A loopback address is never asked through a proxy.
    """

    def __init__(
        self,
        address: str,
        model_name: str,
        timeout: float = 30.0,
        retries: Retries | None = None,
        tls: TlsOptions | None = None,
    ) -> None:
        """Sends nothing yet.

        Args:
            address: `host:port`; after `https://`, or with TLS options, the channel is encrypted.
            model_name: under which the server serves the model.
            timeout: seconds, for one attempt.
            retries: of calls that nothing answers.
            tls: for `https://`.

        Raises:
            InvalidRequestError: the address or the TLS options cannot be used.
        """
        self._address = address
        self._model_name = model_name
        self._timeout = timeout
        self._retries = retries or Retries()
        self._channel = _channel(address, tls)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._signatures: dict[tuple[int | None, str | None], dict[str, Signature]] = {}

    def status(self, version: int | None = None) -> list[VersionStatus]:
        """See ModelClient."""
        return self._status(version, self._retries, self._timeout)

    def wait_until_available(
        self, version: int | None = None, timeout: float = 60.0
    ) -> VersionStatus:
        """See ModelClient."""
        once = Retries(attempts=1)
        return wait_until_available(
            lambda seconds: self._status(version, once, min(seconds, self._timeout)),
            timeout,
            self._model_name,
        )

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
            with understood(self._address):
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
        """See ModelClient."""
        signature = self.signature(signature_name, version, label)
        request = predict_pb2.PredictRequest()
        self._select(request, signature_name, version, label)
        for alias, array in input_arrays(inputs, signature).items():
            _fill_input(alias, request.inputs[alias], array)
        answer = self._call(self._predictions.Predict, request)
        with understood(self._address):
            return {alias: _output(alias, proto) for alias, proto in answer.outputs.items()}

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

    def _status(self, version: int | None, retries: Retries, timeout: float) -> list[VersionStatus]:
        request = get_model_status_pb2.GetModelStatusRequest()
        self._select(request, "", version, None)
        answer = self._call(self._models.GetModelStatus, request, retries, timeout)
        with understood(self._address):
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
        if label:
            spec.version_label = label

    def _call(
        self,
        method: Callable[..., Any],
        request: Any,
        retries: Retries | None = None,
        timeout: float | None = None,
    ) -> Any:
        def call(seconds: float) -> Any:
            try:
                return method(request, timeout=seconds)
            except grpc.RpcError as error:
                raise client_error(Code[error.code().name], error.details() or "") from error
            except ValueError as error:
                # A closed channel, or a message that protobuf cannot write.
                raise InvalidRequestError(Code.INVALID_ARGUMENT, str(error)) from error

        return (retries or self._retries).run(call, timeout or self._timeout)


def _channel(address: str, tls: TlsOptions | None) -> grpc.Channel:
    scheme, separator, rest = address.rpartition("://")
    if scheme not in ("", "http", "https"):
        raise InvalidRequestError(
            Code.INVALID_ARGUMENT, f"{address} is not an address such as localhost:8500"
        )
    if tls is not None and scheme == "http":
        raise InvalidRequestError(
            Code.INVALID_ARGUMENT, f"TLS options need an address with https://, not {address}"
        )
    target = rest.rstrip("/") if separator else rest
    options: list[tuple[str, Any]] = list(_UNLIMITED)
    if is_loopback(target):
        options.append(("grpc.enable_http_proxy", 0))
    if tls is None and scheme != "https":
        return grpc.insecure_channel(target, options)
    tls = tls or TlsOptions()
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    credentials = grpc.ssl_channel_credentials(
        read_pem(tls.ca_file), read_pem(tls.key), read_pem(tls.certificate)
    )
    return grpc.secure_channel(target, credentials, options)


def _signature(definition: Any) -> Signature:
    return Signature(
        inputs={alias: _spec(info) for alias, info in definition.inputs.items()},
        outputs={alias: _spec(info) for alias, info in definition.outputs.items()},
    )


def _spec(info: Any) -> TensorSpec:
    shape = info.tensor_shape
    sizes = None if shape.unknown_rank else [dim.size for dim in shape.dim]
    return tensor_spec(types_pb2.DataType.Name(info.dtype), sizes)


def _fill_input(alias: str, proto: Any, array: np.ndarray) -> None:
    if array.dtype == object:
        encoded = [v.encode() if isinstance(v, str) else v for v in array.ravel().tolist()]
        array = string_array(encoded).reshape(array.shape)
    try:
        fill_proto(proto, array, as_content=True)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequestError(
            Code.INVALID_ARGUMENT, f"input {alias!r} cannot be sent: {error}"
        ) from error


def _output(alias: str, proto: Any) -> np.ndarray:
    array = array_from_proto(proto)
    if array.dtype != object or is_bytes(alias):
        return array
    decoded = [value.decode() for value in array.ravel().tolist()]
    return string_array(decoded).reshape(array.shape)


def _example(features: Example) -> Any:
    example = example_pb2.Example()
    for name, value in features.items():
        values: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
        try:
            _fill_feature(example.features.feature[name], values)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(
                Code.INVALID_ARGUMENT, f"feature {name!r} cannot be sent: {error}"
            ) from error
    return example


def _fill_feature(feature: Any, values: list[Any]) -> None:
    if all(isinstance(item, bytes | str) for item in values):
        encoded = [item.encode() if isinstance(item, str) else item for item in values]
        feature.bytes_list.value.extend(encoded)
    elif all(isinstance(item, bool | int | np.integer) for item in values):
        feature.int64_list.value.extend(int(item) for item in values)
    elif all(isinstance(item, float | np.floating) for item in values):
        feature.float_list.value.extend(float(item) for item in values)
    else:
        raise TypeError("it must be bytes, text, integers or floats, all of one kind")
