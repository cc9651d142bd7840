"""Configuration messages of TensorFlow Serving that its Python package does not ship.

`tensorflow-serving-api` holds the API's protobufs and ModelServerConfig, but not those of
`ssl_config.proto`, `monitoring_config.proto` and `session_bundle_config.proto`. They are declared
here field by field (same names, types and numbers), so that operators' files parse unchanged.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_PACKAGE = "tensorflow.serving"
_FILE = "serving/model_server/config_protos.proto"
_Field = descriptor_pb2.FieldDescriptorProto

_STRING: dict[str, Any] = {"type": _Field.TYPE_STRING}
_BOOL: dict[str, Any] = {"type": _Field.TYPE_BOOL}
_INT64S: dict[str, Any] = {"type": _Field.TYPE_INT64, "label": _Field.LABEL_REPEATED}
_INT64_VALUE: dict[str, Any] = {"type_name": ".google.protobuf.Int64Value"}
_BOOL_VALUE: dict[str, Any] = {"type_name": ".google.protobuf.BoolValue"}
_STRING_VALUE: dict[str, Any] = {"type_name": ".google.protobuf.StringValue"}

_MESSAGES: dict[str, dict[str, tuple[int, dict[str, Any]]]] = {
    "SSLConfig": {
        "server_key": (1, _STRING),
        "server_cert": (2, _STRING),
        "custom_ca": (3, _STRING),
        "client_verify": (4, _BOOL),
    },
    "PrometheusConfig": {"enable": (1, _BOOL), "path": (2, _STRING)},
    "MonitoringConfig": {
        "prometheus_config": (1, {"type_name": f".{_PACKAGE}.PrometheusConfig"}),
    },
    "BatchingParameters": {
        "max_batch_size": (1, _INT64_VALUE),
        "batch_timeout_micros": (2, _INT64_VALUE),
        "max_enqueued_batches": (3, _INT64_VALUE),
        "num_batch_threads": (4, _INT64_VALUE),
        "thread_pool_name": (5, _STRING_VALUE),
        "allowed_batch_sizes": (6, _INT64S),
        "pad_variable_length_inputs": (7, _BOOL),
        "enable_large_batch_splitting": (8, _BOOL_VALUE),
        "max_execution_batch_size": (9, _INT64_VALUE),
    },
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=_FILE,
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for field_name, (number, kind) in fields.items():
            kind = {"label": _Field.LABEL_OPTIONAL} | kind
            kind.setdefault("type", _Field.TYPE_MESSAGE)
            message.field.add(name=field_name, number=number, **kind)
    return file


def _message_classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(_file())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_classes = _message_classes()
SSLConfig = _classes["SSLConfig"]
MonitoringConfig = _classes["MonitoringConfig"]
BatchingParameters = _classes["BatchingParameters"]
