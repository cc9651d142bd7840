"""What the model server says to a copied request, and how both are written down."""

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from serving.edge.answer_log import AnswerLog, PredictedLabel
from serving.edge.copies import Copy, Recorded
from serving.edge.routes import Routes
from serving.model_server.rest import json_fast_path
from serving.model_server.rest.json_examples import read_examples
from serving.model_server.rest.json_predict import read_predict
from serving.model_server.signatures import DEFAULT_SIGNATURE
from serving.tensors import array_from_proto, fill_proto
from serving.traffic.recording import CANARY, STABLE, Origin, TrafficRecorder

_SECONDS = 10.0
_METADATA_SECONDS = 10.0
_MAX_MESSAGE_BYTES = 256_000_000

InputTypes = Mapping[str, Mapping[str, str]]


class Recording:
    """The recording of one model, with the answers of the server that serves it."""

    def __init__(
        self,
        recorder: TrafficRecorder,
        answer_log: AnswerLog,
        base: Path,
        model_name: str,
        server: str,
    ) -> None:
        self._recorder = recorder
        self._answer_log = answer_log
        self._routes = Routes(base)
        self._model_name = model_name
        options = [
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            # The server is on this machine or beside it; a proxy is for others.
            ("grpc.enable_http_proxy", 0),
        ]
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(
            grpc.insecure_channel(server, options=options)
        )
        self._inputs: dict[str, tuple[float, InputTypes]] = {}

    def record(self, copies: Sequence[Copy]) -> Recorded:
        """Asks the variants that answered the clients, and writes requests and answers.

        A copy whose body is no request, whose answer does not come or that cannot be written is
        lost, and the error with it. Classifications of one signature are asked together.
        """
        found = Recorded()
        together: dict[tuple[str, str], list[tuple[Copy, Any]]] = {}
        for copy in copies:
            try:
                if copy.verb == "classify":
                    request = self._classify_request(copy)
                    key = (copy.variant, request.model_spec.signature_name)
                    together.setdefault(key, []).append((copy, request))
                elif copy.verb == "predict":
                    found.written += self._predict(copy)
            except Exception as error:  # the next copy may be another matter
                found.errors.append(error)
        for group in together.values():
            self._classify(group, found)
        return found

    def _predict(self, copy: Copy) -> bool:
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.CopyFrom(self._predict_request(copy))
        response = self._service.Predict(log.predict_log.request, timeout=_SECONDS)
        log.predict_log.response.CopyFrom(response)
        return self._write(copy, log, log.predict_log)

    def _classify(self, group: Sequence[tuple[Copy, Any]], found: Recorded) -> None:
        whole = classification_pb2.ClassificationRequest()
        whole.model_spec.CopyFrom(group[0][1].model_spec)
        for _, request in group:
            whole.input.example_list.MergeFrom(request.input.example_list)
        try:
            answer = self._service.Classify(whole, timeout=_SECONDS)
        except grpc.RpcError as error:
            # Somebody's example may be none.
            if len(group) > 1 and error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                for one in group:
                    self._classify([one], found)
            else:
                found.errors += [error] * len(group)
            return
        rows = iter(answer.result.classifications)
        for copy, request in group:
            log = prediction_log_pb2.PredictionLog()
            log.classify_log.request.CopyFrom(request)
            log.classify_log.response.model_spec.CopyFrom(answer.model_spec)
            mine = islice(rows, len(request.input.example_list.examples))
            log.classify_log.response.result.classifications.extend(mine)
            try:
                found.written += self._write(copy, log, log.classify_log)
            except (OSError, tf.errors.OpError) as error:
                found.errors.append(error)

    def _write(self, copy: Copy, log: Any, exchange: Any) -> bool:
        version = exchange.response.model_spec.version.value
        origin = Origin(copy.request_id, version, copy.variant, copy.time)
        labels = _labels(exchange.response)
        self._answer_log.append(
            [PredictedLabel(copy.time, copy.variant, version, label) for label in labels]
        )
        return self._recorder.record(log, exchange.request.model_spec.signature_name, origin)

    def _predict_request(self, copy: Copy) -> Any:
        types = self._input_types(copy.variant)

        def inputs(name: str) -> Mapping[str, str]:
            return types.get(name or DEFAULT_SIGNATURE, {})

        body = json_fast_path.read_predict(copy.body, inputs) or read_predict(copy.body, inputs)
        request = predict_pb2.PredictRequest()
        self._address(request.model_spec, copy.variant, body.signature_name)
        for alias, array in body.inputs.items():
            fill_proto(request.inputs[alias], array)
        return request

    def _classify_request(self, copy: Copy) -> Any:
        body = json_fast_path.read_examples(copy.body) or read_examples(copy.body)
        request = classification_pb2.ClassificationRequest()
        self._address(request.model_spec, copy.variant, body.signature_name)
        for serialized in body.examples:
            request.input.example_list.examples.add().ParseFromString(serialized)
        return request

    def _address(self, spec: Any, variant: str, signature_name: str) -> None:
        spec.name = self._model_name
        spec.signature_name = signature_name
        if variant == CANARY:
            spec.version_label = CANARY
        elif self._routes.pinned.exists():
            spec.version_label = STABLE

    def _input_types(self, variant: str) -> InputTypes:
        """Returns the inputs' types by signature; asked for again now and then."""
        known = self._inputs.get(variant)
        if known is None or time.monotonic() - known[0] > _METADATA_SECONDS:
            request = get_model_metadata_pb2.GetModelMetadataRequest(
                metadata_field=["signature_def"]
            )
            self._address(request.model_spec, variant, "")
            answer = self._service.GetModelMetadata(request, timeout=_SECONDS)
            signatures = get_model_metadata_pb2.SignatureDefMap()
            answer.metadata["signature_def"].Unpack(signatures)
            types = {
                name: {
                    alias: types_pb2.DataType.Name(info.dtype).removeprefix("DT_").lower()
                    for alias, info in sorted(signature.inputs.items())
                }
                for name, signature in signatures.signature_def.items()
            }
            known = self._inputs[variant] = (time.monotonic(), types)
        return known[1]


def _labels(response: Any) -> list[str]:
    """Returns the most probable label of each picture of an answer, as far as it tells."""
    if isinstance(response, classification_pb2.ClassificationResponse):
        rows = response.result.classifications
        return [max(row.classes, key=lambda each: each.score).label for row in rows if row.classes]
    if "label" in response.outputs:
        labels = array_from_proto(response.outputs["label"]).ravel().tolist()
        return [label.decode(errors="replace") for label in labels]
    if "probabilities" in response.outputs:
        probabilities = array_from_proto(response.outputs["probabilities"])
        if probabilities.ndim == 2:
            return [str(place) for place in probabilities.argmax(axis=1)]
    return []
