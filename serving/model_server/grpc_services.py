"""PredictionService and ModelService: what each call answers, apart from the transport."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.model_server import inference
from serving.model_server.core import ServerCore
from serving.model_server.errors import Code, ServingError, invalid_argument, utf8_text
from serving.model_server.manager import ServableHandle

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"

_SIGNATURE_DEF = "signature_def"


@dataclass(frozen=True)
class Method:
    """A unary call: how its request is parsed, and what answers it (or raises ServingError)."""

    parse: Callable[[bytes], Any]
    answer: Callable[[Any], Any]


class Services:
    """The two services on one core."""

    def __init__(
        self,
        core: ServerCore,
        answer_in_tensor_content: bool = False,
        answer_reload_config: bool = True,
    ) -> None:
        self._core = core
        self._answer_reload_config = answer_reload_config
        self._as_content = answer_in_tensor_content

    def methods(self) -> dict[str, Method]:
        """All methods by their gRPC path."""
        prediction = {
            "Predict": Method(predict_pb2.PredictRequest.FromString, self.predict),
            "Classify": Method(classification_pb2.ClassificationRequest.FromString, self.classify),
            "Regress": Method(regression_pb2.RegressionRequest.FromString, self.regress),
            "MultiInference": Method(
                inference_pb2.MultiInferenceRequest.FromString, self.multi_inference
            ),
            "GetModelMetadata": Method(
                get_model_metadata_pb2.GetModelMetadataRequest.FromString, self.get_model_metadata
            ),
        }
        model = {
            "GetModelStatus": Method(
                get_model_status_pb2.GetModelStatusRequest.FromString, self.get_model_status
            ),
            "HandleReloadConfigRequest": Method(
                model_management_pb2.ReloadConfigRequest.FromString, self.reload_config
            ),
        }
        return {f"/{PREDICTION_SERVICE}/{name}": method for name, method in prediction.items()} | {
            f"/{MODEL_SERVICE}/{name}": method for name, method in model.items()
        }

    def reload_method(self) -> dict[str, Method]:
        """HandleReloadConfigRequest alone, by its gRPC path."""
        return {
            path: method
            for path, method in self.methods().items()
            if path.endswith("/HandleReloadConfigRequest")
        }

    def predict(self, request: Any) -> Any:
        return self._infer(
            request,
            "Predict",
            lambda servable, request: inference.predict(servable, request, self._as_content),
        )

    def classify(self, request: Any) -> Any:
        return self._infer(request, "Classify", inference.classify)

    def regress(self, request: Any) -> Any:
        return self._infer(request, "Regress", inference.regress)

    def multi_inference(self, request: Any) -> Any:
        spec = inference_pb2.InferenceTask().model_spec
        if request.tasks and request.tasks[0].HasField("model_spec"):
            spec = request.tasks[0].model_spec
        with self._handle(spec) as servable:
            return inference.multi_inference(servable, request)

    def get_model_metadata(self, request: Any) -> Any:
        _require_model_spec(request)
        if not request.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for metadata_field in request.metadata_field:
            if metadata_field != _SIGNATURE_DEF:
                raise invalid_argument(f"Metadata field {metadata_field} is not supported")
        signature_defs = get_model_metadata_pb2.SignatureDefMap()
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._handle(request.model_spec) as servable:
            for name, signature in servable.signatures.items():
                signature_defs.signature_def[name].CopyFrom(signature)
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
        response.metadata[_SIGNATURE_DEF].Pack(signature_defs)
        return response

    def get_model_status(self, request: Any) -> Any:
        """Labels are ignored, as in TensorFlow Serving: all versions are listed."""
        _require_model_spec(request)
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in self._core.model_status(spec.name, version):
            entry = response.model_version_status.add(version=status.version)
            entry.state = int(status.state)
            entry.status.SetInParent()
            entry.status.error_code = int(status.code)
            entry.status.error_message = utf8_text(status.message)
        return response

    def reload_config(self, request: Any) -> Any:
        if not self._answer_reload_config:
            raise ServingError(
                Code.PERMISSION_DENIED, "HandleReloadConfigRequest is not answered at this address."
            )
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                "ModelConfigList is currently supported"
            )
        before = {name: self._core.metrics.counter_value(name) for name in request.metric_names}
        self._core.reload_config(request.config)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        for name, value in before.items():
            increase = self._core.metrics.counter_value(name) - value
            response.metric.add(name=name, int64_value_increase=increase)
        return response

    def _infer(self, request: Any, api: str, answer: Callable[[Any, Any], Any]) -> Any:
        """Answers with the model that the request names, and counts the request."""
        started = time.perf_counter()
        code = Code.UNKNOWN
        try:
            _require_model_spec(request)
            with self._handle(request.model_spec) as servable:
                response = answer(servable, request)
            code = Code.OK
            return response
        except ServingError as error:
            code = error.code
            raise
        finally:
            micros = (time.perf_counter() - started) * 1e6
            self._core.metrics.record_request(request.model_spec.name, api, "GRPC", code, micros)

    def _handle(self, spec: Any) -> ServableHandle:
        choice = spec.WhichOneof("version_choice")
        return self._core.servable(
            spec.name,
            version=spec.version.value if choice == "version" else None,
            label=spec.version_label if choice == "version_label" else None,
        )


def _require_model_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
